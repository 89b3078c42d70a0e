"""The dense leg: unit vectors in FAISS, searched exactly by inner product.

Each vector carries one more component, the chunk's position on the language axis (0 English, 1
Chinese, see `ragkit.models.parallel`). A query that carries the negative weight of that position
gets the language-corrected cosine from the same single search, exactly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from ragkit.errors import IndexCorruptError

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


class DenseIndex:
    """Vectors under the ordinals 0..n-1 of the chunks."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Vectors, positions: Vectors) -> DenseIndex:
        """Index (n, dimension) float32 unit vectors with their (n,) language positions.

        Raises:
            ValueError: If a value is not finite: FAISS would store it and answer wrongly.
        """
        if not np.isfinite(vectors).all():
            raise ValueError("vectors must be finite")
        index = faiss.IndexFlatIP(vectors.shape[1] + 1)
        index.add(np.hstack((vectors, positions.reshape(-1, 1)), dtype=np.float32, casting="same_kind"))
        return cls(index)

    def save(self, path: Path) -> None:
        # FAISS itself opens no path that is not valid UTF-8.
        with path.open("wb") as file:
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]

    @classmethod
    def load(cls, path: Path) -> DenseIndex:
        """Read vectors whose checksum was verified before: FAISS itself notices little damage.

        Raises:
            IndexCorruptError: If FAISS cannot read the file.
        """
        try:
            with path.open("rb") as file:
                return cls(faiss.read_index(faiss.PyCallbackIOReader(file.read)))  # type: ignore[attr-defined]
        except RuntimeError as exc:
            raise IndexCorruptError(f"{path} cannot be read by FAISS.", "Rebuild: ragkit index --rebuild.") from exc

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Of the model's vectors."""
        return int(self._index.d) - 1

    def vectors(self, ordinals: npt.ArrayLike) -> Vectors:
        """The vectors of `ordinals`, (m, dimension) float32."""
        ids = np.asarray(ordinals, dtype=np.int64)
        if len(ids) == 0:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return np.asarray(self._index.reconstruct_batch(ids)[:, :-1], dtype=np.float32)

    def search(
        self, query: Vectors, n: int, allowed: npt.NDArray[np.bool_] | None = None, language_weight: float = 0.0
    ) -> tuple[Ids, Vectors]:
        """The `n` nearest chunks by ``cosine - language_weight * position``, best first, ties by ordinal.

        Args:
            query: (dimension,) float32 unit vector.
            n: At most so many.
            allowed: (len,) mask of the chunks that may be returned; None allows all.
            language_weight: What a chunk at position 1 loses, in cosine.

        Returns:
            Ordinals (int64) and corrected cosines (float32), at most `n` of each.
        """
        total = len(self)
        n = min(n, total if allowed is None else int(allowed.sum()))
        if n <= 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        parameters = None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))  # type: ignore[call-arg, arg-type]
        scores, ids = self._index.search(
            np.append(query, np.float32(-language_weight)).reshape(1, -1).astype(np.float32), n, params=parameters
        )
        found = ids[0] >= 0  # FAISS pads a short answer with -1
        ordinals, cosines = ids[0][found], scores[0][found]
        order = np.lexsort((ordinals, -cosines))
        return ordinals[order], cosines[order]
