"""What a checkpoint consists of: plain JSON that comes back as it was, and that cannot name code to run."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document as LangChainDocument
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Overwrite, Send

from ragkit.agent.answer import Step
from ragkit.agent.plain import FORMAT, PlainSerializer, dumps, loads
from ragkit.errors import AgentError
from ragkit.retrieval.planner import Plan, Stage
from ragkit.retrieval.retriever import Query
from ragkit.values import Chunk, Hit, LegScore

HIT = Hit(
    chunk=Chunk(
        id="1", document="a.md", heading=("A", "B"), text="词 \ud800", start=0, end=3, start_line=1, end_line=1
    ),
    rank=1,
    score=0.5,
    legs={"dense": LegScore(1, 0.25), "sparse": None},
)
CALL = {"name": "send", "args": {"n": 1, "deep": [{"lc": 1}]}, "id": "c1", "type": "tool_call"}
VALUES: list[Any] = [
    HIT,
    Step(thought="", tool="send", arguments={"a": [1, None]}, observation="o", seconds=0.1),
    Plan((Query("q", 0.5, True),), "q", ("n",), (Stage("hyde", True, "why", 1.5),)),
    AIMessage("x", tool_calls=[CALL], usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
    AIMessage([{"type": "text", "text": "x"}], id="m", additional_kwargs={"ragkit_sentences": [["s", [1]]]}),
    ToolMessage("\udc00 seen", tool_call_id="c1", name="send", status="error"),
    HumanMessage("hi"),
    SystemMessage("rules"),
    RemoveMessage(id="m"),
    Send("tools", [CALL]),
    Overwrite([HumanMessage("hi")]),
    {"set": {"a"}, "frozen": frozenset({1}), "tuple": (1, (2,)), "bytes": b"\x00\xff", "counter": Counter(a=2)},
    [math.inf, -math.inf, 1e308, -0.0, 10**300, True, None],
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    found = loads(dumps(value))
    assert found == value and type(found) is type(value)


def test_nan_comes_back_and_a_chunk_of_a_message_is_a_message() -> None:
    assert math.isnan(loads(dumps({"n": math.nan}))["n"])
    assert loads(dumps(AIMessageChunk("x"))) == AIMessage("x")
    assert loads(dumps(ToolMessage("x", tool_call_id="1", artifact=object()))).artifact is None


TEXT = st.text(st.characters(exclude_categories=()))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


def joined(value: Any) -> Any:
    """Two halves of a character that stand side by side come back as one: there is no other way to write them."""
    if isinstance(value, str):
        return re.sub(
            "[\ud800-\udbff][\udc00-\udfff]",
            lambda p: p.group().encode("utf-16", "surrogatepass").decode("utf-16"),
            value,
        )
    if isinstance(value, dict):
        return {joined(key): joined(item) for key, item in value.items()}
    return type(value)(map(joined, value)) if isinstance(value, (list, tuple)) else value


@settings(max_examples=300)
@given(PLAIN)
def test_any_plain_data_with_any_text_comes_back(value: Any) -> None:
    assert loads(dumps(value)) == joined(value)
    assert loads(dumps(HumanMessage(content=str(value)))).content == joined(str(value))


HOSTILE: list[Any] = [
    {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": "touch /tmp/owned"}},
    {"lc": 2, "type": "constructor", "id": ["builtins", "eval"], "args": ["1+1"]},
    {"$type": "os.system"},
    ["Hit", {"chunk": None}],
    ["send", ["tools", {}]],
    "__reduce__",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_what_looks_like_a_marker_stays_data(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert loads(dumps(ToolMessage(json.dumps(value), tool_call_id="1"))).content == json.dumps(value)
    assert loads(dumps({"args": value}))["args"] == value


@pytest.mark.parametrize(
    "data",
    [
        b'{"lc":1,"type":"constructor","id":["os","system"],"kwargs":{}}',
        b'["os.system","true"]',
        b'["Popen",["dict",{}]]',
        b'["Hit",{}]',
        b'["Hit",{"chunk":1,"rank":1,"score":1,"legs":["dict",{}]}]',
        b'["ai",{"content":1}]',
        b'["float","1"]',
        b'["list"]',
        b'["list",{}]',
        b'["dict",[]]',
        b'["dict",{},1]',
        b'["bytes","%"]',
        b'["send",[1,2]]',
        b"NaN",
        b"{}",
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"\x80\x04\x95",
    ],
)
def test_damaged_or_forged_data_is_refused(data: bytes) -> None:
    with pytest.raises(AgentError, match="damaged"):
        loads(data)


@pytest.mark.parametrize("value", [object(), {1: 2}, LangChainDocument("x"), re.compile("x"), len, {"a": [object()]}])
def test_what_is_no_plain_data_is_refused_and_never_written_some_other_way(value: Any) -> None:
    with pytest.raises(AgentError, match="cannot be kept"):
        dumps(value)


def test_nesting_without_end_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(AgentError):
        dumps(value)


def test_data_of_the_general_serializer_is_not_read() -> None:
    kind, data = JsonPlusSerializer().dumps_typed(HumanMessage("x"))
    for other in (kind, "json", "pickle", "null", ""):
        with pytest.raises(AgentError, match="unknown format"):
            PlainSerializer().loads_typed((other, data))
    assert PlainSerializer().dumps_typed({})[0] == FORMAT


def test_a_message_that_changed_after_it_was_written_is_written_anew() -> None:
    call = {"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
    message = AIMessage("so", id="m1", tool_calls=[call], additional_kwargs={"kept": {"at": [1]}})
    serializer = PlainSerializer()

    def again() -> AIMessage:
        (given,) = serializer.loads_typed(serializer.dumps_typed([message]))
        assert serializer.dumps_typed([message]) == (FORMAT, dumps([message]))
        return given

    assert again() == message
    message.tool_calls[0]["args"]["a"] = 2
    assert again().tool_calls[0]["args"] == {"a": 2}
    message.additional_kwargs["kept"]["at"].append(7)
    assert again().additional_kwargs == {"kept": {"at": [1, 7]}}
    message.content = "done"
    assert again().text == "done"
