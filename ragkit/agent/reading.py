"""The thread of a turn, and the way of its events to whoever reads them, in a plain program or an asyncio one.

Whoever reads can walk away at any time. No thread of the event loop's pool waits for a turn: what a tool awaits
there may need one (`asyncio.to_thread`, the look-up of a host), and all of them would wait for each other.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from contextvars import Context
from typing import TypeAlias

from ragkit.agent.answer import Event
from ragkit.agent.approval import ApprovalAsked
from ragkit.agent.coroutines import LOOP, on_a_loop
from ragkit.agent.run import Run

Sent: TypeAlias = Event | BaseException | None
"""An event, what ended the turn badly, or its end."""
MakeRun: TypeAlias = Callable[[Callable[[Sent], None]], Run]
"""Makes the run that tells its events to what it is given."""


def read(make: MakeRun, cancelled: threading.Event, context: Context) -> Iterator[Event]:
    """The events of a turn.

    Args:
        make: The turn; it begins when the first event is read.
        cancelled: Set when the events are not read to their end.
        context: What the turn runs in.
    """
    if on_a_loop():
        # It stands still while its thread waits here, so nothing of the turn can be awaited on it.
        context.run(LOOP.set, None)
    events: queue.Queue[Sent] = queue.Queue()
    run = make(events.put)
    over = False
    _start(run, events.put, context)
    try:
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                over = True
                raise event
            yield event
            _unanswered(event)
        over = True
    finally:
        _leave(run, cancelled, over)


async def aread(make: MakeRun, cancelled: threading.Event, context: Context) -> AsyncGenerator[Event]:
    """Async twin of `read`; coroutines of the program are awaited on the loop that reads."""
    loop = asyncio.get_running_loop()
    context.run(LOOP.set, loop)
    events: asyncio.Queue[Sent] = asyncio.Queue()

    def put(event: Sent) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody reads any more
            loop.call_soon_threadsafe(events.put_nowait, event)

    run = make(put)
    over = False
    _start(run, put, context)
    try:
        while (event := await events.get()) is not None:
            if isinstance(event, BaseException):
                over = True
                raise event
            yield event
            _unanswered(event)
        over = True
    finally:
        _leave(run, cancelled, over)


def _start(run: Run, put: Callable[[Sent], None], context: Context) -> None:
    def work() -> None:
        try:
            run.go()
        except BaseException as exc:  # handed to the reader, who is in another thread
            put(exc)
        finally:
            put(None)

    threading.Thread(target=context.run, args=(work,), daemon=True, name="ragkit-turn").start()


def _unanswered(event: Event) -> None:
    if isinstance(event, ApprovalAsked):
        event.settle(False)  # whoever read it did not answer


def _leave(run: Run, cancelled: threading.Event, over: bool) -> None:
    cancelled.set()
    if not over:
        # Whoever walks away may end the process before the thread notices.
        run.drop()
