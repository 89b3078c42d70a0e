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
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath.index import math_block_dollar

from ragkit.text.codepoints import are_han, code_points
from ragkit.text.language import count_cjk

OTHER_WEIGHT: Final = 0.4
"""Width of a non-Han character; a Han character is 1. 300 Han and 750 Latin characters both
come to about 200 tokens of a multilingual model."""

_ATOMIC: Final = frozenset({"fence", "code_block", "math_block", "math_block_label", "table_open", "html_block"})
_CONTAINERS: Final = frozenset({"bullet_list_open", "ordered_list_open", "blockquote_open", "list_item_open"})
_BLANK: Final = np.array([chr(code).isspace() for code in range(0x3002)])
"""White space by code point; there is none beyond U+3000."""
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


def width(text: str) -> float:
    """Length of `text` in Han characters, other characters counting 0.4."""
    han = count_cjk(text)
    return han + OTHER_WEIGHT * (len(text) - han)


class Widths:
    """`width` of any part of a text, and what it is made of, in constant time once the text was read."""

    def __init__(self, text: str) -> None:
        codes = code_points(text)
        self._han = _sums(are_han(codes))
        self._solid = _sums(~_BLANK[np.minimum(codes, len(_BLANK) - 1)])

    def __call__(self, start: int, end: int) -> float:
        """Width of ``text[start:end]``, 0 <= start <= end <= len(text)."""
        han = self._han[end] - self._han[start]
        return han + OTHER_WEIGHT * (end - start - han)

    def counts(self, start: int, end: int) -> tuple[int, int]:
        """Han characters of ``text[start:end]``, and characters that are not white space."""
        return self._han[end] - self._han[start], self._solid[end] - self._solid[start]


def _sums(flags: npt.NDArray[np.bool_]) -> memoryview:
    """How many are set before each place; a memoryview gives a plain int ten times as fast as an array."""
    before = np.zeros(len(flags) + 1, dtype=np.int32)
    np.cumsum(flags, out=before[1:])
    return before.data


def parse_blocks(text: str, lines: list[str], limit: float) -> list[Block]:
    r"""Split `text` into blocks in order; together they cover every line that is not blank.

    Args:
        text: Source text with ``\\n`` newlines.
        lines: ``text.split("\\n")``.
        limit: Containers wider than this are opened.
    """
    try:
        tokens = _parser().parse(text)
    except RecursionError:
        tokens = []
    return list(_covered(_flatten(tokens, lines, limit), lines))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    """The parser of all documents; making one takes as long as reading a note with it."""
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
