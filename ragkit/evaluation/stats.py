"""Certainty: intervals of a mean, paired tests, and the correction for many tests.

Everything is seeded, so a report is the same twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

ALPHA: Final = 0.05
"""Differences with a corrected p-value below this are called significant."""
_CELLS: Final = 4_000_000
"""Random numbers drawn at once: bounds the memory at about 32 MB."""


def bootstrap_ci95(values: Sequence[float], samples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean by resampling questions.

    Percentile bootstrap (Efron 1979), widened by sqrt(n / (n - 1)): the plain one is too narrow
    for few questions (Hesterberg 2015, "What Teachers Should Know About the Bootstrap").

    Raises:
        ValueError: Without values.
    """
    data = np.asarray(values, dtype=np.float64)
    if not len(data):
        raise ValueError("an interval needs at least one value")
    if len(data) == 1:
        return float(data[0]), float(data[0])
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // len(data))
    means: npt.NDArray[np.float64] = np.concatenate(
        [
            data[rng.integers(0, len(data), size=(min(step, samples - at), len(data)))].mean(axis=1)
            for at in range(0, samples, step)
        ]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    widen = float(np.sqrt(len(data) / (len(data) - 1)))
    mean = float(data.mean())
    low, high = mean - (mean - float(low)) * widen, mean + (float(high) - mean) * widen
    # Widening must not leave the range that the metric can take, nor rounding lose the mean.
    return min(mean, max(low, float(data.min()))), max(mean, min(high, float(data.max())))


def randomisation_test(a: Sequence[float], b: Sequence[float], samples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value of a paired randomisation test (Smucker et al. 2007) for equal means.

    Raises:
        ValueError: If the runs are not over the same number of questions.
    """
    if len(a) != len(b):
        raise ValueError(f"a paired test needs the same questions: {len(a)} and {len(b)}")
    difference: npt.NDArray[np.float64] = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    changed = difference[difference != 0]
    if not len(changed):
        return 1.0
    observed = abs(changed.sum())
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // len(changed))
    extreme = 0
    for at in range(0, samples, step):
        signs = rng.choice((-1.0, 1.0), size=(min(step, samples - at), len(changed)))
        extreme += int(np.sum(np.abs(signs @ changed) >= observed - 1e-12))
    return (extreme + 1) / (samples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for testing several hypotheses at once (Holm 1979), in the order given."""
    corrected = [0.0] * len(p_values)
    worst = 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = worst
    return corrected
