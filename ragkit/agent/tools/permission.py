"""What a tool may do to the world outside the turn, as part of the tool."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from langchain_core.tools import BaseTool

from ragkit.agent.approval import PERMISSIONS, Permission
from ragkit.agent.tools.own import callable_here, check_name, from_function
from ragkit.errors import UsageError

_PERMISSION: Final = "ragkit_permission"
_SOURCE: Final = "ragkit_source"
_DIRECT: Final = "ragkit_direct"


def permission_of(tool: BaseTool) -> Permission:
    """The permission of a tool; ``write`` if it never was declared, because nothing is known of it then."""
    declared = (tool.metadata or {}).get(_PERMISSION)
    return next((known for known in PERMISSIONS if known == declared), "write")


def source_of(tool: BaseTool) -> str:
    """Where a tool comes from, for whoever is asked about it; empty for those of ragkit."""
    return str((tool.metadata or {}).get(_SOURCE, ""))


def answers_directly(tool: Any) -> bool:
    """Whether what a tool returns is the answer: LangChain's ``return_direct``, which `as_tools` takes over."""
    return bool((getattr(tool, "metadata", None) or {}).get(_DIRECT))


def with_permission(tool: BaseTool, permission: Permission, *, source: str = "") -> BaseTool:
    """A copy of `tool` that carries `permission`.

    Args:
        tool: Any LangChain tool.
        permission: What it may do.
        source: Where it comes from, such as ``MCP server files``.

    Raises:
        UsageError: If there is no such permission.
    """
    if permission not in PERMISSIONS:
        raise UsageError(f"Unknown permission {permission!r}.", f"Allowed: {', '.join(PERMISSIONS)}.")
    metadata = {**(tool.metadata or {}), _PERMISSION: permission, **({_SOURCE: source} if source else {})}
    return tool.model_copy(update={"metadata": metadata})


def tool(
    target: Callable[..., Any] | BaseTool | None = None, /, *, permission: Permission = "read", name: str | None = None
) -> Any:
    """Make a typed function, or a LangChain tool, a tool with a permission; also as a decorator.

    Args:
        target: Function with a type for each argument and a docstring, or a LangChain tool.
        permission: What it may do; ``write`` and ``network`` are asked about before each call.
        name: What models call it: at most 64 letters, digits, ``_`` and ``-``; None takes the name that it has.

    Returns:
        A ``BaseTool``; without `target` the decorator that makes one.

    Raises:
        UsageError: If an argument has no type, the docstring is missing, no model can call it by its name, or the
            permission is unknown.
    """
    if target is None:
        return lambda function: tool(function, permission=permission, name=name)
    if not isinstance(target, BaseTool):
        return with_permission(from_function(target, name), permission)
    return with_permission(target if name is None else target.model_copy(update={"name": name}), permission)


def several(given: Any) -> list[Any]:
    """What was handed over as a list, where one thing alone, or None, was handed over instead."""
    if given is None:
        return []
    # A tool of LangChain can be iterated: over its fields.
    alone = isinstance(given, BaseTool | str) or callable(given) or not isinstance(given, Iterable)
    return [given] if alone else list(given)


def as_tools(things: Iterable[BaseTool | Callable[..., Any]], taken: Collection[str] = ()) -> tuple[BaseTool, ...]:
    """Tools of a program's own, each with a permission.

    A plain function counts as ``read``: whoever hands it over knows it. A LangChain tool without a
    permission keeps counting as ``write``, for it may be a shell.

    Args:
        things: Functions and LangChain tools.
        taken: Names that others have.

    Raises:
        UsageError: If something is no tool, see `tool`, or two have one name.
    """
    made: dict[str, BaseTool] = {}
    for thing in things:
        each: BaseTool = callable_here(thing if isinstance(thing, BaseTool) else tool(thing))
        check_name(each.name, 'Give it another name: tool(it, name="weather").')
        if each.name in made or each.name in taken:
            raise UsageError(f"Two tools are called {each.name!r}.", "Give one of them another name.")
        if each.return_direct:
            # The turn itself ends by it: LangChain's loop would end by a call that failed, too.
            each = each.model_copy(
                update={"return_direct": False, "metadata": {**(each.metadata or {}), _DIRECT: True}}
            )
        made[each.name] = each
    return tuple(made.values())
