"""The instrument itself: metrics equal a second library's, intervals and tests keep what they promise.

The simulations are those of ``evals/bench/instrument.py``, which prints their figures.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from ragkit.evaluation.stats import bootstrap_ci95, difference_ci95, holm, randomisation_test


@pytest.fixture(scope="module")
def instrument(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("instrument", repository / "evals" / "bench" / "instrument.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("need_all", [False, True])
def test_metrics_equal_those_of_torchmetrics_on_random_rankings(instrument: ModuleType, need_all: bool) -> None:
    pytest.importorskip("torchmetrics")
    rankings = instrument.random_rankings(200, 4, seed=11)
    assert sum(len(ranking) > 1 for ranking in rankings) > 100
    gaps = instrument.largest_gap(rankings, need_all)
    assert {name: gap for name, gap in gaps.items() if gap > 1e-6} == {}


def test_ndcg_of_graded_judgements_equals_that_of_torchmetrics(instrument: ModuleType) -> None:
    pytest.importorskip("torchmetrics")
    rankings = instrument.random_rankings(200, 4, seed=12)
    grades = instrument.random_grades(rankings, seed=13)
    gaps = instrument.largest_gap(rankings, False, grades)
    assert {name: gap for name, gap in gaps.items() if gap > 1e-6} == {}
    plain = instrument.largest_gap(rankings, False)
    assert plain == {name: gap for name, gap in gaps.items() if name != "ndcg@10"} | {"ndcg@10": plain["ndcg@10"]}


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("size", [100, 200, 400])
def test_intervals_of_hit_rates_cover_the_truth(instrument: ModuleType, share: float, size: int) -> None:
    assert 0.93 <= instrument.binary_coverage(share, size, 2000) <= 0.97


@pytest.mark.parametrize(("share", "size"), [(0.95, 50), (0.9, 20), (0.98, 100), (0.98, 200)])
def test_intervals_of_high_hit_rates_over_few_questions_are_not_too_narrow(
    instrument: ModuleType, share: float, size: int
) -> None:
    # Shares of so few answers are so coarse that no interval can come nearer to 95 % than this.
    assert 0.92 <= instrument.binary_coverage(share, size, 2000) <= 0.98


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("mrr poor", 200),
        ("mrr good", 100),
        ("mrr good", 400),
        ("mrr great", 100),
        ("difference", 100),
        ("difference, gains only", 100),
    ],
)
def test_intervals_of_other_means_cover_the_truth(instrument: ModuleType, shape: str, size: int) -> None:
    assert 0.93 <= instrument.coverage(shape, size, simulations=1000, samples=600) <= 0.97


def test_an_interval_of_answers_that_are_all_right_still_leaves_room() -> None:
    # Wilson: low = n / (n + z * z).
    assert bootstrap_ci95([1.0] * 20) == (pytest.approx(20 / (20 + 1.959964**2)), 1.0)
    assert bootstrap_ci95([0.0] * 20) == (0.0, pytest.approx(1.959964**2 / (20 + 1.959964**2)))


def test_an_interval_of_values_that_are_all_the_same_still_leaves_room() -> None:
    # Wilson's upper limit of 0 in 20 is z * z / (20 + z * z); so many may lie at either end.
    unseen = 1.959964**2 / (20 + 1.959964**2)
    assert bootstrap_ci95([0.2] * 20) == pytest.approx((0.2 * (1 - unseen), 0.2 + 0.8 * unseen))
    low, high = bootstrap_ci95([0.5])
    assert low < 0.25 and high > 0.75
    assert bootstrap_ci95([3.0] * 20) == (3.0, 3.0)  # steps or tokens: nothing is known of their range
    assert difference_ci95([1.0])[0] < 0
    assert difference_ci95([0.0] * 20) == (0.0, 0.0)


def test_differences_that_are_no_shares_keep_their_interval() -> None:
    low, high = difference_ci95([-12.0, -8.0, -10.0, -6.0], bounded=False)
    assert -14 < low < -9 < high < -5
    assert difference_ci95([3.0, 3.0], bounded=False) == (3.0, 3.0)


def test_an_interval_does_not_depend_on_the_order_of_the_questions() -> None:
    values = [1.0, 0.5, 0.0, 1 / 3, 1.0, 0.25, 1.0]
    assert bootstrap_ci95(values) == bootstrap_ci95(values[::-1])


@pytest.mark.parametrize("kind", ["noisy", "resampled"])
@pytest.mark.parametrize("metric", ["mrr@10", "hit@5"])
def test_equal_systems_are_called_different_in_5_percent_of_cases(
    instrument: ModuleType, kind: str, metric: str
) -> None:
    assert 0.035 <= instrument.false_alarms(metric, kind, simulations=1000, samples=600) <= 0.065


def test_a_real_gain_of_a_tenth_is_mostly_found(instrument: ModuleType) -> None:
    assert instrument.power(0.10, size=400) >= 0.9
    assert instrument.power(0.0, size=400) <= 0.1


def test_the_randomisation_test_equals_the_full_enumeration() -> None:
    from itertools import product

    difference = [0.5, -0.25, 1.0, 0.5, 1 / 3, -0.5, 1.0, 0.25]
    observed = abs(sum(difference))
    all_signs = list(product((-1, 1), repeat=len(difference)))
    sums = (abs(sum(s * d for s, d in zip(signs, difference, strict=True))) for signs in all_signs)
    extreme = sum(1 if total > observed + 1e-9 else 0.5 if total >= observed - 1e-9 else 0 for total in sums)
    p_value = randomisation_test(difference, [0.0] * len(difference), samples=40_000)
    assert p_value == pytest.approx(extreme / len(all_signs), abs=0.01)


def test_holm_by_hand() -> None:
    # Sorted: .01 * 4, max(.04, .02 * 3), max(.06, .03 * 2), max(.06, .5 * 1); given back in the order asked.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("equal", "different"), [(5, 0), (4, 1), (2, 3)])
def test_a_family_of_tests_errs_in_at_most_5_percent_of_cases(
    instrument: ModuleType, equal: int, different: int
) -> None:
    errors = instrument.family_errors(equal, different)
    # Above what one single uncorrected test of five would give, below 5 % and the noise of 4000 families.
    assert 0.01 <= errors <= 0.06
