"""``/good`` and ``/bad [reason]``: what the user thought of the last answer."""

from __future__ import annotations

from collections.abc import Callable

from ragkit.cli.repl.loop import Conversation
from ragkit.cli.repl.screen import Screen
from ragkit.feedback.records import Rating


def rates(rating: Rating) -> Callable[[Conversation, Screen, str], None]:
    """The command that gives the last answer this rating."""

    def run(conversation: Conversation, screen: Screen, argument: str) -> None:
        if conversation.last is None:
            screen.hint("No answer of this sitting is at hand; ask something first.")
            return
        record = conversation.last.feedback(rating, argument, conversation.settings)
        more = "" if rating == "good" or argument else " · /bad REASON says why"
        screen.line(f"kept as {rating} ({record.id}); ragkit feedback review turns it into data{more}", "dim")

    return run
