"""Vectors and language positions of a segment as plain float32 rows, in memory or on disk.

The rows are what every score comes from: FAISS only proposes which of them to look at. A single
row is read with ``pread`` and not through the memory map, because the kernel maps 16 pages around
each one that is touched, and a process that serves would soon hold the whole file.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ragkit.index.tensor_file import TensorFile

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

BLOCK: Final = 8192
"""Rows that are worked on at a time: 16 MB at 512 dimensions."""


class Rows:
    """(n, d) unit vectors and (n,) positions; scores are equal to the bit wherever a row lies."""

    def __init__(self, vectors: Vectors, positions: Vectors, file: tuple[Path, int] | None = None) -> None:
        """Wrap arrays; `file` says where on disk the vectors begin, if `vectors` is a map of it."""
        self.vectors, self.positions = vectors, positions
        self._descriptor = -1
        if file is not None and hasattr(os, "pread"):
            self._descriptor = os.open(file[0], os.O_RDONLY)
            self._start = file[1]
            weakref.finalize(self, os.close, self._descriptor)

    @classmethod
    def of(cls, file: TensorFile) -> Rows:
        """The rows of a file that is mapped.

        Raises:
            KeyError: If it holds no rows.
            ValueError: If there are not as many positions as vectors.
        """
        vectors, positions = file.tensors["vectors"], file.tensors["positions"]
        if vectors.ndim != 2 or positions.shape != vectors.shape[:1]:
            raise ValueError(f"{positions.shape} positions for {vectors.shape} vectors")
        return cls(vectors, positions, (file.path, file.offsets["vectors"]))

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return int(self.vectors.shape[1])

    def take(self, ids: Ids) -> Vectors:
        """Copies of some rows, (m, d)."""
        if self._descriptor < 0 or len(ids) >= BLOCK:
            return np.asarray(self.vectors[ids])
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(self):
            raise IndexError(f"row ids must be from 0 to {len(self) - 1}")
        width, start, descriptor = 4 * self.dimension, self._start, self._descriptor
        data = b"".join([os.pread(descriptor, width, start + width * i) for i in ids.tolist()])
        return np.frombuffer(data, dtype=np.float32).reshape(len(ids), self.dimension)

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """All rows in order, (first id, rows)."""
        for first in range(0, len(self), BLOCK):
            yield first, self.vectors[first : first + BLOCK]

    def exact(self, query: Vectors, ids: Ids, weight: float) -> Vectors:
        """``cosine - weight * position`` of some rows; not by BLAS, whose sums depend on a row's place."""
        cosines = np.einsum("ij,j->i", self.take(ids), query)
        return np.asarray(cosines - np.float32(weight) * self.positions[ids], dtype=np.float32)

    def all(self, query: Vectors, weight: float) -> Vectors:
        """The same of every row by BLAS: quick, and off by a few units of the last place."""
        scores = np.asarray(self.vectors @ query, dtype=np.float32)
        return scores - np.float32(weight) * self.positions if weight else scores
