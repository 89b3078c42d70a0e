"""``/remember``, ``/memory`` and ``/forget``: what is remembered of the user, from the chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragkit.cli.memory import line, told
from ragkit.cli.repl.loop import Conversation
from ragkit.cli.repl.screen import Screen, counted

if TYPE_CHECKING:
    from ragkit.memory.long_term import Memory


def remember(conversation: Conversation, screen: Screen, argument: str) -> None:
    """Keep a fact in the user's own words; typing the command is the yes."""
    if not argument:
        screen.hint("Remember what? Usage: /remember TEXT")
        return
    added = _memory(conversation).add(argument, session=conversation.session.id)
    screen.line(told(added), "dim")
    _off(conversation, screen)


def show(conversation: Conversation, screen: Screen, argument: str) -> None:
    """List what is remembered, or what of it has to do with some words."""
    memory = _memory(conversation)
    items = [found.item for found in memory.search(argument)] if argument else memory.items()
    for item in items:
        screen.line(line(item))
    screen.line(f"{counted(len(items), 'item')} · user {memory.user} · /remember TEXT adds, /forget ID forgets", "dim")
    _off(conversation, screen)


def forget(conversation: Conversation, screen: Screen, argument: str) -> None:
    """Forget items for good."""
    gone = _memory(conversation).forget(*argument.replace(",", " ").split())
    for item in gone:
        screen.line(f"forgotten: {line(item)}", "dim")


def _memory(conversation: Conversation) -> Memory:
    from ragkit.memory.long_term import beside

    return beside(conversation.index.model, conversation.settings, conversation.chat.structured())


def _off(conversation: Conversation, screen: Screen) -> None:
    if conversation.settings.memory == "off":
        screen.hint('Memories take no part in answers: the setting memory is "off".')
