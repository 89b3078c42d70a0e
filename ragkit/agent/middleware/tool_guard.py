"""A tool that fails, hangs or returns something odd is a message to the model, never the end of the run.

`ToolGuard` stands next to the tool and lets what it raises through to the program's own middleware, which may try
again; `ToolFailures` stands outside of that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command

from ragkit.agent.caller import CALLER, Caller, enter
from ragkit.agent.checkpoints import Kept
from ragkit.agent.limited import NotInTime, within
from ragkit.agent.turn import TurnCancelled, TurnState
from ragkit.errors import RagkitError
from ragkit.text.sanitize import one_line

MAX_RESULT_CHARS: Final = 12_000
"""Longest result of a tool that is kept; the rest is cut, and said to be."""
SECONDS: Final = "ragkit_seconds"
"""Key in a tool's ``metadata``: the time one call of it has, where the setting is not right for it."""
_NAMES: Final = 20


class ToolFailures(AgentMiddleware[Any, Any]):
    """Turns whatever a tool call raises into a result that says so."""

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        call = request.tool_call
        try:
            return handler(request)
        except (GraphBubbleUp, TurnCancelled):
            # An interrupt that waits for a person, or the end of the turn: no failure.
            raise
        except (RagkitError, NotInTime) as exc:
            return failure(call, _said(exc, 900) or type(exc).__name__)
        except BaseException as exc:  # a tool that calls sys.exit must not end the program
            return failure(call, f"{call['name']} failed ({told_of(exc)})")


class ToolGuard(AgentMiddleware[Any, Any]):
    """Runs a tool call within its time; its result fits a prompt.

    It stands inside all other middleware: while somebody is asked for approval, no time runs.

    Args:
        turn: State of the question; its time budget ends a call too.
        seconds: Time of one call.
        names: The tools there are, for the message about one that there is not.
        kept: Where the turn is kept.
    """

    def __init__(self, turn: TurnState, seconds: float, names: tuple[str, ...], kept: Kept | None = None) -> None:
        super().__init__()
        self._kept = kept
        self._turn = turn
        self._seconds = seconds
        self._names = names

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        call = request.tool_call
        if request.tool is None:
            known = ", ".join(self._names[:_NAMES])
            return failure(call, f"there is no tool {one_line(call['name'], 60)!r}. Available: {known}")
        left = self._turn.budget.seconds_left()
        if left == 0:
            return failure(call, "the time budget is used up; nothing was run")
        allowed = float((request.tool.metadata or {}).get(SECONDS, self._seconds))
        seconds = allowed if left is None else min(allowed, left)
        # Middleware of the program may have changed it: this is what runs.
        self._turn.ran[str(call["id"])] = dict(call["args"])
        try:
            return within(seconds, lambda: self._run(request, handler), quiet=True)
        except NotInTime as exc:
            raise NotInTime(f"{call['name']} was not done after {seconds:.3g} s and was left behind") from exc

    def _run(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """The result of the call, made where an agent that is a tool can see who asks it."""
        turn = self._turn

        def begin() -> None:
            enter(request.tool_call, self._kept, turn.caller)

        # The thread is the call's own, and so is its context.
        CALLER.set(Caller(turn.provenance, turn.budget, turn.cancelled, begin))
        return _capped(handler(request))


def failure(call: Any, reason: str) -> ToolMessage:
    """The result of a call that has none."""
    return ToolMessage(f"Error: {reason}", tool_call_id=call["id"], name=call["name"], status="error")


def told_of(exc: BaseException) -> str:
    """The kind of an error and what it says, on one line; the code of a program that says it may fail, too."""
    reason = _said(exc, 400)
    return f"{type(exc).__name__}{': ' if reason else ''}{reason}"


def _said(exc: BaseException, limit: int) -> str:
    try:
        return one_line(str(exc), limit)
    except BaseException:
        return ""


def message_of(result: ToolMessage | Command[Any]) -> ToolMessage | None:
    """What a call has to say: its result, or the message that its `Command` brings along; None without one."""
    if isinstance(result, ToolMessage):
        return result
    update = result.update if isinstance(result.update, dict) else {}
    return next((m for m in update.get("messages") or [] if isinstance(m, ToolMessage)), None)


def _capped(result: ToolMessage | Command[Any]) -> ToolMessage | Command[Any]:
    """A result as text of bounded length."""
    if (message := message_of(result)) is not None:
        _cap(message)
    return result


def _cap(result: ToolMessage) -> None:
    content, left_out = result.content, 0
    if not isinstance(content, str):
        left_out = sum(1 for block in content if isinstance(block, dict) and block.get("type") != "text")
        # Each block is a text of its own: "12" and "34" are not 1234.
        parts = (block if isinstance(block, str) else str(block.get("text") or "") for block in content)
        content = "\n".join(filter(None, parts)) or (
            "" if left_out else json.dumps(content, ensure_ascii=False, default=str)
        )
    text = content[:MAX_RESULT_CHARS]
    if len(content) > MAX_RESULT_CHARS:
        text += f" …({len(content) - MAX_RESULT_CHARS} characters cut)"
    if left_out:
        text += f" ({left_out} parts that are no text left out)"
    if text is not result.content:
        result.content = text
