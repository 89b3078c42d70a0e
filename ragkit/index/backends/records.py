"""The records of a collection: the head, one record for each document, one for each term.

A commit is one write, that of the head. Records that it changes are written before, and carry the
generation they will be valid from beside what was valid until then, so that a reader sees the
generation it opened, whole, before, during and after a commit, and a run that was killed changes
nothing. Attempts that never committed are listed in the head; what they wrote does not count.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, Final, TypeVar

import numpy as np

from ragkit.errors import IndexCorruptError, IndexFailure
from ragkit.index.backends.store import Store, digest, dumps
from ragkit.index.language_axis import LanguageAxis

FORMAT: Final = 1
HEAD: Final = "head"
REFERENCE: Final = "reference"
"""Key of the reference length until the first commit puts it into the head."""
BATCH: Final = 500
"""Records or chunks that one request asks for."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Head:
    """What a collection is and which generation of it is committed."""

    model: dict[str, Any]
    """name, revision, dimension, prompts of the embedding model."""
    analyser: str
    chunker: str
    bm25: str
    axis: str
    """The language axis, float32 in base64."""
    generation: int = 0
    """0: nothing is committed yet."""
    previous: int = 0
    """The generation before it; its readers still see all of it, until the next run begins to write."""
    attempt: int = 0
    """Of the run that writes, or wrote last; higher than `generation` while it runs or after it was killed."""
    aborted: list[int] = field(default_factory=list)
    """Attempts above which others committed although they never did."""
    documents: int = 0
    chunks: int = 0
    tokens: int = 0
    """Terms of all chunks, with repetitions: the sum of the lengths BM25 divides by."""
    longest: int = 0
    """Terms of the longest chunk there ever was in the collection."""
    chinese: int = 0
    """Chunks in Chinese."""
    reference: float = 0.0
    """The average length that the stored weights were computed for; 0: not measured yet."""
    roots: list[str] = field(default_factory=list)
    format: int = FORMAT

    @property
    def average(self) -> float:
        """Mean number of terms of a chunk, as `Bm25` computes it."""
        return self.tokens / self.chunks if self.chunks and self.tokens else 1.0

    def counts(self, generation: int) -> bool:
        """Whether what was written for `generation` is committed."""
        return generation <= self.generation and generation not in self.aborted


@dataclass(frozen=True)
class Versioned:
    """A record with what it says from `since` on, and what it said before; None: it is not there."""

    since: int
    now: Any
    old: Any

    def at(self, head: Head) -> Any:
        """What it says in the generation of `head`."""
        return self.now if head.counts(self.since) else self.old

    def becomes(self, value: Any, head: Head, attempt: int) -> Versioned:
        """The record that says `value` once `attempt` is committed."""
        return Versioned(attempt, value, self.at(head))

    def states(self) -> list[Any]:
        """What it says and said, as far as it is there."""
        return [state for state in (self.now, self.old) if state is not None]

    def dump(self) -> str:
        """The record as text, see `load`."""
        return dumps([self.since, self.now, self.old])

    @classmethod
    def load(cls, text: str) -> Versioned:
        """The record that `dump` wrote."""
        return cls(*json.loads(text))


ABSENT: Final = Versioned(0, None, None)


def read_head(store: Store) -> Head | None:
    """The head of a collection; None if there is no collection, or nothing in it.

    Raises:
        IndexFailure: If a newer ragkit wrote it.
        IndexCorruptError: If it cannot be parsed.
    """
    if not store.exists():
        return None
    text = store.get([HEAD]).get(HEAD)
    if text is None:
        return None
    try:
        data = json.loads(text)
        if data.get("format", 0) > FORMAT:
            raise IndexFailure(
                f"Collection {store.collection} was written by a newer ragkit (format {data['format']}).",
                "Upgrade ragkit.",
            )
        return Head(**data)
    except (ValueError, TypeError, AttributeError) as exc:
        raise IndexCorruptError(
            f"The head of collection {store.collection} at {store.uri} is damaged.",
            "Rebuild it: ragkit index NOTES --rebuild.",
        ) from exc


def write_head(store: Store, head: Head) -> None:
    """Write the head; with a new `generation` this is the commit."""
    store.put({HEAD: dumps(asdict(head))})


def begin(head: Head) -> Head:
    """The head of the next attempt to write."""
    dead = [head.attempt] if head.attempt > head.generation else []
    # The clock, so that a reader of a collection that was dropped and built anew does not meet its number again.
    return replace(head, attempt=max(head.attempt + 1, time.time_ns() // 1000), aborted=[*head.aborted, *dead])


def pack_axis(axis: LanguageAxis) -> str:
    """A language axis as text."""
    values = np.append(axis.direction, np.array([axis.english, axis.chinese], dtype=np.float32))
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def unpack_axis(text: str) -> LanguageAxis:
    """The language axis that `pack_axis` wrote."""
    values = np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float32)
    return LanguageAxis(values[:-2], float(values[-2]), float(values[-1]))


def document_key(path: str) -> str:
    """Key of a document's record."""
    return f"d-{digest(path)}"


def term_key(term: str) -> str:
    """Key of a term's record; Latin terms of one length share the beginning of their keys, see `latin_prefix`."""
    latin = term.isascii() and term[:1].isalpha()
    return (latin_prefix(len(term)) if latin else "t-") + digest(term)


def latin_prefix(length: int) -> str:
    """How the keys of all Latin terms of this length begin."""
    return f"l{min(length, 9999):04d}-"


def part_key(version: str, number: int) -> str:
    """Key of one part of a document version's text."""
    return f"p-{version}-{number:05d}"


def in_parts(text: str, most: int) -> list[str]:
    """A text cut into parts of at most `most` bytes of UTF-8 each."""
    step = most // 4
    return [text[at : at + step] for at in range(0, len(text), step)] or [""]


def read_records(store: Store, keys: Iterable[str]) -> dict[str, Versioned]:
    """Records by key; those that are not there are left out."""
    return {key: Versioned.load(text) for some in batches(keys) for key, text in store.get(some).items()}


def batches(items: Iterable[_T], size: int = BATCH) -> Iterator[Sequence[_T]]:
    """`items` in lists of at most `size`."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
