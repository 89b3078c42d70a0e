"""A Markdown text as a flat list of blocks with exact line ranges.

Blocks are what the chunker packs: headings, code fences, tables, formulas, paragraphs, list
items. A container (list, quote) that is too large for one chunk is opened; one that fits
stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ragkit.text.codepoints import code_points, kinds
from ragkit.text.language import count_cjk

if TYPE_CHECKING:  # prose needs no parser, and loading it takes as long as adding 100 notes
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

OTHER_WEIGHT: Final = 0.4
"""Width of a non-Han character; a Han character is 1. 300 Han and 750 Latin characters both
come to about 200 tokens of a multilingual model."""

_ATOMIC: Final = frozenset({"fence", "code_block", "math_block", "math_block_label", "table_open", "html_block"})
_CONTAINERS: Final = frozenset({"bullet_list_open", "ordered_list_open", "blockquote_open", "list_item_open"})
_BITS: Final = 32
_LOW: Final = (1 << _BITS) - 1
_COUNTED: Final = np.array([0, 1, 1 << _BITS, 1 << _BITS | 1], dtype=np.int64)
"""What a character of each kind (`ragkit.text.codepoints.kinds`) adds: Han characters below, solid ones above."""
_MARKED: Final = re.compile(r"^[ \t#>*+\-\d|`~<$=_:\[]|[\r\v\f\x1c-\x1e\x85\u2028\u2029\0]", re.MULTILINE)
"""A line that may be more than one of a paragraph. Without any, a text is paragraphs between empty lines."""
_MARKUP: Final = re.compile(r"\*{1,3}|`+|~~|<[^>]{0,80}>|!?\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True)
class Block:
    """Lines ``[start_line, end_line)`` (from 0) of the text."""

    start_line: int
    end_line: int
    level: int = 0
    """Heading level 1 to 6; 0 for anything else."""
    title: str = ""
    """Heading text without markup."""
    atomic: bool = False
    """Code, table, formula: not to be cut if it fits."""


@dataclass(frozen=True)
class Headings:
    """The headings above a place in a text, outermost first."""

    entries: tuple[tuple[int, str], ...] = ()
    """Level and title of each."""

    def then(self, block: Block) -> Headings:
        """Those above what follows the heading `block`."""
        above = (entry for entry in self.entries if entry[0] < block.level)
        return Headings((*above, (block.level, block.title)))

    @property
    def path(self) -> tuple[str, ...]:
        """Their titles; one without a title is none."""
        return tuple(title for _, title in self.entries if title)


def shared_path(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """What two heading paths begin with."""
    shared = []
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        shared.append(x)
    return tuple(shared)


def width(text: str) -> float:
    """Length of `text` in Han characters, other characters counting 0.4."""
    han = count_cjk(text)
    return han + OTHER_WEIGHT * (len(text) - han)


class Widths:
    """`width` of any part of a text, and what it is made of, in constant time once the text was read."""

    def __init__(self, text: str) -> None:
        before = np.zeros(len(text) + 1, dtype=np.int64)
        _COUNTED.take(kinds(code_points(text))).cumsum(out=before[1:])
        # A memoryview gives a plain int ten times as fast as an array.
        self._before = before.data

    def __call__(self, start: int, end: int) -> float:
        """Width of ``text[start:end]``, 0 <= start <= end <= len(text)."""
        han = (self._before[end] - self._before[start]) & _LOW
        return han + OTHER_WEIGHT * (end - start - han)

    def counts(self, start: int, end: int) -> tuple[int, int]:
        """Han characters of ``text[start:end]``, and characters that are not white space."""
        both = self._before[end] - self._before[start]
        return both & _LOW, both >> _BITS


def parse_blocks(text: str, lines: list[str], limit: float) -> list[Block]:
    r"""Split `text` into blocks in order; together they cover every line that is not blank.

    Args:
        text: Source text with ``\\n`` newlines.
        lines: ``text.split("\\n")``.
        limit: Containers wider than this are opened.
    """
    if not _MARKED.search(text):
        return list(_paragraphs(lines))
    try:
        tokens = _parser().parse(text)
    except RecursionError:
        tokens = []
    return list(_covered(_flatten(tokens, lines, limit), lines))


def _paragraphs(lines: list[str]) -> Iterator[Block]:
    """Runs of lines that are not empty."""
    first = 0
    for at, line in enumerate([*lines, ""]):
        if not line:
            if at > first:
                yield Block(first, at)
            first = at + 1


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    """The parser of all documents; making one takes as long as reading a note with it."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath.index import math_block_dollar

    parser = MarkdownIt("commonmark", {"maxNesting": 40}).enable("table").disable(["inline"])
    # The plugin's own rule does not interrupt a paragraph, but notes rarely leave a blank line before "$$".
    interrupts: Any = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    parser.block.ruler.before(
        "fence", "math_block", math_block_dollar(allow_labels=False, allow_blank_lines=True), interrupts
    )
    # The first text compiles its rules, which must be done before other threads see it.
    parser.parse("-")
    return parser


def _flatten(tokens: list[Token], lines: list[str], limit: float) -> Iterator[Block]:
    i = 0
    while i < len(tokens):
        token = tokens[i]
        closing = _closing(tokens, i)
        if token.map is None:
            i += 1
            continue
        start, end = token.map
        if token.type == "heading_open":
            yield Block(start, end, level=int(token.tag[1]), title=_title(tokens[i + 1].content))
        elif token.type in _CONTAINERS and width("\n".join(lines[start:end])) > limit:
            # Open the container: go on with its children instead of jumping over them.
            i += 1
            continue
        else:
            yield Block(start, end, atomic=token.type in _ATOMIC)
        i = closing + 1


def _closing(tokens: list[Token], i: int) -> int:
    if tokens[i].nesting != 1:
        return i
    depth = 0
    for j in range(i, len(tokens)):
        depth += tokens[j].nesting
        if depth == 0:
            return j
    return len(tokens) - 1


def _title(markup: str) -> str:
    return " ".join(_MARKUP.sub(lambda match: match.group(1) or "", markup).split())


def _covered(blocks: Iterator[Block], lines: list[str]) -> Iterator[Block]:
    """Fill lines that no token claims (link definitions, odd nesting), so that no text is lost."""
    at = 0
    for block in blocks:
        start = max(block.start_line, at)
        if any(line.strip() for line in lines[at:start]):
            yield Block(at, start)
        if block.end_line > start:
            yield Block(start, block.end_line, block.level, block.title, block.atomic)
        at = max(at, block.end_line)
    if any(line.strip() for line in lines[at:]):
        yield Block(at, len(lines))
