"""A `Store` in memory that can break at any write, and that is as careless as a database is allowed to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ragkit.index.backends.store import NewChunk, StoredChunk, payload_of, stored_from
from ragkit.index.engine import Filter, Vectors


class Killed(BaseException):
    """The process dies here. No Exception, so that nothing can clean up behind it."""


@dataclass
class Shelf:
    """What outlives a process."""

    chunks: dict[str, tuple[str, Vectors, dict[int, float]]] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    created: bool = False


class MemoryStore:
    """Filters nothing, returns ties backwards, and dies before write number `dies_at`."""

    kind, uri, collection = "memory", "memory://", "notes"
    max_bytes, max_terms = 4000, 500

    def __init__(self, shelf: Shelf, dies_at: int | None = None, max_hits: int = 10_000) -> None:
        self.shelf, self.dies_at, self.max_hits = shelf, dies_at, max_hits
        self.writes = 0
        self.searches: list[int] = []
        self.before_write: Callable[[], None] = lambda: None

    def _write(self) -> None:
        self.before_write()
        self.writes += 1
        if self.writes == self.dies_at:
            raise Killed

    def exists(self) -> bool:
        return self.shelf.created

    def create(self, dimension: int) -> None:
        self._write()
        self.shelf.created = True

    def drop(self) -> None:
        self._write()
        self.shelf.chunks.clear()
        self.shelf.records.clear()
        self.shelf.created = False

    def put_chunks(self, chunks: Sequence[NewChunk]) -> None:
        for new in chunks:  # a request may be cut off in the middle
            self._write()
            self.shelf.chunks[new.stored.key] = (payload_of(new.stored), new.vector, dict(new.weights))

    def get_chunks(self, keys: Sequence[str]) -> dict[str, StoredChunk]:
        return {key: stored_from(self.shelf.chunks[key][0]) for key in keys if key in self.shelf.chunks}

    def get_vectors(self, keys: Sequence[str]) -> dict[str, Vectors]:
        return {key: self.shelf.chunks[key][1] for key in keys if key in self.shelf.chunks}

    def remove_chunks(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._write()
            self.shelf.chunks.pop(key, None)

    def dense(self, vector: Vectors, n: int, where: Filter | None) -> list[tuple[StoredChunk, float]]:
        scored = [(float(np.float32(row @ vector)), key) for key, (_, row, _) in self.shelf.chunks.items()]
        return self._best(scored, n)

    def sparse(self, weights: Mapping[int, float], n: int, where: Filter | None) -> list[tuple[StoredChunk, float]]:
        scored = [
            (sum(weight * row.get(term, 0.0) for term, weight in weights.items()), key)
            for key, (_, _, row) in self.shelf.chunks.items()
        ]
        return self._best([hit for hit in scored if hit[0] > 0], n)

    def _best(self, scored: list[tuple[float, str]], n: int) -> list[tuple[StoredChunk, float]]:
        assert n <= self.max_hits
        self.searches.append(n)
        return [(stored_from(self.shelf.chunks[key][0]), score) for score, key in sorted(scored, reverse=True)[:n]]

    def put(self, records: Mapping[str, str]) -> None:
        for key, value in records.items():
            assert len(value.encode()) <= self.max_bytes
            self._write()
            self.shelf.records[key] = value

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        return {key: self.shelf.records[key] for key in keys if key in self.shelf.records}

    def scan(self, prefix: str) -> Iterator[tuple[str, str]]:
        return iter([(key, value) for key, value in self.shelf.records.items() if key.startswith(prefix)])

    def remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._write()
            self.shelf.records.pop(key, None)

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass
