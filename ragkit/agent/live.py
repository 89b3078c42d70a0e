"""An answer on the screen while it is written: a sentence when it is complete, its marks when it is verified."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ragkit.agent.answer import Event, SentenceChecked, Token
from ragkit.agent.compose import check_sentence
from ragkit.agent.turn import TurnState
from ragkit.citations.checker import Checker
from ragkit.citations.evidence import Evidence
from ragkit.citations.frames import is_row
from ragkit.citations.markers import MARKER, CitedSentence, parse_answer
from ragkit.citations.verify import as_passage, states_nothing
from ragkit.text.sanitize import printable
from ragkit.text.sentences import sentence_spans

_LONGEST: Final = 2000
"""Characters without an end of a sentence after which what there is is shown."""
_MARKS_ONLY: Final = re.compile(rf"(?:\s|{MARKER.pattern}|[\[\]【】［］^\d,，、\-–])*", re.DOTALL)


class LiveCheck:
    """Passes an answer on sentence by sentence.

    A sentence waits until the next one begins, because a marker may follow its full stop. It is
    shown without markers; those of the passages that say it follow once it is checked.

    Args:
        turn: Holds the passages.
        emit: Takes the events.
    """

    def __init__(self, turn: TurnState, emit: Callable[[Event], None]) -> None:
        self._turn = turn
        self._emit = emit
        self._waiting = ""
        self._checker: Checker | None = None
        self._known = -1
        self._in_table = False

    def feed(self, text: str) -> None:
        """Take the next piece of the model's text."""
        self._waiting += text
        while (cut := self._complete()) > 0:
            piece, self._waiting = self._waiting[:cut], self._waiting[cut:]
            self._show(piece)

    def flush(self) -> None:
        """Show what is left: the model has stopped writing."""
        piece, self._waiting = self._waiting, ""
        if piece:
            self._show(piece)

    def _complete(self) -> int:
        """Length of the first part of what waits that nothing can be added to, 0 if there is none."""
        text = self._waiting
        if text.lstrip().startswith("```"):
            end = text.find("```", text.index("```") + 3)
            return end + 3 if end != -1 else 0
        for start, end in sentence_spans(text):
            behind = _MARKS_ONLY.match(text, end)
            stop = behind.end() if behind else end
            if stop >= len(text):
                break
            # A marker's brackets and digits end where the next sentence begins; its own first digit may not be taken.
            if text[start:end].strip():
                return self._next_start(text, end)
        return len(text) if len(text) > _LONGEST else 0

    @staticmethod
    def _next_start(text: str, end: int) -> int:
        """Where the sentence after `end` begins: behind the markers that follow the stop."""
        at = end
        while (match := re.compile(rf"\s*(?:{MARKER.pattern})").match(text, at)) is not None:
            at = match.end()
        return at

    def _show(self, piece: str) -> None:
        if piece.lstrip().startswith("```"):
            self._emit(Token(piece))
            return
        lead = piece[: len(piece) - len(piece.lstrip())]
        for i, sentence in enumerate(parse_answer(printable(piece))):
            before = (sentence.lead or " ") if i else lead
            row = is_row(sentence.text)
            # The marks of a row stand within its last cell.
            end = " |" if row and sentence.markers and sentence.text.endswith("|") else ""
            text = sentence.text.removesuffix("|").rstrip() if end else sentence.text
            self._emit(Token(before + text))
            # What stands below is not written yet: the first row of a table is its head.
            framing = replace(sentence, frame=sentence.frame or (row and not self._in_table))
            self._in_table = row
            if marks := self._checked(framing):
                self._emit(Token(f" {marks}" if text[-1:].isascii() else marks))
            if end:
                self._emit(Token(end))

    def _checked(self, sentence: CitedSentence) -> str:
        """Tell the verdict on a sentence, if it gets one; the marks of the passages that say it."""
        turn = self._turn
        if not turn.passages or states_nothing(sentence, self._current().evidence, turn.question):
            return ""
        verdict = check_sentence(turn, self._current(), sentence.text, sentence.markers)
        self._emit(SentenceChecked(verdict))
        return "".join(f"[{n}]" for n in verdict.sources if sentence.markers)

    def _current(self) -> Checker:
        """The checker over the passages of the moment; a search may have added some."""
        if self._checker is None or self._known != len(self._turn.passages):
            self._known = len(self._turn.passages)
            self._checker = Checker(Evidence([as_passage(hit) for hit in self._turn.passages]))
        return self._checker
