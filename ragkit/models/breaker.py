"""A circuit breaker for each endpoint: one that is dead is asked again every few seconds, not by every question."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from ragkit.errors import EndpointDownError

PROBE_SECONDS: Final = 5.0


class Breaker:
    """Closed while an endpoint works; open after a call has failed for good, until a probe gets through.

    Args:
        probe_seconds: Pause between two probes of an endpoint that is down.
        clock: Seconds, monotonic.
    """

    def __init__(self, probe_seconds: float = PROBE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause, self._clock = probe_seconds, clock
        self._lock = threading.Lock()
        self._reason = ""
        self._next_probe = 0.0

    @property
    def open(self) -> bool:
        """Whether the endpoint counts as down."""
        return bool(self._reason)

    def admit(self) -> bool:
        """Ask to make a request.

        Returns:
            Whether this request is the probe of an endpoint that is down: it must not be repeated.

        Raises:
            EndpointDownError: If the endpoint is down and the time of the next probe has not come.
        """
        with self._lock:
            if not self._reason:
                return False
            if (now := self._clock()) < self._next_probe:
                raise EndpointDownError(self._reason, f"It is tried again in {self._next_probe - now:.0f} s.")
            # Taken at once, so that of many questions that wait only one asks.
            self._next_probe = now + self._pause
            return True

    def succeeded(self) -> None:
        """The endpoint replied, if only to refuse."""
        with self._lock:
            self._reason = ""

    def failed(self, reason: str) -> None:
        """A call failed for good; the next ones fail at once with the same reason."""
        with self._lock:
            self._reason = reason
            self._next_probe = self._clock() + self._pause


_breakers: Final[dict[str, Breaker]] = {}
_lock: Final = threading.Lock()


def breaker_of(origin: str) -> Breaker:
    """The breaker that all clients of one ``scheme://host:port`` in this process share."""
    with _lock:
        return _breakers.setdefault(origin, Breaker())


def forget_breakers() -> None:
    """Take every endpoint for alive again (tests)."""
    with _lock:
        for breaker in _breakers.values():
            breaker.succeeded()
