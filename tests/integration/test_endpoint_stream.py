"""Streams of model endpoints: cut at every byte, cut up in every way, in the shapes that real servers send."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk

from ragkit.errors import EndpointDownError, ReplyCutError
from ragkit.models.breaker import forget_breakers
from ragkit.models.chat import endpoint_errors, resolve_chat
from ragkit.models.endpoint import Limits
from ragkit.models.reply_stream import ReplyStream
from ragkit.settings import load_settings
from ragkit.testing import FaultServer
from ragkit.testing.fault_server import completion_events

THOROUGH = os.environ.get("RAGKIT_TEST_THOROUGH") == "1"
TEXT = "位置编码 tells 模型 where 😀 each word is."
RECORDED = completion_events(TEXT, [("search_notes", {"query": "位置编码 😀", "k": 5})])


class Body(httpx.SyncByteStream):
    def __init__(self, pieces: list[bytes], broken: bool = False) -> None:
        self._pieces, self._broken = pieces, broken

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._broken:
            raise httpx.RemoteProtocolError("peer closed connection")


def events(pieces: list[bytes], broken: bool = False) -> list[Any]:
    """What a client library is handed for a body that arrives in these pieces."""
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(pieces, broken))
    now = time.monotonic()
    lines = list(ReplyStream(response, Limits(), now, now + 600, time.monotonic))
    assert all(line.startswith(b"data: ") and line.endswith(b"\n\n") for line in lines)
    assert lines[-1] == b"data: [DONE]\n\n"
    return [json.loads(line[6:]) for line in lines[:-1]]


WHOLE = events([RECORDED])


def heard(chunks: list[Any]) -> tuple[str, str]:
    """Text and the arguments of the calls in a stream."""
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    calls = [call["function"].get("arguments", "") for delta in deltas for call in delta.get("tool_calls", ())]
    return "".join(delta.get("content") or "" for delta in deltas), "".join(calls)


def test_a_whole_stream_says_what_was_sent() -> None:
    text, arguments = heard(WHOLE)
    assert text == TEXT and json.loads(arguments) == {"query": "位置编码 😀", "k": 5}


@pytest.mark.parametrize("broken", [True, False], ids=["connection lost", "clean end"])
def test_a_stream_cut_at_any_byte_is_never_whole(broken: bool) -> None:
    """Every byte (every seventh where time is short): what is before the finish reason raises, what is behind it has all that was said."""
    end = RECORDED.index(b'"finish_reason": "tool_calls"')
    complete = RECORDED.index(b"\n\n", end)
    assert complete > 3500  # more than 500 positions
    for at in range(0, len(RECORDED), 1 if THOROUGH else 7):
        if at < end:
            with pytest.raises(EndpointDownError) as caught:
                events([RECORDED[:at]], broken)
            assert isinstance(caught.value, ReplyCutError) or not broken
        elif at > complete:
            assert heard(events([RECORDED[:at]], broken)) == heard(WHOLE)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture(scope="module")
def model(server: FaultServer) -> BaseChatModel:
    return resolve_chat(f"openai:m@{server.url}", load_settings()).model()


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.55, 0.8])
def test_over_a_socket_a_cut_stream_is_an_error_with_its_text_kept(
    server: FaultServer, model: BaseChatModel, framing: str, share: float
) -> None:
    forget_breakers()
    cut = int(share * RECORDED.index(b'"finish_reason"'))
    server.play({"body": RECORDED, "headers": {"Content-Type": "text/event-stream"}, "framing": framing, "cut": cut})
    parts: list[AIMessageChunk] = []
    with pytest.raises(ReplyCutError), endpoint_errors("openai:m"):
        parts.extend(model.stream("?"))  # type: ignore[arg-type]
    assert len(server.requests) == 1  # the beginning was shown; asking again would show it twice
    assert TEXT.startswith("".join(part.text for part in parts))


# ---- the same bytes, cut up otherwise, are the same events


def reshaped(events: list[str], draw: random.Random) -> bytes:
    """The events again, as another server may write them: line ends, comments, fields, several data lines."""
    out = b"\xef\xbb\xbf" if draw.random() < 0.3 else b""
    for event in events:
        end = draw.choice([b"\n", b"\r", b"\r\n"])
        if draw.random() < 0.3:
            out += draw.choice([b": keep-alive", b":", b"id: 7", b"event: message", b"retry: 10", b"noise"]) + end
        # A break between two tokens of JSON is white space there: the data lines are joined with one.
        lines = event.replace('", "', '",\n"').split("\n") if draw.random() < 0.3 else [event]
        for line in lines:
            out += draw.choice([b"data: ", b"data:"]) + line.encode() + end
        out += end
        if draw.random() < 0.2:
            out += b": ping" + end + end
    return out


PLAIN = [line.removeprefix("data: ") for line in RECORDED.decode().split("\n\n") if line]
ESCAPED = [json.dumps(json.loads(event)) for event in PLAIN[:-1]]


@examples(max_examples=2000 if THOROUGH else 250)
@given(st.integers(0, 2**32), st.booleans(), st.booleans(), st.integers(1, 40))
def test_any_cutting_up_gives_the_same_events(seed: int, escaped: bool, done: bool, size: int) -> None:
    draw = random.Random(seed)
    body = reshaped((ESCAPED if escaped else PLAIN[:-1]) + (["[DONE]"] if done else []), draw)
    pieces, at = [], 0
    while at < len(body):
        step = draw.randint(1, size)
        pieces.append(body[at : at + step])
        at += step
    assert events(pieces) == WHOLE


def test_one_byte_at_a_time() -> None:
    assert events([RECORDED[i : i + 1] for i in range(len(RECORDED))]) == WHOLE


# ---- shapes of real servers


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> str:
    return json.dumps({"choices": [{"delta": delta, "finish_reason": finish}], **more})


END = chunk({}, "stop")
SHAPES: dict[str, list[str]] = {
    "Azure opens with its filter": ['{"choices": [], "prompt_filter_results": []}', chunk({"content": "hi"}), END],
    "choices null": ['{"choices": null}', chunk({"content": "hi"}), END],
    "no delta in the last": [chunk({"content": "hi"}), chunk(None, "stop")],
    "no role, no id": [chunk({"content": "hi"}), END],
    "content null": [chunk({"role": "assistant", "content": None}), chunk({"content": "hi"}), END],
    "usage null": [chunk({"content": "hi"}, usage=None), END],
    "usage alone at the end": [chunk({"content": "hi"}), END, '{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}'],
    "no finish, but [DONE]": [chunk({"content": "hi"}), "[DONE]"],
    "finish with the last text": [chunk({"content": "hi"}, "stop")],
    "message in place of delta": [json.dumps({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})],
    "events behind the end": [chunk({"content": "hi"}), END, "[DONE]", "what is this"],
    "empty object": ["{}", chunk({"content": "hi"}), END],
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_real_servers(server: FaultServer, model: BaseChatModel, shape: str) -> None:
    server.play({"events": SHAPES[shape], "framing": "close"})
    with endpoint_errors("openai:m"):
        assert "".join(part.text for part in model.stream("?")) == "hi"


def call(**piece: Any) -> str:
    name, arguments = piece.pop("name", None), piece.pop("arguments", "")
    return chunk({"tool_calls": [{"function": {"name": name, "arguments": arguments}, **piece}]})


CALLS: dict[str, list[str]] = {
    "as it should be": [call(id="a", index=0, name="f"), call(index=0, arguments='{"x":'), call(index=0, arguments="1}"),
                        call(id="b", index=1, name="g"), call(index=1, arguments='{"x":2}')],
    "no index": [call(id="a", name="f"), call(arguments='{"x":'), call(arguments="1}"), call(id="b", name="g", arguments='{"x":2}')],
    "every index 0": [call(id="a", index=0, name="f", arguments='{"x":'), call(index=0, arguments="1}"),
                      call(id="b", index=0, name="g", arguments='{"x":'), call(index=0, arguments="2}")],
    "index null": [call(id="a", index=None, name="f", arguments='{"x":1}'), call(id="b", index=None, name="g", arguments='{"x":2}')],
    "arguments an object": [call(id="a", index=0, name="f", arguments={"x": 1}), call(id="b", index=1, name="g", arguments={"x": 2})],
    "id in each piece": [call(id="a", index=0, name="f", arguments='{"x":'), call(id="a", index=0, arguments="1}"), call(id="b", index=1, name="g", arguments='{"x":2}')],
}  # fmt: skip


@pytest.mark.parametrize("shape", CALLS)
def test_calls_of_real_servers(server: FaultServer, model: BaseChatModel, shape: str) -> None:
    server.play({"events": [*CALLS[shape], chunk({}, "tool_calls"), "[DONE]"], "framing": "chunked"})
    whole: Any = None
    for part in model.stream("?"):
        whole = part if whole is None else whole + part
    assert [(c["name"], c["args"]) for c in whole.tool_calls] == [("f", {"x": 1}), ("g", {"x": 2})]


@pytest.mark.parametrize(
    "bad",
    [["hello"], ["[1]"], ['{"choices": [{"delta": {"content": 5}}]}'], ['{"error": {"message": "boom"}}'], ['{"x": NaN}']],
)  # fmt: skip
def test_an_event_that_is_none_is_a_typed_error(server: FaultServer, model: BaseChatModel, bad: list[str]) -> None:
    server.play({"events": [chunk({"content": "hi"}), *bad], "framing": "close"})
    with pytest.raises(EndpointDownError), endpoint_errors("openai:m"):
        list(model.stream("?"))
