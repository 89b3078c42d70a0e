"""What a workflow is given, and what it gives back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragkit.agent.answer import Agreement, Event
from ragkit.agent.compose import Composed
from ragkit.agent.plan import PlanItem
from ragkit.agent.turn import TurnState

if TYPE_CHECKING:
    from ragkit.agent.parts import AgentParts


@dataclass
class Outcome:
    """An answer before it is shown: checked text, and the turn it came from."""

    composed: Composed
    turn: TurnState
    standalone: str
    notes: Sequence[str] = ()
    plan: tuple[PlanItem, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)
    """See `ragkit.agent.answer.Answer.state`."""
    warnings: Sequence[str] = ()
    agreement: Agreement | None = None
    general: bool = False
    """See `ragkit.agent.answer.Answer.general`."""


@dataclass(frozen=True)
class Task:
    """A message, and the means to answer it."""

    parts: AgentParts
    question: str
    emit: Callable[[Event], None]
    cancelled: threading.Event
    turn: Callable[[], TurnState]
    """A new turn for the message, in which nothing was searched for yet."""
    answered: Callable[[str, Callable[[Event], None]], Outcome]
    """Answers a question of its own, in the plain way and without the conversation, by tools and model; one that was
    answered, or begun, before a restart is not begun anew."""
    once: Callable[[str, Callable[[], Any]], Any]
    """A plain value by its name, made at the first call; after a restart the one that was made before it."""

    @property
    def state(self) -> dict[str, Any]:
        """What the last turn of the session left."""
        answers = self.parts.session.answers
        return dict(answers[-1].state) if answers else {}
