"""LangChain: EnsembleRetriever over the FAISS store and BM25Retriever. BM25 has no save, add or delete: rebuilt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus import Part, Question
from engine import DEPTH, LOOKUP


def words(text: str) -> list[str]:
    """The same cut that the other engines' default tokenizers make of these texts."""
    return text.replace(".", "").split()


class LangChain:
    """`EnsembleRetriever` with equal weights."""

    def load_libraries(self) -> None:
        global FAISS, BM25Retriever, EnsembleRetriever, Document, DistanceStrategy, faiss
        import faiss
        from langchain_classic.retrievers import EnsembleRetriever
        from langchain_community.retrievers import BM25Retriever
        from langchain_community.vectorstores import FAISS
        from langchain_community.vectorstores.utils import DistanceStrategy
        from langchain_core.documents import Document
        from langchain_core.embeddings import Embeddings

        faiss.omp_set_num_threads(1)

        class Table(Embeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return [LOOKUP[text].tolist() for text in texts]

            def embed_query(self, text: str) -> list[float]:
                return list(map(float, LOOKUP[text]))

        self._embeddings = Table()

    def build(self, part: Part, folder: Path) -> None:
        made = self._documents(part)
        self._store = FAISS.from_documents(
            made, self._embeddings, ids=part.ids, distance_strategy=DistanceStrategy.MAX_INNER_PRODUCT
        )
        self._finish(made, folder)

    def _documents(self, part: Part) -> list[Any]:
        rows = zip(part.ids, part.texts, strict=True)
        return [Document(page_content=text, id=name, metadata={"id": name}) for name, text in rows]

    def _finish(self, documents: list[Any], folder: Path | None) -> None:
        self._listed = documents
        sparse = BM25Retriever.from_documents(documents, preprocess_func=words, k=DEPTH)
        dense = self._store.as_retriever(search_kwargs={"k": DEPTH})
        self._both = EnsembleRetriever(retrievers=[sparse, dense], weights=[0.5, 0.5])
        if folder is not None:
            self._store.save_local(str(folder))
            rows = [[document.id, document.page_content] for document in documents]
            (folder / "documents.json").write_text(json.dumps(rows), encoding="utf-8")

    def open(self, folder: Path) -> None:
        self._store = FAISS.load_local(
            str(folder),
            self._embeddings,
            allow_dangerous_deserialization=True,
            distance_strategy=DistanceStrategy.MAX_INNER_PRODUCT,
        )
        rows = json.loads((folder / "documents.json").read_text(encoding="utf-8"))
        made = [Document(page_content=text, id=name, metadata={"id": name}) for name, text in rows]
        self._finish(made, None)

    def search(self, question: Question, k: int) -> Sequence[tuple[str, str]]:
        return [(found.metadata["id"], found.page_content) for found in self._both.invoke(question.text)[:k]]

    def add(self, part: Part, folder: Path) -> None:
        made = self._documents(part)
        self._store.add_documents(made, ids=part.ids)
        self._finish(self._listed + made, folder)

    def delete(self, ids: Sequence[str], folder: Path) -> None:
        dead = set(ids)
        self._store.delete(list(ids))
        self._finish([document for document in self._listed if document.id not in dead], folder)


ENGINE = LangChain
