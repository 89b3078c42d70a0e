"""What makes a turn survive the death of its process: every call has one result, every effect happens once.

`Replay` stands outside of all other middleware: it keeps the state of the turn after each reply and
each tool call, and gives a resumed turn the results that are known already. `Journal` stands
innermost, so that a call is entered when nothing but the tool itself is still to come: not before
it was approved, not if it was refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from ragkit.agent.caller import Caller, enter
from ragkit.agent.checkpoints import Kept
from ragkit.agent.keeping import UNKNOWN, snapshot
from ragkit.agent.middleware.tool_guard import message_of
from ragkit.agent.spotlight import HEADED
from ragkit.agent.tools.permission import permission_of
from ragkit.agent.turn import TurnState, call_key


class UniqueCalls(AgentMiddleware[Any, Any]):
    """Gives every call an id of its own: some servers number the calls of each reply from zero."""

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        response = handler(request)
        known = {c["id"] for m in request.messages if isinstance(m, AIMessage) for c in m.tool_calls}
        result = [response] if isinstance(response, AIMessage) else getattr(response, "result", [])
        for message in result:
            for call in message.tool_calls if isinstance(message, AIMessage) else ():
                if not call["id"] or call["id"] in known:
                    call["id"] = f"call_{uuid.uuid4().hex[:12]}"
                known.add(call["id"])
        return response


class Replay(AgentMiddleware[Any, Any]):
    """Keeps a turn as it goes on, and answers calls from what was kept.

    Args:
        turn: The question being answered.
        file: Where it is kept.
    """

    def __init__(self, turn: TurnState, file: Kept) -> None:
        super().__init__()
        self._turn = turn
        self._file = file

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        response = handler(request)
        result = [response] if isinstance(response, AIMessage) else getattr(response, "result", [])
        if not any(isinstance(message, AIMessage) and message.tool_calls for message in result):
            # After a reply with calls it is kept with the result of each of them.
            self._file.keep(state=snapshot(self._turn))
        return response

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        call = request.tool_call
        identity, tool, arguments = str(call["id"]), call["name"], dict(call["args"])
        begun, kept = self._file.result(identity)
        if kept is not None:
            return ToolMessage(**kept, tool_call_id=identity, name=tool)
        if begun:
            return self._broken_off(identity, tool, arguments)
        result = handler(request)
        if (message := message_of(result)) is not None:
            kept = {"content": message.content, "status": message.status}
            self._file.done(identity, tool, arguments, kept, lambda: snapshot(self._turn))
        return result

    def _broken_off(self, identity: str, tool: str, arguments: dict[str, Any]) -> ToolMessage:
        """The result of a call that was begun and never closed."""
        turn, key = self._turn, call_key(tool, arguments)
        kept: dict[str, Any] = {"content": UNKNOWN, "status": "error"}
        if (seen := turn.calls.get(key)) is not None:
            # It was over: a call beside it was closed, with the state of the turn, a moment before it would have been.
            kept = {"content": turn.spotlight.wrap(seen, headed=tool in HEADED), "status": "success"}
        else:
            turn.calls[key] = UNKNOWN
            turn.record(tool, arguments, UNKNOWN, 0.0)
        self._file.done(identity, tool, arguments, kept, lambda: snapshot(self._turn))
        return ToolMessage(**kept, tool_call_id=identity, name=tool)


class Journal(AgentMiddleware[Any, Any]):
    """Enters each call of a tool with effects before it runs.

    Args:
        file: Where the turn is kept; None if it is not.
        caller: The turn that asks this one, where the call is entered too.
    """

    def __init__(self, file: Kept | None, caller: Caller | None = None) -> None:
        super().__init__()
        self._file = file
        self._caller = caller

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        # A tool that only reads is simply called again when the outcome of a call is not known.
        if request.tool is None or permission_of(request.tool) != "read":
            enter(request.tool_call, self._file, self._caller)
        return handler(request)
