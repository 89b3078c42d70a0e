"""A search for several queries: what one of them proposes has its own score under the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ragkit import Index, load_settings
from ragkit.retrieval.legs import Mode
from ragkit.retrieval.retriever import Query
from ragkit.testing import HashingEmbedder

WORDS = ["apple", "bread", "cheese", "dates", "eggs", "figs", "grapes", "honey", "ice", "juice", "kale", "lemon"]
NOTES = {
    f"{first}-{second}.md": f"# {first}\n\nThe {first} goes with {second} and {WORDS[(i * 5 + j) % 12]}.\n"
    for i, first in enumerate(WORDS)
    for j, second in enumerate(WORDS[i + 1 :])
}
QUERIES = [Query("apple and bread"), Query("lemon with honey or juice", weight=0.4)]


@pytest.mark.parametrize("mode", ["hybrid", "dense"])
def test_few_candidates_are_ranked_as_if_every_chunk_had_been_proposed(
    tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path], mode: Mode
) -> None:
    notes = make_notes(tmp_path / "notes", NOTES)

    def opened(candidates: int) -> Index:
        settings = load_settings(candidates=candidates, temperature=0.02)
        return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=settings)

    with opened(5) as index:
        few = index.search_queries(QUERIES, k=5, mode=mode)
        proposed = {hit.chunk.id for query in QUERIES for hit in index.search_queries([query], k=5, mode=mode)}
        apart = [index.search_queries([query], k=5, mode=mode) for query in QUERIES]
    assert {hit.chunk.id for hit in apart[0]}.isdisjoint(hit.chunk.id for hit in apart[1])
    with opened(1000) as index:
        every = index.search_queries(QUERIES, k=len(NOTES), mode=mode)
    expected = [hit for hit in every if hit.chunk.id in proposed][:5]
    found = [hit for hit in few if hit.chunk.id in proposed]
    assert [hit.document for hit in found] == [hit.document for hit in expected][: len(found)]
    # Scores are told apart from each other as they would be, whatever the level of the lists.
    gaps = [hit.score - found[0].score for hit in found]
    assert gaps == pytest.approx([hit.score - expected[0].score for hit in expected[: len(found)]], abs=1e-4)
