"""Metrics with the arithmetic written out."""

from __future__ import annotations

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.evaluation.metrics import METRICS, mean_metrics, question_metrics, ranking_metrics
from ragkit.evaluation.stats import bootstrap_ci95, difference_ci95, randomisation_test


def test_one_need_met_at_rank_3() -> None:
    assert question_metrics([3]) == pytest.approx(
        {
            "hit@1": 0.0,
            "hit@3": 1.0,
            "hit@5": 1.0,
            "hit@10": 1.0,
            "mrr@10": 1 / 3,
            "ndcg@10": (1 / log2(1 + 3)) / (1 / log2(1 + 1)),
            "recall@5": 1 / 1,
            "recall@10": 1 / 1,
            "recall@100": 1 / 1,
            "precision@5": 1 / 5,
        }
    )


def test_two_needs_count_as_answered_where_the_later_one_is_met() -> None:
    metrics = question_metrics([1, 4])
    assert metrics == pytest.approx(
        {
            "hit@1": 0.0,
            "hit@3": 0.0,
            "hit@5": 1.0,
            "hit@10": 1.0,
            "mrr@10": 1 / (4 - 2 + 1),
            "ndcg@10": (1 / log2(1 + 1) + 1 / log2(1 + 4)) / (1 / log2(1 + 1) + 1 / log2(1 + 2)),
            "recall@5": 2 / 2,
            "recall@10": 2 / 2,
            "recall@100": 2 / 2,
            "precision@5": 2 / 5,
        }
    )


def test_one_of_two_needs_met_is_no_hit_but_half_the_recall() -> None:
    metrics = question_metrics([2, None])
    assert metrics["hit@10"] == metrics["mrr@10"] == 0
    assert metrics["recall@100"] == 1 / 2
    assert metrics["ndcg@10"] == pytest.approx((1 / log2(1 + 2)) / (1 / log2(1 + 1) + 1 / log2(1 + 2)))


@pytest.mark.parametrize("ranks", [[1, 2], [1, 1]])
def test_needs_met_at_the_top_are_perfect(ranks: list[int]) -> None:
    metrics = question_metrics(ranks)
    assert metrics["mrr@10"] == metrics["ndcg@10"] == 1
    assert metrics["hit@1"] == (ranks == [1, 1])


def test_nothing_found_is_0_everywhere() -> None:
    assert question_metrics([None]) == dict.fromkeys(METRICS, 0.0)


@pytest.mark.parametrize(("rank", "mrr", "recall"), [(10, 1 / 10, 1), (11, 0, 1), (100, 0, 1), (101, 0, 0)])
def test_cut_offs_include_their_own_rank(rank: int, mrr: float, recall: float) -> None:
    metrics = question_metrics([rank])
    assert (metrics["mrr@10"], metrics["recall@100"]) == (mrr, recall)
    assert (metrics["ndcg@10"] > 0) == (metrics["hit@10"] == 1) == (rank <= 10)


def test_a_question_without_gold_has_no_metrics() -> None:
    with pytest.raises(ValueError, match="without gold"):
        question_metrics([])


def test_a_grade_is_gain_in_ndcg_and_nothing_else() -> None:
    [graded] = ranking_metrics([[1, 3]], need_all=False, grades=[[1, 3]])
    [plain] = ranking_metrics([[1, 3]], need_all=False)
    gain = 1 / log2(1 + 1) + 3 / log2(1 + 3)
    assert graded["ndcg@10"] == pytest.approx(gain / (3 / log2(1 + 1) + 1 / log2(1 + 2)))
    assert {**graded, "ndcg@10": plain["ndcg@10"]} == plain


@pytest.mark.parametrize("grades", [[[0]], [[1, 1]], []])
def test_every_need_takes_one_grade(grades: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="one grade"):
        ranking_metrics([[1]], grades=grades)


@given(st.lists(st.one_of(st.none(), st.integers(1, 120)), min_size=1, max_size=4))
def test_every_metric_is_between_0_and_1_and_hits_grow_with_k(ranks: list[int | None]) -> None:
    metrics = question_metrics(ranks)
    assert set(metrics) == set(METRICS)
    assert all(0 <= value <= 1 for value in metrics.values())
    assert metrics["hit@1"] <= metrics["hit@3"] <= metrics["hit@5"] <= metrics["hit@10"]


def test_the_mean_is_over_questions() -> None:
    mean = mean_metrics([question_metrics([1]), question_metrics([4]), question_metrics([None])])
    assert mean["mrr@10"] == pytest.approx((1 / 1 + 1 / 4 + 0) / 3)
    assert mean["hit@3"] == pytest.approx(1 / 3)


def test_an_interval_holds_the_mean_and_narrows_with_more_questions() -> None:
    few, many = [0.0, 1.0] * 10, [0.0, 1.0] * 1000
    low, high = bootstrap_ci95(few)
    assert low < 0.5 < high
    narrow = bootstrap_ci95(many)
    assert narrow[1] - narrow[0] < (high - low) / 5


def test_an_interval_of_equal_values_still_has_room() -> None:
    low, high = bootstrap_ci95([0.25] * 8)
    assert low < 0.25 < high
    wide = bootstrap_ci95([0.25] * 800)
    assert wide[1] - wide[0] < (high - low) / 5


def test_intervals_are_reproducible() -> None:
    values = [0.1, 0.9, 0.4, 0.7, 0.2]
    assert bootstrap_ci95(values) == bootstrap_ci95(values)


def test_equal_runs_do_not_differ() -> None:
    assert randomisation_test([0.5, 1.0, 0.0], [0.5, 1.0, 0.0]) == 1.0


def test_a_clear_difference_is_significant_and_symmetric() -> None:
    better, worse = [1.0] * 20, [0.0] * 20
    # Only the two assignments in which all 20 signs agree are as extreme: 2 / 2**20, below the resolution of sampling.
    assert randomisation_test(better, worse) == randomisation_test(worse, better) == pytest.approx(1 / 10_001)


def test_the_p_value_of_three_like_differences_is_an_eighth() -> None:
    # 2 of the 2**3 assignments of signs are as extreme as the one observed, none is more so: they count half.
    assert randomisation_test([1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]) == pytest.approx(2 / 2**3 / 2, abs=0.02)


@pytest.mark.parametrize(
    ("difference", "low", "high"),
    [([0.0] * 383, 0, 0), ([1.0] + [0.0] * 382, 0, 0.01), ([-1.0] + [0.0] * 382, -0.01, 0)],
)
def test_the_interval_of_a_difference_knows_no_direction(difference: list[float], low: float, high: float) -> None:
    found = difference_ci95(difference)
    # Widening may move an end past 0 by a hair.
    assert low - 1e-4 <= found[0] <= 1e-12 and -1e-12 <= found[1] <= high + 1e-4


def test_gains_and_losses_of_one_size_have_mirrored_intervals() -> None:
    gain = [1.0] * 20 + [0.5] * 10 + [0.0] * 70
    low, high = difference_ci95(gain)
    assert difference_ci95([-value for value in gain]) == pytest.approx((-high, -low), abs=0.02)
