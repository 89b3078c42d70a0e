"""A typed Python function as a LangChain tool; what cannot become one is refused with the reason."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, Final, get_type_hints

from langchain_core.tools import BaseTool, StructuredTool
from pydantic.errors import PydanticUserError

from ragkit.agent.coroutines import awaited, nobody_waits
from ragkit.errors import UsageError
from ragkit.text.sanitize import one_line

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What endpoints accept as the name of a function."""

_INJECTED: Final = frozenset("self args kwargs config runtime callbacks run_manager state store".split())
"""Arguments that never reach a tool from a model: the framework fills them in itself."""


def check_name(name: str, remedy: str) -> str:
    """The name of a tool; what endpoints do not accept would end every question with an error of theirs.

    Args:
        name: Any text.
        remedy: How to give another one.

    Raises:
        UsageError: If no model can call it.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise UsageError(
            f"No model can call a tool {str(name)[:80]!r}: a name has 1 to 64 of the letters A-Z and a-z, digits, "
            "_ and -.",
            remedy,
        )
    return name


def from_function(function: Callable[..., Any], name: str | None = None) -> BaseTool:
    """The tool that calls `function`: its name, its docstring, and a schema from its types.

    Args:
        function: With a type for each argument and a docstring.
        name: What models call it; None takes the function's own name.

    A coroutine function is awaited on the event loop that asked by `aask` or `astream`, else on one of its own; it
    is cancelled when its time is over or the question is.

    Raises:
        UsageError: If it cannot be a tool: no name, no docstring, an argument without a type or of
            a type that has no schema.
    """
    if not callable(function):
        raise UsageError(f"{function!r} cannot be a tool.", "Hand over a function, or a LangChain BaseTool.")
    own = getattr(function, "__name__", "") if name is None else name
    name = check_name(own, 'Rename the function, or give it a name: tool(function, name="weather").')
    if not inspect.getdoc(function):
        raise UsageError(
            f"The function {name} has no docstring.", "Say in one line what it does: the model reads it to choose."
        )
    try:
        hints = get_type_hints(function)
    except NameError as exc:
        raise UsageError(f"The function {name} has a type that cannot be found: {exc}.", "Import it.") from exc
    except TypeError as exc:
        raise UsageError(f"The types of {name} cannot be read: {exc}.", "Hand over a plain function.") from exc
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
            raise UsageError(
                f"The function {name} takes {parameter}, which has no place in a schema.", "Name each argument."
            )
        if parameter.name in _INJECTED:
            raise UsageError(
                f"The argument {parameter.name!r} of {name} has a name that LangChain keeps for itself.",
                f"Call it {parameter.name}_ or anything else.",
            )
        if parameter.name not in hints:
            raise UsageError(
                f"The argument {parameter.name!r} of {name} has no type.", f"Write {parameter.name}: str, for example."
            )
    try:
        return StructuredTool.from_function(_blocking(function), name=name, description=inspect.getdoc(function))
    except PydanticUserError as exc:
        # Before Python 3.12 that of the standard library lacks what pydantic reads.
        typed = exc.code == "typed-dict-version"
        remedy = "Import TypedDict from typing_extensions, or use a dataclass." if typed else "Use plain types."
        raise UsageError(f"The function {name} cannot be a tool: {one_line(exc.message, 200)}", remedy) from exc
    except (TypeError, ValueError) as exc:
        raise UsageError(f"The function {name} cannot be a tool: {exc}", "Use types that have a JSON schema.") from exc


def callable_here(tool: BaseTool) -> BaseTool:
    """`tool`, or a copy that can be called without an event loop, if it has nothing but a coroutine."""
    if isinstance(tool, StructuredTool) and tool.func is None and tool.coroutine is not None:
        return tool.model_copy(update={"func": _blocking(tool.coroutine)})
    if isinstance(tool, StructuredTool) or type(tool)._arun is BaseTool._arun:
        return tool
    copy = tool.model_copy()
    # No field of the model: only so the class, its schema and its callbacks stay what they are.
    object.__setattr__(copy, "_run", _either(tool._run, tool._arun))
    return copy


def _either(run: Callable[..., Any], arun: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, or `arun` where `run` itself says that it is not there; LangChain has tools define it all the same."""

    @functools.wraps(run)
    def either(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except NotImplementedError as exc:
            frames = exc.__traceback__.tb_next if exc.__traceback__ else None
            if frames is None or frames.tb_next is not None:
                raise  # from further within: something was done
            # It is of the kind that `run` gets; what `arun` needs is another.
            kwargs.pop("run_manager", None)
            return awaited(arun(*args, **kwargs), nobody_waits)

    return either


def _blocking(function: Callable[..., Any]) -> Callable[..., Any]:
    if not inspect.iscoroutinefunction(function):
        return function

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return awaited(function(*args, **kwargs), nobody_waits)

    return run
