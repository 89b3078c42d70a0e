"""LlamaIndex: QueryFusionRetriever over the FAISS map store and BM25Retriever (bm25s), which is rebuilt on change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus import DIMENSION, Part, Question
from engine import DEPTH, LOOKUP

PATTERN = r"(?u)\w+"


class LlamaIndex:
    """`QueryFusionRetriever` in its reciprocal rank mode."""

    def load_libraries(self) -> None:
        global core, BM25Retriever, QueryFusionRetriever, TextNode, FaissMapVectorStore, MockLLM, faiss
        import faiss
        import llama_index.core as core
        from llama_index.core.embeddings import BaseEmbedding
        from llama_index.core.llms import MockLLM
        from llama_index.core.retrievers import QueryFusionRetriever
        from llama_index.core.schema import TextNode
        from llama_index.retrievers.bm25 import BM25Retriever
        from llama_index.vector_stores.faiss import FaissMapVectorStore

        faiss.omp_set_num_threads(1)

        class Table(BaseEmbedding):
            def _get_query_embedding(self, query: str) -> list[float]:
                return LOOKUP[query].tolist()

            async def _aget_query_embedding(self, query: str) -> list[float]:
                return LOOKUP[query].tolist()

            def _get_text_embedding(self, text: str) -> list[float]:
                return LOOKUP[text].tolist()

        self._embeddings = Table()

    def _nodes(self, part: Part) -> list[Any]:
        rows = zip(part.ids, part.texts, part.vectors, strict=True)
        return [TextNode(text=text, id_=name, embedding=vector.tolist()) for name, text, vector in rows]

    def build(self, part: Part, folder: Path) -> None:
        store = FaissMapVectorStore(faiss_index=faiss.IndexIDMap2(faiss.IndexFlatIP(DIMENSION)))
        context = core.StorageContext.from_defaults(vector_store=store)
        self._index = core.VectorStoreIndex(
            self._nodes(part), storage_context=context, embed_model=self._embeddings, store_nodes_override=True
        )
        self._finish(folder)

    def _finish(self, folder: Path) -> None:
        nodes = list(self._index.docstore.docs.values())
        self._bm25 = BM25Retriever(
            nodes=nodes, similarity_top_k=DEPTH, token_pattern=PATTERN, skip_stemming=True, language=[]
        )
        self._index.storage_context.persist(str(folder))
        self._bm25.persist(str(folder / "bm25"))
        self._join()

    def _join(self) -> None:
        self._both = QueryFusionRetriever(
            [self._index.as_retriever(similarity_top_k=DEPTH), self._bm25],
            llm=MockLLM(),
            mode="reciprocal_rerank",
            num_queries=1,
            use_async=False,
            similarity_top_k=10,
        )

    def open(self, folder: Path) -> None:
        store = FaissMapVectorStore.from_persist_dir(str(folder))
        context = core.StorageContext.from_defaults(persist_dir=str(folder), vector_store=store)
        self._index = core.load_index_from_storage(context, embed_model=self._embeddings)
        self._bm25 = BM25Retriever.from_persist_dir(str(folder / "bm25"))
        # Neither is kept by persist(); the depth is part of the comparison, the pattern of being right.
        self._bm25.similarity_top_k, self._bm25.token_pattern, self._bm25.skip_stemming = DEPTH, PATTERN, True
        self._join()

    def search(self, question: Question, k: int) -> Sequence[tuple[str, str]]:
        return [(found.node.id_, found.node.text) for found in self._both.retrieve(question.text)[:k]]

    def add(self, part: Part, folder: Path) -> None:
        self._index.insert_nodes(self._nodes(part))
        self._finish(folder)

    def delete(self, ids: Sequence[str], folder: Path) -> None:
        self._index.delete_nodes(list(ids), delete_from_docstore=True)
        self._finish(folder)


ENGINE = LlamaIndex
