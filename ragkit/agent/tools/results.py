"""What a tool said as a source that an answer can cite, like a passage of a note."""

from __future__ import annotations

import hashlib
from typing import Final

from ragkit.agent.turn import TurnState
from ragkit.text.language import language_group
from ragkit.text.sanitize import printable
from ragkit.values import Chunk, Hit

PREFIX: Final = "tool:"
"""Begins the document name of a result."""
_MAX_CHARS: Final = 12_000
"""Of a result that sentences are compared with."""


def result_hit(tool: str, text: str) -> Hit:
    """The result of a tool as a passage of the document ``tool:NAME``, offsets and lines counted in the result."""
    kept = printable(text)[:_MAX_CHARS]
    chunk = Chunk(
        id=hashlib.sha256(f"{tool}\n{kept}".encode()).hexdigest()[:32],
        document=f"{PREFIX}{tool}",
        heading=(),
        text=kept,
        start=0,
        end=len(kept),
        start_line=1,
        end_line=kept.count("\n") + 1,
        language=language_group(kept),
    )
    return Hit(chunk=chunk, rank=1, score=0.0, legs={"dense": None, "sparse": None})


def cite_result(turn: TurnState, tool: str, text: str) -> tuple[str, list[Hit]]:
    """Number a result like a passage; returns it with its number in front, and the hit.

    Without room for another passage the text comes back as it is, and no hit.
    """
    hit = result_hit(tool, text)
    if not hit.text.strip():
        return text, []
    known = next((n for n, p in enumerate(turn.passages, 1) if p.chunk.id == hit.chunk.id), None)
    number = known or next((n for n, _, _ in turn.add_result(hit)), None)
    return (f"[{number}] {hit.document}\n{text}", [hit]) if number else (text, [])
