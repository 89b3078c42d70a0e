"""Coverage fusion: the arithmetic is written out in each assertion."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.retrieval.fusion import (
    SOME_TEMPERATURE,
    Candidate,
    FusionSettings,
    combine_queries,
    distinct_first,
    estimate_temperature,
    fuse,
)

E5 = FusionSettings(weight=10.0, floor=0.1, temperature=0.01)


def scores(candidates: list[Candidate]) -> dict[int, float]:
    return {candidate.ordinal: candidate.score for candidate in candidates}


def order(candidates: list[Candidate]) -> list[int]:
    return [candidate.ordinal for candidate in candidates]


def test_score_is_cosine_over_temperature_plus_weighted_coverage_above_the_floor() -> None:
    fused = fuse([(7, 0.83), (3, 0.81)], [(3, 12.5), (7, 2.0)], {3: 0.6, 7: 0.2}, E5)
    assert scores(fused) == pytest.approx({7: 0.83 / 0.01 + 10 * (0.2 - 0.1), 3: 0.81 / 0.01 + 10 * (0.6 - 0.1)})
    assert order(fused) == [3, 7]


def test_bm25_scores_propose_but_do_not_score() -> None:
    low = fuse([(1, 0.8)], [(2, 0.1)], {2: 0.5}, E5)
    high = fuse([(1, 0.8)], [(2, 99.0)], {2: 0.5}, E5)
    assert low == high


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1])
def test_coverage_up_to_the_floor_says_nothing(share: float) -> None:
    fused = fuse([(1, 0.8), (2, 0.79)], [(2, 3.0)], {2: share}, E5)
    assert scores(fused) == pytest.approx({1: 0.8 / 0.01, 2: 0.79 / 0.01})


def test_a_bonus_is_added_to_coverage_to_1_at_most_and_not_shown() -> None:
    dense = [(1, 0.8), (2, 0.8), (3, 0.8)]
    fused = fuse(dense, [], {1: 0.3, 2: 0.9}, E5, bonus={1: 0.25, 2: 0.25})
    expected = {1: 80 + 10 * (0.3 + 0.25 - 0.1), 2: 80 + 10 * (1.0 - 0.1), 3: 80.0}
    assert scores(fused) == pytest.approx(expected)
    assert {c.ordinal: c.coverage for c in fused} == {1: 0.3, 2: 0.9, 3: 0.0}


def test_a_candidate_that_only_bm25_proposes_takes_the_lowest_cosine() -> None:
    fused = fuse([(1, 0.9), (2, 0.7)], [(5, 4.0)], {5: 0.4}, E5)
    assert scores(fused)[5] == pytest.approx(0.7 / 0.01 + 10 * (0.4 - 0.1))


def test_a_candidate_that_only_the_dense_leg_proposes_is_scored_by_its_coverage_too() -> None:
    fused = fuse([(1, 0.9), (2, 0.9)], [(5, 4.0)], {5: 0.4, 1: 0.9}, E5)
    assert {c.ordinal: c.coverage for c in fused} == {1: 0.9, 2: 0.0, 5: 0.4}
    assert order(fused)[0] == 1


def test_a_question_that_no_chunk_covers_keeps_the_dense_order() -> None:
    dense = [(4, 0.86), (1, 0.85), (9, 0.80)]
    assert order(fuse(dense, [], {}, E5)) == [4, 1, 9]


def test_without_the_dense_leg_coverage_alone_decides() -> None:
    fused = fuse([], [(1, 9.0), (2, 1.0)], {1: 0.3, 2: 0.8}, E5)
    assert scores(fused) == pytest.approx({1: 10 * (0.3 - 0.1), 2: 10 * (0.8 - 0.1)})
    assert order(fused) == [2, 1]


def test_without_any_leg_there_is_nothing() -> None:
    assert fuse([], [], {}, E5) == []


def test_equal_scores_are_ordered_by_ordinal() -> None:
    assert order(fuse([(8, 0.5), (2, 0.5), (5, 0.5)], [], {}, E5)) == [2, 5, 8]


def test_a_weight_of_0_leaves_the_cosine() -> None:
    fused = fuse([(1, 0.8), (2, 0.7)], [(2, 5.0)], {2: 1.0}, FusionSettings(weight=0, temperature=0.01))
    assert order(fused) == [1, 2]


def test_an_unknown_temperature_is_estimated_from_the_dense_list() -> None:
    dense = [(1, 0.9), (2, 0.6), (3, 0.5)]
    tau = (0.6 - 0.5) / math.log(2)  # the median of 0.4, 0.1, 0.0
    assert scores(fuse(dense, [], {}, FusionSettings()))[1] == pytest.approx(0.9 / tau)


def test_an_estimate_does_not_depend_on_how_many_hits_are_asked_for() -> None:
    dense = [(ordinal, 0.9 - 0.01 * ordinal) for ordinal in range(20)]
    settings = FusionSettings(candidates=5)
    tau = (0.88 - 0.86) / math.log(2)  # the median of the first five less the lowest of them
    assert scores(fuse(dense[:5], [], {}, settings))[0] == pytest.approx(0.9 / tau)
    assert scores(fuse(dense, [], {}, settings))[0] == pytest.approx(0.9 / tau)


@pytest.mark.parametrize("cosines", [[], [0.9], [0.8, 0.8, 0.8]])
def test_a_list_that_says_nothing_gives_a_common_temperature(cosines: list[float]) -> None:
    assert estimate_temperature(cosines) == SOME_TEMPERATURE


_leg = st.lists(st.tuples(st.integers(0, 30), st.floats(-1, 1)), unique_by=lambda pair: pair[0], max_size=20)


@given(_leg, _leg, st.floats(0, 1))
def test_the_union_of_both_legs_comes_back_once_best_first(
    dense: list[tuple[int, float]], sparse: list[tuple[int, float]], share: float
) -> None:
    fused = fuse(dense, sparse, {ordinal: share for ordinal, _ in sparse}, E5)
    assert sorted(order(fused)) == sorted({ordinal for ordinal, _ in [*dense, *sparse]})
    assert [c.score for c in fused] == sorted((c.score for c in fused), reverse=True)


def test_queries_are_summed_relative_to_the_best_hit_of_each() -> None:
    first = [Candidate(1, 90.0, 0.5), Candidate(2, 88.0, 0.1)]
    second = [Candidate(2, 40.0, 0.7), Candidate(1, 34.0, 0.2)]
    merged = combine_queries([first, second], [1.0, 0.5])
    level = (90 + 0.5 * 40) / 1.5
    expected = {1: level + (90 - 90) + 0.5 * (34 - 40), 2: level + (88 - 90) + 0.5 * (40 - 40)}
    assert scores(merged) == pytest.approx(expected)
    assert order(merged) == [2, 1]


def test_a_candidate_missing_from_a_list_takes_its_lowest_score() -> None:
    merged = combine_queries([[Candidate(1, 10.0, 0.0), Candidate(2, 7.0, 0.0)], [Candidate(3, 5.0, 0.0)]], [1.0, 1.0])
    level = (10 + 5) / 2
    assert scores(merged) == pytest.approx({1: level, 2: level + (7 - 10), 3: level + (7 - 10)})
    assert order(merged) == [1, 2, 3]


def test_the_coverage_of_a_candidate_is_its_best_over_the_queries() -> None:
    merged = combine_queries([[Candidate(1, 2.0, 0.2)], [Candidate(1, 3.0, 0.9)], [Candidate(1, 1.0, 0.4)]], [1, 1, 1])
    assert [candidate.coverage for candidate in merged] == [0.9]


def test_a_query_that_found_nothing_changes_nothing() -> None:
    hits = [Candidate(1, 10.0, 0.3), Candidate(2, 7.0, 0.0)]
    assert combine_queries([hits, []], [1.0, 1.0]) == combine_queries([hits], [1.0])


def test_lists_and_weights_must_belong_together() -> None:
    with pytest.raises(ValueError, match="shorter"):
        combine_queries([[Candidate(1, 1.0, 0.0)], [Candidate(1, 1.0, 0.0)]], [1.0])


def test_copies_of_a_text_stand_behind_every_other_text() -> None:
    texts = {1: "a", 2: "a", 3: "b", 4: "a", 5: "c"}
    ranked = [Candidate(ordinal, 10.0 - ordinal, 0.0) for ordinal in texts]
    order = [candidate.ordinal for candidate in distinct_first(ranked, texts.__getitem__, 5)]
    assert order == [1, 3, 5, 2, 4]


def test_copies_fill_the_list_only_if_nothing_else_is_left() -> None:
    ranked = [Candidate(ordinal, 1.0, 0.0) for ordinal in range(4)]
    assert [c.ordinal for c in distinct_first(ranked, lambda _: "same", 3)] == [0, 1, 2]


def test_texts_behind_the_last_place_are_not_fetched() -> None:
    asked: list[int] = []
    ranked = [Candidate(ordinal, 1.0, 0.0) for ordinal in range(100)]

    def text_of(ordinal: int) -> str:
        asked.append(ordinal)
        return str(ordinal)

    assert distinct_first(ranked, text_of, 2) == ranked[:2]
    assert asked == [0, 1]
