"""What a format is, and what its converter gives back."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_LINE_ENDS: Final = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\x80-\x84\x86-\x9f]")
_BLOCK_START: Final = re.compile(
    r"^([ ]{0,3})(?=#{1,6}(?:\s|$)|```|~~~|\$\$|>|<[A-Za-z/!?]|(?:-+|=+|[*_]{3,})\s*$)", re.M
)
MAX_CHARACTERS: Final = 5_000_000
"""Text of one document above this size is refused: about three thousand pages."""
DEFAULT_MAX_BYTES: Final = 100 * 1024 * 1024


class ConversionError(ValueError):
    """A file cannot be converted; the message is the reason, in one line."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A file as text. Offsets of chunks and citations count the characters of `text`."""

    text: str
    """Markdown, or the source code as it stands; newlines are ``\\n``."""
    title: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    pages: tuple[tuple[int, int], ...] = ()
    """``(offset, page or slide number)``, ascending; empty for formats without pages."""
    warning: str = ""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A family of file formats and its converter."""

    name: str
    """As a reader knows it: ``PDF``."""
    suffixes: frozenset[str]
    """Lower case, with the dot."""
    convert: Callable[[bytes, str], Converted]
    """``convert(data, file name)``; raises `ConversionError`, or whatever its library raises on damage."""
    packages: tuple[str, ...] = ()
    """Import names of what the extra ``docs`` brings for it."""
    isolated: bool = True
    """Converted in a child process with limits, because the parser is not ours or the format is binary."""
    max_bytes: int = DEFAULT_MAX_BYTES

    @property
    def installed(self) -> bool:
        """Whether everything it converts with is there."""
        return all(importlib.util.find_spec(name) is not None for name in self.packages)


class TextBuilder:
    """Joins the parts of a document and keeps track of where its pages begin."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._pages: list[tuple[int, int]] = []

    def page(self, number: int) -> None:
        """What is added from now on is on this page."""
        self._pages.append((self._length, number))

    def add(self, text: str) -> None:
        """Add a block of Markdown; blocks are set apart by an empty line.

        Raises:
            ConversionError: If the document gets too long.
        """
        text = clean(text).strip("\n")
        if not text.strip():
            return
        self._parts.append(text + "\n\n")
        self._length += len(text) + 2
        if self._length > MAX_CHARACTERS:
            raise ConversionError(f"holds more than {MAX_CHARACTERS:,} characters of text")

    @property
    def empty(self) -> bool:
        return not self._parts

    def build(self, *, title: str = "", metadata: dict[str, str] | None = None, warning: str = "") -> Converted:
        """The document.

        Raises:
            ConversionError: If nothing was added.
        """
        if self.empty:
            raise ConversionError("empty")
        pages = self._pages
        text = "".join(self._parts)[:-1]
        if text.startswith("---\n"):  # what another format calls text is no front matter
            text = "\n" + text
            pages = [(offset + 1 if offset else 0, number) for offset, number in pages]
        title = " ".join(clean(title).split())[:300]
        kept = {key: " ".join(clean(value).split())[:1000] for key, value in (metadata or {}).items() if value.strip()}
        return Converted(text=text, title=title, metadata=kept, pages=tuple(pages), warning=warning)


def clean(text: str) -> str:
    r"""`text` with ``\\n`` newlines, without control characters and halves of surrogate pairs."""
    text = _CONTROL.sub("", _LINE_ENDS.sub("\n", text))
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def plain(text: str) -> str:
    """Text of another format as Markdown that reads the same: no line of it opens a heading, a fence or a rule."""
    return _BLOCK_START.sub(r"\1\\", text)


def one_line(text: str) -> str:
    """`text` for a heading: white space collapsed."""
    return " ".join(clean(text).split())


def markdown_table(rows: list[list[str]]) -> str:
    """Rows of cells as a Markdown table whose first row is the header; empty without any cell text."""
    cells = [[one_line(cell).replace("|", "\\|") for cell in row] for row in rows]
    columns = max((len(row) for row in cells), default=0)
    if not columns or not any(cell for row in cells for cell in row):
        return ""
    lines = ["| " + " | ".join([*row, *[""] * (columns - len(row))]) + " |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * columns, *lines[1:]])
