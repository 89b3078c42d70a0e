"""Milvus Lite: hybrid search over a flat vector index and its BM25 function, fused by its RRF ranker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus import DIMENSION, Part, Question
from engine import DEPTH

NAME = "chunks"
BATCH = 2_000


class MilvusLite:
    """`MilvusClient` over a file."""

    def load_libraries(self) -> None:
        global pymilvus
        import pymilvus

    def build(self, part: Part, folder: Path) -> None:
        self._client: Any = pymilvus.MilvusClient(str(folder / "milvus.db"))
        types = pymilvus.DataType
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", types.VARCHAR, is_primary=True, max_length=32)
        schema.add_field("text", types.VARCHAR, max_length=8_000, enable_analyzer=True)
        schema.add_field("dense", types.FLOAT_VECTOR, dim=DIMENSION)
        schema.add_field("sparse", types.SPARSE_FLOAT_VECTOR)
        schema.add_function(
            pymilvus.Function(
                name="bm25",
                function_type=pymilvus.FunctionType.BM25,
                input_field_names=["text"],
                output_field_names=["sparse"],
            )
        )
        indexes = self._client.prepare_index_params()
        indexes.add_index("dense", index_type="FLAT", metric_type="IP")
        indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        self._client.create_collection(NAME, schema=schema, index_params=indexes)
        self.add(part, folder)
        self._client.load_collection(NAME)

    def open(self, folder: Path) -> None:
        self._client = pymilvus.MilvusClient(str(folder / "milvus.db"))
        self._client.load_collection(NAME)

    def search(self, question: Question, k: int) -> Sequence[tuple[str, str]]:
        request = pymilvus.AnnSearchRequest
        found = self._client.hybrid_search(
            NAME,
            [
                request([question.text], "sparse", {}, limit=DEPTH),
                request([question.vector.tolist()], "dense", {}, limit=DEPTH),
            ],
            pymilvus.RRFRanker(60),
            limit=k,
            output_fields=["text"],
        )
        return [(hit["id"], hit["entity"]["text"]) for hit in found[0]]

    def add(self, part: Part, folder: Path) -> None:
        for start in range(0, len(part.ids), BATCH):
            at = slice(start, start + BATCH)
            rows = zip(part.ids[at], part.texts[at], part.vectors[at], strict=True)
            self._client.insert(NAME, [{"id": name, "text": text, "dense": vector} for name, text, vector in rows])
        self._client.flush(NAME)

    def delete(self, ids: Sequence[str], folder: Path) -> None:
        self._client.delete(NAME, ids=list(ids))
        self._client.flush(NAME)


ENGINE = MilvusLite
