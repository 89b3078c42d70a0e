"""Calls of foreign code with a limit of time, their prints kept off standard output.

Python cannot end a thread. A call that is not done in time is left behind in a daemon thread, and
what it returns later is dropped.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")
_diverted: Final[contextvars.ContextVar[bool]] = contextvars.ContextVar("ragkit_diverted", default=False)
_over: Final[contextvars.ContextVar[tuple[threading.Event, ...]]] = contextvars.ContextVar("ragkit_over", default=())
"""Set once the time of the call around is over, and of those around that."""
_lock: Final = threading.Lock()


class NotInTime(Exception):
    """A call took longer than it may."""


def within(seconds: float | None, call: Callable[[], T], *, quiet: bool = False) -> T:
    """Run `call` in a thread with a copy of this context, and wait for it.

    Args:
        seconds: The longest wait; None waits for as long as it takes.
        call: What to run.
        quiet: Send what it prints to standard error; standard output may be a protocol.

    Raises:
        NotInTime: If it is not done by then.
        BaseException: Whatever `call` raises.
    """
    outcome: list[tuple[T | None, BaseException | None]] = []
    context = contextvars.copy_context()
    over = threading.Event()

    def work() -> None:
        _over.set((*_over.get(), over))
        if quiet:
            _diverted.set(True)
        try:
            outcome.append((call(), None))
        except BaseException as exc:  # handed to the waiting thread
            outcome.append((None, exc))

    if quiet:
        _divert_prints()
    thread = threading.Thread(target=context.run, args=(work,), daemon=True, name="ragkit-call")
    thread.start()
    thread.join(seconds)
    if not outcome:
        over.set()
        raise NotInTime
    value, error = outcome[0]
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def left_behind() -> bool:
    """Whether this is the thread of a call whose time is over, so that nobody waits for it any more."""
    return any(over.is_set() for over in _over.get())


class _PerContext:
    """Standard output that sends what is printed in a quiet call to standard error."""

    def __init__(self, stdout: Any) -> None:
        self.stdout = stdout

    def write(self, text: str) -> int:
        written: int = self._stream().write(text)
        return written

    def flush(self) -> None:
        self._stream().flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stdout, name)

    def _stream(self) -> Any:
        return sys.stderr if _diverted.get() else self.stdout


def _divert_prints() -> None:
    """Put the sorting stream in front of standard output, once; it stays, for calls that were left behind."""
    with _lock:
        if not isinstance(sys.stdout, _PerContext):
            sys.stdout = _PerContext(sys.stdout)
