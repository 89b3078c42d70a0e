"""Tools over the notes: search them, read on at a place. Every passage they return can be cited."""

from __future__ import annotations

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, ConfigDict, Field

from ragkit.agent.turn import TurnState, show_passages
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

    def run(query: str) -> tuple[str, list[Hit]]:
        first = query == turn.standalone[: len(query)] and not any(step.tool == "search_notes" for step in turn.steps)
        if first:
            hits = turn.index.search_queries(turn.queries, k=turn.passages_per_search, merge=True)
        else:
            # The model has put it into words of its own already.
            hits = turn.index.search(query, k=turn.passages_per_search, rewrite=False, hyde=False, merge=True)
        numbered = turn.add(hits)
        asked = turn.wordings if first else [query]
        return show_passages(numbered, turn.spotlight, turn.excerpts(asked, numbered)), hits

    return StructuredTool.from_function(
        run,
        name="search_notes",
        description="search the notes; returns numbered passages",
        args_schema=SearchNotes,
        response_format="content_and_artifact",
    )


def read_note(turn: TurnState) -> BaseTool:
    """The reading tool of one turn: the passage at a line of a note and the one behind it."""

    def run(document: str, line: int) -> tuple[str, list[Hit]]:
        # The model read the name as `show_passages` wrote it.
        shown = {turn.spotlight.name(hit.document): hit.document for hit in turn.passages}
        hits = turn.index.passages_at(shown.get(document, document), line)
        if not hits:
            known = ", ".join(sorted({hit.document for hit in turn.passages})[:8])
            return f"Error: no note {document!r}. Retrieved so far: {known or 'none'}.", []
        return show_passages(turn.add(hits), turn.spotlight), hits

    return StructuredTool.from_function(
        run,
        name="read_note",
        description="read the text around a line of a note",
        args_schema=ReadNote,
        response_format="content_and_artifact",
    )
