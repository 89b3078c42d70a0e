"""The gate in front of every tool: arguments must fit the schema, effects need a yes.

It stands innermost, so that no other middleware can change a call between what was approved and what runs.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection
from typing import Any, Final

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import ToolMessage
from langgraph.types import Command

from ragkit.agent.approval import REFUSED, Approval, ApprovalAsked, Approve
from ragkit.agent.coroutines import decided
from ragkit.agent.middleware.tool_guard import told_of
from ragkit.agent.tools.arguments import fault, schema_of
from ragkit.agent.tools.permission import permission_of, source_of
from ragkit.agent.turn import TurnState

NOT_COVERED: Final = (
    "the setting allow_tools covers it only with the words of the question as arguments once the model has read notes"
)


class ToolGate(AgentMiddleware[Any, Any]):
    """Decides whether a call of a tool runs.

    Args:
        turn: The turn, which whoever can be asked listens to.
        allowed: Names of tools with a standing permission, see `ragkit.agent.provenance` for how far it goes.
        approve: Who is asked; None asks whoever reads the events of the turn.
    """

    def __init__(self, turn: TurnState, allowed: Collection[str] = (), approve: Approve | None = None) -> None:
        super().__init__()
        self._turn = turn
        self._allowed = frozenset(allowed)
        self._approve = approve
        self._one = threading.Lock()

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Note what the model reads, as it is sent."""
        self._turn.provenance.sent(request.messages)
        return handler(request)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Run the call if it may run, else say to the model why not."""
        tool, call = request.tool, request.tool_call
        if tool is None:
            return handler(request)
        if found := fault(schema_of(tool), call["args"]):
            return _error(request, f"Error: {found}. Call it again with arguments that fit.")
        permission = permission_of(tool)
        standing = tool.name in self._allowed and self._turn.provenance.covers(call["args"])
        if permission != "read" and not standing:
            read = self._turn.provenance.sources
            asked = Approval(tool.name, permission, copy.deepcopy(call["args"]), source_of(tool), read)
            with self._turn.budget.waiting():
                yes = self._asked(asked)
            if not yes:
                if tool.name in self._allowed:
                    self._turn.warnings.append(f"{tool.name} was not run: {NOT_COVERED}.")
                return _error(request, REFUSED)
        return handler(request)

    def _asked(self, approval: Approval) -> bool:
        if self._approve is not None:
            # Calls of one reply run side by side; a person can look at one of them.
            with self._one:
                return self._decided(self._approve, approval)
        event = ApprovalAsked(approval)
        self._turn.emit(event)
        return event.wait(self._turn.cancelled)

    def _decided(self, approve: Approve, approval: Approval) -> bool:
        try:
            return decided(approve, approval, self._turn.cancelled.is_set)
        except BaseException as exc:  # whatever goes wrong in it, nobody said yes
            self._turn.warnings.append(f"approve failed for {approval.tool} ({told_of(exc)}); the call was not made.")
            return False


def _error(request: ToolCallRequest, text: str) -> ToolMessage:
    call = request.tool_call
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error")
