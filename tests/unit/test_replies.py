"""Replies of a model brought into bounds: floods, twins, malformed and monstrous calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call

from ragkit.agent.replies import MAX_CALLS_PER_REPLY, MAX_REPLY_CHARS, tidy


def call(name: str = "calculate", identity: str | None = None, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "args": arguments, "id": identity, "type": "tool_call"}


def flood(count: int) -> AIMessage:
    return AIMessage("", tool_calls=[call(expression=f"{i}+1", identity=f"c{i}") for i in range(count)])


@pytest.mark.parametrize("count", [1, 8])
def test_a_reply_within_bounds_is_left_as_it_is(count: int) -> None:
    message = flood(count)
    reply = tidy(message)
    assert reply.message is message and reply.refused == {}


@pytest.mark.parametrize("count", [9, 1000, 20_000])
def test_of_a_flood_eight_are_run_and_one_message_speaks_for_the_rest(count: int) -> None:
    reply = tidy(flood(count))
    [reason] = reply.refused.values()
    assert len(reply.message.tool_calls) == MAX_CALLS_PER_REPLY + 1
    assert f"{count - 8:,} more calls of this reply were not run" in reason
    grown = len(reply.message.model_dump_json()) + sum(map(len, reply.refused.values()))
    assert grown < 4_000


def test_the_calls_that_a_client_keeps_beside_go_too() -> None:
    message = flood(1000)
    message.additional_kwargs["tool_calls"] = [{"id": f"c{i}"} for i in range(1000)]
    assert "tool_calls" not in tidy(message).message.additional_kwargs


def test_blocks_of_calls_that_were_left_out_go_too() -> None:
    message = flood(20)
    message.content = [{"type": "text", "text": "t"}, *({"type": "tool_use", "id": f"c{i}"} for i in range(20))]
    blocks = [block["id"] for block in tidy(message).message.content if block["type"] == "tool_use"]  # type: ignore[index]
    assert blocks == [f"c{i}" for i in range(8)]


def test_twins_are_one_call() -> None:
    twins = [call(expression="1+1", identity=str(i)) for i in range(500)]
    reply = tidy(AIMessage("", tool_calls=twins))
    assert [c["id"] for c in reply.message.tool_calls] == ["0"] and reply.refused == {}


def test_one_identity_for_two_calls_becomes_two() -> None:
    both = [call(expression="1", identity="x"), call(expression="2", identity="x"), call(expression="3")]
    identities = [c["id"] for c in tidy(AIMessage("", tool_calls=both)).message.tool_calls]
    assert identities[0] == "x" and len(set(identities)) == 3 and all(identities)


@pytest.mark.parametrize("name", ["", "search notes", "search_notes\n", "ｓearch_notes", "__class__()", "x" * 10_000])
def test_a_name_that_no_endpoint_takes_back_is_refused_and_never_becomes_another(name: str) -> None:
    reply = tidy(AIMessage("", tool_calls=[call(name, identity="1", query="q")]))
    [kept] = reply.message.tool_calls
    assert kept["name"] == "illegal_name" and "no tool" in reply.refused["1"] and len(reply.refused["1"]) < 200


def test_monstrous_arguments_are_not_kept() -> None:
    reply = tidy(AIMessage("", tool_calls=[call(identity="1", expression="9" * 1_000_000)]))
    assert "1,000," in reply.refused["1"]
    assert len(reply.message.model_dump_json()) < 2_000


@pytest.mark.parametrize("valid", [0, 1, 8])
def test_a_malformed_call_is_answered_and_never_run(valid: int) -> None:
    message = flood(valid)
    bad = '{"document": "a.md", "line": '
    message.invalid_tool_calls = [invalid_tool_call(name="read_note", args=bad, id="bad", error="eof")] * 3
    reply = tidy(message)
    assert not reply.message.invalid_tool_calls
    assert len(reply.message.tool_calls) <= MAX_CALLS_PER_REPLY + 1
    assert set(reply.refused).isdisjoint(f"c{i}" for i in range(8)) and reply.refused
    if valid < MAX_CALLS_PER_REPLY:
        assert "no valid JSON" in reply.refused["bad"]


def test_a_monstrous_answer_is_cut_with_a_mark() -> None:
    message = tidy(AIMessage("x" * 2_000_000)).message
    assert len(message.text) < MAX_REPLY_CHARS + 100 and message.text.endswith("(1950000 characters cut)")


def test_what_is_counted_and_known_of_a_reply_stays() -> None:
    message = flood(9)
    message.usage_metadata = {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}
    message.id = "run-1"
    reply = tidy(message).message
    assert reply.usage_metadata == message.usage_metadata and reply.id == "run-1"
    assert json.loads(reply.model_dump_json())["tool_calls"][0]["args"] == {"expression": "0+1"}
