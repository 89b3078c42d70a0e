"""A turn with passages and no index behind it."""

from __future__ import annotations

from typing import Any

from ragkit.agent.turn import TurnState
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import make_document
from ragkit.retrieval.retriever import Query
from ragkit.values import Hit

TEXTS = [
    "LSTM 有三个门。遗忘门决定丢弃哪些记忆。",
    "RoPE 只作用在 Q 和 K 上，不作用在 V 上。",
    "ZeRO-3 splits parameters and gradients over 8 GPUs.",
]


class FakeIndex:
    """What `compose` asks of an index."""

    def idf(self, term: str) -> float:
        return 1.0

    def similarity(self, sentence: str, texts: list[str]) -> list[float]:
        return [float(len(text)) for text in texts]

    def page(self, document: str, at: int) -> int | None:
        return None


def turn_of(texts: list[str], question: str = "LSTM 是什么？") -> TurnState:
    hits = []
    for number, text in enumerate(texts):
        [chunk] = chunk_document(make_document(f"{number}.md", text))
        hits.append(Hit(chunk=chunk, rank=number + 1, score=1.0, legs={}))
    index: Any = FakeIndex()
    return TurnState(
        index=index, question=question, standalone=question, queries=(Query(question),),
        passages_per_search=4, max_steps=4, max_passages=8, passages=hits,
    )  # fmt: skip
