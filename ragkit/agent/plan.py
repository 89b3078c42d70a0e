"""The plan of a researcher as an event: what is to be found, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

State = Literal["waiting", "working", "done", "missing", "unreached"]
_SIGNS: Final[dict[State, str]] = {"waiting": "○", "working": "▸", "done": "✓", "missing": "✗", "unreached": "–"}


@dataclass(frozen=True)
class PlanItem:
    """One part of a goal."""

    text: str
    state: State = "waiting"
    """``missing``: the notes hold no answer to it; ``unreached``: a budget was used up before that was known."""

    @property
    def line(self) -> str:
        """A line for a list."""
        return f"{_SIGNS[self.state]} {self.text}"


@dataclass(frozen=True)
class Plan:
    """The whole plan as it stands now; sent again whenever an item changes or is added."""

    items: tuple[PlanItem, ...]
    type: ClassVar[str] = "plan"
