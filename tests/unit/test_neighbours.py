"""Neighbour merging: what was found side by side becomes one verbatim passage, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.ingest.chunk_settings import ChunkSettings
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import make_document
from ragkit.retrieval.neighbours import LONGEST, merge_neighbours
from ragkit.values import Chunk, Hit

PARAGRAPHS = [f"第 {i} 段讲的是梯度消失与残差连接的第 {i} 个方面，写得足够长。" * 3 for i in range(6)]
TEXT = "# 一\n\n" + "\n\n".join(PARAGRAPHS) + "\n\n# 二\n\n" + "\n\n".join(reversed(PARAGRAPHS)) + "\n"
DOCUMENT = make_document("a.md", TEXT)
CHUNKS = chunk_document(DOCUMENT, ChunkSettings(target=90, maximum=120, minimum=10))


def hits(*places: int, chunks: list[Chunk] = CHUNKS) -> list[Hit]:
    return [
        Hit(chunk=chunks[at], rank=rank, score=-float(rank), legs={}, coverage=1 / rank)
        for rank, at in enumerate(places, start=1)
    ]


def merged(found: list[Hit], k: int = 10, **options: Any) -> list[Hit]:
    return merge_neighbours(found, {"a.md": DOCUMENT.text}.get, k, **options)


def sound(passages: list[Hit]) -> None:
    for rank, hit in enumerate(passages, start=1):
        assert DOCUMENT.text[hit.start : hit.end] == hit.text
        assert DOCUMENT.text.count("\n", 0, hit.start) + 1 == hit.start_line
        assert DOCUMENT.text.count("\n", 0, hit.end - 1) + 1 == hit.end_line
        assert hit.rank == rank


def test_the_notes_are_cut_as_these_tests_need_them() -> None:
    assert len(CHUNKS) >= 10 and CHUNKS[0].heading == CHUNKS[2].heading != CHUNKS[-1].heading


def test_adjacent_chunks_become_one_passage_with_exact_place() -> None:
    found = merged(hits(2, 0, 1))
    sound(found)
    assert [(hit.start, hit.end) for hit in found] == [(CHUNKS[0].start, CHUNKS[2].end)]
    assert found[0].chunk.id == f"{CHUNKS[0].id}+{CHUNKS[1].id}+{CHUNKS[2].id}"
    assert (found[0].score, found[0].coverage) == (-1.0, 1.0)


def test_chunks_with_a_gap_stay_apart_and_in_order() -> None:
    found = merged(hits(4, 0, 2))
    sound(found)
    assert [hit.chunk for hit in found] == [CHUNKS[4], CHUNKS[0], CHUNKS[2]]


def test_sections_are_never_joined() -> None:
    border = next(i for i, chunk in enumerate(CHUNKS) if chunk.heading != CHUNKS[0].heading)
    assert len(merged(hits(border - 1, border))) == 2


def test_documents_are_never_joined() -> None:
    other = [replace(chunk, document="b.md") for chunk in CHUNKS]
    pair = [*hits(0), replace(hits(1, chunks=other)[0], rank=2)]
    assert len(merge_neighbours(pair, lambda path: DOCUMENT.text, 5)) == 2


def test_a_passage_grows_no_longer_than_it_may() -> None:
    found = merged(hits(0, 1, 2), longest=CHUNKS[1].end - CHUNKS[0].start)
    sound(found)
    assert [(hit.start, hit.end) for hit in found] == [
        (CHUNKS[0].start, CHUNKS[1].end),
        (CHUNKS[2].start, CHUNKS[2].end),
    ]


def test_nothing_behind_the_last_passage_is_pulled_up() -> None:
    found = merged(hits(0, 3, 5, 1), k=2)
    assert [hit.chunk for hit in found] == [CHUNKS[0], CHUNKS[3]]


def test_a_document_without_text_is_left_alone() -> None:
    assert len(merge_neighbours(hits(0, 1), lambda path: None, 5)) == 2


@pytest.mark.parametrize("k", [1, 3])
def test_no_more_passages_than_asked_for(k: int) -> None:
    assert len(merged(hits(0, 2, 4, 6), k=k)) == k


@given(st.permutations(range(len(CHUNKS))), st.integers(1, 12), st.integers(1, LONGEST))
def test_passages_are_verbatim_and_do_not_overlap(order: list[int], k: int, longest: int) -> None:
    found = merged(hits(*order), k=k, longest=longest)
    sound(found)
    spans = sorted((hit.start, hit.end) for hit in found)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    assert len(found) <= k
    widest = max(len(chunk.text) for chunk in CHUNKS)
    assert all(hit.end - hit.start <= max(longest, widest) for hit in found)
