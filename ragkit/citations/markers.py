"""Citation markers in generated text: ``[1]``, ``[1,2]``, ``[1-3]``, ``[1][2]``, ``【1】``, ``［1］``, ``[^1]``.

Code, formulas and array indexing (``a[1]``) are left alone, and so are intervals such as ``[0, 1]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

from ragkit.citations.frames import is_announcement, is_courtesy, is_item, is_row, is_rule
from ragkit.text.sentences import sentence_spans

_NUMBER: Final = r"[-−]?\d{1,3}"
_RANGE: Final = rf"{_NUMBER}(?:\s*[-–—~～]\s*\d{{1,3}})?"
_NUMBERS: Final = rf"\s*\^?\s*({_RANGE}(?:\s*[,，、;；]\s*\^?{_RANGE})*)\s*"
_PLAIN: Final = rf"\[{{1,2}}{_NUMBERS}\]{{1,2}}(?!\()"
MARKER: Final = re.compile(
    rf"(?<![\w\])\[]){_PLAIN}|(?<=[^\x00-\x7f]){_PLAIN}|[【［]{_NUMBERS}[】］]"
    rf"|(?<=[\]\w)]){_PLAIN}(?=[\s.,;:!?\[]|[^\x00-\x7f]|$)"
)
"""What looks like a marker; `_markers` says what is one."""
_BEHIND_STOP: Final = re.compile(rf"([。！？；.!?;]+)((?:[ \t]?(?:{MARKER.pattern}))+)")
_ONE: Final = re.compile(rf"({_NUMBER})(?:\s*[-–—~～]\s*(\d{{1,3}}))?")
_LONGEST_RANGE: Final = 20
_INDEXED: Final = re.compile(
    r"(?<![A-Za-z0-9_.])(?:[a-z]\d*|[A-Za-z]\w*\.[a-z_][\w.]*|\w*_\w*"
    r"|arr|array|list|lst|nums|dp|args|argv|shape|vec|mat|grid|matrix|tensor|buf|res|ans|tmp)(?:\[\w*[A-Za-z]\w*\])*$",
    re.ASCII,
)
"""A variable right before a bracket, perhaps indexed already (``dp[i]``): the bracket is its index."""
_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_ASIDE: Final = re.compile(
    rf"{_CODE.pattern}|\$\$.+?\$\$|\\\[.+?\\\]|\\\(.+?\\\)"
    r"|(?<![\\$])\$(?=[^\s$])[^$\n]*?(?<=[^\s\\])\$(?!\d)",
    re.DOTALL,
)
"""Code and formulas. As in Pandoc, ``$`` opens a formula only in front of a character and closes it only
behind one, so that prices are no formulas."""
_ROW_LINE: Final = re.compile(r"\|[^\n]*\|[ \t\d,，\[\]【】［］^]*(?:\n|\Z)")
"""A line that is a row, unlike one that begins with an absolute value (``|x| grows.``)."""
_MASKED: Final = re.compile("`([\U000f0000-\U000ffffd])`")
_FIRST_SIGN: Final = 0xF0000
_MOST_CODES: Final = 0xFFFE


@dataclass(frozen=True)
class CitedSentence:
    """A sentence of an answer without its markers, and the markers it carried."""

    text: str
    markers: tuple[int, ...]
    lead: str = ""
    """Line break that stood before it: empty, one or two newlines."""
    verbatim: bool = False
    """Part of a code block: kept as it is, never judged."""
    frame: bool = False
    """Head or rule of a table, announcement of what stands right below, or courtesy."""
    items: int = 0
    """How many items or rows stand below an announcement."""


def parse_answer(text: str) -> list[CitedSentence]:
    """Split generated text into sentences and the markers each carries.

    A marker that stands alone after a sentence end belongs to the sentence before it.
    """
    parts: list[CitedSentence] = []
    at = 0
    for code in _CODE.finditer(text):
        block = code.group().startswith("```")
        if not block:
            continue
        parts.extend(_prose(text[at : code.start()]))
        parts.append(CitedSentence(code.group(), (), verbatim=True))
        at = code.end()
    parts.extend(_prose(text[at:]))
    return [_framed(parts, at) for at in range(len(parts))]


def _framed(parts: Sequence[CitedSentence], at: int) -> CitedSentence:
    sentence = parts[at]
    if sentence.verbatim:
        return sentence
    below = parts[at + 1] if at + 1 < len(parts) else None
    if is_rule(sentence.text) or is_courtesy(sentence.text):
        return replace(sentence, frame=True)
    if below is None or not is_announcement(sentence.text):
        return replace(sentence, frame=below is not None and is_row(sentence.text) and is_rule(below.text))
    listed = [part.text for part in takewhile(_is_listed, parts[at + 1 :])]
    heads = sum(is_rule(text) for text in listed)
    # Of a table, its head and its rule are no rows.
    return replace(sentence, frame=below.verbatim or bool(listed), items=len(listed) - 2 * heads)


def _is_listed(sentence: CitedSentence) -> bool:
    return not sentence.verbatim and bool(sentence.lead) and (is_item(sentence.text) or is_row(sentence.text))


def without_markers(text: str, *, keep_numbers: bool = False) -> str:
    """`text` without anything that reads like one of our markers, for text that was not written to carry any.

    Args:
        text: Text of a note or a model.
        keep_numbers: Write ``[3]`` as ``(3)`` instead of leaving it out.
    """
    masked, codes = _set_aside(text)
    clean: list[str] = []
    last = 0
    for start, end, _ in _markers(masked):
        before = masked[last:start]
        numbers = masked[start:end].strip("[]【】［］ ")
        clean.append(f"{before}({numbers})" if keep_numbers else before.rstrip(" \t"))
        last = end
    clean.append(masked[last:])
    return _put_back("".join(clean), codes)


def _set_aside(text: str) -> tuple[str, list[str]]:
    """`text` with a sign for each piece of code and formula, and the pieces.

    A semicolon in them ends no sentence, and brackets in them are no markers.
    """
    codes: list[str] = []

    def mask(code: re.Match[str]) -> str:
        if len(codes) >= _MOST_CODES:
            return code.group()
        codes.append(code.group())
        return f"`{chr(_FIRST_SIGN + len(codes) - 1)}`"

    return _ASIDE.sub(mask, text), codes


def _put_back(text: str, codes: Sequence[str]) -> str:
    def piece(sign: re.Match[str]) -> str:
        at = ord(sign.group(1)) - _FIRST_SIGN
        return codes[at] if at < len(codes) else sign.group()

    return _MASKED.sub(piece, text)


def _markers(text: str) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Start, end and numbers of each marker; code and formulas are set aside already."""
    for match in MARKER.finditer(text):
        found = next(group for group in match.groups() if group)
        numbers: list[int] = []
        for first, last in _ONE.findall(found):
            low = int(first.replace("−", "-"))
            high = int(last) if last else low
            numbers.extend(range(low, high + 1) if 0 < low <= high <= low + _LONGEST_RANGE else sorted({low, high}))
        if len(numbers) > 1 and min(numbers) <= 0:
            continue  # values in [0, 1]
        if match.group().startswith("[") and _INDEXED.search(text, max(0, match.start() - 60), match.start()):
            continue
        yield match.start(), match.end(), tuple(dict.fromkeys(numbers))


def _prose(text: str) -> list[CitedSentence]:
    masked, codes = _set_aside(text)
    return [replace(sentence, text=_put_back(sentence.text, codes)) for sentence in _sentences(masked)]


def _sentences(text: str) -> list[CitedSentence]:
    # Markers after the full stop ("是的。[1]") move in front of it, so that they stay with their sentence.
    # A space keeps what ends by a variable ("... of d. [1]") from looking like one of its elements.
    moved = _BEHIND_STOP.sub(lambda m: f" {m[2].lstrip()}{m[1]}" if any(_markers(m[2])) else m[0], text)
    sentences: list[CitedSentence] = []
    last_end = 0
    for start, end in _spans(moved):
        raw = moved[start:end]
        lead = "\n" * min(2, moved.count("\n", last_end, start))
        last_end = end
        markers: list[int] = []
        clean: list[str] = []
        last = 0
        for begin, stop, numbers in _markers(raw):
            markers.extend(numbers)
            clean.append(raw[last:begin].rstrip())
            last = stop
        clean.append(raw[last:])
        sentence = "".join(clean).strip()
        if re.search(r"\w", sentence) or _MASKED.search(sentence) or is_rule(sentence):
            sentences.append(CitedSentence(sentence, tuple(dict.fromkeys(markers)), lead))
        elif markers and sentences:
            previous = sentences[-1]
            sentences[-1] = replace(previous, markers=tuple(dict.fromkeys((*previous.markers, *markers))))
    return sentences


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence; a row of a table is one, whatever ends within its cells."""
    row: tuple[int, int] | None = None
    for start, end in sentence_spans(text):
        if row is not None and "\n" not in text[row[1] : start]:
            row = row[0], end
            continue
        if row is not None:
            yield row
        row = (start, end) if _ROW_LINE.match(text, start) else None
        if row is None:
            yield start, end
    if row is not None:
        yield row


def render(sentences: Sequence[CitedSentence]) -> str:
    """Sentences and their markers as text: ``... [1][2]`` in front of the final stop of the sentence."""
    out: list[str] = []
    for sentence in sentences:
        if sentence.verbatim:
            out.append(f"\n\n{sentence.text}\n\n")
            continue
        lead = sentence.lead
        if not lead and re.match(r"(?:[-*+]|\d{1,2}[.)]|#{1,6})\s", sentence.text):
            lead = "\n"
        gap = "" if not out or out[-1].endswith("\n") or lead else _gap(out[-1], sentence.text)
        out.append(lead + gap + with_markers(sentence.text, sentence.markers))
    return re.sub(r"\n{3,}", "\n\n", "".join(out)).strip()


def with_markers(text: str, markers: Sequence[int]) -> str:
    """One sentence with its markers at the end, after the final stop; in a row of a table, within its last cell."""
    marks = "".join(f"[{number}]" for number in markers)
    if not marks:
        return text
    if is_row(text) and text.rstrip().endswith("|"):
        return f"{text.rstrip()[:-1].rstrip()} {marks} |"
    # Glued to a Latin word, a marker would read like an index.
    return f"{text} {marks}" if text[-1:].isascii() else f"{text}{marks}"


def _gap(before: str, after: str) -> str:
    tail = re.sub(r"(?:\[\d+\])+$", "", before).rstrip()
    return "" if tail and after and not tail[-1].isascii() and not after[0].isascii() else " "
