"""The body of a reply as it arrives: within its limits, and as events that every client library reads alike."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import httpx

from ragkit.errors import EndpointDownError, EndpointReplyError, ReplyCutError
from ragkit.models.deadline import until
from ragkit.models.sse import EventDecoder
from ragkit.models.wire import ChunkReader, completion, garbage, parsed

if TYPE_CHECKING:
    from ragkit.models.endpoint import Limits

_MAX_BYTES: Final = 16 << 20
_CUT: Final = "Ask again."


class ReplyStream(httpx.SyncByteStream):
    """The events of a streamed completion, one ``data:`` line each.

    Args:
        response: Reply whose body was not read yet.
        limits: Seconds.
        began: When the request was sent, on `clock`.
        deadline: When the call must be over, on `clock`.
        clock: Monotonic seconds.

    Raises:
        ReplyCutError: While it is read, if it ends before the model has ended its reply.
        EndpointDownError: If it takes too long.
        EndpointReplyError: If it is longer than 16 MiB or no stream of completions.
    """

    def __init__(
        self, response: httpx.Response, limits: Limits, began: float, deadline: float, clock: Callable[[], float]
    ) -> None:
        self._response, self._limits, self._deadline, self._clock = response, limits, deadline, clock
        self._until = min(deadline, began + limits.first)
        self._setting, self._seconds = "chat_timeout", limits.first
        self._tail = False
        self.owned = ExitStack()
        """What must be given back when nobody reads any more."""
        self.silent: Callable[[str], None] = lambda reason: None
        """Told when the time for the first token is over."""

    def __iter__(self) -> Iterator[bytes]:
        reader, decoder = ChunkReader(), EventDecoder()
        kind = self._response.headers.get("content-type", "")
        if "json" in kind:
            yield from _as_events(read_whole(self, _MAX_BYTES), kind)
            return
        begun = False
        try:
            for data in self._events(decoder):
                if data.strip() == "[DONE]":
                    reader.finished = True
                    break
                begun = True
                try:
                    chunk = reader.read(data)
                except EndpointReplyError as exc:
                    if self._tail:
                        raise ReplyCutError("the reply broke off in the middle", _CUT) from exc
                    raise
                if reader.spoke:
                    self._until = min(self._deadline, self._clock() + self._limits.between)
                    self._setting, self._seconds = "chat_token_timeout", self._limits.between
                if chunk is not None:
                    yield f"data: {json.dumps(chunk)}\n\n".encode()
        except ReplyCutError:
            if not reader.finished:
                raise
        if not reader.finished:
            if not begun:
                raise garbage(f"{kind[:40] or 'no content type'} without an event")
            raise ReplyCutError("the reply broke off in the middle", _CUT)
        yield b"data: [DONE]\n\n"

    def _events(self, decoder: EventDecoder) -> Iterator[str]:
        for piece in self.pieces(_MAX_BYTES):
            yield from decoder.feed(piece)
        self._tail = True
        yield from decoder.finish()

    def pieces(self, most: int) -> Iterator[bytes]:
        """The body, not compressed any more.

        Raises:
            EndpointDownError: If it is larger than `most` bytes, too slow, or compressed otherwise than by gzip.
            ReplyCutError: If the connection is lost.
        """
        encoding = self._response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", "", "gzip", "x-gzip", "deflate"}:
            raise garbage(f"it is compressed with {encoding[:20]}, which was not asked for")
        inflate = zlib.decompressobj(47) if encoding not in {"identity", ""} else None
        body: Iterator[bytes] = iter(self._response.stream)  # type: ignore[arg-type]
        size = 0
        while True:
            try:
                with until(self._until):
                    piece = next(body, None)
                if piece is None:
                    return
                if inflate is not None:
                    piece = inflate.decompress(piece, most + 1)
            except httpx.TimeoutException as exc:
                raise self._late() from exc
            except httpx.TransportError as exc:
                raise ReplyCutError("the connection was lost in the middle of the reply", _CUT) from exc
            except zlib.error as exc:
                raise garbage("its compression is damaged") from exc
            size += len(piece)
            if size > most:
                raise garbage(f"it is larger than {most >> 20} MiB")
            if self._clock() > self._until:
                raise self._late()
            yield piece

    def _late(self) -> EndpointDownError:
        if self._until >= self._deadline:
            message, setting = f"not done after {self._limits.total:g} s", "chat_total_timeout"
        elif self._setting == "chat_timeout":
            message, setting = f"no reply within {self._seconds:g} s", self._setting
        else:
            message, setting = f"no further token for {self._seconds:g} s", self._setting
        remedy = f"Try again, or raise {setting}."
        if self._setting == "chat_timeout":
            self.silent(message)
            return EndpointDownError(message, remedy)
        return ReplyCutError(message, remedy)

    def close(self) -> None:
        self._response.close()
        self.owned.close()


def read_whole(stream: ReplyStream, most: int, strict: bool = True) -> bytes:
    """The whole body of a reply, at most `most` bytes.

    Args:
        stream: The reply.
        most: Bytes.
        strict: Raise when it is too large, too slow or cut; otherwise keep what there is.

    Raises:
        EndpointDownError: See `strict`.
    """
    body = b""
    try:
        body = b"".join(stream.pieces(most))
    except EndpointDownError:
        if strict:
            raise
    return body


def _as_events(body: bytes, kind: str) -> Iterator[bytes]:
    """A reply that was not streamed although it was asked to be, as the events it would have come in."""
    value = completion(parsed(body, kind))
    choice = value["choices"][0]
    delta = dict(choice["message"])
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{**call, "index": number} for number, call in enumerate(calls)]
    rest = {name: item for name, item in choice.items() if name != "message"}
    end = {"finish_reason": "stop", **{name: item for name, item in rest.items() if item is not None}}
    chunk = {**value, "object": "chat.completion.chunk", "choices": [{"index": 0, **end, "delta": delta}]}
    yield f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
