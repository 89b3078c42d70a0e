"""HTTP to model endpoints: limits of time and size, polite retries, a circuit breaker, replies that are replies.

The OpenAI client gets an ``httpx.Client`` over this transport and makes no retries of its own: its wait after
``Retry-After`` has no jitter, so all who were refused come back together, and it knows no limit for a whole call.
"""

from __future__ import annotations

import email.utils
import json
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.request import getproxies, proxy_bypass

import httpx

from ragkit.errors import EndpointDownError, EndpointError, EndpointReplyError, ReplyCutError
from ragkit.models.breaker import Breaker, breaker_of
from ragkit.models.deadline import until, watched_transport
from ragkit.models.reply_stream import ReplyStream, read_whole
from ragkit.models.wire import completion, embeddings, parsed

MAX_REPLY_BYTES: Final = 16 << 20
_ERROR_BYTES: Final = 64 << 10
ATTEMPTS: Final = 3
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504, 529})
_LONGEST_WAIT: Final = 60.0
"""Seconds that a ``Retry-After`` may ask for; nobody waits longer in front of a screen."""
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 8.0
UNREACHABLE: Final = "Check OPENAI_BASE_URL and that the server runs."


@dataclass(frozen=True)
class Limits:
    """How long an endpoint may take, in seconds."""

    connect: float = 10.0
    first: float = 120.0
    """From the request to the first token, or to the whole of a reply that is not streamed."""
    between: float = 60.0
    """From one token to the next; comments that keep a connection alive are none."""
    total: float = 600.0
    """A call with all its retries."""


class Gate(Protocol):
    """Lets calls through to a backend that takes one at a time."""

    def enter(self, body: dict[str, Any], wait: float) -> Callable[[], None]:
        """Wait for the turn of a request, at most `wait` seconds; the result, called, gives the turn back."""


@dataclass(frozen=True)
class Chance:
    """Time and luck, replaced in tests."""

    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    """Seconds since 1970, for a ``Retry-After`` that is a date."""
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    """0 to 1."""


class EndpointTransport(httpx.BaseTransport):
    """One attempt or up to three, each within the limits; every failure is one typed, short error.

    Args:
        limits: Seconds.
        breaker: Shared by all who ask the same endpoint; None has no memory (a backend in this process).
        gate: For a backend that serves one call at a time.
        inner: What sends a request; it must keep to `ragkit.models.deadline.until`.
        chance: Clocks and jitter.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        breaker: Breaker | None = None,
        gate: Gate | None = None,
        inner: httpx.BaseTransport | None = None,
        chance: Chance | None = None,
    ) -> None:
        self._limits, self._breaker, self._gate = limits, breaker, gate
        self._inner = inner or watched_transport()
        self._chance = chance or Chance()

    def close(self) -> None:
        self._inner.close()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and look at its reply.

        Raises:
            EndpointDownError: If the endpoint is not reached in time, or its reply is late, cut or none.
            EndpointError: If it redirects elsewhere, or its address or certificate is wrong.
        """
        # Compressed replies could grow without bound, and are not worth it for a few kilobytes of text.
        request.headers["Accept-Encoding"] = "identity"
        body = _body(request)
        deadline = self._chance.clock() + self._limits.total
        probe = self._breaker.admit() if self._breaker else False
        with ExitStack() as cleanup:
            if self._gate is not None:
                cleanup.callback(self._gate.enter(body, self._limits.total))
            try:
                response = self._persist(request, body, deadline, 1 if probe else ATTEMPTS, cleanup)
            except EndpointDownError as exc:
                # An endpoint that refuses for being busy, or talks nonsense, is there.
                if not isinstance(exc, EndpointReplyError | ReplyCutError | _BusyError):
                    self._failed(exc.message)
                raise
            if self._breaker is not None:
                self._breaker.succeeded()
        return response

    def _failed(self, reason: str) -> None:
        if self._breaker is not None:
            self._breaker.failed(reason)

    def _persist(
        self, request: httpx.Request, body: dict[str, Any], deadline: float, attempts: int, cleanup: ExitStack
    ) -> httpx.Response:
        for attempt in range(1, attempts + 1):
            asked_for: float | None = None
            try:
                response = self._once(request, body, deadline, cleanup)
                if response.status_code not in _TRANSIENT:
                    return response
                asked_for = retry_after(response.headers.get("retry-after"), self._chance.now())
                problem = _overloaded(response, asked_for)
            except _Dropped as exc:
                problem = EndpointDownError(f"it cannot be reached: {exc}", UNREACHABLE)
                problem.__cause__ = exc.__cause__
            wait = self._wait(attempt, asked_for)
            late = wait > _LONGEST_WAIT or self._chance.clock() + wait > deadline
            given_up = self._breaker is not None and self._breaker.open
            if attempt == attempts or late or given_up:
                raise problem
            self._chance.sleep(wait)
        raise AssertionError("no attempt was made")

    def _wait(self, attempt: int, asked_for: float | None) -> float:
        """Seconds before the next attempt; jitter, or all who were refused at once come back at once."""
        backoff: float = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** (attempt - 1))
        if asked_for is None:
            return backoff * (0.5 + self._chance.jitter() / 2)
        return asked_for + self._chance.jitter() * max(backoff, asked_for / 10)

    def _once(
        self, request: httpx.Request, body: dict[str, Any], deadline: float, cleanup: ExitStack
    ) -> httpx.Response:
        limits, began = self._limits, self._chance.clock()
        request.extensions["timeout"] = {
            "connect": limits.connect,
            "read": limits.first,
            "write": limits.first,
            "pool": limits.first,
        }
        first = min(deadline, began + limits.first)
        try:
            with until(first):
                response = self._inner.handle_request(request)
        except httpx.ConnectTimeout as exc:
            raise EndpointDownError(
                f"no connection within {limits.connect:g} s", f"{UNREACHABLE} chat_connect_timeout is the limit."
            ) from exc
        except httpx.TimeoutException as exc:
            raise EndpointDownError(f"no reply within {limits.first:g} s", _RAISE.format("chat_timeout")) from exc
        except httpx.UnsupportedProtocol as exc:
            raise EndpointError(f"its address is no http:// or https:// URL: {request.url}", "Check it.") from exc
        except httpx.TransportError as exc:
            if "CERTIFICATE" in str(exc).upper():
                raise EndpointError(f"its certificate is not trusted ({_short(exc)})", "Check the address.") from exc
            raise _Dropped(_short(exc)) from exc
        stream = ReplyStream(response, limits, began, deadline, self._chance.clock)
        status = response.status_code
        if not 200 <= status < 300:
            try:
                content = read_whole(stream, _ERROR_BYTES, strict=False)
            finally:
                response.close()
            if 300 <= status < 400:
                raise _redirected(request, response)
            kept = {name: response.headers[name] for name in _KEPT if name in response.headers}
            return httpx.Response(status, headers=kept, content=content, request=request)
        if body.get("stream"):
            stream.owned, stream.silent = cleanup.pop_all(), self._failed
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream, request=request)
        try:
            whole = read_whole(stream, MAX_REPLY_BYTES)
        finally:
            response.close()
        value = _checked(request, body, parsed(whole, response.headers.get("content-type", "")))
        return httpx.Response(200, json=value, request=request)


_RAISE: Final = "Try again, or raise {}."
_KEPT: Final = ("content-type", "retry-after", "x-request-id")


class _Dropped(Exception):
    """The connection was not made, or was lost before a reply: worth another attempt."""


class _BusyError(EndpointDownError):
    """Status 429: over a limit, not down."""


def _overloaded(response: httpx.Response, asked_for: float | None) -> EndpointDownError:
    """The error for a status that may be over soon, if it was not."""
    said = ""
    try:
        error = response.json().get("error")
        said = str(error.get("message", "") if isinstance(error, dict) else error or "")
    except (ValueError, AttributeError):
        said = response.text
    detail = f"HTTP {response.status_code}: {' '.join(said.split())[:100]}".rstrip(": ")
    if asked_for is not None and asked_for > _LONGEST_WAIT:
        detail += f"; it asks to wait {asked_for:.0f} s"
    if response.status_code == 429:
        return _BusyError(detail, "The endpoint is over its limit; wait or use another model.")
    return EndpointDownError(detail, "The endpoint is in trouble; wait or use another model.")


def _checked(request: httpx.Request, body: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    path = request.url.path
    if path.endswith("/chat/completions"):
        return completion(value)
    if path.endswith("/embeddings"):
        texts = body.get("input")
        return embeddings(value, len(texts) if isinstance(texts, list) else 1)
    return value


def _body(request: httpx.Request) -> dict[str, Any]:
    try:
        value = json.loads(request.read())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _redirected(request: httpx.Request, response: httpx.Response) -> EndpointError:
    """A redirect is never followed: the notes in the request, and the key, would go to another place."""
    try:
        host = request.url.join(response.headers.get("location", "")).host
    except httpx.InvalidURL:
        host = "an address that is none"
    return EndpointError(f"it redirects to {host[:80]}", "If you trust that, set the base URL to it.")


def _short(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:150] or type(exc).__name__


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait; None if it is missing or means nothing.

    Args:
        header: Seconds, or an HTTP date.
        now: Seconds since 1970.
    """
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return seconds if seconds >= 0 else None


def endpoint_client(base_url: str | None, limits: Limits, gate: Gate | None = None) -> httpx.Client:
    """An HTTP client for one endpoint, for the ``http_client`` of OpenAI's library.

    Args:
        base_url: Address of the endpoint; None is OpenAI's own.
        limits: Seconds.
        gate: For a backend in this process: no proxy and no circuit breaker then.
    """
    url = httpx.URL(base_url or "https://api.openai.com/v1")
    proxy = None
    if gate is None and url.host and not proxy_bypass(url.host):
        proxies = getproxies()
        proxy = proxies.get(url.scheme) or proxies.get("all")
    breaker = breaker_of(f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}") if gate is None else None
    transport = EndpointTransport(limits, breaker=breaker, gate=gate, inner=watched_transport(proxy))
    return httpx.Client(transport=transport, follow_redirects=False, timeout=limits.total)


def embedding_options(base_url: str | None) -> dict[str, Any]:
    """Arguments of LangChain's ``OpenAIEmbeddings`` for a client over this transport, which makes the retries."""
    limits = Limits(first=60.0, total=180.0)
    return {"max_retries": 0, "timeout": limits.total, "http_client": endpoint_client(base_url, limits)}
