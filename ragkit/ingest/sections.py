"""The sections inside a chunk: small ones are joined into one chunk, whose own heading path is what they share."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

from ragkit.ingest.blocks import parse_blocks
from ragkit.ingest.code_blocks import is_code
from ragkit.values import Chunk

Path = tuple[str, ...]
_MAY_BE_HEADING: Final = re.compile(r"^ {0,3}#{1,6}\s|^ {0,3}(?:=+|-+)\s*$", re.MULTILINE)


@lru_cache(maxsize=2048)
def sections_of(chunk: Chunk) -> tuple[tuple[int, Path], ...]:
    """Where each section of a chunk begins, and its heading path.

    Returns:
        Pairs of an offset in ``chunk.text`` and a path, in order; the first is ``(0, chunk.heading)``.
    """
    found = [(0, chunk.heading)]
    if is_code(chunk.document) or not _MAY_BE_HEADING.search(chunk.text):
        return tuple(found)
    lines = chunk.text.split("\n")
    above: list[tuple[int, str]] = []
    at = line = 0
    for block in parse_blocks(chunk.text, lines, math.inf):
        if block.level:
            at += sum(len(text) + 1 for text in lines[line : block.start_line])
            line = block.start_line
            above = [*(entry for entry in above if entry[0] < block.level), (block.level, block.title)]
            found.append((at, _below(chunk.heading, tuple(title for _, title in above if title))))
    return tuple(found)


def heading_of(chunk: Chunk, start: int, end: int) -> Path:
    """The heading path of a part of a chunk: of its section, or what its sections share.

    Args:
        chunk: That the part is taken from.
        start: Offset in the document.
        end: The same, behind its last character.
    """
    sections = sections_of(chunk)
    first = max(n for n, (at, _) in enumerate(sections) if n == 0 or at <= start - chunk.start)
    paths = [path for n, (at, path) in enumerate(sections) if n == first or (first < n and at < end - chunk.start)]
    shared = paths[0]
    for path in paths[1:]:
        shared = tuple(a for n, a in enumerate(shared) if path[: n + 1] == shared[: n + 1])
    return shared or chunk.heading


def _below(base: Path, titles: Path) -> Path:
    """The path of headings that were met in a chunk whose own path is `base`, which may name the first of them."""
    for at in range(len(base)):
        both = min(len(base) - at, len(titles))
        if both and base[at : at + both] == titles[:both]:
            return base[:at] + titles
    return base + titles
