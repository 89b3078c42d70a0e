"""The sheet of a turn: which lines of its passages a small model answers from."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from ragkit.agent.excerpt import body_of, heading_above, nearest, table_head
from ragkit.agent.line_answers import Line, Sheet
from ragkit.agent.remembering import origin_of
from ragkit.agent.turn import TurnState
from ragkit.agent.wording import as_asked
from ragkit.citations.markers import without_markers
from ragkit.text.sanitize import one_line
from ragkit.values import MEMORY, Hit

SHOWN: Final = frozenset({"search_notes", "read_note", "recall"})
"""Tools whose results are passages; what another one said stands in the transcript alone."""
_QUESTION_CHARS: Final = 2000
_LINE_CHARS: Final = 1200
_HEADINGS: Final = 2
_REMEMBERED: Final = "What the user said in earlier conversations"


def sheet_of(turn: TurnState) -> Sheet | None:
    """The lines nearest to the question; None where it must be answered within the transcript.

    That is so where a tool said something that is no passage, and where the question itself is a long text.
    """
    long = len(turn.question) > _QUESTION_CHARS
    if turn.evidence_tokens is None or long or any(step.tool not in SHOWN for step in turn.steps):
        return None
    texts = {number: body_of(hit) for number, hit in enumerate(turn.passages, start=1) if hit.text.strip()}
    if not texts:
        return None
    pieces, chosen = nearest(turn.index, turn.wordings, texts, turn.passages, turn.evidence_tokens)
    blocks: list[tuple[str, tuple[Line, ...]]] = []
    for number, text in texts.items():
        parts = pieces[number]
        # The head of a table comes along as a line, a heading as what stands in front of its lines.
        wanted = {at for each in chosen[number] for at in (each, table_head(text, parts, each))}
        lines = [
            (
                heading_above(parts, each),
                Line(number, turn.spotlight.data(one_line(text[parts[each].start : parts[each].end], _LINE_CHARS))),
            )
            for each in sorted(wanted)
        ]
        for heading, several in groupby(lines, key=lambda pair: pair[0]):
            own = text[parts[heading].start : parts[heading].end].lstrip("# ") if heading >= 0 else ""
            place = _place(turn, turn.passages[number - 1], own)
            blocks.append((place, tuple(line for _, line in several)))
    if not blocks:
        return None
    spotlight = turn.spotlight
    return Sheet(
        question=as_asked(turn.question, turn.standalone),
        blocks=tuple(blocks),
        wrap=lambda shown: spotlight.wrap(shown, headed=True),
        idf=turn.index.idf,
    )


def _place(turn: TurnState, hit: Hit, own: str) -> str:
    """Where lines come from: the note and its last headings."""
    if (item := turn.memories.get(hit.document.removeprefix(MEMORY))) is not None:
        return f"{_REMEMBERED} ({origin_of(item)})"
    further = [own] if own and own not in hit.heading else []
    path = [*hit.heading, *further][-_HEADINGS:]
    return turn.spotlight.name(without_markers(" | ".join([hit.document, " > ".join(path)])))
