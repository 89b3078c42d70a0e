"""The vectors of one segment: the float32 rows, and above 50,000 of them a FAISS index that proposes.

Written once and never again; deletes are masks. Every score is `cosine - language_weight * position`
computed from the float32 rows in the same way wherever they lie, so that a chunk scores the same to
the bit in a small segment and in a large one. Each vector's position is its place on the language
axis (0 English, 1 Chinese, see `ragkit.index.language_axis`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import faiss
import numpy as np
import numpy.typing as npt

from ragkit.errors import IndexCorruptError
from ragkit.index.rows import BLOCK, Ids, Rows, Vectors
from ragkit.index.tensor_file import REBUILD, Blocks, open_tensors, write_tensors
from ragkit.index.vector_choice import Coarse, choose

Mask = npt.NDArray[np.bool_]
Found = tuple[Ids, Vectors]

ROWS_FILE: Final = "vectors.safetensors"
COARSE_FILE: Final = "vectors.faiss"
_FEW: Final = 32
"""Where less than one in so many rows may be returned, those are compared one by one."""
_TIE: Final = np.float32(2e-6)
"""Above the error of a product of single precision: what may change places when scored exactly."""


class VectorSegment:
    """Vectors under the ids 0..size-1 of this segment."""

    def __init__(self, rows: Rows, coarse: Coarse | None) -> None:
        self._rows, self._coarse = rows, coarse

    @classmethod
    def build(
        cls, vectors: Vectors, positions: Vectors, *, factory: str | None = None, real_queries: Vectors | None = None
    ) -> VectorSegment:
        """Index vectors; they are kept, not copied.

        Args:
            vectors: (n, d) float32 unit vectors.
            positions: (n,) float32 language positions, 0..1.
            factory: FAISS ``index_factory`` string for the candidates (``Flat``: none, all are compared).
                None chooses by size and by measured recall, see `ragkit.index.vector_choice`.
            real_queries: (m, d) unit vectors of real questions to measure recall with, besides perturbed rows.

        Raises:
            ValueError: If a value is not finite, the shapes do not match, or FAISS cannot build `factory`.
        """
        rows = Rows(np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(positions, np.float32))
        if rows.vectors.ndim != 2 or rows.positions.shape != rows.vectors.shape[:1]:
            raise ValueError(f"{rows.positions.shape} positions for vectors of shape {rows.vectors.shape}")
        if not all(np.isfinite(block).all() for _, block in rows.blocks()) or not np.isfinite(rows.positions).all():
            raise ValueError("vectors and positions must be finite")
        return cls(rows, choose(rows, real_queries, factory))

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write the segment into `folder` and return the names of the files."""
        coarse = self._coarse
        vectors = Blocks(self._rows.vectors.shape, np.float32, (block for _, block in self._rows.blocks()))
        metadata = {"content": "ragkit vectors 1"}
        if coarse is not None:
            metadata |= {
                "factory": coarse.factory,
                "extra": str(coarse.extra),
                "nprobe": str(coarse.nprobe),
                "candidates": str(coarse.candidates),
                "recall": repr(coarse.recall),
            }
        write_tensors(folder / ROWS_FILE, {"vectors": vectors, "positions": self._rows.positions}, metadata)
        if coarse is None:
            return (ROWS_FILE,)
        # FAISS itself opens no path that is not valid UTF-8.
        with (folder / COARSE_FILE).open("wb") as file:
            faiss.write_index(coarse.index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]
        return (ROWS_FILE, COARSE_FILE)

    @classmethod
    def load(cls, folder: Path) -> VectorSegment:
        """Map what `save` wrote; checksums were verified before. FAISS's codes are read, the rows are not.

        Raises:
            IndexCorruptError: If the files are damaged or do not fit together.
            OSError: If a file cannot be opened.
        """
        path = folder / ROWS_FILE
        file = open_tensors(path)
        try:
            rows = Rows.of(file)
            if "factory" not in file.metadata:
                return cls(rows, None)
            with (folder / COARSE_FILE).open("rb") as codes:
                index = faiss.read_index(faiss.PyCallbackIOReader(codes.read))  # type: ignore[attr-defined]
            how = {name: int(file.metadata[name]) for name in ("extra", "nprobe", "candidates")}
            coarse = Coarse(index, file.metadata["factory"], recall=float(file.metadata["recall"]), **how)
        except (RuntimeError, KeyError, ValueError) as exc:
            raise IndexCorruptError(f"The vectors in {folder} are damaged ({exc}).", REBUILD) from exc
        if index.ntotal != len(rows) or index.d != rows.dimension + coarse.extra:
            raise IndexCorruptError(f"{folder / COARSE_FILE} does not fit {path}.", REBUILD)
        return cls(rows, coarse)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dimension(self) -> int:
        """Of the model's vectors."""
        return self._rows.dimension

    @property
    def kind(self) -> str:
        """``Flat``, or the FAISS factory string of what proposes candidates."""
        return self._coarse.factory if self._coarse is not None else "Flat"

    @property
    def recall(self) -> float:
        """Recall@10 against exact search, measured when the segment was built."""
        return self._coarse.recall if self._coarse is not None else 1.0

    def vectors(self, ids: npt.ArrayLike) -> Vectors:
        """The vectors of `ids`, (m, d) float32, as they were given."""
        return self._rows.take(np.asarray(ids, dtype=np.int64))

    def search(self, query: Vectors, n: int, allowed: Mask | None = None, language_weight: float = 0.0) -> Found:
        """The `n` nearest chunks by ``cosine - language_weight * position``, best first, ties by id.

        Args:
            query: (d,) float32 unit vector.
            n: At most so many.
            allowed: (len,) mask of the chunks that may be returned; None allows all.
            language_weight: What a chunk at position 1 loses, in cosine.

        Returns:
            Ids (int64) and corrected cosines (float32), at most `n` of each.

        Raises:
            ValueError: If the query is not finite.
        """
        query = _checked(query, (self.dimension,))
        some = len(self) if allowed is None else int(np.count_nonzero(allowed))
        n = min(n, some)
        if n <= 0:
            return _nothing()
        if some < len(self) // _FEW and allowed is not None:
            return self._rank(query, np.flatnonzero(allowed), n, language_weight)
        ids = self._propose(query, n, allowed, some, language_weight)
        if ids is None:
            ids = _near(self._rows.all(query, language_weight), n, allowed)
        return self._rank(query, ids, n, language_weight)

    def search_batch(self, queries: Vectors, n: int, allowed: Mask | None = None) -> list[Found]:
        """`search` without language weight for each of (m, d) queries, as one product of matrices."""
        queries = _checked(queries, (len(queries), self.dimension))
        some = len(self) if allowed is None else int(np.count_nonzero(allowed))
        n = min(n, some)
        if n <= 0:
            return [_nothing() for _ in queries]
        if self._coarse is not None and allowed is None and self._coarse.wanted(n) * _FEW <= 2 * len(self):
            proposed = self._coarse.search(queries, self._coarse.wanted(n), 0.0)
            return [self._rank(q, ids[ids >= 0], n, 0.0) for q, ids in zip(queries, proposed, strict=True)]
        best = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)) for _ in queries]
        for first, block in self._rows.blocks():
            mask = None if allowed is None else allowed[first : first + BLOCK]
            for number, scores in enumerate(queries @ block.T):
                near = _near(scores, n, mask)
                ids = np.concatenate((best[number][0], near + first))
                values = np.concatenate((best[number][1], scores[near]))
                keep = _near(values, n, None)
                best[number] = ids[keep], values[keep]
        return [self._rank(query, ids, n, 0.0) for query, (ids, _) in zip(queries, best, strict=True)]

    def _propose(self, query: Vectors, n: int, allowed: Mask | None, some: int, weight: float) -> Ids | None:
        """Candidates from FAISS, None where comparing all is no dearer.

        Forbidden chunks are filtered afterwards: FAISS's fast scan takes no selector.
        """
        if self._coarse is None:
            return None
        wanted = self._coarse.wanted(n)
        fetch = wanted * len(self) // max(1, some)
        while fetch * _FEW <= len(self) * 2:
            ids = self._coarse.search(query[None], fetch, weight)[0]
            ids = ids[ids >= 0]
            short = len(ids) < fetch  # an inverted file has no more in the lists it looked into
            if allowed is not None:
                ids = ids[allowed[ids]]
            if len(ids) >= wanted // 2:
                return np.asarray(ids[:wanted])
            if short:
                return None
            fetch *= 4
        return None

    def _rank(self, query: Vectors, ids: Ids, n: int, weight: float) -> Found:
        scores = np.empty(len(ids), dtype=np.float32)
        for first in range(0, len(ids), BLOCK):
            part = slice(first, first + BLOCK)
            scores[part] = self._rows.exact(query, ids[part], weight)
        order = np.lexsort((ids, -scores))[:n]
        return ids[order], scores[order]


def _near(scores: Vectors, n: int, allowed: Mask | None) -> Ids:
    """Ids of the `n` best and of all that may be as good once they are scored exactly."""
    if allowed is not None:
        scores = np.where(allowed, scores, np.float32(-np.inf))
    if len(scores) <= n:
        return np.flatnonzero(np.isfinite(scores))
    cut = np.partition(scores, len(scores) - n)[len(scores) - n]
    return np.flatnonzero(scores >= (cut - _TIE if np.isfinite(cut) else np.finfo(np.float32).min))


def _checked(vectors: npt.ArrayLike, shape: tuple[int, ...]) -> Vectors:
    out = np.ascontiguousarray(vectors, dtype=np.float32)
    if out.shape != shape:
        raise ValueError(f"a query of shape {out.shape} where {shape} is needed")
    if not np.isfinite(out).all():
        raise ValueError("a query must be finite")
    return out


def _nothing() -> Found:
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
