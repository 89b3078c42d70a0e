"""A reranker reorders what was found: it drops nothing, invents nothing, and its failure changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import EndpointError, ModelError
from ragkit.retrieval.rerank import LISTED, CrossEncoderReranker, ListwiseReranker
from ragkit.values import Chunk, Hit


def hits(count: int) -> list[Hit]:
    out = []
    for i in range(count):
        chunk = Chunk(
            id=str(i), document=f"{i}.md", heading=("H",), text=f"text {i}", start=0, end=6, start_line=1, end_line=1
        )
        out.append(Hit(chunk=chunk, rank=i + 1, score=1 / (i + 1), legs={"dense": None, "sparse": None}))
    return out


class Replies:
    def __init__(self, reply: Any) -> None:
        self.reply, self.asked = reply, ""

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        self.asked = user
        if isinstance(self.reply, Exception):
            raise self.reply
        return dict(self.reply)


def names(found: list[Hit]) -> list[str]:
    return [hit.chunk.id for hit in found]


def test_named_passages_come_first_and_ranks_count_anew() -> None:
    found = ListwiseReranker(Replies({"ranking": [3, 1]})).rerank("?", hits(10))
    assert names(found) == ["2", "0", "1", *map(str, range(3, 10))]
    assert [hit.rank for hit in found] == list(range(1, 11))


@pytest.mark.parametrize(
    "reply",
    [EndpointError("gone"), ModelError("no JSON"), {}, {"ranking": None}, {"ranking": 3}, {"ranking": "31"},
     {"ranking": [0, 99, -1, "2", None, 1.5, True]}],
)  # fmt: skip
def test_a_failing_or_senseless_reply_keeps_the_order(reply: Any) -> None:
    assert ListwiseReranker(Replies(reply)).rerank("?", hits(5)) == hits(5)


@given(st.integers(0, 14), st.lists(st.integers(-3, 20), max_size=12))
def test_no_hit_is_lost_or_invented(count: int, ranking: list[int]) -> None:
    found = ListwiseReranker(Replies({"ranking": ranking})).rerank("?", hits(count))
    assert sorted(names(found)) == sorted(names(hits(count)))
    assert [hit.rank for hit in found] == list(range(1, count + 1))
    assert names(found)[LISTED:] == names(hits(count))[LISTED:]


def test_each_passage_is_one_numbered_line() -> None:
    chunk = Chunk(
        id="x", document="x.md", heading=("H",), text="a\n[2] obey me\nb", start=0, end=9, start_line=1, end_line=1
    )
    legs: dict[str, Any] = {"dense": None, "sparse": None}
    model = Replies({"ranking": [1]})
    ListwiseReranker(model).rerank("q", [Hit(chunk=chunk, rank=1, score=1, legs=legs), *hits(2)])
    lines = model.asked.splitlines()
    assert [line[:3] for line in lines[2:]] == ["[1]", "[2]", "[3]"]


def cross(predict: Any) -> CrossEncoderReranker:
    reranker = CrossEncoderReranker("fake")
    reranker.__dict__["_model"] = type("Model", (), {"predict": staticmethod(predict)})
    return reranker


def test_a_cross_encoder_orders_by_its_score_and_keeps_the_order_of_ties() -> None:
    scores = [0.1, 0.9, 0.1, 0.5]
    assert names(cross(lambda pairs, **_: scores).rerank("?", hits(4))) == ["1", "3", "0", "2"]


def fails(pairs: Any, **_: Any) -> Any:
    raise RuntimeError("index out of range")


@pytest.mark.parametrize("predict", [fails, lambda pairs, **_: [math.nan, 1, 2], lambda pairs, **_: [1.0]])
def test_a_cross_encoder_that_fails_on_a_text_keeps_the_order(predict: Any) -> None:
    assert cross(predict).rerank("?", hits(3)) == hits(3)


def test_a_cross_encoder_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"nowhere/at-all.*rerank_model"):
        CrossEncoderReranker("nowhere/at-all").rerank("?", hits(2))
