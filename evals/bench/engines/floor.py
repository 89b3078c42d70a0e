"""The floor: exact FAISS search over a mapped matrix, bm25s, RRF. No framework can do less and be exact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from corpus import Part, Question
from engine import DEPTH, rrf


class Floor:
    """FAISS and bm25s, rewritten as a whole at every change."""

    def load_libraries(self) -> None:
        global bm25s, faiss
        import bm25s
        import faiss

        faiss.omp_set_num_threads(1)

    def build(self, part: Part, folder: Path) -> None:
        self._rows: list[list[str]] = [part.ids, part.texts]
        self._vectors: Any = part.vectors
        self._write(folder)

    def _write(self, folder: Path) -> None:
        self._bm25 = bm25s.BM25(k1=1.5, b=0.75)
        self._bm25.index([text.replace(".", "").split() for text in self._rows[1]], show_progress=False)
        self._bm25.save(folder, show_progress=False)
        np.save(folder / "vectors.npy", self._vectors)
        (folder / "rows.json").write_text(json.dumps(self._rows), encoding="utf-8")

    def open(self, folder: Path) -> None:
        self._bm25 = bm25s.BM25.load(folder, mmap=True)
        self._vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        self._rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))

    def search(self, question: Question, k: int) -> Sequence[tuple[str, str]]:
        depth = min(DEPTH, len(self._rows[0]))
        _, near = faiss.knn(question.vector[None], self._vectors, depth, metric=faiss.METRIC_INNER_PRODUCT)
        ids, scores = self._bm25.retrieve([question.text.split()], k=depth, show_progress=False)
        matching = [int(i) for i, score in zip(ids[0], scores[0], strict=True) if score > 0]
        return [(self._rows[0][i], self._rows[1][i]) for i in rrf([near[0].tolist(), matching], k)]

    def add(self, part: Part, folder: Path) -> None:
        self._rows = [self._rows[0] + part.ids, self._rows[1] + part.texts]
        self._vectors = np.concatenate((self._vectors, part.vectors))
        self._write(folder)

    def delete(self, ids: Sequence[str], folder: Path) -> None:
        dead = set(ids)
        keep = [i for i, name in enumerate(self._rows[0]) if name not in dead]
        self._rows = [[column[i] for i in keep] for column in self._rows]
        self._vectors = self._vectors[keep]
        self._write(folder)


ENGINE = Floor
