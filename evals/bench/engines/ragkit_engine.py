"""The embedded engine through its public interface: `Index.from_documents`, `add_documents`, `remove`, `search`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from corpus import DIMENSION, Part, Question
from engine import LOOKUP


class Table:
    """The look-up as a LangChain ``Embeddings``; the passages that measure the language axis all look alike."""

    def embed_documents(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> np.ndarray:
        found = LOOKUP.get(text)
        return np.full(DIMENSION, DIMENSION**-0.5, dtype=np.float32) if found is None else found


class Ragkit:
    """`Index` with chunks as large as the texts, so that one text is one chunk."""

    def load_libraries(self) -> None:
        global Index, Settings, make_document
        import faiss

        from ragkit.api import Index
        from ragkit.ingest.loader import make_document
        from ragkit.settings import Settings

        faiss.omp_set_num_threads(1)
        self._settings = Settings(chunk_target=2_000, chunk_maximum=2_000)
        self._table = Table()

    def build(self, part: Part, folder: Path) -> None:
        documents = [make_document(name, text) for name, text in zip(part.ids, part.texts, strict=True)]
        self._index = Index.from_documents(documents, folder, embedding=self._table, settings=self._settings)

    def open(self, folder: Path) -> None:
        self._index = Index.open(index_dir=folder, embedding=self._table, settings=self._settings)

    def search(self, question: Question, k: int) -> Sequence[tuple[str, str]]:
        return [(hit.document, hit.text) for hit in self._index.search(question.text, k=k)]

    def add(self, part: Part, folder: Path) -> None:
        made = [make_document(name, text) for name, text in zip(part.ids, part.texts, strict=True)]
        self._index.add_documents(made)

    def delete(self, ids: Sequence[str], folder: Path) -> None:
        self._index.remove(list(ids))


ENGINE = Ragkit
