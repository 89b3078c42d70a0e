"""Maximal marginal relevance: of several passages that say the same, the later ones give way to others.

Carbonell & Goldstein 1998 (SIGIR): next comes whatever has the largest
``(1 - diversity) * relevance - diversity * (largest similarity to what stands before it)``.
Pure functions; both parts are scaled to 0..1 over the candidates, because fused scores are nats and
the cosines of some embedding models all lie between .7 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ragkit.values import Hit


def mmr_order(scores: Sequence[float], vectors: npt.NDArray[np.float32], diversity: float) -> list[int]:
    """Places of the candidates in their new order.

    Args:
        scores: Relevance of each candidate, any scale.
        vectors: (n, dimension) unit vectors of the candidates.
        diversity: 0 keeps the order of the scores, 1 looks at differences only.

    Raises:
        ValueError: If diversity is outside 0..1, or there are not as many vectors as scores.
    """
    if not 0 <= diversity <= 1:
        raise ValueError(f"diversity must be from 0 to 1, not {diversity}")
    if len(scores) != len(vectors):
        raise ValueError(f"{len(scores)} scores but {len(vectors)} vectors")
    relevance = _scaled(np.asarray(scores, dtype=np.float64))
    alike = vectors @ vectors.T
    apart = ~np.eye(len(vectors), dtype=bool)
    if apart.any():
        low, high = alike[apart].min(), alike[apart].max()
        alike = np.clip((alike - low) / max(high - low, 1e-9), 0, 1)
    order: list[int] = []
    nearest = np.zeros(len(relevance))
    left = list(range(len(relevance)))
    while left:
        gain = (1 - diversity) * relevance[left] - diversity * nearest[left]
        chosen = left.pop(int(gain.argmax()))
        order.append(chosen)
        nearest = np.maximum(nearest, alike[chosen])
    return order


def _scaled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if not len(values):
        return values
    span = values.max() - values.min()
    return np.asarray((values - values.min()) / span if span > 0 else np.ones(len(values)))


def diversified(hits: Sequence[Hit], vectors: npt.NDArray[np.float32], diversity: float) -> list[Hit]:
    """`hits` in MMR order, ranks counted anew; `vectors` are those of their chunks, row by row.

    Relevance goes by rank (``1 / rank``), so that the order of a reranker counts and not the scores it left.
    """
    order = mmr_order([1 / hit.rank for hit in hits], vectors, diversity)
    return [replace(hits[i], rank=rank) for rank, i in enumerate(order, start=1)]
