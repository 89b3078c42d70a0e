"""Model endpoints that fail: retries, limits of time, garbage, and a circuit breaker, over real sockets."""

from __future__ import annotations

import email.utils
import gzip
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel

from ragkit.errors import EndpointDownError, EndpointError, EndpointReplyError
from ragkit.models.breaker import Breaker, forget_breakers
from ragkit.models.chat import endpoint_errors, resolve_chat
from ragkit.models.deadline import watched_transport
from ragkit.models.embeddings import resolve_embedding
from ragkit.models.endpoint import Chance, EndpointTransport, Limits, retry_after
from ragkit.models.wire import parsed
from ragkit.settings import load_settings
from ragkit.testing import FaultServer
from ragkit.testing.fault_server import Received, Step

KEY = "sk-secret-1234567890"


@pytest.fixture(autouse=True)
def no_memory_of_dead_endpoints() -> Iterator[None]:
    forget_breakers()
    yield
    forget_breakers()


class Clock:
    """Sleeps cost no time, but are remembered."""

    def __init__(self, jitter: float = 0.5) -> None:
        self.slept: list[float] = []
        self.chance = Chance(clock=self.now, sleep=self.sleep, jitter=lambda: jitter, now=lambda: 1_000_000.0)

    def now(self) -> float:
        return time.monotonic() + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def post(
    server: FaultServer, clock: Clock, limits: Limits | None = None, breaker: Breaker | None = None, **body: Any
) -> httpx.Response:
    transport = EndpointTransport(limits or Limits(), breaker=breaker, inner=watched_transport(), chance=clock.chance)
    with httpx.Client(transport=transport) as client:
        return client.post(f"{server.url}/chat/completions", json={"messages": [], **body})


def chat(server: FaultServer, **settings: Any) -> BaseChatModel:
    return resolve_chat(f"openai:m@{server.url}", load_settings(openai_api_key=KEY, **settings)).model()


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture(scope="module")
def model(server: FaultServer) -> BaseChatModel:
    return chat(server)


@pytest.fixture(scope="module")
def hasty(server: FaultServer) -> BaseChatModel:
    """A model with tight limits; asked once, since the first call imports what the next ones use."""
    made = chat(server, **TIGHT)
    server.play(then={"text": "x"})
    made.invoke("?")
    list(made.stream("?"))
    return made


def ask(model: BaseChatModel, stream: bool = True) -> str:
    with endpoint_errors("openai:m"):
        return "".join(part.text for part in model.stream("?")) if stream else model.invoke("?").text


# ---- which failures are worth another attempt


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_permanent_error_costs_one_request(server: FaultServer, model: BaseChatModel, status: int) -> None:
    server.play(then={"status": status, "body": {"error": {"message": f"no {KEY}"}}})
    with pytest.raises(EndpointError) as caught:
        ask(model)
    assert len(server.requests) == 1
    assert not isinstance(caught.value, EndpointDownError)
    assert KEY not in str(caught.value) and len(str(caught.value)) <= 300


@pytest.mark.parametrize("fault", [{"status": s} for s in (408, 429, 500, 502, 503, 504)] + [{"reset": True}])
def test_a_transient_error_costs_at_most_three(fault: dict[str, Any]) -> None:
    clock = Clock()
    with FaultServer([], then=fault) as server:
        with pytest.raises(EndpointDownError):
            post(server, clock)
        assert len(server.requests) == 3
    assert clock.slept == [0.375, 0.75]  # half of each backoff, and half of the other half as jitter


def test_it_is_over_when_the_endpoint_recovers() -> None:
    clock = Clock()
    with FaultServer([{"status": 503}, {"reset": True}, {"text": "here"}]) as server:
        assert post(server, clock).json()["choices"][0]["message"]["content"] == "here"
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1", 1.0), ("0.25", 0.25), (email.utils.formatdate(1_000_007, usegmt=True), 7.0),
        ("-5", None), ("soon", None), ("", None), (None, None), ("nan", None), (email.utils.formatdate(10), None),
    ],
)  # fmt: skip
def test_what_retry_after_means(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, 1_000_000.0) == seconds


@pytest.mark.parametrize("jitter", [0.01, 0.5, 1.0])
def test_the_wait_is_what_was_asked_for_and_jitter(jitter: float) -> None:
    clock = Clock(jitter)
    with FaultServer([{"status": 429, "headers": {"Retry-After": "4"}}, {"text": "here"}]) as server:
        post(server, clock)
    assert clock.slept == [4 + jitter * 0.5]


@pytest.mark.parametrize("asked", ["1e9", "61", email.utils.formatdate(1_100_000, usegmt=True)])
def test_nobody_waits_for_an_absurd_time(asked: str) -> None:
    clock = Clock()
    with FaultServer([], then={"status": 429, "headers": {"Retry-After": asked}}) as server:
        with pytest.raises(EndpointDownError, match="it asks to wait"):
            post(server, clock)
        assert len(server.requests) == 1 and clock.slept == []


def test_no_attempt_begins_after_the_total_limit() -> None:
    clock = Clock()
    with FaultServer([], then={"status": 503, "headers": {"Retry-After": "20"}}) as server:
        with pytest.raises(EndpointDownError):
            post(server, clock, Limits(total=30.0))
        assert len(server.requests) == 2 and sum(clock.slept) < 30


# ---- four limits of time

TIGHT = {"chat_connect_timeout": 0.2, "chat_timeout": 0.3, "chat_token_timeout": 0.3, "chat_total_timeout": 0.8}
SLOW: list[tuple[str, dict[str, Any], str, float]] = [
    ("never a byte", {"silent": True}, "no reply within 0.3 s", 0.3),
    ("endless head", {"text": "x", "header_pause": 0.05}, "no reply within 0.3 s", 0.3),
    ("silent after the head", {"body": b" ", "headers": {"Content-Length": "9"}, "repeat": 9, "pause": 9}, "no reply within 0.3 s", 0.3),
    ("comments only", {"body": b": keep-alive\n\n", "headers": {"Content-Type": "text/event-stream"}, "framing": "chunked", "repeat": 500, "pause": 0.02}, "no reply within 0.3 s", 0.3),
    ("a byte a moment", {"text": "x" * 200, "framing": "chunked", "piece": 1, "pause": 0.03}, "no reply within 0.3 s", 0.3),
    ("stops between tokens", {"events": ['{"choices":[{"delta":{"content":"a"}}]}', "{}"], "framing": "chunked", "piece": 47, "pause": 9}, "no further token for 0.3 s", 0.3),
    ("never ends", {"events": ['{"choices":[{"delta":{"content":"a"}}]}'], "framing": "chunked", "repeat": 9999, "pause": 0.01}, "not done after 0.8 s", 0.8),
]  # fmt: skip


@pytest.mark.parametrize(("step", "said", "limit"), [case[1:] for case in SLOW], ids=[case[0] for case in SLOW])
def test_a_slow_endpoint_ends_at_its_limit(
    server: FaultServer, hasty: BaseChatModel, step: dict[str, Any], said: str, limit: float
) -> None:
    server.play(then=step)
    kept = _connections()
    began = time.monotonic()
    with pytest.raises(EndpointDownError, match=said):
        ask(hasty)
    assert limit - 0.05 <= time.monotonic() - began <= limit + 0.5
    assert len(server.requests) == 1
    end = time.monotonic() + 2
    while (left := _connections()) > kept and time.monotonic() < end:
        time.sleep(0.01)
    assert left <= kept, "a socket or its thread was left behind"


def _connections() -> int:
    """Connections that the server still has, each with a thread of its own."""
    return sum(thread.name == "fault-connection" for thread in threading.enumerate())


def test_a_slow_reply_in_one_piece_ends_at_its_limit(server: FaultServer, hasty: BaseChatModel) -> None:
    server.play(then={"text": "x" * 200, "piece": 1, "pause": 0.03})
    began = time.monotonic()
    with pytest.raises(EndpointDownError, match=r"no reply within 0\.3 s"):
        ask(hasty, stream=False)
    assert time.monotonic() - began < 0.8


def test_a_black_hole_ends_at_the_limit_of_connecting() -> None:
    # A listener whose queue is full answers no SYN, as a host behind a firewall does.
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        url = f"http://127.0.0.1:{hole.getsockname()[1]}/v1"
        model = resolve_chat(f"openai:m@{url}", load_settings(**TIGHT)).model()
        began = time.monotonic()
        with pytest.raises(EndpointDownError, match=r"no connection within 0\.2 s"), endpoint_errors("openai:m"):
            model.invoke("?")
        assert time.monotonic() - began < 0.7
        for filler in fillers:
            filler.close()


# ---- replies that are none

BOMB = gzip.compress(b'{"choices": "' + b"a" * (64 << 20) + b'"}', 1)
GOOD = b'{"choices": [{"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}'
GARBAGE: dict[str, dict[str, Any]] = {
    "empty": {"body": b""},
    "blank": {"body": b" \n"},
    "html": {"body": b"<!doctype html><title>nginx</title>", "headers": {"Content-Type": "text/html"}},
    "html, typed json": {"body": b"<html></html>"},
    "text": {"body": b"OK", "headers": {"Content-Type": "text/plain"}},
    "array": {"body": [1, 2]},
    "string": {"body": b'"hi"'},
    "null": {"body": b"null"},
    "number": {"body": b"42"},
    "cut json": {"body": GOOD[:40]},
    "two objects": {"body": GOOD + GOOD},
    "duplicate key": {"body": b'{"choices": [], "choices": [{"message": {"content": "x"}}]}'},
    "nan": {"body": b'{"choices": [{"message": {"content": "x"}, "score": NaN}]}'},
    "deep": {"body": b"[" * 100_000 + b"]" * 100_000},
    "no utf-8": {"body": b'{"choices": "\xff\xfe"}'},
    "no choices": {"body": {}},
    "empty choices": {"body": {"choices": []}},
    "choices null": {"body": {"choices": None}},
    "message a string": {"body": {"choices": [{"message": "hi"}]}},
    "content a number": {"body": {"choices": [{"message": {"content": 5}}]}},
    "calls a string": {"body": {"choices": [{"message": {"content": "", "tool_calls": "x"}}]}},
    "error with status 200": {"body": {"error": {"message": f"overloaded {KEY}"}}},
    "length too long": {"body": GOOD, "headers": {"Content-Length": "500", "Connection": "close"}},
    "length too short": {"body": GOOD, "headers": {"Content-Length": "50", "Connection": "close"}},
    "gzip bomb": {"body": BOMB, "headers": {"Content-Encoding": "gzip"}},
    "broken gzip": {"body": b"\x1f\x8b\x08garbage", "headers": {"Content-Encoding": "gzip"}},
    "brotli": {"body": b"\x0b\x02\x80", "headers": {"Content-Encoding": "br"}},
    "100 MB": {"body": b"[" + b"0," * 50_000, "repeat": 1000},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_is_one_short_typed_error(server: FaultServer, model: BaseChatModel, case: str, stream: bool) -> None:
    server.play(then=GARBAGE[case])
    with pytest.raises(EndpointDownError) as caught:
        ask(model, stream)
    assert len(server.requests) == 1
    assert str(caught.value).startswith("Chat model openai:m failed (")
    assert len(str(caught.value)) <= 300 and KEY not in str(caught.value) and "\n" not in str(caught.value)


def test_a_flood_is_left_after_16_mib() -> None:
    received = []

    class Counting(httpx.BaseTransport):
        inner = watched_transport()

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = self.inner.handle_request(request)
            source = response.stream

            class Counted(httpx.SyncByteStream):
                def __iter__(self) -> Iterator[bytes]:
                    for piece in source:  # type: ignore[union-attr]
                        received.append(len(piece))
                        yield piece

            return httpx.Response(200, headers=response.headers, stream=Counted())

    with FaultServer([GARBAGE["100 MB"]]) as server:
        with httpx.Client(transport=EndpointTransport(Limits(), inner=Counting())) as client:
            with pytest.raises(EndpointReplyError, match="larger than 16 MiB"):
                client.post(f"{server.url}/chat/completions", json={"messages": []})
    assert sum(received) < (16 << 20) + (1 << 20)


def test_a_redirect_is_not_followed_and_the_key_goes_nowhere(server: FaultServer, model: BaseChatModel) -> None:
    with FaultServer([], then={"text": "caught"}) as other:
        elsewhere = f"http://localhost:{other.port}/v1/chat/completions"
        server.play(then={"status": 302, "headers": {"Location": elsewhere}})
        with pytest.raises(EndpointError, match="it redirects to localhost"):
            ask(model)
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert other.requests == []


def test_a_compressed_reply_is_read_all_the_same(server: FaultServer, model: BaseChatModel) -> None:
    server.play({"body": gzip.compress(GOOD), "headers": {"Content-Encoding": "gzip"}})
    assert ask(model, stream=False) == "ok"
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_a_bom_and_a_reply_that_was_not_streamed_are_tolerated(server: FaultServer, model: BaseChatModel) -> None:
    server.play({"body": b"\xef\xbb\xbf" + GOOD}, {"body": GOOD})
    assert ask(model, stream=False) == "ok"
    assert ask(model, stream=True) == "ok"


def test_what_is_parsed_is_an_object() -> None:
    with pytest.raises(EndpointReplyError, match="choices: the key stands twice"):
        parsed(b'{"choices": 1, "choices": 2}', "application/json")


# ---- an endpoint that is down


def test_fifty_questions_to_a_dead_endpoint_fail_fast_and_one_probe_finds_it_again() -> None:
    now = [0.0]
    breaker = Breaker(clock=lambda: now[0])
    down = threading.Event()
    down.set()

    def play(request: Received) -> Step:
        return Step(503) if down.is_set() else Step(text="up")

    clock = Clock()
    transport = EndpointTransport(Limits(), breaker=breaker, inner=watched_transport(), chance=clock.chance)
    with FaultServer([], then=play) as server, httpx.Client(transport=transport) as client:

        def question() -> bool:
            try:
                client.post(f"{server.url}/chat/completions", json={"messages": []})
            except EndpointDownError:
                return False
            return True

        assert not question() and len(server.requests) == 3
        began = time.monotonic()
        for _ in range(49):
            now[0] += 0.08
            assert not question()
        assert time.monotonic() - began < 1.0
        assert len(server.requests) == 3  # 49 questions in 4 s: none of them asked
        now[0] += 1.2
        assert not question() and len(server.requests) == 4  # the probe, once
        down.clear()
        assert not question() and len(server.requests) == 4
        now[0] += 5.0
        assert question() and question() and len(server.requests) == 6
        assert not breaker.open


def test_of_many_waiting_at_once_none_asks_more_than_three_times() -> None:
    breaker = Breaker()
    transport = EndpointTransport(Limits(), breaker=breaker, inner=watched_transport(), chance=Clock().chance)
    with FaultServer([], then={"status": 503, "delay": 0.02}) as server, httpx.Client(transport=transport) as client:
        failed = []

        def question() -> None:
            try:
                client.post(f"{server.url}/chat/completions", json={"messages": []})
            except EndpointDownError as exc:
                failed.append(exc)

        threads = [threading.Thread(target=question) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert len(failed) == 20 and len(server.requests) <= 60
        with pytest.raises(EndpointDownError, match="tried again in"):
            client.post(f"{server.url}/chat/completions", json={"messages": []})


def test_a_busy_endpoint_is_not_down() -> None:
    breaker, clock = Breaker(), Clock()
    with FaultServer([], then={"status": 429}) as server, pytest.raises(EndpointDownError, match="over its limit"):
        post(server, clock, breaker=breaker)
    assert not breaker.open


def test_the_limits_are_settings() -> None:
    from ragkit.models.chat import limits_of

    given = load_settings(chat_connect_timeout=1, chat_timeout=2, chat_token_timeout=3, chat_total_timeout=4)
    assert limits_of(given) == replace(Limits(), connect=1, first=2, between=3, total=4)


# ---- embeddings


def vectors(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"body": {"data": list(rows)}}


@pytest.mark.parametrize(
    "bad",
    [
        vectors({"index": 0, "embedding": [1.0, 2.0]}),
        vectors({"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}),
        vectors({"index": 0, "embedding": [1.0, 2.0]}, {"index": 1, "embedding": [1.0]}),
        vectors({"index": 0, "embedding": [0.0, 0.0]}, {"index": 1, "embedding": [1.0, 2.0]}),
        vectors({"index": 0, "embedding": ["1", "2"]}, {"index": 1, "embedding": [1.0, 2.0]}),
        vectors({"index": 0, "embedding": "!!"}, {"index": 1, "embedding": "!!"}),
        vectors({"index": 0}, {"index": 1}),
        {"body": b'{"data": [{"embedding": [NaN, 1]}, {"embedding": [1, 1]}]}'},
        {"body": {"object": "list"}},
    ],
)
def test_vectors_that_are_none_are_refused(server: FaultServer, bad: dict[str, Any], home: Path) -> None:
    server.play(then=bad)
    embedding = resolve_embedding(f"openai:e@{server.url}", home)
    with pytest.raises(EndpointReplyError, match="Embedding model 'openai:e' failed"):
        embedding.encode_documents(["one", "two"])


def test_vectors_come_back_in_the_order_of_their_texts(server: FaultServer, home: Path) -> None:
    server.play(vectors({"index": 1, "embedding": [0.0, 2.0]}, {"index": 0, "embedding": [3.0, 0.0]}))
    embedding = resolve_embedding(f"openai:e@{server.url}", home)
    assert embedding.encode_documents(["one", "two"]).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    server.play()
