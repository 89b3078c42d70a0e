"""The sections inside a chunk: small ones are joined into one chunk, whose own heading path is what they share."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from functools import lru_cache, reduce
from itertools import accumulate
from typing import Final

from ragkit.ingest.blocks import Headings, parse_blocks, shared_path
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
    offsets = [0, *accumulate(len(line) + 1 for line in lines)]
    above = Headings()
    for block in parse_blocks(chunk.text, lines, math.inf):
        if block.level:
            above = above.then(block)
            found.append((offsets[block.start_line], _below(chunk.heading, above.path)))
    return tuple(found)


def heading_of(chunk: Chunk, start: int, end: int) -> Path:
    """The heading path of a part of a chunk: of its section, or what its sections share.

    Args:
        chunk: That the part is taken from.
        start: Offset in the document.
        end: The same, behind its last character.
    """
    sections = sections_of(chunk)
    begins = [at for at, _ in sections]
    first = max(bisect_right(begins, start - chunk.start) - 1, 0)
    behind = max(bisect_left(begins, end - chunk.start), first + 1)
    return reduce(shared_path, (path for _, path in sections[first:behind])) or chunk.heading


def _below(base: Path, titles: Path) -> Path:
    """The path of headings that were met in a chunk whose own path is `base`, which may name the first of them."""
    for at in range(len(base)):
        both = min(len(base) - at, len(titles))
        if both and base[at : at + both] == titles[:both]:
            return base[:at] + titles
    return base + titles
