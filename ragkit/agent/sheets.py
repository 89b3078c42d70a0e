"""The sheet of a turn: which lines of its passages a small model answers from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from ragkit.agent.excerpt import body_of, heading_above, nearest, table_head
from ragkit.agent.line_answers import Line, Sheet
from ragkit.agent.remembering import origin_of
from ragkit.agent.translating import is_in
from ragkit.agent.turn import TurnState
from ragkit.agent.wording import as_asked
from ragkit.citations.markers import without_markers
from ragkit.text.language import Language, answer_language
from ragkit.text.sanitize import one_line
from ragkit.values import MEMORY, Hit

SHOWN: Final = frozenset({"search_notes", "read_note", "recall"})
"""Tools whose results are passages; what another one said stands in the transcript alone."""
_QUESTION_CHARS: Final = 2000
_LINE_CHARS: Final = 1200
_HEADINGS: Final = 2
_OWN_BEST: Final = 0.5
_OWN_SHARE: Final = 0.7
"""Shares of the lines, of the best passage and of all, that must be in the language of the question for it to be
answered in that at once. Of 47 questions whose answer is among the passages, in the other language, 28 are seen so; of
253 whose answer is in their own, 11 (``python evals/experiments/sheet_language.py``)."""
_OTHER: Final[dict[Language, Language]] = {"zh": "en", "en": "zh"}
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
    theirs = foreign_language([line for _, lines in blocks for line in lines], answer_language(turn.question))
    return Sheet(
        question=as_asked(*_put_into(turn, theirs), theirs) if theirs else as_asked(turn.question, turn.standalone),
        blocks=tuple(blocks),
        wrap=lambda shown: spotlight.wrap(shown, headed=True),
        idf=turn.index.idf,
        foreign=theirs is not None,
    )


def foreign_language(lines: Sequence[Line], asked: Language) -> Language | None:
    """The language of the best passage and of many other lines, if it is not the one that was asked in."""

    def own(some: Sequence[Line]) -> float:
        return sum(is_in(line.text, asked) for line in some) / len(some)

    best = [line for line in lines if line.passage == lines[0].passage]
    return _OTHER[asked] if own(best) < _OWN_BEST and own(lines) < _OWN_SHARE else None


def _put_into(turn: TurnState, language: Language) -> tuple[str, str]:
    """The question as it was put into the language of the notes to search them, with the question itself."""
    found = (text for text in turn.wordings if answer_language(text) == language)
    return next(found, turn.standalone), turn.question


def _place(turn: TurnState, hit: Hit, own: str) -> str:
    """Where lines come from: the note and its last headings."""
    if (item := turn.memories.get(hit.document.removeprefix(MEMORY))) is not None:
        return f"{_REMEMBERED} ({origin_of(item)})"
    further = [own] if own and own not in hit.heading else []
    path = [*hit.heading, *further][-_HEADINGS:]
    return turn.spotlight.name(without_markers(" | ".join([hit.document, " > ".join(path)])))
