"""Replies of models that miss the form: what is forgiven, what goes back with its path, and nothing is guessed."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.tools import tool

from ragkit.agent.json_protocol import JsonProtocolModel, reply_schema
from ragkit.agent.native_tools import NativeToolModel, _Calls
from ragkit.agent.reply_parsing import parse_reply
from ragkit.agent.tools.arguments import fault, schema_of
from ragkit.errors import ModelError
from ragkit.testing import ScriptedChatModel
from ragkit.text.strict_json import JsonFault, strict_json

THOROUGH = os.environ.get("RAGKIT_TEST_THOROUGH") == "1"
PARAMETERS = {
    "type": "object",
    "properties": {
        "query": {"type": "string"},
        "k": {"type": "integer"},
        "exact": {"type": "boolean"},
        "score": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["query"],
}
SCHEMA = reply_schema([{"name": "search_notes", "description": "s", "parameters": PARAMETERS}], [1, 2], {})
CALL = '{"thought": "t", "action": {"tool": "search_notes", "arguments": {"query": "q", "k": 5}}}'
ACTION = {"tool": "search_notes", "arguments": {"query": "q", "k": 5}}


def arguments(written: str) -> str:
    return f'{{"thought": "t", "action": {{"tool": "search_notes", "arguments": {written}}}}}'


DOUBLED = CALL.replace("{", "{{").replace("}", "}}")
FORGIVEN = {
    "plain": CALL,
    "fence": f"```json\n{CALL}\n```",
    "bare fence": f"```\n{CALL}\n```",
    "fence that is not closed": f"```json\n{CALL}",
    "tool_call tags": f"<tool_call>\n{CALL}\n</tool_call>",
    "tag that is not closed": f"<tool_call>{CALL}",
    "prose before": f"I will search the notes.\n{CALL}",
    "prose after": f"{CALL}\nThat finds it.",
    "prose around a fence": f"Sure!\n```json\n{CALL}\n```\nDone.",
    "thinking before": f'<think>Maybe {{"tool": "x"}}?</think>{CALL}',
    "end-of-turn token": f"{CALL}<|im_end|>",
    "every brace doubled": DOUBLED,
    "outer braces doubled": "{" + CALL + "}",
    "doubled in a fence": f"```json\n{DOUBLED}\n```",
    "Hermes form": '<tool_call>{"name": "search_notes", "arguments": {"query": "q", "k": 5}}</tool_call>',
    "action alone": '{"tool": "search_notes", "arguments": {"query": "q", "k": 5}}',
    "null for an optional one": arguments('{"query": "q", "k": 5, "exact": null}'),
    "indented": json.dumps(json.loads(CALL), indent=4),
    "BOM": "\ufeff" + CALL,
}


@pytest.mark.parametrize("case", FORGIVEN)
def test_form_is_forgiven(case: str) -> None:
    assert parse_reply(FORGIVEN[case], SCHEMA)["action"] == ACTION


REFUSED: dict[str, tuple[str, str]] = {
    "empty": ("", "not valid JSON"),
    "blank": (" \n", "not valid JSON"),
    "prose": ("I will search.", "not valid JSON"),
    "null": ("null", "a JSON NoneType, not an object"),
    "array": (f"[{CALL}]", "a JSON list, not an object"),
    "array of numbers": ("[1, 2]", "a JSON list, not an object"),
    "fenced array": (f"```json\n[{CALL}]\n```", "a JSON list, not an object"),
    "string": ('"search"', "not valid JSON"),
    "number": ("42", "a JSON int, not an object"),
    "trailing comma": (CALL[:-1] + ",}", "not valid JSON"),
    "single quotes": (CALL.replace('"', "'"), "not valid JSON"),
    "unquoted keys": ("{thought: 't', action: {}}", "not valid JSON"),
    "comments": (CALL.replace('"action"', '/* now */ "action"'), "not valid JSON"),
    "cut in a string": (CALL[: CALL.index('"q"') + 2], "not valid JSON"),
    "cut behind the arguments": (CALL[:-2], "not valid JSON"),
    "two objects": (CALL + CALL, "two objects"),
    "two objects in lines": (f"{CALL}\n{CALL}", "two objects"),
    "empty object": ("{}", "action.tool is 'None'; allowed: search_notes, answer, give_up"),
    "action null": ('{"thought": "t", "action": null}', "action.tool is 'None'"),
    "unknown tool": (CALL.replace("search_notes", "rm"), "action.tool is 'rm'"),
    "wrong case": (CALL.replace("search_notes", "Search_Notes"), "action.tool is 'Search_Notes'"),
    "homoglyph": (CALL.replace("search_notes", "ѕearch_notes"), "action.tool is"),
    "newline in the name": (CALL.replace("search_notes", "search_notes\\n"), r"action.tool is 'search_notes\n'"),
    "dunder": (CALL.replace("search_notes", "__class__"), "action.tool is '__class__'"),
    "tool a list": (CALL.replace('"search_notes"', '["search_notes"]'), "action.tool is"),
    "duplicate argument": (arguments('{"query": "a", "query": "b"}'), "action.arguments.query: the key stands twice"),
    "duplicate action": ('{"action": {}, "action": {}}', "action: the key stands twice"),
    "NaN": (arguments('{"query": "q", "score": NaN}'), "action.arguments.score: NaN is not a JSON number"),
    "Infinity": (arguments('{"query": "q", "score": -Infinity}'), "action.arguments.score: -Infinity is not"),
    "1e999": (arguments('{"query": "q", "score": 1e999}'), "action.arguments.score: 1e999 is beyond"),
    "5,000 digits": (arguments('{"query": "q", "k": ' + "9" * 5000 + "}"), "action.arguments.k: an integer of 5000 digits"),
    "2**63": (arguments('{"query": "q", "k": 9223372036854775808}'), "action.arguments.k: an integer of 19 digits"),
    "lone surrogate": (arguments(r'{"query": "\ud800"}'), "action.arguments.query: half of a surrogate pair"),
    "surrogate in a key": (arguments(r'{"\ud800": "q"}'), "half of a surrogate pair"),
    "10^5 levels": (arguments("[" * 100_000 + "]" * 100_000), "deeper than 64 levels"),
    "100 levels": (arguments('{"query": ' + "[" * 100 + "]" * 100 + "}"), "deeper than 64 levels"),
    '"5" for 5': (arguments('{"query": "q", "k": "5"}'), "action.arguments.k: '5' is not of type 'integer'"),
    "true for 1": (arguments('{"query": "q", "k": true}'), "action.arguments.k: True is not of type 'integer'"),
    "5.5 for 5": (arguments('{"query": "q", "k": 5.5}'), "action.arguments.k: 5.5 is not of type 'integer'"),
    "1 for true": (arguments('{"query": "q", "exact": 1}'), "action.arguments.exact: 1 is not of type 'boolean'"),
    '"true" for true': (arguments('{"query": "q", "exact": "true"}'), "action.arguments.exact: 'true' is not"),
    "5 for text": (arguments('{"query": 5}'), "action.arguments.query: 5 is not of type 'string'"),
    "list for text": (arguments('{"query": ["q"]}'), "action.arguments.query: ['q'] is not of type 'string'"),
    "text for list": (arguments('{"query": "q", "tags": "a"}'), "action.arguments.tags: 'a' is not of type 'array'"),
    "number in a list": (arguments('{"query": "q", "tags": ["a", 1]}'), "action.arguments.tags.1: 1 is not of type"),
    "extra key": (arguments('{"query": "q", "path": "/etc/passwd"}'), "action.arguments: Additional properties"),
    "missing key": (arguments("{}"), "action.arguments: 'query' is a required property"),
    "null for a required one": (arguments('{"query": null}'), "action.arguments.query: None is not of type 'string'"),
    "arguments null": (arguments("null"), "action.arguments: None is not of type 'object'"),
    "arguments a list": (arguments('["q"]'), "action.arguments: ['q'] is not of type 'object'"),
    "arguments as text": (arguments('"{}"'), "action.arguments: '{}' is not of type 'object'"),
    "extra key beside the arguments": (CALL.replace('"tool"', '"also": 1, "tool"'), "action: Additional properties"),
    "a source that is none": ('{"thought": "", "action": {"tool": "answer", "sentences": [{"text": "x y", "sources": [9]}]}}', "action.sentences.0.sources.0: 9 is not one of"),
    "source true": ('{"thought": "", "action": {"tool": "answer", "sentences": [{"text": "x y", "sources": [true]}]}}', "action.sentences.0.sources.0: True is not one of"),
    "text for sources": ('{"thought": "", "action": {"tool": "answer", "sentences": [{"text": "x y", "sources": "1"}]}}', "action.sentences.0.sources: '1' is not of type 'array'"),
}  # fmt: skip


def test_there_are_at_least_45_payloads() -> None:
    assert len(REFUSED) >= 45


@pytest.mark.parametrize("case", REFUSED)
def test_a_payload_is_refused_with_the_path_of_its_fault(case: str) -> None:
    text, said = REFUSED[case]
    with pytest.raises(ValueError) as caught:
        parse_reply(text, SCHEMA)
    assert said in str(caught.value)
    assert len(str(caught.value)) <= 400


@pytest.mark.parametrize("case", REFUSED)
def test_no_payload_becomes_a_call_and_the_model_is_told_in_short(case: str) -> None:
    inner = ScriptedChatModel(replies=[REFUSED[case][0]] * 3)
    with pytest.raises(ModelError, match="did not follow the reply format"):
        JsonProtocolModel(inner=inner).bind_tools([search_notes], citable=[1, 2]).invoke([HumanMessage("?")])
    assert len(inner.calls) == 3
    assert all(len(call.messages[-1].text) <= 1024 for call in inner.calls)


@tool
def search_notes(query: str, k: int = 5, exact: bool = False, score: float = 0.0, tags: tuple[str, ...] = ()) -> str:
    """Search the notes."""
    return query


NATIVE = {
    name: (text[len(arguments("")) - 2 : -2], said)
    for name, (text, said) in REFUSED.items()
    if text.startswith('{"thought": "t", "action": {"tool": "search_notes", "arguments": ') and text.endswith("}}")
    if any(sign in said for sign in ("twice", "JSON number", "Infinity", "beyond", "digits", "surrogate", "deeper"))
    and "of type" not in said
}


class Raw(ScriptedChatModel):
    """Streams one call with arguments as they are written."""

    written: list[str]

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        from langchain_core.outputs import ChatGenerationChunk

        self._next(messages, stop, kwargs)
        text = self.written[len(self.calls) - 1]
        for at in range(0, max(1, len(text)), 9):
            first = at == 0
            piece = tool_call_chunk(
                name="search_notes" if first else None, args=text[at : at + 9], id="c1" if first else None, index=0
            )
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[piece]))


def native(*written: str) -> tuple[Any, Raw]:
    inner = Raw(replies=[AIMessage("")] * len(written), written=list(written))
    return NativeToolModel(inner=inner).bind_tools([search_notes]), inner


def test_native_calls_that_are_right_pass() -> None:
    model, inner = native('{"query": "位置编码", "k": 3}')
    message = model.invoke([HumanMessage("?")])
    assert [(c["name"], c["args"]) for c in message.tool_calls] == [("search_notes", {"query": "位置编码", "k": 3})]
    assert inner.calls[0].kwargs["tools"][0]["function"]["name"] == "search_notes"


@pytest.mark.parametrize("case", NATIVE)
def test_native_arguments_that_cannot_be_read_go_back(case: str) -> None:
    written, said = NATIVE[case]
    model, inner = native(written, written, written)
    with pytest.raises(ModelError, match="malformed tool calls"):
        model.invoke([HumanMessage("?")])
    told = inner.calls[1].messages[-1].text
    assert len(inner.calls) == 3 and len(told) <= 1024
    assert said.replace("action.arguments.", "search_notes.").replace("action.arguments", "search_notes")[:60] in told


def test_a_native_call_that_was_cut_is_not_run() -> None:
    """langchain reads ``{"query": "位置`` as a call for 位置."""
    cut = '{"query": "位置'
    loose = AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(name="f", args=cut, id="1", index=0)])
    assert loose.tool_calls[0]["args"] == {"query": "位置"}
    model, inner = native(cut, '{"query": "位置编码"}')
    message = model.invoke([HumanMessage("?")])
    assert [c["args"] for c in message.tool_calls] == [{"query": "位置编码"}]
    assert len(inner.calls) == 2


def test_what_a_repeated_attempt_costs_counts_though_its_text_is_not_shown() -> None:
    class Spoken(Raw):
        """Says something else each time, and what it cost."""

        def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            from langchain_core.outputs import ChatGenerationChunk

            said = AIMessageChunk(content=f"attempt {len(self.calls)}")
            yield ChatGenerationChunk(message=said)
            yield from super()._stream(messages, stop, run_manager, **kwargs)
            used = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
            yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=used))

    inner = Spoken(replies=[AIMessage("")] * 2, written=['{"query": ', '{"query": "x"}'])
    message = NativeToolModel(inner=inner).bind_tools([search_notes]).invoke([HumanMessage("?")])
    assert message.text == "attempt 0" and [call["args"] for call in message.tool_calls] == [{"query": "x"}]
    assert message.usage_metadata["total_tokens"] == 220


def test_whether_arguments_fit_is_for_the_gate() -> None:
    """It sees what will run, and its refusal is an observation that the answer's steps show."""
    model, inner = native('{"query": 5, "exact": null}')
    assert [c["args"] for c in model.invoke([HumanMessage("?")]).tool_calls] == [{"query": 5}]
    assert fault(schema_of(search_notes), {"query": 5}).startswith("arguments.query: ")
    assert len(inner.calls) == 1


def test_calls_of_one_reply_stay_apart() -> None:
    calls = _Calls()
    for name, args, at, id in [("f", '{"a":', 0, "1"), ("g", "{}", 1, "2"), (None, "1}", 0, None), ("h", "", 0, "3")]:
        calls.take(AIMessageChunk("", tool_call_chunks=[tool_call_chunk(name=name, args=args, id=id, index=at)]))
    assert [(call.name, call.arguments) for call in calls.found] == [("f", '{"a":1}'), ("g", "{}"), ("h", "")]


# ---- the parser under arbitrary text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["thought", "action", "tool", "arguments", "query", "k", "name", "sentences", "text", "sources"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
WRITTEN = st.one_of(
    st.text(max_size=60),
    JSON.map(json.dumps),
    st.tuples(st.sampled_from([CALL, DOUBLED, *FORGIVEN.values()]), st.integers(0, 120), st.text(max_size=3)).map(
        lambda t: t[0][: t[1]] + t[2] + t[0][t[1] :]
    ),
    st.tuples(st.sampled_from([CALL, DOUBLED]), st.integers(0, 120)).map(lambda t: t[0][: t[1]]),
)


@examples(max_examples=20_000 if THOROUGH else 400)
@given(WRITTEN)
@example("{" * 50)
@example("{{" + "}" * 9)
@example('{"action": {"tool": "answer", "sentences": 5')
def test_any_text_is_a_valid_reply_or_a_short_refusal(text: str) -> None:
    try:
        reply = parse_reply(text, SCHEMA)
    except ValueError as exc:
        assert len(str(exc)) <= 400
        return
    action = reply["action"]
    if action["tool"] == "search_notes":
        given = action["arguments"]
        assert set(given) <= set(PARAMETERS["properties"]) and type(given["query"]) is str  # type: ignore[call-overload]
        assert type(given.get("k", 1)) in {int, float} and float(given.get("k", 1)).is_integer()


@examples(max_examples=2000 if THOROUGH else 150)
@given(JSON)
def test_strict_json_agrees_with_json_where_json_is_right(value: Any) -> None:
    text = json.dumps(value)
    try:
        assert strict_json(text) == json.loads(text)
    except JsonFault as fault:
        assert any(sign in str(fault) for sign in ("not a JSON number", "beyond", "surrogate"))
