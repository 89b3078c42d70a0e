"""Is the instrument right? Metrics against a second library, intervals and tests against simulated truth.

    python evals/bench/instrument.py [--simulations 1000] [--samples 2000] [--json]

Prints the largest difference of any metric to torchmetrics over random rankings, how often a 95 %
interval covers the truth that the values were drawn from, how often equal systems are called
different, how often a real gain is found, and how often Holm's correction lets a family of equal
systems pass as different. Everything is seeded. Needs the extra ``dev``.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ragkit.evaluation.metrics import ranking_metrics
from ragkit.evaluation.stats import ALPHA, bootstrap_ci95, difference_ci95, holm, randomisation_test

Floats = npt.NDArray[np.float64]
Ranking = list[int | None]

SHARES: Final = (0.5, 0.7, 0.9)
SIZES: Final = (100, 200, 400)
SHAPES: Final[dict[str, tuple[Floats, Floats]]] = {
    # Values of reciprocal rank, and how often each occurs in a run that is poor, good, and hard to better.
    "mrr poor": (np.array([1, 1 / 2, 1 / 3, 1 / 5, 1 / 9, 0]), np.array([0.32, 0.13, 0.08, 0.05, 0.02, 0.40])),
    "mrr good": (np.array([1, 1 / 2, 1 / 3, 1 / 5, 1 / 9, 0]), np.array([0.74, 0.11, 0.05, 0.03, 0.02, 0.05])),
    "mrr great": (np.array([1, 1 / 2, 1 / 3, 0]), np.array([0.92, 0.03, 0.01, 0.04])),
    # Differences of two runs in reciprocal rank: most questions stay as they are.
    "difference, gains only": (np.array([0, 0.5, 1]), np.array([0.85, 0.06, 0.09])),
    "difference": (np.array([-0.8, -0.5, -0.2, 0, 0.2, 0.5, 1]), np.array([0.02, 0.05, 0.06, 0.7, 0.07, 0.06, 0.04])),
}
_DOCUMENTS: Final = 160


def random_rankings(count: int, needs: int, seed: int = 0) -> list[Ranking]:
    """Ranks of 1 to `needs` relevant documents each, most of them near the top, some beyond 100, some not found."""
    rng = np.random.default_rng(seed)
    rankings: list[Ranking] = []
    for _ in range(count):
        several = int(rng.integers(1, needs + 1))
        depth = int(rng.choice([5, 12, 120]))
        ranks: Ranking = [int(rank) for rank in rng.choice(np.arange(1, depth + 1), size=several, replace=False)]
        rankings.append([None if rng.random() < 0.15 else rank for rank in ranks])
    return rankings


def random_grades(rankings: list[Ranking], highest: int = 4, seed: int = 0) -> list[list[int]]:
    """A relevance of 1 to `highest` for each relevant document of these rankings."""
    rng = np.random.default_rng(seed)
    return [[int(grade) for grade in rng.integers(1, highest + 1, size=len(ranking))] for ranking in rankings]


def torchmetrics_of(ranking: Ranking, need_all: bool, grades: list[int] | None = None) -> dict[str, float]:
    """The metrics of one ranking as torchmetrics computes them; multi-hop ones from a ranking that says the same."""
    import torch
    from torchmetrics.functional import retrieval

    # torchmetrics takes what is scored 0 or less for not retrieved.
    scores = 1 / torch.arange(1, _DOCUMENTS + 1, dtype=torch.float64)

    def measured(kind: Any, k: int, relevant: list[int], gains: list[int] | None = None) -> float:
        target = torch.zeros(_DOCUMENTS, dtype=torch.long)
        target[relevant] = torch.tensor(gains or [1] * len(relevant), dtype=torch.long)
        return float(kind(scores, target, top_k=k))

    # What was not found stands at the end, below every cut.
    lost = iter(range(_DOCUMENTS - 1, 0, -1))
    places = [next(lost) if rank is None else rank - 1 for rank in ranking]
    answered, first = places, places
    if need_all:
        answered = [max(places)]
        first = [max(places) - len(places) + 1] if max(places) < 10 else []
    out = {f"hit@{k}": measured(retrieval.retrieval_hit_rate, k, answered) for k in (1, 3, 5, 10)}
    out["mrr@10"] = measured(retrieval.retrieval_reciprocal_rank, 10, first)
    out["ndcg@10"] = measured(retrieval.retrieval_normalized_dcg, 10, places, grades)
    out |= {f"recall@{k}": measured(retrieval.retrieval_recall, k, places) for k in (5, 10, 100)}
    out["precision@5"] = measured(retrieval.retrieval_precision, 5, places)
    return out


def largest_gap(rankings: list[Ranking], need_all: bool, grades: list[list[int]] | None = None) -> dict[str, float]:
    """By metric the largest difference to torchmetrics over these rankings."""
    ours = ranking_metrics(rankings, need_all=need_all, grades=grades)
    graded = grades or [None] * len(rankings)
    theirs = [torchmetrics_of(ranking, need_all, row) for ranking, row in zip(rankings, graded, strict=True)]
    return {name: max(abs(a[name] - b[name]) for a, b in zip(ours, theirs, strict=True)) for name in ours[0]}


def binary_coverage(share: float, size: int, simulations: int = 1000, seed: int = 1) -> float:
    """How often the interval of `size` answers, each right with probability `share`, holds that share."""
    counts = np.random.default_rng(seed).binomial(size, share, size=simulations)

    @cache
    def covers(right: int) -> bool:
        low, high = bootstrap_ci95([1.0] * right + [0.0] * (size - right))
        return low <= share <= high

    return float(np.mean([covers(int(right)) for right in counts]))


def coverage(shape: str, size: int, simulations: int = 1000, samples: int = 2000, seed: int = 2) -> float:
    """How often the interval of `size` values of a shape holds the shape's mean."""
    values, probabilities = SHAPES[shape]
    truth = float(values @ probabilities)
    rng = np.random.default_rng(seed)
    interval = difference_ci95 if shape.startswith("difference") else bootstrap_ci95
    held = 0
    for at in range(simulations):
        low, high = interval(rng.choice(values, size=size, p=probabilities).tolist(), samples, seed=at)
        held += low <= truth <= high
    return held / simulations


def _values(ranks: npt.NDArray[np.int64], metric: str) -> Floats:
    found = ranks <= (5 if metric == "hit@5" else 10)
    return found.astype(np.float64) if metric == "hit@5" else np.where(found, 1 / ranks, 0.0)


def false_alarms(
    metric: str = "mrr@10", kind: str = "noisy", simulations: int = 1000, samples: int = 1000, size: int = 400
) -> float:
    """How often two equal systems differ by the paired test at 5 %.

    Args:
        metric: ``mrr@10`` or ``hit@5``.
        kind: ``noisy``: two copies of a run in which a third of the questions fell anew each, hard
            questions staying hard; ``resampled``: two samples of the questions of one run.
        simulations: Pairs of runs.
        samples: Of each test.
        size: Questions in a run.
    """
    rng = np.random.default_rng(3)
    alarms = 0
    for at in range(simulations):
        ease = rng.beta(1.2, 1.0, size=size).clip(0.02, 0.98)
        run = rng.geometric(ease)
        if kind == "noisy":
            a, b = (np.where(rng.random(size) < 1 / 3, rng.geometric(ease), run) for _ in range(2))
        else:
            a, b = rng.choice(run, size=size), rng.choice(run, size=size)
        alarms += randomisation_test(_values(a, metric).tolist(), _values(b, metric).tolist(), samples, at) <= ALPHA
    return alarms / simulations


def power(gain: float = 0.10, size: int = 400, simulations: int = 200, samples: int = 1000) -> float:
    """How often a gain in hit@5 is found when 5 % of the questions break besides those that are fixed."""
    rng = np.random.default_rng(4)
    broken, right = 0.05, 0.7
    found = 0
    for at in range(simulations):
        a = rng.random(size) < right
        b = np.where(a, rng.random(size) >= broken / right, rng.random(size) < (gain + broken) / (1 - right))
        found += randomisation_test(a.astype(float).tolist(), b.astype(float).tolist(), samples, at) <= ALPHA
    return found / simulations


def family_errors(equal: int = 4, different: int = 1, simulations: int = 4000) -> float:
    """How often Holm calls any of `equal` runs different from the baseline, beside some that really are.

    The tests of a family depend on each other, because all share the baseline.
    """
    from statistics import NormalDist

    rng = np.random.default_rng(5)
    normal = NormalDist()
    wrong = 0
    for _ in range(simulations):
        z = (rng.normal(size=equal + different) + rng.normal()) / np.sqrt(2)
        z[equal:] += 4
        corrected = holm([2 * (1 - normal.cdf(abs(float(value)))) for value in z])
        wrong += min(corrected[:equal]) <= ALPHA
    return wrong / simulations


def figures(simulations: int, samples: int) -> dict[str, Any]:
    """All figures of this file."""
    rankings = random_rankings(400, 4)
    gaps = [largest_gap(rankings, need_all) for need_all in (False, True)]
    gaps.append(largest_gap(rankings, False, random_grades(rankings)))
    return {
        "largest difference to torchmetrics": max(max(gap.values()) for gap in gaps),
        "coverage": {
            **{f"hit rate {p}, n={n}": binary_coverage(p, n, simulations) for p in SHARES for n in SIZES},
            **{f"{shape}, n={n}": coverage(shape, n, simulations, samples) for shape in SHAPES for n in SIZES},
        },
        "false alarms": {
            f"{metric}, {kind}": false_alarms(metric, kind, simulations, samples)
            for metric in ("mrr@10", "hit@5")
            for kind in ("noisy", "resampled")
        },
        "power, +0.10 at n=400": power(simulations=simulations, samples=samples),
        "family-wise errors": {
            "4 equal, 1 different": family_errors(),
            "5 equal": family_errors(5, 0),
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = figures(options.simulations, options.samples)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        for part, figure in value.items() if isinstance(value, dict) else [("", value)]:
            print(
                f"{name:36}{part:26}{figure:.3g}" if name.startswith("largest") else f"{name:36}{part:26}{figure:.3f}"
            )


if __name__ == "__main__":
    main()
