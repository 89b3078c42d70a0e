"""The tool that lists the notes: what there is to ask about."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, ConfigDict, Field

from ragkit.agent.tools.results import cite_result
from ragkit.agent.turn import TurnState
from ragkit.text.sanitize import one_line
from ragkit.text.tokens import fold
from ragkit.values import Hit

_ROWS: Final = 60


class ListNotes(BaseModel):
    """List the notes."""

    model_config = ConfigDict(extra="forbid")
    filter: str = Field(
        default="", max_length=100, description="part of the path or title, or a pattern such as rag/*; empty for all"
    )


def _rows(documents: Mapping[str, str], wanted: str = "") -> list[str]:
    return [
        f"{one_line(path, 120)}  {one_line(title, 80)}".rstrip()
        for path, title in sorted(documents.items())
        if not wanted or wanted in fold(f"{path} {title}") or fnmatchcase(fold(path), wanted)
    ]


def list_notes(turn: TurnState) -> BaseTool:
    """The listing tool of one turn; the list is a source that can be cited."""

    def run(filter: str = "") -> tuple[str, list[Hit]]:
        wanted = fold(filter.strip())
        rows = _rows(turn.index.documents(), wanted)
        missed = ""
        if not rows and wanted:
            missed, wanted = f"No note matches {one_line(filter)!r}. ", ""
            rows = _rows(turn.index.documents())
        more = f"\n… and {len(rows) - _ROWS} more; narrow it with a filter" if len(rows) > _ROWS else ""
        count = f"{len(rows)} note{'' if len(rows) == 1 else 's'}" + (f" for {one_line(filter)!r}" if wanted else "")
        return cite_result(turn, "list_notes", "\n".join([f"{missed}{count}:", *rows[:_ROWS]]) + more)

    return StructuredTool.from_function(
        run,
        name="list_notes",
        description="list the notes there are, with their titles",
        args_schema=ListNotes,
        response_format="content_and_artifact",
    )
