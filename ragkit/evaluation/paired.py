"""Paired comparisons of runs over the same questions: difference, interval, test, and Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ragkit.evaluation.metrics import COMPARED
from ragkit.evaluation.stats import difference_ci95, holm, randomisation_test


class Measured(Protocol):
    """A run with one value a question, such as `ragkit.evaluation.retrieval.Run`."""

    @property
    def name(self) -> str: ...

    def values(self, metric: str) -> list[float]: ...


@dataclass(frozen=True)
class Comparison:
    """How run `b` differs from the baseline `a` in one metric."""

    a: str
    b: str
    metric: str
    difference: float
    p_value: float
    """Of a paired randomisation test, as it is."""
    p_corrected: float = 1.0
    """The same after Holm's correction over its family, see `ragkit.evaluation.stats`."""
    ci95: tuple[float, float] = (0.0, 0.0)
    """Interval of the difference."""


def compare(a: Measured, b: Measured, metric: str = COMPARED[-1]) -> Comparison:
    """How run `b` differs from run `a` in one metric; `compare_all` corrects for several runs."""
    return compare_values((a.name, a.values(metric)), (b.name, b.values(metric)), metric)


def compare_values(
    a: tuple[str, Sequence[float]], b: tuple[str, Sequence[float]], metric: str, *, bounded: bool = True
) -> Comparison:
    """How the values of `b` differ from those of `a`, each a name and one value a question, in the same order.

    Values are shares in 0..1 unless `bounded` is False.

    Raises:
        ValueError: If there are none, or not as many of both.
    """
    difference = [y - x for x, y in zip(a[1], b[1], strict=True)]
    p_value = randomisation_test(a[1], b[1])
    interval = difference_ci95(difference, bounded=bounded)
    return Comparison(a[0], b[0], metric, float(np.mean(difference)), p_value, p_value, interval)


def compare_all(runs: Sequence[Measured], metrics: Sequence[str] = COMPARED) -> list[Comparison]:
    """Every run against the first one in every metric: one family, corrected after Holm, metric by metric."""
    return corrected([compare(runs[0], run, metric) for metric in metrics for run in runs[1:]])


def corrected(family: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons of one family (see `ragkit.evaluation.stats`) with their p-values corrected after Holm."""
    p_values = holm([item.p_value for item in family])
    return [replace(item, p_corrected=p) for item, p in zip(family, p_values, strict=True)]
