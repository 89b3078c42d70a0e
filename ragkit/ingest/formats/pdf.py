"""PDF: text with page numbers, headings from the outline or, without one, from the size of the letters.

Lines that the page's width broke are joined again, running heads and page numbers are left out,
and characters that only look like others (ligatures, radicals) become those others.
"""

from __future__ import annotations

import io
import math
import re
import time
import unicodedata
from collections import Counter
from typing import Any, Final

from ragkit.ingest.blocks import width
from ragkit.ingest.formats.base import ConversionError, Converted, Format, TextBuilder, clean, one_line, plain
from ragkit.ingest.lookalikes import usual_characters

CPU_SECONDS: Final = 15.0
"""Pages that are not reached by then are left out with a warning; the child process itself may take 20 s."""
_FULL: Final = 0.8
"""A line of this share of the page's usual width was broken by the margin, not by the author."""
_STOPS: Final = tuple("。！？；：….!?;:")
_NEW_LINE: Final = re.compile(
    r"\s*(?:[-*•·▪◦‣●○■□–—]\s|\(?\d{1,3}(?:[.)]\s|[、）])|[（(][一二三四五六七八九十\d]{1,3}[)）]"
    r"|第[\d一二三四五六七八九十百]{1,4}[章节条])"
)
"""How an item of a list or a numbered section begins."""
_LEADERS: Final = re.compile(r"[ \t]?(?:\.[ \t]?){5,}")
_DIGITS: Final = re.compile(r"\d+")
_SQUEEZE: Final = re.compile(r"\W+")
_REPEATED: Final = 3
_LARGER: Final = 1.15
_LONGEST_HEADING: Final = 100
_MOST_LARGE: Final = 0.3
_NO_HEADING: Final = re.compile(r"[。，；：.,;:]$|…")
"""Sentences, and lines of a table of contents."""
_NO_TITLE: Final = re.compile(r"\.(docx?|pptx?|tex|dvi|indd|wps)$|^untitled$|^microsoft word", re.IGNORECASE)
"""Word processors leave the name of a file there."""
_Line = tuple[str, float]
"""Text, and the size of its letters in points."""
_MOST_HEADINGS: Final = 5_000
_FIRST_CJK: Final = 0x2E80


def convert(data: bytes, name: str) -> Converted:
    """The text layer of a PDF; there is no OCR.

    Raises:
        ConversionError: If it is encrypted with a password or holds no text.
    """
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError

    began = time.process_time()
    try:
        reader = PdfReader(io.BytesIO(data))
        count = len(reader.pages)
    except FileNotDecryptedError as exc:
        raise ConversionError("password-protected") from exc
    except DependencyError as exc:
        raise ConversionError(f"encrypted in a way that cannot be read here ({exc})") from exc
    sized: list[list[_Line]] = []
    broken = 0
    for number in range(count):
        if time.process_time() - began > CPU_SECONDS:
            break
        try:
            sized.append(_lines(reader.pages[number]))
        except FileNotDecryptedError as exc:
            raise ConversionError("password-protected") from exc
        except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError):
            sized.append([])
            broken += 1
    pages = [[line for line, _ in lines] for lines in sized]
    if broken and not any(pages):
        raise ConversionError(f"damaged: none of its {count} page{'s' * (count > 1)} can be read")
    if not any(pages):
        raise ConversionError("holds no text; pictures of text (scanned pages) are not read")
    builder = TextBuilder()
    headings = _outline(reader) or _by_size(sized)
    for number, lines in enumerate(_without_running(pages)):
        builder.page(number + 1)
        builder.add("\n".join(_paragraphs(_with_headings(lines, headings.get(number, [])))))
    return builder.build(title=_title(reader), warning=_warning(pages, count, broken))


def _lines(page: Any) -> list[_Line]:
    """Lines of a page that are not blank, each with the size that most of its letters have."""
    pieces: list[tuple[str, float]] = []

    def collect(text: str, outer: list[float], inner: list[float], font: object, size: float) -> None:
        # Letters are drawn through two matrices, either of which may enlarge them.
        scale = math.hypot(inner[1], inner[3]) * math.hypot(outer[1], outer[3])
        pieces.append((text, round(2 * abs(size) * scale) / 2))

    page.extract_text(visitor_text=collect)
    lines: list[_Line] = []
    texts: list[str] = []
    letters: Counter[float] = Counter()
    for text, size in [*pieces, ("\n", 0.0)]:
        first, *rest = _LEADERS.sub(" … ", usual_characters(clean(text))).split("\n")
        texts.append(first)
        letters[size] += len(first.strip())
        for more in rest:
            line = "".join(texts).rstrip()
            if line.strip():
                lines.append((line, letters.most_common(1)[0][0]))
            texts, letters = [more], Counter({size: len(more.strip())})
    return lines


def _by_size(pages: list[list[_Line]]) -> dict[int, list[tuple[int, str]]]:
    """Lines in larger letters than the text's own, by page (from 0): depth (from 1) and title."""
    letters: Counter[float] = Counter()
    shapes: Counter[str] = Counter()
    for lines in pages:
        shapes.update({_shape(text) for text, _ in lines})
        for text, size in lines:
            letters[size] += len(text)
    usual = letters.most_common(1)[0][0] if letters else 0.0
    large = [
        (number, text.strip(), size)
        for number, lines in enumerate(pages)
        for text, size in lines
        if size >= _LARGER * usual and 2 <= len(text.strip()) <= _LONGEST_HEADING and shapes[_shape(text)] < _REPEATED
    ]
    large = [(n, text, size) for n, text, size in large if any(map(str.isalpha, text)) and not _NO_HEADING.search(text)]
    if len(large) > _MOST_LARGE * sum(map(len, pages)):
        return {}  # a poster, or a table of large numbers
    ranks = {size: rank for rank, size in enumerate(sorted({size for _, _, size in large}, reverse=True), start=1)}
    found: dict[int, list[tuple[int, str]]] = {}
    for number, text, size in large:
        found.setdefault(number, []).append((min(ranks[size], 4), text))
    return found


def _warning(pages: list[list[str]], count: int, broken: int) -> str:
    parts = []
    if len(pages) < count:
        parts.append(f"only pages 1 to {len(pages)} of {count} were read; the rest would take too long")
    if broken:
        parts.append(f"{broken} of {count} pages are damaged")
    silent = sum(not lines for lines in pages) - broken
    if silent > 0:
        parts.append(f"{silent} of {count} pages hold no text")
    return "; ".join(parts)


def _title(reader: Any) -> str:
    try:
        title = one_line(str(reader.metadata.title or "")) if reader.metadata else ""
    except Exception:  # pypdf raises many kinds on a damaged Info dictionary, which nothing depends on
        return ""
    return "" if _NO_TITLE.search(title) else title


def _outline(reader: Any) -> dict[int, list[tuple[int, str]]]:
    """Bookmarks by page (from 0): depth (from 1) and title."""
    found: dict[int, list[tuple[int, str]]] = {}
    total = 0

    def walk(entries: list[Any], depth: int) -> None:
        nonlocal total
        for entry in entries:
            if isinstance(entry, list):
                if depth < 5:
                    walk(entry, depth + 1)
                continue
            page = reader.get_destination_page_number(entry)
            title = one_line(str(entry.title or ""))[:200]
            total += 1
            if page is not None and page >= 0 and title and total <= _MOST_HEADINGS:
                found.setdefault(page, []).append((depth, title))

    try:
        walk(reader.outline, 1)
    except Exception:  # damaged bookmarks are no reason to lose the text; pypdf raises many kinds on them
        return found
    return found


def _with_headings(lines: list[str], headings: list[tuple[int, str]]) -> list[str]:
    """Mark the lines that are headings; one that no line of the page repeats stands on top."""
    out = [plain(line.strip()) for line in lines]
    missing = []
    at = 0
    for depth, title in headings:
        key = _squeezed(title)
        places = [i for i in range(at, len(lines)) if _is_title(_squeezed(lines[i]), key)]
        if places:
            out[places[0]] = f"\n{'#' * (depth + 1)} {lines[places[0]].strip()}\n"
            at = places[0] + 1
        else:
            missing.append(f"{'#' * (depth + 1)} {title}\n")
    return [*missing, *out]


def _is_title(line: str, title: str) -> bool:
    """Whether a line is the title, perhaps with a number in front of it."""
    return bool(title) and line.endswith(title) and len(line) <= len(title) + 12


def _squeezed(text: str) -> str:
    return _SQUEEZE.sub("", unicodedata.normalize("NFKC", text)).casefold()


def _shape(line: str) -> str:
    return _DIGITS.sub("0", _squeezed(line))


def _without_running(pages: list[list[str]]) -> list[list[str]]:
    """Pages without running heads and page numbers.

    These are first and last lines that are the same (numbers apart) on three pages or more, of more
    than two lines each, and never stand inside a page. A text among them is kept where it comes first.
    """
    edges = Counter(shape for lines in pages if len(lines) > 2 for shape in {_shape(lines[0]), _shape(lines[-1])})
    inside = {_shape(line) for lines in pages for line in lines[1:-1]}
    running = {shape for shape, count in edges.items() if count >= _REPEATED and shape not in inside}
    seen = {shape for shape in running if shape.isdigit()}
    kept = []
    for lines in pages:
        page = []
        for at, line in enumerate(lines):
            shape = _shape(line) if at in (0, len(lines) - 1) and len(lines) > 2 else ""
            if shape not in running or shape not in seen:
                page.append(line)
            seen.add(shape)
        kept.append(page)
    return kept


def _paragraphs(lines: list[str]) -> list[str]:
    """Join lines that only the margin broke."""
    widths = sorted(width(line) for line in lines if not line.startswith(("#", "\n")))
    usual = widths[round(0.9 * (len(widths) - 1))] if widths else 0.0
    out: list[str] = []
    open_line = False
    for line in lines:
        heading = line.startswith("#") or line.startswith("\n")
        if open_line and not heading and not _NEW_LINE.match(line):
            out[-1] = _join(out[-1], line)
        else:
            out.append(line)
        open_line = not heading and width(line) >= _FULL * usual and not line.endswith(_STOPS) and usual > 12
    return out


def _join(a: str, b: str) -> str:
    if re.search(r"[A-Za-z]{2}-$", a) and b[:1].islower():
        return a[:-1] + b
    # Chinese has no space where a line ends.
    return f"{a} {b}" if all(ord(char) < _FIRST_CJK for char in a[-1:] + b[:1]) else a + b


FORMAT = Format(
    name="PDF",
    suffixes=frozenset({".pdf"}),
    convert=convert,
    packages=("pypdf", "cryptography"),
)
