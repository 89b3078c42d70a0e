"""Where the coroutines of a program run: on the event loop that asked, or on one of their own.

A turn has a thread of its own. What a program hands over (tools, `approve`) may hang on the loop that asked by
`aask` or `astream`: a client, a pool, a queue. So it is awaited there, while the thread of the turn waits for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import wait
from contextvars import Context, ContextVar
from typing import Final, TypeVar

from langchain_core.runnables.config import var_child_runnable_config

from ragkit.agent.approval import Approval, Approve
from ragkit.agent.caller import CALLER
from ragkit.agent.limited import NotInTime, left_behind, within

T = TypeVar("T")
LOOP: Final[ContextVar[asyncio.AbstractEventLoop | None]] = ContextVar("ragkit_loop", default=None)
"""The loop that asked, and runs on while the turn does; None: each coroutine gets one of its own."""
_POLL: Final = 0.05


def turn_context() -> Context:
    """A copy of the caller's context for a turn: what it says of tenants, requests and traces reaches the tools."""
    context = contextvars.copy_context()
    # A graph that runs within another by LangChain's own variable would share its callbacks and its checkpoints.
    context.run(var_child_runnable_config.set, None)
    return context


def decided(approve: Approve, approval: Approval, given_up: Callable[[], bool] = lambda: False) -> bool:
    """Whether `approve`, a function or a coroutine function, says yes; nothing but True does.

    Raises:
        NotInTime: If it was given up.
        BaseException: Whatever it raises.
    """
    answer = approve(approval)
    return (awaited(answer, given_up) if inspect.isawaitable(answer) else answer) is True


def awaited(work: Awaitable[T], given_up: Callable[[], bool]) -> T:
    """What a coroutine returns.

    Args:
        work: It is awaited on the loop that asked, if one did.
        given_up: Whether nobody waits for it any more; it is cancelled then.

    Raises:
        NotInTime: If it was given up.
        BaseException: Whatever it raises.
    """
    if on_a_loop():
        # The loop of this thread stands still while it waits here.
        return within(None, lambda: asyncio.run(_watched(work, given_up)))
    loop = LOOP.get()
    if loop is None or not loop.is_running():
        return asyncio.run(_watched(work, given_up))
    future = asyncio.run_coroutine_threadsafe(_plain(work), loop)
    while not wait([future], _POLL).done:
        if given_up() or loop.is_closed():
            future.cancel()
            raise NotInTime("nobody waits for it any more")
    return future.result()


def nobody_waits() -> bool:
    """Whether the tool call that this thread makes was left behind, or its turn is cancelled."""
    caller = CALLER.get()
    return left_behind() or (caller is not None and caller.cancelled.is_set())


def on_a_loop() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _plain(work: Awaitable[T]) -> T:
    return await work


async def _watched(work: Awaitable[T], given_up: Callable[[], bool]) -> T:
    task = asyncio.ensure_future(_plain(work))
    while not (await asyncio.wait({task}, timeout=_POLL))[0]:
        if given_up():
            task.cancel()
            raise NotInTime("nobody waits for it any more")
    return task.result()
