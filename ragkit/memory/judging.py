"""What becomes of a namespace when facts are added to it: merged, superseding, outranked, outdated, new; evicted.

Pure of disk and models: it works on items, given which of them are near by vector.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from ragkit.memory.items import MemoryItem
from ragkit.memory.relation import Relation, ask, relate
from ragkit.memory.statements import plain, statement
from ragkit.retrieval.rewrite import StructuredModel

Outcome = Literal["added", "merged", "superseded", "outranked", "outdated"]
_log = logging.getLogger(__name__)
MAX_ASKED: Final = 2
"""Undecided neighbours of one new fact that a chat model is asked about."""


@dataclass(frozen=True)
class Added:
    """What adding a fact did."""

    item: MemoryItem
    """As it is remembered now; of a fact that was there already, the one that was there."""
    outcome: Outcome
    """``added``; ``merged`` into one that says the same; ``superseded``: it took the place of others;
    ``outranked``: a file says otherwise than the user did, so it is kept in the history only; ``outdated``: so it
    is because a file's fact is older than one that holds."""
    replaced: tuple[MemoryItem, ...] = ()
    """What it took the place of."""
    evicted: tuple[MemoryItem, ...] = ()
    """What had to go because there was no room."""


@dataclass
class Draft:
    """A namespace while facts are added to it."""

    items: dict[str, MemoryItem]
    by_slot: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for item in self.items.values():
            self._file(item)

    def _file(self, item: MemoryItem) -> None:
        if item.current and (said := statement(item.text)) is not None:
            self.by_slot.setdefault(said.slot, set()).add(item.id)

    def add(self, new: MemoryItem, near: Sequence[str], chat: StructuredModel | None = None) -> Added:
        """Add one fact.

        Args:
            new: The fact.
            near: Ids of items whose vectors are near, nearest first.
            chat: Decides what the rules cannot.
        """
        said = statement(new.text)
        alike = self.by_slot.get(said.slot, set()) if said is not None else set()
        candidates = [self.items[key] for key in dict.fromkeys([*near, *sorted(alike)]) if key in self.items]
        against, asked = [], 0
        for old in candidates:
            if not old.current:
                continue
            later, earlier = (old, new) if _outdated(new, old) else (new, old)
            relation: Relation = relate(later.text, earlier.text, close=old.id in near)
            if relation == "undecided" and asked < MAX_ASKED:
                relation, asked = ask(later.text, earlier.text, chat), asked + 1
            if relation == "same":
                return self._merge(new, old)
            if relation == "against":
                against.append(old)
        if new.trust == "low" and (stronger := [old for old in against if old.trust != "low"]):
            # A file must not overwrite what the user said or allowed.
            return Added(self._set_aside(new, stronger[0].id, new.last), "outranked")
        newer = [old for old in against if _outdated(new, old)]
        older = [old for old in against if not _outdated(new, old)]
        for old in older:
            self._put(replace(old, superseded_by=new.id, until=max(new.time, old.last)))
        if newer:
            first = min(newer, key=lambda old: (old.last, old.id))
            return Added(self._set_aside(new, first.id, max(first.time, new.last)), "outdated", tuple(older))
        self._put(new)
        return Added(new, "superseded" if older else "added", tuple(older))

    def _set_aside(self, new: MemoryItem, by: str, until: str) -> MemoryItem:
        """Keep a fact as history of the item `by`; where it is history already, it stays as it is."""
        if new.id not in self.items:
            self._put(replace(new, superseded_by=by, until=until))
        return self.items[new.id]

    def _merge(self, new: MemoryItem, old: MemoryItem) -> Added:
        """Confirm `old`; the fuller wording stays, unless it comes from where less trust is."""
        better = new.rank > old.rank
        fuller = _fullness(new.text) > _fullness(old.text) and new.rank >= old.rank
        merged = replace(
            old,
            text=new.text if fuller else old.text,
            origin=new.origin if better else old.origin,
            trust=new.trust if better else old.trust,
            said=old.said + 1,
            last=max(old.last, new.last),
        )
        self._put(merged)
        return Added(merged, "merged")

    def _put(self, item: MemoryItem) -> None:
        self.items[item.id] = item
        self._file(item)

    def shrink(self, limit: int, added: Iterable[str] = ()) -> list[MemoryItem]:
        """Take out items until there are `limit`: history first, then what is least trusted, then the oldest.

        Args:
            limit: Of items, history included.
            added: Ids of what was just added. It stays, unless it is history or came from a file: what the user
                said long ago must not make room for a file.
        """
        too_many = len(self.items) - limit
        if too_many <= 0:
            return []
        spared = {key for key in added if self.items[key].current and self.items[key].trust != "low"}
        order = sorted(
            (item for item in self.items.values() if item.id not in spared),
            key=lambda item: (item.current, item.rank, item.last, item.id),
        )
        gone = order[:too_many]
        for item in gone:
            del self.items[item.id]
            _log.info("memory %s (%s, %s trust) is evicted", item.id, item.origin, item.trust)
        return gone


def _fullness(text: str) -> tuple[int, int, int]:
    """How much a wording says: its length without what only introduces it, the capitals of its names, its length."""
    # Every sentence begins with one, "Actually" too.
    capitals = 0 if text.isupper() else sum(char.isupper() and char != "I" for char in text[1:])
    return len(plain(text)), capitals, len(text)


def _outdated(new: MemoryItem, old: MemoryItem) -> bool:
    """Whether a fact of a file was said before what is remembered. What is said here is new, whatever clocks say."""
    return new.origin == "import" and new.last < old.last


def with_history(items: dict[str, MemoryItem], wanted: Iterable[str]) -> set[str]:
    """The ids `wanted` and those of every item that one of them superseded, directly or not."""
    found = set(wanted)
    while more := {i.id for i in items.values() if i.superseded_by in found} - found:
        found |= more
    return found
