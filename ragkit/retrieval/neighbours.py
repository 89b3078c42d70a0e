"""Neighbour merging: adjacent chunks of one section that were both found become one passage.

The law of chunks holds for passages too: ``document.text[start:end] == text``. What lies between
two adjacent chunks is white space, so that nothing enters a passage that was not found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from ragkit.values import Chunk, Hit

LONGEST: Final = 1600
"""Characters that a merged passage may have; agents show no more of one."""


def merge_neighbours(
    hits: Sequence[Hit], text_of: Callable[[str], str | None], k: int, longest: int = LONGEST
) -> list[Hit]:
    """The first `k` passages, each a hit or several adjacent ones, in the order of their best hit.

    Hits behind the `k`-th passage are not looked at, so that nothing is pulled up from the depth.

    Args:
        hits: Best first.
        text_of: Text of a document by its path; None where there is none, and nothing is merged then.
        k: At most so many passages.
        longest: Characters that a merged passage may have.
    """
    passages: list[list[Hit]] = []
    texts: dict[str, str | None] = {}
    for hit in hits:
        if hit.document not in texts:
            texts[hit.document] = text_of(hit.document)
        beside = [p for p in passages if _fits(p, hit, texts[hit.document], longest)]
        if beside:
            # A hit between two passages joins them, if all of it may be one.
            first, rest = beside[0], [hit for passage in beside[1:] for hit in passage]
            whole = max(h.end for h in [*first, *rest, hit]) - min(h.start for h in [*first, *rest, hit]) <= longest
            first.extend([hit, *rest] if whole else [hit])
            passages = [p for p in passages if p is first or not whole or p not in beside]
        elif len(passages) == k:
            break
        else:
            passages.append([hit])
    return [_joined(passage, rank, texts[passage[0].document]) for rank, passage in enumerate(passages, start=1)]


def _fits(passage: Sequence[Hit], hit: Hit, text: str | None, longest: int) -> bool:
    start, end = min(h.start for h in passage), max(h.end for h in passage)
    if text is None or hit.document != passage[0].document or hit.heading != passage[0].heading:
        return False
    if max(end, hit.end) - min(start, hit.start) > longest:
        return False
    if hit.start >= end:
        return not text[end : hit.start].strip()
    return hit.end <= start and not text[hit.end : start].strip()


def _joined(passage: list[Hit], rank: int, text: str | None) -> Hit:
    best = passage[0]
    if len(passage) == 1 or text is None:
        return replace(best, rank=rank)
    parts = sorted((hit.chunk for hit in passage), key=lambda chunk: chunk.start)
    start, end = parts[0].start, parts[-1].end
    chunk = Chunk(
        id="+".join(part.id for part in parts),
        document=best.document,
        heading=best.heading,
        text=text[start:end],
        start=start,
        end=end,
        start_line=parts[0].start_line,
        end_line=parts[-1].end_line,
        language=best.chunk.language,
    )
    ordered = sorted(passage, key=lambda hit: hit.start)
    coverage = max(hit.coverage for hit in passage)
    return replace(best, chunk=chunk, rank=rank, coverage=coverage, page=ordered[0].page, end_page=ordered[-1].end_page)
