"""txtai: hybrid embeddings database with content; its default ANN is approximate above 5,000 rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from corpus import Part, Question
from engine import LOOKUP


def vectors_of(texts: Sequence[str]) -> Any:
    """The look-up that txtai calls as its external embedding model."""
    return np.stack([LOOKUP[text] for text in texts])


class Txtai:
    """`Embeddings` with its defaults and an external vector function."""

    def load_libraries(self) -> None:
        global Embeddings
        import faiss
        from txtai import Embeddings

        faiss.omp_set_num_threads(1)

    def build(self, part: Part, folder: Path) -> None:
        self._database = Embeddings(
            {
                "method": "external",
                "transform": "txtai_engine.vectors_of",
                "content": True,
                "hybrid": True,
                "scoring": {"method": "bm25", "terms": True, "normalize": True},
            }
        )
        self._database.index(zip(part.ids, part.texts, strict=True))
        self._database.save(str(folder / "database"))

    def open(self, folder: Path) -> None:
        self._database = Embeddings()
        self._database.load(str(folder / "database"))

    def search(self, question: Question, k: int) -> Sequence[tuple[str, str]]:
        return [(row["id"], row["text"]) for row in self._database.search(question.text, k)]

    def add(self, part: Part, folder: Path) -> None:
        self._database.upsert(zip(part.ids, part.texts, strict=True))
        self._database.save(str(folder / "database"))

    def delete(self, ids: Sequence[str], folder: Path) -> None:
        self._database.delete(list(ids))
        self._database.save(str(folder / "database"))


ENGINE = Txtai
