"""Tools over the notes: search them, read on at a place. Every passage they return can be cited."""

from __future__ import annotations

import time
from collections.abc import Sequence

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, ConfigDict, Field

from ragkit.agent.turn import TurnState, show_passages
from ragkit.errors import RagkitError
from ragkit.values import Hit


class SearchNotes(BaseModel):
    """Find passages in the notes."""

    model_config = ConfigDict(extra="forbid")
    query: str = Field(description="what to look for, in the notes' own terms", min_length=1, max_length=300)


class ReadNote(BaseModel):
    """Read the text around a line of a note."""

    model_config = ConfigDict(extra="forbid")
    document: str = Field(description="file name of the note as shown in front of the passage", max_length=300)
    line: int = Field(description="line number to read around", ge=1, le=10_000_000)


def search_notes(turn: TurnState) -> BaseTool:
    """The search tool of one turn; passages get their citation numbers here."""

    def run(query: str) -> str:
        began = time.monotonic()
        queries = turn.queries if query == turn.standalone else ()
        try:
            if queries:
                hits = turn.index.search_queries(queries, k=turn.passages_per_search)
            else:
                hits = turn.index.search(query, k=turn.passages_per_search)
        except RagkitError as exc:
            return _recorded(turn, "search_notes", {"query": query}, f"Error: {exc}", began)
        return _recorded(turn, "search_notes", {"query": query}, show_passages(turn.add(hits)), began, hits)

    return StructuredTool.from_function(
        run, name="search_notes", description="Search the notes; returns numbered passages.", args_schema=SearchNotes
    )


def read_note(turn: TurnState) -> BaseTool:
    """The reading tool of one turn: the passage at a line of a note and its neighbours."""

    def run(document: str, line: int) -> str:
        began = time.monotonic()
        arguments = {"document": document, "line": line}
        neighbours = turn.index.passages_at(document, line)
        if not neighbours:
            known = ", ".join(sorted({hit.document for hit in turn.passages})[:8])
            reason = f"Error: no note {document!r}. Retrieved so far: {known or 'none'}."
            return _recorded(turn, "read_note", arguments, reason, began)
        return _recorded(turn, "read_note", arguments, show_passages(turn.add(neighbours)), began, neighbours)

    return StructuredTool.from_function(
        run, name="read_note", description="Read the text around a line of a note.", args_schema=ReadNote
    )


def _recorded(turn: TurnState, tool: str, arguments: dict[str, object], text: str, began: float,
              hits: Sequence[Hit] = ()) -> str:  # fmt: skip
    turn.record(tool, arguments, text, time.monotonic() - began, hits)
    return text
