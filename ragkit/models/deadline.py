"""Sockets that know until when they may wait.

httpx limits the time between two bytes. A server that sends one byte a second never comes near such a limit,
so each read here waits no longer than the moment that the caller has named for all of it.
"""

from __future__ import annotations

import functools
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpcore
import httpx


class _Until(threading.local):
    at: float | None = None
    """Monotonic seconds; None: no limit but that of the client library."""


_until: Final = _Until()


@contextmanager
def until(moment: float) -> Iterator[None]:
    """Within this block, in this thread, nothing waits for the network beyond `moment` (monotonic seconds)."""
    before, _until.at = _until.at, moment
    try:
        yield
    finally:
        _until.at = before


def _left(timeout: float | None, late: type[Exception]) -> float | None:
    if _until.at is None:
        return timeout
    left = _until.at - time.monotonic()
    if left <= 0:
        raise late("the time for all of it is over")
    return left if timeout is None else min(left, timeout)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: Any = None, timeout: Any = None) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        wait = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, wait, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Reading the certificates takes a quarter of a second on a busy machine; once is enough."""
    return httpx.create_ssl_context()


def watched_transport(proxy: str | None = None) -> httpx.HTTPTransport:
    """An httpx transport whose sockets keep to `until`."""
    transport = httpx.HTTPTransport(verify=_certificates(), proxy=proxy)
    # httpx offers no way to name httpcore's documented `network_backend`; the pool takes it at any time.
    pool: Any = transport._pool
    pool._network_backend = _Backend(pool._network_backend)
    return transport
