"""A turn between processes: what it knows as values that can be kept, and a fresh turn that knows it again."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Final

from ragkit.agent.provenance import Provenance
from ragkit.agent.spotlight import Spotlight
from ragkit.agent.tools.results import PREFIX
from ragkit.agent.turn import TurnState
from ragkit.api import Index
from ragkit.values import MEMORY, Hit

UNKNOWN: Final = (
    "It is not known whether this call took effect: the program was stopped while it ran. "
    "It was not made again. Say so in the answer; do not repeat it."
)
"""Observation of a call with effects that was never closed."""
_LIVE: Final = frozenset(
    """index memory emit structured lock cancelled running budget stop cuts window caller ran""".split()
)
"""What a turn has of the running process."""


def snapshot(turn: TurnState) -> dict[str, Any]:
    """What a turn knows so far, as values that can be kept; copied at once, since calls run side by side."""
    kept = {}
    for field in dataclasses.fields(turn):
        if field.name not in _LIVE:
            value = getattr(turn, field.name)
            kept[field.name] = value.copy() if isinstance(value, (list, dict, set)) else value
    return {**kept, "spotlight": turn.spotlight.mark, "provenance": turn.provenance.kept()}


def restore(turn: TurnState, kept: dict[str, Any]) -> None:
    """Give a fresh turn what an earlier one knew.

    Passages whose text stands in no finished observation, because the call that found them was
    broken off, are shown when they are found again.
    """
    if kept:
        provenance = Provenance(turn.question, kept["provenance"])
        kept = {**kept, "spotlight": Spotlight(kept["spotlight"]), "provenance": provenance}
    for field in dataclasses.fields(turn):
        if field.name not in _LIVE and field.name in kept:
            setattr(turn, field.name, kept[field.name])
    # The first line of a passage with its text, see `ragkit.agent.turn.show_passages`.
    head = re.compile(re.escape(turn.spotlight.head("[")) + r"(\d+)\] (?!.*\(shown above\)$)", re.MULTILINE)
    shown = {int(n) for observation in turn.calls.values() for n in head.findall(observation)}
    turn.unseen = set(range(1, len(turn.passages) + 1)) - shown


def drop_changed(turn: TurnState) -> int:
    """Empty the passages that the notes do not hold any more as they were; returns how many.

    They keep their numbers, but no sentence finds support in them, so nothing is cited from them.
    """
    changed = 0
    for n, hit in enumerate(turn.passages):
        if not (_remembered(turn, hit) if hit.document.startswith(MEMORY) else _stands(turn.index, hit)):
            turn.passages[n] = dataclasses.replace(hit, chunk=dataclasses.replace(hit.chunk, text="", heading=()))
            changed += 1
    return changed


def doubts(turn: TurnState) -> list[str]:
    """One line for each call of which it is not known whether it took effect."""
    return [
        f"It is not known whether {step.tool} took effect with {step.arguments!r}: the program was stopped while "
        "it ran. It was not made again."
        for step in turn.steps
        if step.observation == UNKNOWN
    ]


def _remembered(turn: TurnState, hit: Hit) -> bool:
    """Whether a memory was not forgotten in the meantime."""
    item = turn.memory.get(hit.document.removeprefix(MEMORY)) if turn.memory is not None else None
    return item is not None and item.text == hit.text


def _stands(index: Index, hit: Hit) -> bool:
    if hit.document.startswith(PREFIX):
        return True  # what a tool said was kept with the turn
    document = index.document(hit.document)
    return document is not None and document.text[hit.start : hit.end] == hit.text
