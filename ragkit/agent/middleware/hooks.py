"""Hooks of the program's own middleware: the loop runs in a thread of its own, so it calls the plain ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from langchain.agents.middleware import AgentMiddleware

from ragkit.errors import UsageError

_HOOKS: Final = ("before_agent", "before_model", "after_model", "after_agent", "wrap_model_call", "wrap_tool_call")


def check_hooks(middleware: Sequence[AgentMiddleware[Any, Any]]) -> None:
    """Refuse middleware that would do nothing, or fail at the first call.

    Raises:
        UsageError: If one is none, or has a hook as a coroutine only.
    """
    for member in middleware:
        if not isinstance(member, AgentMiddleware):
            raise UsageError(
                f"{member!r:.80} is no middleware.",
                "Pass objects of LangChain's AgentMiddleware: middleware=[ToolRetryMiddleware()].",
            )
        for hook in _HOOKS:
            if has_hook(member, f"a{hook}") and not has_hook(member, hook):
                raise UsageError(
                    f"The middleware {type(member).__name__} has a{hook} only; ragkit calls {hook}.",
                    f"Define {hook} too.",
                )


def has_hook(member: AgentMiddleware[Any, Any], hook: str) -> bool:
    """Whether a middleware defines a hook itself."""
    return getattr(type(member), hook) is not getattr(AgentMiddleware, hook)
