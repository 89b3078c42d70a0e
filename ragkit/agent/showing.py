"""What of an answer is shown while it is written: its text without links that nobody vouches for."""

from __future__ import annotations

from ragkit.agent.answer import Token
from ragkit.agent.finish import LINK_REMOVED
from ragkit.agent.turn import TurnState
from ragkit.text.language import answer_language
from ragkit.text.links import LinkStream, addresses


class Showing:
    """Emits the tokens of one turn. What it has cited is not known yet, so every passage counts.

    Args:
        turn: Its passages may grow meanwhile.
    """

    def __init__(self, turn: TurnState) -> None:
        self._turn = turn
        self._links = LinkStream(addresses([turn.question]), LINK_REMOVED[answer_language(turn.question)])
        self._known = 0

    def feed(self, text: str) -> None:
        """The next piece that the model wrote."""
        if self._known != len(self._turn.passages):
            self._known = len(self._turn.passages)
            texts = [hit.text for hit in list(self._turn.passages)]
            self._links.allowed = addresses([self._turn.question, *texts])
        self._emit(self._links.feed(text))

    def close(self) -> None:
        """The end of a reply: nothing is held back any more."""
        self._emit(self._links.close())

    def _emit(self, text: str) -> None:
        if text:
            self._turn.emit(Token(text))
