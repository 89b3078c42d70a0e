"""The search over a `Store`: the same hits, scores and ties as the embedded engine.

The database proposes, this module decides. BM25's idf and average length change with every
document, so the database holds only the part of a term's weight that its own chunk determines, for a
reference average length; the query brings the idf. What comes back is scored again from the
text with the current statistics, by the arithmetic of `ragkit.index.bm25`, bit for bit. Nothing is
missed by that: no chunk scores more than ``bound`` times what the database says it does (see
`weight_bound`), so the search goes deeper until the last hit beats ``bound`` times the first one
that was not fetched, or the database has no more, or its limit of hits (``Store.max_hits``) is reached.
Filters and document versions are decided the same way: the database narrows, Python decides.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ragkit.errors import IndexFailure
from ragkit.index.backends.records import (
    ABSENT,
    Head,
    Versioned,
    batches,
    document_key,
    latin_prefix,
    part_key,
    read_head,
    read_records,
    term_key,
    unpack_axis,
)
from ragkit.index.backends.store import Store, StoredChunk, chunk_key, ordinal_of, place_of, term_id
from ragkit.index.bm25 import BM25Settings, lucene_idf
from ragkit.index.engine import Filter, Ranked, Vectors
from ragkit.text.tokens import tokenize
from ragkit.values import Chunk, Document

_SPARE: Final = 16
"""Hits asked for beyond those wanted, for old versions and for ties at the cut."""
_ROUNDING: Final = 1e-4
"""Relative error of a score that the database sums up in single precision."""
_CHECKED: Final = 1.0
"""Seconds for which a look at the head holds."""
_KEPT: Final = 100_000
"""Entries of each cache; it is emptied when it holds more."""
_MISSPELLABLE: Final = 20_000
"""Terms that `like` looks at, at most."""


@dataclass(frozen=True)
class _Terms:
    """A chunk as BM25 sees it."""

    counts: Counter[str]
    length: int


class RemoteEngine:
    """A committed generation of a collection, opened for reading; an `Engine`.

    It goes on seeing its generation while the next one is written and after it was committed. When the run
    after that begins to write, every call raises `IndexFailure`: the versions it reads are about to go.

    Args:
        store: Where the collection is kept; closed by `close`.
        head: The generation to read.
        settings: BM25 constants the collection was built with.
    """

    def __init__(self, store: Store, head: Head, settings: BM25Settings) -> None:
        self.store, self.head, self.settings = store, head, settings
        self.language_axis = unpack_axis(head.axis)
        self._lock = threading.RLock()
        self._documents: dict[str, Any] = {}
        self._frequencies: dict[str, int] = {}
        self._chunks: dict[str, StoredChunk] = {}
        self._terms: dict[str, _Terms] = {}
        self._similar: dict[int, list[str]] = {}
        self._checked = 0.0

    def __len__(self) -> int:
        return self.head.chunks

    def facts(self) -> dict[str, Any]:
        return {
            "model": self.head.model["name"],
            "documents": self.head.documents,
            "chunks": self.head.chunks,
            "roots": self.head.roots,
            "generation": str(self.head.generation),
            "backend": self.store.kind,
            "uri": self.store.uri,
            "collection": self.store.collection,
        }

    def dense_search(
        self, vector: Vectors, n: int, *, language_weight: float = 0.0, where: Filter | None = None
    ) -> Ranked:
        query = np.append(vector, np.float32(-language_weight)).astype(np.float32)

        def search(depth: int) -> list[tuple[StoredChunk, float]]:
            return self.store.dense(query, depth, where)

        return self._search(search, lambda _, score: score, n, where, bound=lambda score: score)

    def sparse_search(self, terms: Sequence[str], n: int, *, where: Filter | None = None) -> Ranked:
        idf = self._idf_of(terms)
        weights: dict[int, float] = {}
        for term, value in idf.items():
            # Where two terms share a dimension, the higher weight keeps the database's sum an upper bound.
            weights[term_id(term)] = max(value, weights.get(term_id(term), 0.0))
        if not weights:
            return []
        bound = weight_bound(self.settings, self.head)

        def search(depth: int) -> list[tuple[StoredChunk, float]]:
            return self.store.sparse(weights, depth, where)

        def score(stored: StoredChunk, _: float) -> float | None:
            # 0: the chunk came only because another of its terms shares a dimension with one of the query.
            return bm25(idf, self._terms_of(stored), self.head.average, self.settings) or None

        return self._search(search, score, n, where, bound=lambda score: score * bound * (1 + _ROUNDING))

    def coverage(self, terms: Sequence[str], ordinals: Sequence[int]) -> list[float]:
        mass = {term: lucene_idf(df, self.head.chunks) for term, df in self._frequencies_of(terms).items()}
        total = sum(mass.values())
        found = self._stored(ordinals)
        shares = []
        for ordinal in ordinals:
            counts = self._terms_of(found[ordinal]).counts
            covered = 0.0
            for term, value in mass.items():
                if term in counts:
                    covered += value
            shares.append(float(np.float32(np.clip(covered / total, 0, 1))) if total else 0.0)
        return shares

    def vectors(self, ordinals: Sequence[int]) -> Vectors:
        found = self._stored(ordinals)
        keys = [stored.key for stored in found.values()]
        vectors: dict[str, Vectors] = {}
        for some in batches(keys):
            vectors.update(self.store.get_vectors(some))
        if not ordinals:
            return np.zeros((0, int(self.head.model["dimension"])), dtype=np.float32)
        return np.stack([vectors[found[ordinal].key][:-1] for ordinal in ordinals]).astype(np.float32)

    def chunk(self, ordinal: int) -> Chunk:
        return self._stored([ordinal])[ordinal].chunk

    def chunks_of(self, document: str) -> list[tuple[int, Chunk]]:
        state = self._states([document])[document]
        if state is None:
            return []
        ordinals = [ordinal_of(document, number) for number in range(state["chunks"])]
        found = self._stored(ordinals)
        return [(ordinal, found[ordinal].chunk) for ordinal in ordinals]

    def document(self, path: str) -> Document | None:
        state = self._states([path])[path]
        if state is None:
            return None
        keys = [part_key(state["version"], number) for number in range(state["parts"])]
        parts: dict[str, str] = {}
        for some in batches(keys):
            parts.update(self.store.get(some))
        if len(parts) < len(keys):
            raise self._moved_on()
        return Document(**json.loads("".join(parts[key] for key in keys)))

    def titles(self) -> dict[str, str]:
        self._check()
        states = (Versioned.load(text).at(self.head) for _, text in self.store.scan("d-"))
        return {state["path"]: state["title"] for state in sorted(filter(None, states), key=lambda s: str(s["path"]))}

    def chinese_share(self) -> float:
        return self.head.chinese / self.head.chunks if self.head.chunks else 0.0

    def idf(self, term: str) -> float:
        return lucene_idf(self._frequencies_of([term])[term], self.head.chunks)

    def knows(self, term: str) -> bool:
        return self._frequencies_of([term])[term] > 0

    def like(self, term: str) -> list[str]:
        """Latin terms of about the length of `term`: at most `_MISSPELLABLE` of each length, in order."""
        lengths = range(max(1, len(term) - 2), len(term) + 3)
        return sorted({similar for length in lengths for similar in self._latin(length)})

    def close(self) -> None:
        self.store.close()

    def _search(
        self,
        search: Callable[[int], list[tuple[StoredChunk, float]]],
        score: Callable[[StoredChunk, float], float | None],
        n: int,
        where: Filter | None,
        bound: Callable[[float], float],
    ) -> Ranked:
        """The `n` best chunks that are there and match; `bound` limits the score of those not fetched yet."""
        n = min(n, len(self))
        if n <= 0:
            return []
        self._check()
        depth = n + _SPARE
        while True:
            depth = min(depth, self.store.max_hits)
            found = search(depth)
            ranked = [
                (ordinal_of(stored.chunk.document, stored.number), value)
                for stored, rough in self._visible(found, where)
                if (value := score(stored, rough)) is not None
            ]
            ranked.sort(key=lambda hit: (-hit[1], hit[0]))
            complete = len(found) < depth or depth == self.store.max_hits
            if complete or (len(ranked) >= n and ranked[n - 1][1] > bound(found[-1][1])):
                return ranked[:n]
            depth *= 4

    def _visible(
        self, found: Sequence[tuple[StoredChunk, float]], where: Filter | None
    ) -> list[tuple[StoredChunk, float]]:
        """Those of the generation that match; they are kept for `chunk`."""
        states = self._states({stored.chunk.document for stored, _ in found})
        visible = []
        for stored, score in found:
            state = states[stored.chunk.document]
            if state is not None and state["version"] == stored.version:
                self._keep(self._chunks, stored.key, stored)
                if not where or where.matches(stored.chunk, stored.tags):
                    visible.append((stored, score))
        return visible

    def _stored(self, ordinals: Iterable[int]) -> dict[int, StoredChunk]:
        """Chunks by ordinal.

        Raises:
            KeyError: If one is not in this generation.
        """
        self._check()
        places = {ordinal: place_of(ordinal) for ordinal in ordinals}
        states = self._states({path for path, _ in places.values()})
        keys = {}
        for ordinal, (path, number) in places.items():
            state = states[path]
            if state is None or number >= state["chunks"]:
                raise KeyError(ordinal)
            keys[ordinal] = chunk_key(state["version"], number)
        found = {key: stored for key in keys.values() if (stored := self._chunks.get(key)) is not None}
        for some in batches(key for key in keys.values() if key not in found):
            for key, stored in self.store.get_chunks(some).items():
                self._keep(self._chunks, key, stored)
                found[key] = stored
        if not found.keys() >= set(keys.values()):
            raise self._moved_on()
        return {ordinal: found[key] for ordinal, key in keys.items()}

    def _states(self, paths: Iterable[str]) -> dict[str, Any]:
        """What the generation says of documents, by path; None for those that are not in it."""
        wanted = list(paths)
        known = {path: self._documents[path] for path in wanted if path in self._documents}
        if missing := [path for path in wanted if path not in known]:
            records = read_records(self.store, (document_key(path) for path in missing))
            for path in missing:
                known[path] = records.get(document_key(path), ABSENT).at(self.head)
                self._keep(self._documents, path, known[path])
        return known

    def _frequencies_of(self, terms: Iterable[str]) -> dict[str, int]:
        """In how many chunks each term is, 0 for those that are in none."""
        self._check()
        wanted = list(dict.fromkeys(terms))
        known = {term: self._frequencies[term] for term in wanted if term in self._frequencies}
        if missing := [term for term in wanted if term not in known]:
            records = read_records(self.store, (term_key(term) for term in missing))
            for term in missing:
                value = records.get(term_key(term), ABSENT).at(self.head)
                known[term] = value[1] if value else 0
                self._keep(self._frequencies, term, known[term])
        return {term: known[term] for term in wanted}

    def _idf_of(self, terms: Iterable[str]) -> dict[str, float]:
        return {term: lucene_idf(df, self.head.chunks) for term, df in self._frequencies_of(terms).items() if df}

    def _terms_of(self, stored: StoredChunk) -> _Terms:
        known = self._terms.get(stored.key)
        if known is None:
            tokens = tokenize(stored.chunk.search_text)
            known = _Terms(Counter(tokens), len(tokens))
            self._keep(self._terms, stored.key, known, most=_KEPT // 10)
        return known

    def _latin(self, length: int) -> list[str]:
        if length not in self._similar:
            values = (Versioned.load(text).at(self.head) for _, text in self.store.scan(latin_prefix(length)))
            terms: list[str] = []
            for value in values:
                if value and value[1]:
                    terms.append(value[0])
                if len(terms) == _MISSPELLABLE:
                    break
            self._similar[length] = terms
        return self._similar[length]

    def _keep(self, cache: dict[str, Any], key: str, value: Any, most: int = _KEPT) -> None:
        with self._lock:
            if len(cache) >= most:
                cache.clear()
            cache[key] = value

    def _check(self) -> None:
        """Raise if what this generation consists of may be gone; looks at the head at most once a second."""
        if time.monotonic() - self._checked < _CHECKED:
            return
        head, mine = read_head(self.store), self.head.generation
        if head is None or not (mine == head.generation or (mine == head.previous and head.attempt == head.generation)):
            raise self._moved_on()
        self._checked = time.monotonic()

    def _moved_on(self) -> IndexFailure:
        return IndexFailure(
            f"Collection {self.store.collection} was updated more than once since it was opened.", "Open it again."
        )


def stored_weight(count: int, length: int, reference: float, settings: BM25Settings) -> float:
    """What BM25 gives a term of a chunk before its idf, for the reference average length."""
    norm = settings.k1 * (1 - settings.b + settings.b * length / reference)
    return count * (settings.k1 + 1) / (count + norm)


def bm25(idf: dict[str, float], terms: _Terms, average: float, settings: BM25Settings) -> float:
    """BM25 of one chunk with current statistics: the operations of `Bm25`, in their order and precision."""
    score = 0.0
    norm = settings.k1 * (1 - settings.b + settings.b * terms.length / average)
    for term, value in idf.items():
        if count := terms.counts.get(term):
            score += value * (settings.k1 + 1) * count / (count + norm)
    return float(np.float32(score))


def weight_bound(settings: BM25Settings, head: Head) -> float:
    """How many times more than its stored weight a term can weigh today, over all chunks of the collection.

    The stored weight is ``tf (k1 + 1) / (tf + norm(reference))``. Its ratio to today's falls with tf and, where
    the average length has grown, rises with the chunk's length: the worst is ``tf = 1`` in the longest chunk.
    With the default constants, an average that doubled, and a longest chunk of 4 times the average now, it is
    ``(1.28 + 0.96) / (1.28 + 0.48) = 1.27``; where the average fell it is 1. It only decides how deep to look.
    """

    def norm(average: float) -> float:
        return settings.k1 * (1 - settings.b + settings.b * head.longest / average)

    return max(1.0, (1 + norm(head.reference or 1.0)) / (1 + norm(head.average)))
