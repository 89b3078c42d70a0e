"""Several middleware as one: `create_agent` puts a traced span around each hook of each, at some 0.1 ms a call.

With a dozen hooks in a step that was a tenth of what a step costs without its model
(``python evals/bench/agent_overhead.py``). The program's own middleware stays apart, each in spans of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import groupby
from typing import Any, Final

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from ragkit.agent.middleware.hooks import has_hook

ModelHandler = Callable[[ModelRequest[Any]], ModelResponse[Any]]
ToolHandler = Callable[[ToolCallRequest], ToolMessage | Command[Any]]
_OTHERS: Final = (
    "before_agent", "before_model", "after_model", "after_agent", "awrap_model_call", "awrap_tool_call",
)  # fmt: skip


class Chain(AgentMiddleware[Any, Any]):
    """Wraps calls of models and tools as its members do, the first outermost.

    Args:
        members: At least one; of their hooks only these two are called.
        name: Tells several chains of one agent apart.

    Raises:
        ValueError: If a member has a hook of another kind, which would be lost.
    """

    def __init__(self, members: Sequence[AgentMiddleware[Any, Any]], name: str) -> None:
        super().__init__()
        for member in members:
            for hook in _OTHERS:
                if has_hook(member, hook):
                    raise ValueError(f"{type(member).__name__} has {hook}, which a chain does not call")
        self._name = name
        self._around_models = [member for member in members if has_hook(member, "wrap_model_call")]
        self._around_tools = [member for member in members if has_hook(member, "wrap_tool_call")]

    @property
    def name(self) -> str:
        """Of the chain within its agent."""
        return self._name

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        def around(inner: ModelHandler, member: AgentMiddleware[Any, Any]) -> ModelHandler:
            return lambda asked: _response(member.wrap_model_call(asked, inner))

        return reduce(around, reversed(self._around_models), handler)(request)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        def around(inner: ToolHandler, member: AgentMiddleware[Any, Any]) -> ToolHandler:
            return lambda asked: member.wrap_tool_call(asked, inner)

        return reduce(around, reversed(self._around_tools), handler)(request)


def chained(
    middleware: Sequence[AgentMiddleware[Any, Any]], apart: Sequence[AgentMiddleware[Any, Any]]
) -> list[AgentMiddleware[Any, Any]]:
    """`middleware` in its order, neighbours in one chain but for those that stay `apart`."""
    joined: list[AgentMiddleware[Any, Any]] = []
    for alone, group in groupby(middleware, key=lambda member: any(member is other for other in apart)):
        members = list(group)
        joined += members if alone else [Chain(members, f"ragkit_{len(joined)}")]
    return joined


def _response(given: Any) -> ModelResponse[Any]:
    """What a hook gave, in the form that the one around it expects."""
    return ModelResponse(result=[given]) if isinstance(given, AIMessage) else given
