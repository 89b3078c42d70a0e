"""The turn from which an agent is asked as a tool.

What it is asked was written by a model, so it is nobody's word for anything; what it spends is spent by the turn
that asked; it ends when that turn ends; and its effects are entered there before they are made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ragkit.agent.budget import Budget
from ragkit.agent.provenance import Provenance

if TYPE_CHECKING:
    from ragkit.agent.checkpoints import Kept


@dataclass(frozen=True)
class Caller:
    """Who asks; by default somebody of whom nothing is known, such as an agent of another framework."""

    provenance: Provenance = field(default_factory=lambda: Provenance(""))
    budget: Budget | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    begin: Callable[[], None] = lambda: None
    """Called before an effect: if the process dies then, the call that asked is not made again."""


def enter(call: Mapping[str, Any], file: Kept | None, caller: Caller | None) -> None:
    """Enter a call before its effect, in the turn that makes it and in those that asked for that turn.

    Args:
        call: Name, arguments and id.
        file: Where the turn is kept; None if it is not.
        caller: The turn that asks this one; None where the user does.
    """
    if file is not None:
        file.begin(str(call["id"]), call["name"], dict(call["args"]))
    if caller is not None:
        caller.begin()


CALLER: Final[ContextVar[Caller | None]] = ContextVar("ragkit_caller", default=None)
"""Set while a tool runs."""


class Either(threading.Event):
    """Set when it is set itself, or another event is."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        """Whether one of the two is."""
        return super().is_set() or self._other.is_set()
