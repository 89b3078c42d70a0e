"""What an endpoint can do is found out once; an agent goes on without one that is down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ragkit import Agent, Index
from ragkit.agent.json_protocol import reply_schema
from ragkit.errors import EndpointDownError, EndpointError
from ragkit.models.breaker import breaker_of, forget_breakers
from ragkit.models.chat import ChatModel, resolve_chat
from ragkit.models.constraints import FORM, FORMS, request_fields, strict_schema
from ragkit.models.discovery import FILE
from ragkit.settings import Settings, load_settings
from ragkit.testing import FaultServer, HashingEmbedder
from ragkit.testing.fault_server import Received, Step

NOTES = {"rnn.md": "# RNN\n\nRNN 逐个处理序列里的词，所以训练不能并行。RNN 的缺点是梯度消失。\n"}


@pytest.fixture(autouse=True)
def no_memory_of_dead_endpoints() -> Iterator[None]:
    forget_breakers()
    yield
    forget_breakers()


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def chat(server: FaultServer, **settings: Any) -> ChatModel:
    return resolve_chat(f"openai:m@{server.url}", load_settings(**settings))


def constraint(body: dict[str, Any]) -> str:
    """The form of schema that a request is in."""
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        return "openai" if form["json_schema"].get("strict") else "json_schema"
    if form.get("type") == "json_object":
        return "llama.cpp" if "schema" in form else "json_object"
    return "vllm" if "structured_outputs" in body else "ollama" if "format" in body else "none"


def playing(
    *, calls: bool = False, enforced: tuple[str, ...] = (), taken: tuple[str, ...] = FORMS
) -> Callable[[Received], Step]:
    """A server that calls tools or not, enforces some forms, ignores others, and refuses the rest."""

    def play(request: Received) -> Step:
        body = request.body
        if body.get("tools"):
            return Step(calls=[("report_number", {"number": 7})]) if calls else Step(text='{"number": 7}')
        form = constraint(body)
        if form not in taken:
            return Step(400, body={"error": {"message": f"response_format: {form} is not supported"}})
        return Step(text='{"fruit": "kumquat"}' if form in enforced else '{"hello": "you"}')

    return play


def test_native_calls_are_found_by_one_request_and_kept(server: FaultServer, home: Path) -> None:
    server.play(then=playing(calls=True))
    assert chat(server).tool_calling_note == "asked at the first question"
    assert chat(server).tool_calling == "native"
    assert len(server.requests) == 1
    assert chat(server).tool_calling == "native" and chat(server).tool_calling_note == "native"
    assert len(server.requests) == 1
    kept = json.loads((home / FILE).read_text(encoding="utf-8"))
    assert list(kept) == [f"{server.url} openai:m"]


@pytest.mark.parametrize("form", ["openai", "json_schema", "llama.cpp", "vllm", "ollama"])
@pytest.mark.parametrize("others", ["refused", "ignored"])
def test_the_form_that_is_enforced_is_found(server: FaultServer, form: str, others: str) -> None:
    taken = (form,) if others == "refused" else FORMS
    server.play(then=playing(enforced=(form,), taken=taken))
    found = chat(server)
    assert found.tool_calling == "json"
    assert (found.model().metadata or {})[FORM] == form
    assert len(server.requests) == 2 + FORMS.index(form)


def test_a_server_that_enforces_none_is_asked_in_words(server: FaultServer) -> None:
    server.play(then=playing(taken=("json_object", "none")))
    found = chat(server)
    assert found.tool_calling == "json" and (found.model().metadata or {})[FORM] == "json_object"


def test_tools_that_are_refused_mean_json(server: FaultServer) -> None:
    server.play({"status": 400, "body": {"error": {"message": "tools are not supported"}}}, then=playing())
    assert chat(server).tool_calling == "json"


@pytest.mark.parametrize("way", ["native", "json"])
def test_a_setting_forces_it_without_asking(server: FaultServer, way: str) -> None:
    server.play()
    assert chat(server, tool_calling=way).tool_calling == way
    assert server.requests == []


def test_nothing_is_kept_of_an_endpoint_that_is_down(server: FaultServer, home: Path) -> None:
    server.play(then={"status": 401})
    with pytest.raises(EndpointError, match="key was refused"):
        assert chat(server).tool_calling
    assert not (home / FILE).exists()


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1}', "not json"])
def test_a_damaged_file_is_asked_anew(server: FaultServer, home: Path, content: str) -> None:
    home.mkdir(parents=True)
    (home / FILE).write_text(content, encoding="utf-8")
    server.play(then=playing(calls=True))
    assert chat(server).tool_calling == "native" and len(server.requests) == 1


def test_a_form_that_is_refused_later_gives_way(server: FaultServer) -> None:
    server.play(then=playing(taken=("vllm", "ollama", "json_object", "none")))
    structured = chat(server, tool_calling="json").structured()
    assert structured is not None
    schema = {"type": "object", "properties": {"hello": {"type": "string"}}, "required": ["hello"]}
    for _ in range(2):
        assert structured.complete_json("s", "u", schema) == {"hello": "you"}
    assert [constraint(request.body) for request in server.requests] == [
        "openai",
        "json_schema",
        "llama.cpp",
        "vllm",
        "vllm",
    ]


def test_a_prompt_that_is_too_long_is_no_refused_form(server: FaultServer) -> None:
    said = "This model's maximum context length is 8 tokens. response_format"
    server.play(then={"status": 400, "body": {"error": {"message": said}}})
    structured = chat(server, tool_calling="json").structured()
    assert structured is not None
    with pytest.raises(EndpointError, match="maximum context"):
        structured.complete_json("s", "u", {"type": "object"})
    assert len(server.requests) == 1


def test_a_schema_in_strict_mode_has_every_property_required() -> None:
    tool = {
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "string", "maxLength": 9}, "b": {"type": "integer"}},
            "required": ["a"],
        },
    }
    strict = strict_schema(reply_schema([tool], [1], {}))

    def walk(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            yield value
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from walk(item)

    for part in walk(strict):
        assert not {"maxLength", "minLength", "default"} & set(part) or "properties" not in strict
        if part.get("type") == "object":
            assert part["additionalProperties"] is False and part["required"] == list(part["properties"])
    arguments = strict["properties"]["action"]["anyOf"][0]["properties"]["arguments"]
    assert arguments["properties"]["b"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert {form for form in FORMS if not request_fields(form, {})} == {"none"}


# ---- the agent without its model


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def agent(index: Index, server: FaultServer, **settings: Any) -> Agent:
    given: Settings = load_settings(chat_timeout=2, **settings)
    return Agent.load("interview", index=index, model=f"openai:m@{server.url}", settings=given)


def test_a_dead_endpoint_gives_labelled_quotes(index: Index, server: FaultServer) -> None:
    server.play(then={"reset": True})
    breaker_of(f"http://127.0.0.1:{server.port}")._pause = 60.0  # however slow this machine is
    bot = agent(index, server)
    answer = bot.ask("RNN 的缺点是什么？")
    assert len(server.requests) == 3
    assert answer.text.startswith("语言模型暂不可用") and "梯度消失" in answer.text
    assert answer.stop_reason == "endpoint_down" and answer.citations[0].document == "rnn.md"
    assert answer.warnings[0].startswith("Chat model openai:m failed (it cannot be reached")
    assert answer.model == "openai:m"
    again = bot.ask("What is the RNN's drawback? 梯度消失")
    assert len(server.requests) == 3 and "tried again in" in again.warnings[0]
    bot.quote_when_down = False
    with pytest.raises(EndpointDownError):
        bot.ask("RNN 的缺点是什么？")


def test_a_wrong_key_is_an_error_all_the_same(index: Index, server: FaultServer) -> None:
    server.play(then={"status": 401})
    with pytest.raises(EndpointError, match="key was refused"):
        agent(index, server).ask("RNN 的缺点是什么？")


@pytest.mark.parametrize("way", ["native", "json"])
def test_an_answer_that_breaks_off_is_kept_and_marked(index: Index, server: FaultServer, way: str) -> None:
    said = "RNN 的缺点是梯度消失[1]。还有"
    sentences = [{"text": "RNN 的缺点是梯度消失。", "sources": [1]}, {"text": "还有", "sources": [1]}]
    protocol = json.dumps({"thought": "t", "action": {"tool": "answer", "sentences": sentences}}, ensure_ascii=False)

    def play(request: Received) -> Step:
        from ragkit.testing.fault_server import completion_events

        body = completion_events(said if way == "native" else protocol)
        return Step(body=body, headers={"Content-Type": "text/event-stream"}, framing="chunked", cut=len(body) - 700)

    server.play(then=play)
    bot = agent(index, server, tool_calling=way)
    events = list(bot.stream("RNN 的缺点是什么？"))
    answer = events[-1].answer  # type: ignore[union-attr]
    assert answer.stop_reason == "endpoint_down" and answer.text.startswith("语言模型暂不可用")
    assert "broke off" in answer.warnings[0] or "connection was lost" in answer.warnings[0]
    assert "RNN 的缺点是" in answer.warnings[0] and answer.warnings[0].endswith("…(broken off)")
    assert len(server.requests) == 1
    assert "".join(event.text for event in events if event.type == "token").count("RNN 的缺点是") <= 1  # type: ignore[union-attr]


def test_a_call_that_breaks_off_is_never_run(index: Index, server: FaultServer) -> None:
    from ragkit.testing.fault_server import completion_events

    body = completion_events("", [("read_note", {"document": "rnn.md", "line": 1})])
    cut = body.index(b'"finish_reason"')
    server.play(then=Step(body=body, headers={"Content-Type": "text/event-stream"}, framing="close", cut=cut))
    answer = agent(index, server, tool_calling="native").ask("RNN 的缺点是什么？")
    assert [step.tool for step in answer.steps] == ["search_notes"]
    assert answer.stop_reason == "endpoint_down"
