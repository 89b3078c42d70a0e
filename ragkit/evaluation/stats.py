"""Certainty: intervals of a mean, paired tests, and the correction for many tests.

One definition of a family for Holm's correction holds everywhere: all the tests that one command
prints for one data set. A test is of one run against one other in one metric, so a family is

- ``eval retrieval``: every further run against the first, in every metric of `metrics.COMPARED`;
- ``eval compare``: B against A in every metric of `metrics.COMPARED` (the others get intervals, no test);
- ``eval run``: every ``not_worse`` pair and every run against its baseline, together;
- ``eval sweep``: the best trial against the default in the metric of the sweep, one test;
- ``train embedding``: every mode after training against itself before, in every decisive metric.

A difference is called significant if its corrected p-value is below `ALPHA`.

Everything is seeded, so a report is the same twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

ALPHA: Final = 0.05
"""Differences with a corrected p-value below this are called significant."""
_CELLS: Final = 4_000_000
"""Random numbers drawn at once: bounds the memory at about 32 MB."""
_NORMAL: Final = NormalDist()
_Z: Final = _NORMAL.inv_cdf(0.975)
Floats = npt.NDArray[np.float64]


def bootstrap_ci95(values: Sequence[float], samples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean over questions; it does not depend on their order.

    What is taken depends on the values, because no one method covers the truth in 95 % of cases for
    all of them (``evals/bench/instrument.py`` shows the shares):

    - only 0 and 1 (hit rates): Wilson's score interval (Wilson 1927). Resampling cannot tell how
      sure "all right" is, and covers as little as 64 % where few questions are missed.
    - other values in 0..1 (reciprocal rank, nDCG, recall, precision): bias-corrected and accelerated
      bootstrap (Efron 1987), because they are skewed where a run is good.
    - all the same within 0..1 (precision@5 where every question has one gold, a type with one
      question): what resampling calls certain is as uncertain as "all right", so Wilson's room for
      what was not seen, towards both ends.
    - anything else: percentile bootstrap (Efron 1979), widened by
      sqrt(n / (n - 1)): the plain one is too narrow for few questions (Hesterberg 2015).

    Args:
        values: One value a question.
        samples: Resamples to draw.
        seed: Of the resampling.

    Raises:
        ValueError: Without values.
    """
    data: Floats = np.asarray(values, dtype=np.float64)
    if not len(data):
        raise ValueError("an interval needs at least one value")
    distinct, counts = np.unique(data, return_counts=True)
    if set(distinct.tolist()) <= {0.0, 1.0}:
        return wilson_ci95(int(data.sum()), len(data))
    skewed = distinct[0] >= 0 and distinct[-1] <= 1
    if len(distinct) == 1:
        return _constant_ci95(float(distinct[0]), len(data), 0.0, 1.0) if skewed else (float(distinct[0]),) * 2
    means = np.concatenate(list(_resampled_means(distinct, counts, samples, seed)))
    low, high = _widened(data, means, _bca_levels(data, means) if skewed else (0.025, 0.975))
    return max(low, float(distinct[0])), min(high, float(distinct[-1]))


def difference_ci95(
    difference: Sequence[float], samples: int = 2000, seed: int = 0, *, bounded: bool = True
) -> tuple[float, float]:
    """95 % interval of the mean difference of two runs, from one difference a question.

    Always the widened percentile bootstrap: that all differences happen to be gains makes them no
    hit rate, so Wilson's interval, which reaches above 0 even for equal runs, does not apply. Runs
    that never differ have no interval but 0; one and the same gain everywhere leaves Wilson's room
    for what was not seen.

    Args:
        difference: In -1..1 where `bounded`.
        samples: Of the bootstrap.
        seed: Of its random numbers.
        bounded: Whether the values are shares; False for seconds and the like.

    Raises:
        ValueError: Without values.
    """
    data: Floats = np.asarray(difference, dtype=np.float64)
    if not len(data):
        raise ValueError("an interval needs at least one value")
    distinct, counts = np.unique(data, return_counts=True)
    if len(distinct) == 1:
        same = float(distinct[0])
        if not bounded:
            return same, same
        return _constant_ci95(same, len(data), -1.0, 1.0) if same else (0.0, 0.0)
    means = np.concatenate(list(_resampled_means(distinct, counts, samples, seed)))
    low, high = _widened(data, means, (0.025, 0.975))
    return (max(low, -1.0), min(high, 1.0)) if bounded else (low, high)


def _constant_ci95(value: float, total: int, lowest: float, highest: float) -> tuple[float, float]:
    """Interval of a mean if all of `total` values were `value`: others may be as many as Wilson allows for 0 seen."""
    _, unseen = wilson_ci95(0, total)
    return value - (value - lowest) * unseen, value + (highest - value) * unseen


def _widened(data: Floats, means: Floats, levels: tuple[float, float]) -> tuple[float, float]:
    """Quantiles of resampled means, moved away from the mean of the data; rounding never loses that mean."""
    mean = float(data.mean())
    low, high = np.quantile(means, levels)
    widen = float(np.sqrt(len(data) / (len(data) - 1)))
    return min(mean, mean - (mean - float(low)) * widen), max(mean, mean + (float(high) - mean) * widen)


def wilson_ci95(hits: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): right for shares near 0 and 1 and for small samples.

    Raises:
        ValueError: If `total` is 0 or `hits` is not within 0..`total`.
    """
    if not 0 <= hits <= total or not total:
        raise ValueError(f"{hits} of {total} is no share")
    share, spread = hits / total, _Z * _Z / total
    centre = share + spread / 2
    half = _Z * float(np.sqrt(share * (1 - share) / total + spread / (4 * total)))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    return min(share, max(0.0, low)), max(share, min(1.0, high))


def _resampled_means(distinct: Floats, counts: npt.NDArray[np.int64], samples: int, seed: int) -> Iterator[Floats]:
    # A resample only matters by how often it holds each value: that is drawn directly.
    rng = np.random.default_rng(seed)
    total = int(counts.sum())
    step = max(1, _CELLS // len(distinct))
    for at in range(0, samples, step):
        drawn = rng.multinomial(total, counts / total, size=min(step, samples - at))
        yield drawn @ distinct / total


def _bca_levels(data: Floats, means: Floats) -> tuple[float, float]:
    """The quantiles of `means` (0..1) that Efron 1987 takes instead of 2.5 and 97.5 %."""
    mean = data.mean()
    below = float(np.mean(means < mean - 1e-12) + np.mean(np.abs(means - mean) <= 1e-12) / 2)
    bias = _NORMAL.inv_cdf(min(max(below, 1 / len(means)), 1 - 1 / len(means)))
    away = data - mean
    acceleration = float(np.sum(away**3) / (6 * np.sum(away**2) ** 1.5))

    def level(z: float) -> float:
        return _NORMAL.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))

    return level(-_Z), level(_Z)


def randomisation_test(a: Sequence[float], b: Sequence[float], samples: int = 10_000, seed: int = 0) -> float:
    """Two-sided mid-p-value of a paired randomisation test (Smucker et al. 2007) for equal means.

    Assignments of signs exactly as extreme as the runs count half. In full they make the test of a
    hit rate, where ties are common, alarm in 3 instead of 5 % of cases (Fagerland et al. 2013, "The
    McNemar test for binary matched-pairs data: mid-p and asymptotic are better than exact conditional").

    Raises:
        ValueError: If the runs are not over the same number of questions.
    """
    if len(a) != len(b):
        raise ValueError(f"a paired test needs the same questions: {len(a)} and {len(b)}")
    difference: Floats = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    changed = difference[difference != 0]
    if not len(changed):
        return 1.0
    total = changed.sum()
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // len(changed))
    extreme = 0.0
    for at in range(0, samples, step):
        # One random bit for each sign: drawing them as numbers takes ten times as long.
        octets = rng.integers(0, 256, size=(min(step, samples - at), -(-len(changed) // 8)), dtype=np.uint8)
        positive = np.unpackbits(octets, axis=1, count=len(changed)) @ changed
        beyond = np.abs(2 * positive - total) - abs(total)
        extreme += float(np.sum(beyond > 1e-9) + np.sum(np.abs(beyond) <= 1e-9) / 2)
    return (extreme + 1) / (samples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of one family corrected for testing several hypotheses at once (Holm 1979), in the order given."""
    corrected = [0.0] * len(p_values)
    worst = 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = worst
    return corrected
