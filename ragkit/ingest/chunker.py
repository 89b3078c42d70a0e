"""Documents to chunks: verbatim slices that follow headings.

The law of this file: for every chunk, ``document.text[chunk.start:chunk.end] == chunk.text``.
A code block, table or formula is cut only if it is larger than a chunk may be.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final

from ragkit.ingest.blocks import Block, Headings, Widths, parse_blocks, shared_path
from ragkit.ingest.chunk_settings import ChunkSettings
from ragkit.ingest.code_blocks import code_blocks, is_code
from ragkit.ingest.yaml_safe import split_front_matter
from ragkit.text.language import group_of, script_counts
from ragkit.text.sentences import sentence_spans
from ragkit.values import Chunk, Document, search_text

_WORD: Final = r"[^\W\u2e80-\uffff]"
_PAUSE: Final = re.compile(r"(?s:.*)(?:(?<=[\s，、；：])|(?<=[,;:])(?![\d/]))(?=(?s:.))")
"""Up to the last place behind white space or a comma. The ones of numbers, times and addresses are none."""
_SEAM: Final = re.compile(rf"(?s:.*)(?:(?<!{_WORD})(?<!\.)|(?!{_WORD})(?!\.))(?=(?s:.))")
"""Up to the last place that is not inside a Latin word or a number; each Han character is a word of its own."""


@dataclass(frozen=True)
class _Piece:
    start: int
    end: int
    heading: tuple[str, ...]
    heading_only: bool = False


def chunk_document(document: Document, settings: ChunkSettings | None = None) -> list[Chunk]:
    """Cut a document into chunks, in order of appearance.

    Front matter is not part of any chunk. Ids are hashes of (path, text, nth occurrence), so
    they survive edits elsewhere in the file.
    """
    settings = settings or ChunkSettings()
    text = document.text
    body = 0 if is_code(document.path) else split_front_matter(text)[1]
    width = Widths(text)
    pieces = _merge_small(width, list(_pieces(document, body, width, settings)), settings)
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    seen: Counter[str] = Counter()
    chunks = []
    for piece in pieces:
        span = _trim(text, piece.start, piece.end)
        if span is None:
            continue
        start, end = span
        slice_ = text[start:end]
        seen[slice_] += 1
        key = "\0".join((document.path, slice_, str(seen[slice_])))
        chunks.append(
            Chunk(
                id=hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16],
                document=document.path,
                heading=piece.heading,
                text=slice_,
                start=start,
                end=end,
                start_line=bisect_right(starts, start),
                end_line=bisect_right(starts, end - 1),
                language=_language(piece.heading, width.counts(start, end)),
            )
        )
    return chunks


def _language(heading: tuple[str, ...], counts: tuple[int, int]) -> str:
    """The `language_group` of a chunk's search text, by the counts of its slice."""
    above = _counts(search_text(heading, ""))
    return group_of(above[0] + counts[0], above[1] + counts[1])


_counts = lru_cache(maxsize=1024)(script_counts)


def _pieces(document: Document, body: int, width: Widths, settings: ChunkSettings) -> Iterator[_Piece]:
    text = document.text[body:]
    lines = text.split("\n")
    offsets = [body, *(body + at for at in accumulate(len(line) + 1 for line in lines))]
    if is_code(document.path):
        blocks = code_blocks(document.path, lines, settings.target)
    else:
        blocks = parse_blocks(text, lines, settings.target)
    has_h1 = any(block.level == 1 for block in blocks)
    root = (document.title,) if document.title and not has_h1 else ()
    above = Headings()
    section: list[Block] = []
    for block in [*blocks, None]:
        if block is None or block.level:
            yield from _pack(document.text, section, offsets, (*root, *above.path), width, settings)
            section = []
        if block is None:
            return
        if block.level:
            above = above.then(block)
        section.append(block)


def _pack(
    text: str,
    blocks: Sequence[Block],
    offsets: Sequence[int],
    heading: tuple[str, ...],
    width: Widths,
    settings: ChunkSettings,
) -> Iterator[_Piece]:
    """Pack the blocks of one section into pieces of at most the target width."""
    start = end = -1
    only_heading = True
    for block in blocks:
        low, high = offsets[block.start_line], min(offsets[block.end_line], len(text))
        limit = settings.maximum if block.atomic else settings.target
        fits_whole = width(low, high) <= limit
        parts = [(low, high)] if fits_whole else _split(text, low, high, width, settings.target, code=block.atomic)
        for part_low, part_high in parts:
            if start >= 0 and not only_heading and width(start, part_high) > settings.target:
                yield _Piece(start, end, heading)
                start = -1
            start = part_low if start < 0 else start
            end = part_high
            only_heading = only_heading and bool(block.level)
    if start >= 0:
        yield _Piece(start, end, heading, heading_only=only_heading)


def _split(text: str, low: int, high: int, width: Widths, target: float, *, code: bool) -> Iterator[tuple[int, int]]:
    """Cut an oversized block at line ends (code, tables), else at sentence ends; the rest at `_break`."""
    units = _line_spans(text, low, high) if code else ((low + a, low + b) for a, b in sentence_spans(text[low:high]))
    step = max(1, int(target))
    start = end = -1
    for a, b in units:
        if start >= 0 and width(start, b) > target:
            yield start, end
            start = -1
        if width(a, b) > target:
            while b - a > step:
                cut = _break(text, a, a + step)
                yield a, cut
                a = cut
            yield a, b
            continue
        start = a if start < 0 else start
        end = b
    if start >= 0:
        yield start, end


def _break(text: str, low: int, high: int) -> int:
    """Where to end a piece of ``text[low:]`` at `high` or before, within a sentence that goes on.

    In its second half: behind the last white space or comma, else between two characters that are not in one
    word. Without either, behind the last white space or comma that there is; and else at `high`.
    """
    middle = max(low + 1, (low + high) // 2)
    for pattern, first in ((_PAUSE, middle), (_SEAM, middle), (_PAUSE, low + 1)):
        if found := pattern.match(text, first, high + 1):
            return found.end()
    return high


def _line_spans(text: str, low: int, high: int) -> Iterator[tuple[int, int]]:
    while low < high:
        stop = text.find("\n", low, high)
        stop = high if stop == -1 else stop + 1
        yield low, stop
        low = stop


def _merge_small(width: Widths, pieces: Sequence[_Piece], settings: ChunkSettings) -> list[_Piece]:
    """Join small sections with the next one under the same parent, and bare headings always."""
    merged: list[_Piece] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if last is not None and _may_join(width, last, piece, settings):
            shared = shared_path(last.heading, piece.heading)
            parent = last.heading_only or last.heading == piece.heading[: len(last.heading)]
            heading = piece.heading if parent and last.heading_only else shared or last.heading
            merged[-1] = _Piece(last.start, piece.end, heading, last.heading_only and piece.heading_only)
        else:
            merged.append(piece)
    return merged


def _may_join(width: Widths, last: _Piece, piece: _Piece, settings: ChunkSettings) -> bool:
    if last.heading_only:
        return width(last.start, piece.end) <= settings.maximum
    small = min(width(last.start, last.end), width(piece.start, piece.end)) < settings.minimum
    depth = min(len(last.heading), len(piece.heading))
    related = len(shared_path(last.heading, piece.heading)) >= max(1, depth - 1)
    return small and related and width(last.start, piece.end) <= settings.target


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if end > start else None
