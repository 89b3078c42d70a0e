"""A model endpoint on 127.0.0.1 that does what a script says: answers, fails, stalls, lies and breaks off.

It speaks HTTP over real sockets, so that what is tested is the client's whole way, not a mock of its library.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ragkit.testing.embedder import HashingEmbedder

_WAIT: Final = 30.0
"""Seconds after which a handler ends whatever its script says."""
_REASONS: Final = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 429: "Too Many Requests"}


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in small letters."""
    body: Any
    """The JSON value of the body; None if it is none."""
    at: float
    """Monotonic seconds."""


@dataclass(frozen=True)
class Step:
    """What happens to one request. `text`, `calls` and `events` make the body; `body` is sent as it is."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes | dict[str, Any] | list[Any] | None = None
    text: str | None = None
    """A completion with this text, streamed if the request asks for that."""
    calls: Sequence[tuple[str, Any]] = ()
    """A completion with these calls: name, and arguments as a value or as raw text."""
    finish: str | None = None
    """Finish reason; None: the fitting one."""
    events: Sequence[str | dict[str, Any]] | None = None
    """Raw ``data`` of server-sent events; a string is sent as it is."""
    framing: Literal["length", "chunked", "close"] = "length"
    """How the end of the body is told."""
    delay: float = 0.0
    """Seconds before the first byte of the reply."""
    header_pause: float = 0.0
    """Seconds between two bytes of the head."""
    piece: int = 0
    """Bytes of the body sent at once; 0: all."""
    pause: float = 0.0
    """Seconds between two pieces."""
    cut: int | None = None
    """The connection ends after this many bytes of the body."""
    reset: bool = False
    """It ends with RST: at once, or at `cut`."""
    silent: bool = False
    """Nothing is ever sent."""
    repeat: int = 1
    """How often the body is sent again and again."""


_OVER: Final = Step(500, body={"error": {"message": "the script is over"}})
Script = Iterable[Step | Mapping[str, Any] | Callable[[Received], Step]]


class FaultServer:
    """An OpenAI-compatible server that plays a script, one step a request, and records what it is sent.

    Use it as a context manager. Steps are `Step`, mappings of its fields (as a JSON script has them), or
    functions of the request.

    Args:
        script: What happens to the first request, the second, and so on.
        then: What happens to all further ones; None answers 500 and says that the script is over.
    """

    def __init__(self, script: Script = (), then: Step | Mapping[str, Any] | Callable[[Received], Step] | None = None):
        self._script = list(script)
        self._then = then if then is not None else _OVER
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.requests: list[Received] = []
        """Everything that was asked, in order."""
        self.live = 0
        """Connections open now."""

    def play(self, *script: Step | Mapping[str, Any] | Callable[[Received], Step], then: Any = None) -> None:
        """Begin another script, and forget what was asked before."""
        with self._lock:
            self._script, self.requests = list(script), []
            self._then = then if then is not None else _OVER

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Base URL for clients."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> FaultServer:
        self._listener.settimeout(0.2)
        thread = threading.Thread(target=self._accept, name="fault-server", daemon=True)
        thread.start()
        self._threads.append(thread)
        return self

    def __exit__(self, kind: object, exc: object, trace: object) -> None:
        self._ended.set()
        for thread in list(self._threads):
            thread.join(2.0)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name="fault-connection", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self.live += 1
        try:
            with connection:
                connection.settimeout(_WAIT)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while (request := self._read(connection)) is not None and self._play(connection, request):
                    pass
        except OSError:
            pass  # the client went away, which is its right
        finally:
            with self._lock:
                self.live -= 1

    def _read(self, connection: socket.socket) -> Received | None:
        """The next request of a connection; None if there is none."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := self._receive(connection)):
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            if not (more := self._receive(connection)):
                return None
            body += more
        method, path, _ = first.split(" ", 2)
        value = None
        with contextlib.suppress(ValueError):
            value = json.loads(body)
        received = Received(method, path, headers, value, time.monotonic())
        with self._lock:
            self.requests.append(received)
        return received

    def _receive(self, connection: socket.socket) -> bytes:
        """Some bytes; none at the end of the connection or of the server."""
        connection.settimeout(0.1)
        try:
            while not self._ended.is_set():
                with contextlib.suppress(TimeoutError):
                    return connection.recv(1 << 16)
            return b""
        finally:
            connection.settimeout(_WAIT)

    def _step(self, request: Received) -> Step:
        with self._lock:
            step = self._script.pop(0) if self._script else self._then
        if callable(step):
            step = step(request)
        return step if isinstance(step, Step) else Step(**step)

    def _play(self, connection: socket.socket, request: Received) -> bool:
        """Do what the script says; whether the connection stays open."""
        step = self._step(request)
        if step.silent:
            self._pause(_WAIT, connection)
            return False
        self._pause(step.delay, connection)
        if step.reset and step.cut is None:
            return _reset(connection)
        body, kind = _body(step, request)
        head = _head(step, kind, len(body) * step.repeat)
        for byte in (head[i : i + 1] for i in range(len(head))) if step.header_pause else (head,):
            connection.sendall(byte)
            self._pause(step.header_pause, connection)
        sent = 0
        for piece in _pieces(body, step):
            left = piece if step.cut is None else piece[: step.cut - sent]
            if left:
                connection.sendall(b"%x\r\n%s\r\n" % (len(left), left) if step.framing == "chunked" else left)
            sent += len(left)
            if step.cut is not None and sent >= step.cut:
                return _reset(connection) if step.reset else False
            self._pause(step.pause, connection)
            if self._ended.is_set():
                return False
        if step.framing == "chunked":
            connection.sendall(b"0\r\n\r\n")
        return step.framing != "close" and "connection" not in {name.lower() for name in step.headers}

    def _pause(self, seconds: float, connection: socket.socket) -> None:
        """Wait, but no longer than the client and the server are there."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._ended.wait(min(0.02, left)):
            connection.setblocking(False)
            try:
                if connection.recv(1, socket.MSG_PEEK) == b"":
                    raise ConnectionResetError("the client closed the connection")
            except BlockingIOError:
                pass
            finally:
                connection.settimeout(_WAIT)


def _reset(connection: socket.socket) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def _head(step: Step, kind: str, length: int) -> bytes:
    names = {name.lower() for name in step.headers}
    lines = [f"HTTP/1.1 {step.status} {_REASONS.get(step.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in step.headers.items()]
    if "content-type" not in names:
        lines.append(f"Content-Type: {kind}")
    if step.framing == "length" and "content-length" not in names:
        lines.append(f"Content-Length: {length}")
    if step.framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
    if step.framing == "close":
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _pieces(body: bytes, step: Step) -> Iterator[bytes]:
    size = step.piece or max(1, len(body))
    for _ in range(step.repeat):
        for at in range(0, len(body), size):
            yield body[at : at + size]


def _body(step: Step, request: Received) -> tuple[bytes, str]:
    """The bytes of a reply and their content type."""
    asked = request.body if isinstance(request.body, dict) else {}
    if step.events is not None:
        data = (event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) for event in step.events)
        return "".join(f"data: {event}\n\n" for event in data).encode(), "text/event-stream"
    if step.body is not None:
        if isinstance(step.body, bytes):
            return step.body, "application/json"
        text = step.body if isinstance(step.body, str) else json.dumps(step.body, ensure_ascii=False)
        return text.encode("utf-8", "surrogatepass"), "application/json"
    if request.path.endswith("/embeddings") and step.text is None:
        return _embeddings(asked), "application/json"
    if asked.get("stream"):
        return completion_events(step.text or "", step.calls, step.finish), "text/event-stream"
    return json.dumps(completion(step.text or "", step.calls, step.finish)).encode(), "application/json"


def _raw(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _calls(calls: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"id": f"call_{i}", "index": i, "type": "function", "function": {"name": name, "arguments": _raw(arguments)}}
        for i, (name, arguments) in enumerate(calls)
    ]


def completion(text: str, calls: Sequence[tuple[str, Any]] = (), finish: str | None = None) -> dict[str, Any]:
    """A chat completion in the form of OpenAI's API."""
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = _calls(calls)
    reason = finish or ("tool_calls" if calls else "stop")
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "fault",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }


def completion_events(text: str, calls: Sequence[tuple[str, Any]] = (), finish: str | None = None) -> bytes:
    """The same as server-sent events: two characters of text, or eight of a call's arguments, an event."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text[at : at + 2]} for at in range(0, len(text), 2)]
    for call in _calls(calls):
        arguments = call["function"]["arguments"]
        deltas.append({"tool_calls": [{**call, "function": {**call["function"], "arguments": ""}}]})
        for at in range(0, len(arguments), 8):
            piece = {"index": call["index"], "function": {"arguments": arguments[at : at + 8]}}
            deltas.append({"tool_calls": [piece]})
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "fault"}
    chunks: list[dict[str, Any]] = [{**base, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    reason = finish or ("tool_calls" if calls else "stop")
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    chunks.append({**base, "choices": [], "usage": usage})
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


def _embeddings(asked: dict[str, Any]) -> bytes:
    texts = asked.get("input") or []
    texts = texts if isinstance(texts, list) else [texts]
    rows = HashingEmbedder().embed_documents([str(text) for text in texts])
    data = [{"object": "embedding", "index": i, "embedding": [float(x) for x in row]} for i, row in enumerate(rows)]
    return json.dumps(
        {"object": "list", "model": "fault", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    ).encode()
