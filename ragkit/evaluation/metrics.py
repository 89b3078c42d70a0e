"""Ranking metrics over "which needs of a question were met at which rank".

A question has one or more needs: alternatives of a gold group are one need, the groups of a
multi-hop question are several. A need is met at the first rank that satisfies it. With one
need these are the usual hit rate, reciprocal rank, nDCG with binary gain, and recall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

METRICS: Final = ("hit@1", "hit@3", "hit@5", "hit@10", "mrr@10", "ndcg@10", "recall@100")


def question_metrics(ranks: Sequence[int | None], *, need_all: bool = True) -> dict[str, float]:
    """Metrics of one question.

    Args:
        ranks: For each need the rank (from 1) at which it was met, or None.
        need_all: Whether the question is answered only when every need is met (multi-hop), or by
            any of several relevant documents (BEIR).

    Raises:
        ValueError: If the question has no need.
    """
    if not ranks:
        raise ValueError("a question without gold has no ranking metrics")
    met = [rank for rank in ranks if rank is not None]
    # Every need must be met: the question is answered where its last need is.
    complete: float = math.inf
    if need_all:
        complete = max(met) if len(met) == len(ranks) else math.inf
    elif met:
        complete = min(met)
    spare = len(ranks) - 1 if need_all else 0
    ideal = sum(1 / math.log2(1 + place) for place in range(1, len(ranks) + 1))
    gained = sum(1 / math.log2(1 + place) for place in _distinct(met) if place <= 10)
    return {
        **{f"hit@{k}": float(complete <= k) for k in (1, 3, 5, 10)},
        "mrr@10": 1 / max(1, complete - spare) if complete <= 10 else 0.0,
        "ndcg@10": min(1.0, gained / ideal),
        "recall@100": sum(rank <= 100 for rank in met) / len(ranks),
    }


def _distinct(ranks: Sequence[int]) -> list[int]:
    """One chunk may meet two needs; its gain counts at consecutive places."""
    out: list[int] = []
    for rank in sorted(ranks):
        out.append(max(rank, out[-1] + 1 if out else rank))
    return out


def mean_metrics(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric over the questions."""
    return {name: float(np.mean([row[name] for row in rows])) for name in METRICS}


def bootstrap_ci95(values: Sequence[float], samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean by resampling questions (percentile bootstrap, Efron 1979)."""
    data = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(0, len(data), size=(samples, len(data)))
    low, high = np.percentile(data[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def randomisation_test(a: Sequence[float], b: Sequence[float], samples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value of a paired randomisation test (Smucker et al. 2007) for equal means."""
    difference: npt.NDArray[np.float64] = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    observed = abs(difference.mean())
    changed = difference[difference != 0]
    if not len(changed):
        return 1.0
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(samples, len(changed)))
    means = np.abs((signs * changed).sum(axis=1)) / len(difference)
    return float((np.sum(means >= observed - 1e-12) + 1) / (samples + 1))
