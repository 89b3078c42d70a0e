"""Results of tools that know nothing of notes become sources: numbered, citable, checked like passages."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import ToolMessage
from langgraph.types import Command

from ragkit.agent.answer import Answer
from ragkit.agent.middleware.tool_guard import message_of
from ragkit.agent.renumber import renumbered
from ragkit.agent.tools.results import cite_result
from ragkit.agent.turn import TurnState


class ToolResults(AgentMiddleware[Any, Any]):
    """Numbers the results of foreign tools.

    Args:
        turn: Gets the sources.
        own: Names of tools that number their passages themselves, or say nothing that can be cited.
    """

    def __init__(self, turn: TurnState, own: Collection[str]) -> None:
        super().__init__()
        self._turn = turn
        self._own = frozenset(own)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Run the call; a text becomes a source, an answer of another agent brings its own along."""
        result = handler(request)
        name, message = request.tool_call["name"], message_of(result)
        if message is None or name in self._own:
            return result
        given, message.artifact = message.artifact, None
        if message.status == "error":
            return result
        if isinstance(given, Answer) and given.citations:
            text, hits = renumbered(given, self._turn)
        else:
            text, hits = cite_result(self._turn, name, str(message.text))
        message.content, message.artifact = text, hits
        return result
