"""Tools the agent can call, by the name an agent file uses. A new tool is a new entry here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from langchain_core.tools import BaseTool
from pydantic import BaseModel

from ragkit.agent.approval import Permission
from ragkit.agent.tools.calculate import Calculate, calculate
from ragkit.agent.tools.listing import ListNotes, list_notes
from ragkit.agent.tools.memory import Recall, Remember, recall, remember
from ragkit.agent.tools.notes import ReadNote, SearchNotes, read_note, search_notes
from ragkit.agent.tools.permission import with_permission
from ragkit.agent.tools.quiz_me import QuizMe, quiz_me
from ragkit.agent.turn import TurnState

Maker = Callable[[TurnState], BaseTool]
"""Makes the tool of one turn."""


def _may(permission: Permission, make: Maker) -> Maker:
    return lambda turn: with_permission(make(turn), permission)


TOOLS: Final[dict[str, Maker]] = {
    "search_notes": _may("read", search_notes),
    "read_note": _may("read", read_note),
    "list_notes": _may("read", list_notes),
    "calculate": _may("read", calculate),
    "quiz_me": _may("read", quiz_me),
    "recall": _may("read", recall),
    "remember": _may("write", remember),
}
ARGUMENTS: Final[dict[str, type[BaseModel]]] = {
    "search_notes": SearchNotes,
    "read_note": ReadNote,
    "list_notes": ListNotes,
    "calculate": Calculate,
    "quiz_me": QuizMe,
    "recall": Recall,
    "remember": Remember,
}
"""What each of them takes, without a turn."""
NOTE_TOOLS: Final = frozenset({"search_notes", "read_note", "calculate"})
"""Those that bring nothing but what the notes say; any other may answer what the notes do not."""
