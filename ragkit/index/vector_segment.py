"""The dense leg of one segment (exact, flat)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ragkit.index.dense import DenseIndex

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class VectorSegment(DenseIndex):
    """Vectors under the ids 0..size-1 of a segment."""

    @classmethod
    def build(cls, vectors: Vectors, positions: Vectors, *, factory: str | None = None) -> VectorSegment:  # type: ignore[override]
        return cls(DenseIndex.build(vectors, positions)._index)

    def save(self, folder: Path) -> tuple[str, ...]:  # type: ignore[override]
        super().save(folder / "vectors.faiss")
        return ("vectors.faiss",)

    @classmethod
    def load(cls, folder: Path) -> VectorSegment:
        return cls(DenseIndex.load(folder / "vectors.faiss")._index)
