"""MMR: what repeats gives way, 0 changes nothing, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.retrieval.diversity import diversified, mmr_order
from ragkit.values import Chunk, Hit


def unit(*rows: tuple[float, float]) -> np.ndarray:
    array = np.array(rows, dtype=np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_a_repetition_gives_way_to_something_else() -> None:
    vectors = unit((1, 0), (1, 0.01), (0, 1))
    assert mmr_order([1.0, 0.9, 0.5], vectors, 0.0) == [0, 1, 2]
    assert mmr_order([1.0, 0.9, 0.5], vectors, 0.5) == [0, 2, 1]


def test_the_formula_by_hand() -> None:
    # Relevance 1, .5, 0; likenesses .8 (0,1), .6 (0,2) and .0 (1,2), which scale to 1, .75 and 0.
    vectors = np.array([[1, 0, 0], [0.8, 0.6, 0], [0.6, -0.8, 0]], dtype=np.float32)
    # After 0: candidate 1 gains .5 * (1 - d) - 1 * d, candidate 2 gains 0 * (1 - d) - .75 * d; equal at d = 2/3.
    assert mmr_order([3.0, 2.0, 1.0], vectors, 0.66) == [0, 1, 2]
    assert mmr_order([3.0, 2.0, 1.0], vectors, 0.68) == [0, 2, 1]


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), max_size=8), st.floats(0, 1))
def test_every_candidate_comes_once(rows: list[tuple[float, float]], diversity: float) -> None:
    vectors = np.array(rows, dtype=np.float32).reshape(-1, 2)
    order = mmr_order([float(len(rows) - i) for i in range(len(rows))], vectors, diversity)
    assert sorted(order) == list(range(len(rows)))
    assert order[:1] == [0][: len(rows)]


@pytest.mark.parametrize("diversity", [-0.1, 1.1])
def test_a_diversity_outside_its_range_is_refused(diversity: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        mmr_order([1.0], unit((1, 0)), diversity)


def test_vectors_and_scores_must_belong_together() -> None:
    with pytest.raises(ValueError, match="2 scores but 1 vectors"):
        mmr_order([1.0, 2.0], unit((1, 0)), 0.5)


def test_ranks_count_anew() -> None:
    hits = []
    for i in range(3):
        chunk = Chunk(id=str(i), document="a", heading=(), text="x", start=0, end=1, start_line=1, end_line=1)
        hits.append(Hit(chunk=chunk, rank=i + 1, score=0.0, legs={}))
    found = diversified(hits, unit((1, 0), (1, 0.01), (0, 1)), 0.9)
    assert [(hit.chunk.id, hit.rank) for hit in found] == [("0", 1), ("2", 2), ("1", 3)]
