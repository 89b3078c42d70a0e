"""Tools the agent can call, by the name an agent file uses. A new tool is a new entry here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from langchain_core.tools import BaseTool

from ragkit.agent.tools.calculate import calculate
from ragkit.agent.tools.notes import read_note, search_notes
from ragkit.agent.turn import TurnState

TOOLS: Final[dict[str, Callable[[TurnState], BaseTool]]] = {
    "search_notes": search_notes,
    "read_note": read_note,
    "calculate": calculate,
}
