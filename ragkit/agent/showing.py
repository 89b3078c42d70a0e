"""What of an answer is shown while it is written: complete sentences without links that nobody vouches for."""

from __future__ import annotations

from ragkit.agent.finish import LINK_REMOVED
from ragkit.agent.live import LiveCheck
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
        self._live = LiveCheck(turn, turn.emit)

    def feed(self, text: str) -> None:
        """The next piece that the model wrote."""
        if self._known != len(self._turn.passages):
            self._known = len(self._turn.passages)
            texts = [hit.text for hit in list(self._turn.passages)]
            self._links.allowed = addresses([self._turn.question, *texts])
        self._live.feed(self._links.feed(text))

    def close(self) -> None:
        """The end of a reply: nothing is held back any more."""
        self._live.feed(self._links.close())
        self._live.flush()
