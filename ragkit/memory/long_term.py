"""Facts over conversations: a vector store of one user's memories, with history, a cap and export.

Each user has a namespace, a folder of its own below ``$RAGKIT_HOME/memory``, which is an index of
both legs as notes have one. Nothing is read or loaded before it is needed, so a memory without
items costs one look at the disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from ragkit.errors import RagkitError, UsageError
from ragkit.index.engine import Filter
from ragkit.index.manifest import read_manifest
from ragkit.index.model_choice import model_for
from ragkit.memory.evictions import drop_log, evicted, log_evicted
from ragkit.memory.items import CURRENT, MemoryItem, Origin, Trust, new_item
from ragkit.memory.judging import Added, Draft, with_history
from ragkit.memory.namespaces import conditions as allowed_by
from ragkit.memory.namespaces import find, folder_of
from ragkit.memory.relation import near
from ragkit.memory.shelf import Items, Shelf, State
from ragkit.memory.transfer import from_json, to_json
from ragkit.models.embeddings import Embedder, EmbeddingModel, Vectors
from ragkit.retrieval.retriever import Retriever, check_question
from ragkit.retrieval.rewrite import StructuredModel
from ragkit.settings import Settings, load_settings
from ragkit.text.sanitize import clean_question
from ragkit.values import Hit

_NEIGHBOURS: Final = 5
_COVERAGE: Final = 0.45
"""Share of the question that a memory must have to be recalled by its words alone."""
_COSINE: Final = 0.285
"""Centred cosine (`ragkit.models.questions`) from which a memory is recalled, where the model's scale is known."""


@dataclass(frozen=True)
class Recalled:
    """A memory that a search found."""

    item: MemoryItem
    rank: int
    """From 1."""
    score: float
    hit: Hit
    """Why it was found: ranks and scores of both legs, coverage of the question."""


class Memory:
    """What is remembered of one user. Safe to use from several threads and processes.

    Args:
        home: ``$RAGKIT_HOME``.
        user: Name of the namespace: lower case letters, digits, ``-`` and ``_``, at most 64.
        embedding: Model, its name, or a function that gives it; None takes the setting. Items that are
            there already go on with the model that they were embedded with, if it may be chosen.
        settings: None reads ``ragkit.toml`` and the environment.
        judge: Chat model that is asked whether two facts contradict each other where the rules cannot tell.

    Raises:
        UsageError: If the name is not allowed.
        MemoryFailure: If the namespace is a link to another folder.
    """

    def __init__(
        self,
        home: Path,
        user: str = "default",
        *,
        embedding: str | Embedder | EmbeddingModel | None = None,
        settings: Settings | None = None,
        judge: StructuredModel | None = None,
    ) -> None:
        self.user, self.folder = user, folder_of(home, user)
        self.judge = judge
        self._home, self._embedding, self._given = home, embedding, settings
        self._shelf = Shelf(self.folder, lambda: self._model)
        self._searcher: tuple[State, Retriever] | None = None

    @classmethod
    def open(
        cls,
        home: str | Path | None = None,
        user: str | None = None,
        *,
        embedding: str | Embedder | EmbeddingModel | None = None,
        settings: Settings | None = None,
        judge: StructuredModel | None = None,
    ) -> Memory:
        """Open a namespace; nothing is created before something is remembered.

        Args:
            home: None takes that of the settings.
            user: None takes the setting ``memory_user``.
            embedding: See `Memory`.
            settings: See `Memory`.
            judge: See `Memory`.

        Raises:
            UsageError: If the name is not allowed.
        """
        settings = settings or load_settings()
        base = Path(home).expanduser() if home is not None else settings.home
        name = settings.memory_user if user is None else user
        return cls(base, name, embedding=embedding, settings=settings, judge=judge)

    # ------------------------------------------------------------ writing

    def add(
        self, text: str, *, origin: Origin = "user", session: str = "", trust: Trust | None = None, time: str = ""
    ) -> Added:
        """Remember a fact: merged with one that says the same, in the place of those that it contradicts.

        Args:
            text: One sentence, at most 500 characters.
            origin: Who said it.
            session: Conversation it was said in.
            trust: None takes that of the origin: user high, agent medium, import low.
            time: When it was said, ISO 8601; empty means now.

        Raises:
            UsageError: If the text is empty or too long, or a field has no allowed value.
            MemoryFailure: If the namespace is damaged or was embedded with another model.
            IndexFailure: If the disk refuses.
        """
        return self.add_many([new_item(text, origin=origin, session=session, trust=trust, time=time)])[0]

    def add_many(self, items: Sequence[MemoryItem], history: Sequence[MemoryItem] = ()) -> list[Added]:
        """Remember several facts in one commit, in order; see `add`.

        Args:
            items: Made by `ragkit.memory.items.new_item`.
            history: Superseded items that are kept beside them as they are.

        Raises:
            UsageError: If there are more than the namespace holds.
        """
        if len(items) + len(history) > self.limit:
            raise UsageError(
                f"{len(items) + len(history):,} memories do not fit: {self.user} holds {self.limit:,}.",
                "Raise the setting memory_items, or import fewer.",
            )
        if not items and not history:
            return []
        texts = [item.text for item in items]
        rows: Vectors = np.asarray(self._model.encode_documents(texts), dtype=np.float32)
        vectors: dict[str, Vectors] = dict(zip(texts, rows, strict=True))
        done: list[Added] = []
        gone: list[MemoryItem] = []

        def plan(state: State) -> Items:
            done.clear()
            draft = Draft({**{item.id: item for item in history}, **state.items})
            fresh: list[str] = []
            for i, item in enumerate(items):
                neighbours = self._neighbours(state, rows[: len(fresh)], fresh, rows[i])
                done.append(draft.add(item, neighbours, self.judge))
                fresh.append(done[-1].item.id)
            # What is merged into another item goes on there, and so does what it took the place of.
            moved = {item.id: added.item.id for item, added in zip(items, done, strict=True)}
            for old in history:
                if (now := draft.items[old.id]).superseded_by in moved:
                    draft.items[old.id] = replace(now, superseded_by=moved[now.superseded_by])
            gone[:] = draft.shrink(self.limit, {added.item.id for added in done})
            return draft.items

        self._shelf.change(plan, vectors)
        if gone:
            log_evicted(self.folder, gone)
            done[-1:] = [replace(added, evicted=tuple(gone)) for added in done[-1:]]
        return done

    def forget(self, *ids: str) -> list[MemoryItem]:
        """Forget items for good, with everything they superseded: their bytes leave the disk with this commit.

        Args:
            ids: Whole ids, or beginnings of at least 4 digits that fit one item only.

        Returns:
            What was forgotten.

        Raises:
            UnknownMemoryError: If an id fits no item, or several.
            UsageError: If none is given.
        """
        found: list[MemoryItem] = []

        def plan(state: State) -> Items:
            wanted = with_history(state.items, [find(state.items, given) for given in ids])
            found[:] = [item for key, item in state.items.items() if key in wanted]
            return {key: item for key, item in state.items.items() if key not in wanted}

        if not ids:
            raise UsageError("No memory was named.", "`ragkit memory list` shows the ids.")
        self._shelf.change(plan, everything=True)
        return found

    def clear(self) -> int:
        """Forget everything, for good; returns how many items that were."""
        count = 0

        def plan(state: State) -> Items:
            nonlocal count
            count = len(state.items)
            return {}

        if self._shelf.exists():
            self._shelf.change(plan, everything=True)
        drop_log(self.folder)
        return count

    def rebuild(self) -> int:
        """Embed every item anew with the model of the settings; returns how many they are."""
        self._model = self._chosen(anew=True)
        return len(self._shelf.change(lambda state: state.items, anew=True).items) if self._shelf.exists() else 0

    # ------------------------------------------------------------ reading

    def __len__(self) -> int:
        """Items that hold."""
        return len(self.items())

    def __bool__(self) -> bool:
        """Whether anything may be remembered, from one look at the disk."""
        return self._shelf.exists()

    def items(self, *, history: bool = False) -> list[MemoryItem]:
        """What is remembered, the oldest first.

        Args:
            history: Also what was superseded.
        """
        if not self._shelf.exists():
            return []
        return [item for item in self._shelf.state().items.values() if history or item.current]

    def get(self, identity: str) -> MemoryItem | None:
        """The item with this id, or None if there is none or it cannot be read."""
        try:
            return self._shelf.state().items.get(identity)
        except RagkitError:
            return None

    def search(self, query: str, k: int = 5, *, where: Mapping[str, str] | None = None) -> list[Recalled]:
        """The `k` memories nearest to a text, best first; superseded ones are not among them.

        Args:
            query: At most 20,000 characters.
            k: At least 1.
            where: Conditions by name, all of which must hold: ``origin``, ``trust``, ``session``, and
                ``after`` and ``before`` (ISO 8601). They are compared with fields, never made into a query.

        Raises:
            UsageError: If the query is empty, k is below 1, or a condition has another name or value.
        """
        query = clean_question(query)
        check_question(query)
        tests = allowed_by(where or {})
        if k < 1:
            raise UsageError(f"k must be at least 1, not {k}.")
        if not self._shelf.exists():
            return []
        state = self._shelf.searchable()
        current = sum(item.current for item in state.items.values())
        depth, found = k, list[Recalled]()
        while current:
            hits = self._retriever(state).search(query, k=min(depth, current), where=Filter(documents=(f"{CURRENT}*",)))
            pairs = [(state.items[hit.document.removeprefix(CURRENT)], hit) for hit in hits]
            fits = [(item, hit) for item, hit in pairs if all(condition(item) for condition in tests)]
            found = [Recalled(item, rank, hit.score, hit) for rank, (item, hit) in enumerate(fits[:k], start=1)]
            if len(found) == k or depth >= current:
                break
            depth *= 4
        return found

    def recall(self, question: str, k: int = 4) -> list[Recalled]:
        """The memories that have to do with a question, at most `k`; often none."""
        if not self._shelf.exists():
            return []
        floor = _COSINE if self._model.relevance_floor is not None else None
        return [found for found in self.search(question, k) if _relevant(found.hit, floor)]

    def export(self) -> dict[str, Any]:
        """Everything that is remembered, history included, as JSON values; `load` reads it again."""
        return to_json(self.user, self.items(history=True))

    def load(self, data: Any) -> list[Added]:
        """Take in what `export` gave, in one commit. A file is no word of the user's: its items have low trust.

        Of two that contradict each other the one that was said later holds, whatever their order.

        Raises:
            UsageError: If it is no export, naming what is wrong.
        """
        items, history = from_json(data)
        return self.add_many(items, history)

    @property
    def limit(self) -> int:
        """How many items there may be, history included."""
        return self._settings.memory_items

    def evictions(self) -> list[dict[str, Any]]:
        """The log of what had to go: id, time, origin, trust of each, the oldest first."""
        return evicted(self.folder)

    def close(self) -> None:
        """Give back open files."""
        self._shelf.close()
        self._searcher = None

    # ------------------------------------------------------------ inside

    @cached_property
    def _settings(self) -> Settings:
        return self._given or load_settings()

    @cached_property
    def _model(self) -> EmbeddingModel:
        return self._chosen(anew=False)

    def _chosen(self, *, anew: bool) -> EmbeddingModel:
        return model_for(self.folder, self._embedding, self._settings, anew)

    def _retriever(self, state: State) -> Retriever:
        assert state.snapshot is not None
        if self._searcher is None or self._searcher[0].snapshot is not state.snapshot:
            self._searcher = (state, Retriever(state.snapshot, self._model, cache=self._home / "cache"))
        return self._searcher[1]

    def _neighbours(self, state: State, rows: Vectors, fresh: Sequence[str], row: Vectors) -> list[str]:
        """Ids of the items whose vectors are near to `row`, nearest first; `fresh` have `rows`."""
        found = [(fresh[i], float(cosine)) for i, cosine in enumerate(rows @ row)] if fresh else []
        if state.snapshot is not None and len(state.snapshot):
            where = Filter(documents=(f"{CURRENT}*",))
            ranked = state.snapshot.dense_search(np.asarray(row, np.float32), _NEIGHBOURS, where=where)
            found += [(state.snapshot.chunk(ordinal).id, cosine) for ordinal, cosine in ranked]
        floor = near(self._model.name)
        close = sorted((pair for pair in found if pair[1] >= floor), key=lambda pair: -pair[1])
        return list(dict.fromkeys(key for key, _ in close))[:_NEIGHBOURS]


def beside(index_model: EmbeddingModel, settings: Settings, judge: StructuredModel | None = None) -> Memory:
    """The memory that goes with an opened index: of the user in the settings, with the same embedding model if it fits.

    Raises:
        UsageError: If the setting ``memory_user`` is not allowed.
    """
    memory = Memory(settings.home, settings.memory_user, settings=settings, judge=judge)
    manifest = read_manifest(memory.folder)
    if manifest is None or manifest.model["name"] == index_model.name:
        memory._embedding = index_model
    return memory


def _relevant(hit: Hit, floor: float | None) -> bool:
    leg = hit.legs.get("dense")
    return hit.coverage >= _COVERAGE or (floor is not None and leg is not None and leg.score >= floor)
