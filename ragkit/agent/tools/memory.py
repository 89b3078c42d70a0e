"""Tools over what is remembered of the user: look something up, and keep something with the user's yes.

``remember`` changes what outlives the conversation, so it has the permission ``write``: whatever text
made the model call it, nothing is kept unless the user says yes to exactly that text.
"""

from __future__ import annotations

from typing import Final

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, ConfigDict, Field

from ragkit.agent.remembering import add_memories
from ragkit.agent.turn import TurnState
from ragkit.errors import RagkitError
from ragkit.memory.items import MAX_CHARS
from ragkit.values import Hit

_FOUND: Final = 5
_OFF: Final = "Error: memory is off; nothing is remembered. Go on without it."


class Remember(BaseModel):
    """Keep a fact about the user."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(
        description="one fact, in one sentence of the user's language", min_length=1, max_length=MAX_CHARS
    )


class Recall(BaseModel):
    """Look up what the user said before."""

    model_config = ConfigDict(extra="forbid")
    query: str = Field(description="what the memories are to be about", min_length=1, max_length=300)


def remember(turn: TurnState) -> BaseTool:
    """The tool that keeps a fact; it runs only behind the gate that asks the user."""

    def run(text: str) -> str:
        if turn.memory is None:
            return _OFF
        try:
            added = turn.memory.add(text, origin="agent", session=turn.session)
        except RagkitError as exc:
            return f"Error: {exc}"
        known = "That is known already" if added.outcome == "merged" else "Remembered"
        older = f" It replaces: {'; '.join(item.text for item in added.replaced)}" if added.replaced else ""
        return f"{known}: {added.item.text}{older}"

    return StructuredTool.from_function(
        run,
        name="remember",
        description="keep a fact about the user over conversations; the user is asked first",
        args_schema=Remember,
    )


def recall(turn: TurnState) -> BaseTool:
    """The tool that looks something up; what it finds can be cited."""

    def run(query: str) -> tuple[str, list[Hit]]:
        if turn.memory is None:
            return _OFF, []
        numbered = add_memories(turn, turn.memory.search(query, _FOUND))
        lines = [
            f"[{n}] {r.item.time[:10]} ({r.item.origin}, trust {r.item.trust}): {r.item.text}" for n, r in numbered
        ]
        return "\n".join(lines) or "Nothing of that is remembered.", [turn.passages[n - 1] for n, _ in numbered]

    return StructuredTool.from_function(
        run,
        name="recall",
        description="look up what the user said in earlier conversations",
        args_schema=Recall,
        response_format="content_and_artifact",
    )
