"""The JSON protocol: schema from tools, reply to tool calls, malformed replies back to the model."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from ragkit import tool as own_tool
from ragkit.agent.json_protocol import (
    GAVE_UP,
    SENTENCES,
    THOUGHT,
    JsonProtocolModel,
    parse_reply,
    reply_schema,
    to_plain_messages,
    unescape_latex,
)
from ragkit.agent.middleware.model_guard import ModelGuard
from ragkit.errors import ModelError
from ragkit.testing import ScriptedChatModel


@tool
def search_notes(query: str) -> str:
    """Search the notes."""
    return query


SEARCH = {
    "name": "search_notes",
    "description": "search",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}


def reply(action: dict[str, Any], thought: str = "t") -> str:
    return json.dumps({"thought": thought, "action": action}, ensure_ascii=False)


ANSWER = reply(
    {"tool": "answer", "sentences": [{"text": "方差会变大。", "sources": [1]}, {"text": "So scale.", "sources": [2]}]}
)


def test_schema_offers_each_tool_the_answer_and_giving_up() -> None:
    schema = reply_schema([SEARCH], [1, 2], {})
    names = [branch["properties"]["tool"]["const"] for branch in schema["properties"]["action"]["anyOf"]]
    assert names == ["search_notes", "answer", "give_up"]


def test_without_passages_only_tools_and_giving_up_remain() -> None:
    schema = reply_schema([SEARCH], [], {})
    names = [branch["properties"]["tool"]["const"] for branch in schema["properties"]["action"]["anyOf"]]
    assert names == ["search_notes", "give_up"]


def test_sources_are_limited_to_the_passages_there_are() -> None:
    schema = reply_schema([], [1, 2], {})
    with pytest.raises(ValueError, match=r"action\.sentences\.0\.sources\.0"):
        parse_reply(reply({"tool": "answer", "sentences": [{"text": "x y", "sources": [3]}]}), schema)


def test_argument_values_become_an_enum() -> None:
    schema = reply_schema([SEARCH], [1], {"search_notes.query": ["a"]})
    with pytest.raises(ValueError, match=r"action\.arguments\.query"):
        parse_reply(reply({"tool": "search_notes", "arguments": {"query": "b"}}), schema)


@pytest.mark.parametrize(
    "text",
    [
        "```json\n" + ANSWER + "\n```",
        "<tool_call>\n" + ANSWER + "</tool_call>",
        ANSWER + "\nThat is my answer.",
    ],
)
def test_fences_tags_and_trailing_text_are_tolerated(text: str) -> None:
    assert parse_reply(text, reply_schema([SEARCH], [1, 2], {}))["action"]["tool"] == "answer"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON"),
        ("I will search.", "not valid JSON"),
        ('{"thought": "t", "thought": "u", "action": {}}', "stands twice"),
        ('{"thought": NaN}', "NaN is not a JSON number"),
        ('{"thought": "t", "action": {"tool": "rm"}}', "action.tool is 'rm'; allowed: search_notes, answer, give_up"),
        ("[1, 2]", "a JSON list, not an object"),
        ('{"thought": "t", "action": {"tool": "search_notes", "arguments": {"query": 5}}}', "action.arguments.query"),
        ('{"thought": "t", "action": {"tool": "search_notes", "arguments": {}}}', "action.arguments"),
    ],
)
def test_what_is_wrong_is_named(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".*") as caught:
        parse_reply(text, reply_schema([SEARCH], [1], {}))
    assert reason in str(caught.value)


def test_an_answer_that_was_cut_keeps_its_complete_sentences() -> None:
    cut = ANSWER[: ANSWER.index("So scale")]
    action = parse_reply(cut, reply_schema([], [1, 2], {}))["action"]
    assert action["sentences"] == [{"text": "方差会变大。", "sources": [1]}]


def test_a_call_that_was_cut_is_never_guessed() -> None:
    text = reply({"tool": "search_notes", "arguments": {"query": "绝对不要猜"}})[:-8]
    with pytest.raises(ValueError, match="not valid JSON"):
        parse_reply(text, reply_schema([SEARCH], [1], {}))


def test_a_reply_becomes_a_tool_call() -> None:
    inner = ScriptedChatModel(replies=[reply({"tool": "search_notes", "arguments": {"query": "位置编码"}}, "先查")])
    message = JsonProtocolModel(inner=inner).bind_tools([search_notes]).invoke([HumanMessage("为什么？")])
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("search_notes", {"query": "位置编码"})]
    assert message.tool_calls[0]["id"]
    assert message.additional_kwargs[THOUGHT] == "先查"
    assert message.text == ""


def test_an_answer_streams_its_text_and_markers_only() -> None:
    model = JsonProtocolModel(inner=ScriptedChatModel(replies=[ANSWER])).bind_tools([search_notes], citable=[1, 2])
    chunks = list(model.stream([HumanMessage("?")]))
    assert "".join(chunk.text for chunk in chunks) == "方差会变大。[1] So scale. [2]"
    assert len([chunk for chunk in chunks if chunk.text]) > 2
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert isinstance(whole, AIMessageChunk)
    assert whole.additional_kwargs[SENTENCES] == [["方差会变大。", [1]], ["So scale.", [2]]]


def test_giving_up_is_no_text() -> None:
    inner = ScriptedChatModel(replies=[reply({"tool": "give_up", "reason": "not there"})])
    message = JsonProtocolModel(inner=inner).bind_tools([search_notes], citable=[1]).invoke([HumanMessage("?")])
    assert message.text == ""
    assert message.additional_kwargs[GAVE_UP] == "not there"


def test_a_malformed_reply_goes_back_with_the_reason() -> None:
    inner = ScriptedChatModel(replies=["no json at all", ANSWER])
    message = JsonProtocolModel(inner=inner).bind_tools([search_notes], citable=[1, 2]).invoke([HumanMessage("?")])
    assert message.text.startswith("方差")
    told = inner.calls[1].messages[-1].text
    assert "cannot be used" in told and "not valid JSON" in told


def test_after_two_repairs_it_ends_clearly() -> None:
    inner = ScriptedChatModel(replies=["bad"] * 3)
    with pytest.raises(ModelError, match="did not follow the reply format"):
        JsonProtocolModel(inner=inner).bind_tools([search_notes]).invoke([HumanMessage("?")])
    assert len(inner.calls) == 3


def test_calls_and_observations_become_text() -> None:
    call = {"name": "search_notes", "args": {"query": "q"}, "id": "1", "type": "tool_call"}
    plain = to_plain_messages(
        [SystemMessage("Rules."), HumanMessage("?"), AIMessage("", tool_calls=[call]), ToolMessage("found", tool_call_id="1", name="search_notes")],
        [SEARCH], cited=True,
    )  # fmt: skip
    assert [type(message) for message in plain] == [SystemMessage, HumanMessage, AIMessage, HumanMessage]
    assert plain[0].text.startswith("Rules.") and "search_notes" in plain[0].text
    assert json.loads(plain[2].text)["action"] == {"tool": "search_notes", "arguments": {"query": "q"}}
    assert plain[3].text == "Observation (search_notes):\nfound"


@pytest.mark.parametrize(
    ("read", "meant"),
    [
        ("2 \times L", r"2 \times L"),
        ("\frac{a}{b}", r"\frac{a}{b}"),
        ("\beta", r"\beta"),
        ("\nabla L", r"\nabla L"),
        ("line\nnext", "line\nnext"),
        ("a\tb c", r"a\tb c"),
    ],
)
def test_latex_that_json_swallowed_is_restored(read: str, meant: str) -> None:
    assert unescape_latex(read) == meant


def test_the_prompt_that_is_measured_is_the_one_that_is_sent() -> None:
    told = [{"name": "fetch_page", "description": "reads a page", "parameters": {}}]
    inner = ScriptedChatModel(replies=[json.dumps({"action": {"tool": "give_up", "reason": "none"}})])
    model = JsonProtocolModel(inner=inner, told=told, thought_chars=0)
    rules = SystemMessage("Rules.")
    # Only answering remains: no tool may be called, but the prompt goes on telling of them.
    request: Any = SimpleNamespace(model=model, tools=[], system_message=rules, model_settings={"citable": [1]})
    model.invoke([rules, HumanMessage("?")], citable=[1])
    assert ModelGuard._made_base(request) == inner.calls[0].messages[0].text
    assert "fetch_page" in inner.calls[0].messages[0].text


def forecast(
    city: Annotated[str, Field(description="Name of the city, in English.")],
    days: Annotated[int, Field(ge=1, le=7)] = 1,
    unit: Literal["celsius", "fahrenheit"] | None = None,
) -> str:
    """Weather to come."""
    return city


FORECAST = convert_to_openai_tool(own_tool(forecast))["function"]


def test_arguments_of_own_tools_are_explained_with_their_values() -> None:
    (prompt,) = to_plain_messages([SystemMessage("S")], [FORECAST], cited=True)
    assert (
        '- {"tool": "forecast", "arguments": {city, days, unit}}: Weather to come. (city: Name of the city, in English; '
        'days: at least 1, at most 7; unit: one of "celsius" "fahrenheit")\n'
    ) in prompt.text


def test_shipped_tools_and_plain_arguments_stay_short() -> None:
    described = {"query": {"type": "string", "description": "what to look for"}}
    tools = [{**SEARCH, "parameters": {"properties": described}}, {**SEARCH, "name": "mine"}]
    (prompt,) = to_plain_messages([SystemMessage("S")], tools, cited=True)
    assert '- {"tool": "search_notes", "arguments": {query}}: search\n' in prompt.text
    assert '- {"tool": "mine", "arguments": {query}}: search\n' in prompt.text


def test_long_descriptions_and_lists_of_values_are_cut() -> None:
    field = {"type": "string", "description": "x" * 5000, "enum": [f"value {n}" for n in range(100)]}
    tool = {"name": "mine", "description": "d", "parameters": {"properties": {f"a{n}": field for n in range(20)}}}
    (prompt,) = to_plain_messages([SystemMessage("S")], [tool], cited=True)
    assert len(prompt.text) < 1200 and "value 3" not in prompt.text


def test_bounds_hold_in_the_schema_too() -> None:
    schema = reply_schema([FORECAST], [1], {})
    with pytest.raises(ValueError, match=r"action\.arguments\.days: 9 is greater than"):
        parse_reply(reply({"tool": "forecast", "arguments": {"city": "Oslo", "days": 9}}), schema)
    old = {"name": "old", "parameters": {"properties": {"n": {"type": "integer", "exclusiveMinimum": True}}}}
    parse_reply(reply({"tool": "old", "arguments": {"n": 1}}), reply_schema([old], [1], {}))
