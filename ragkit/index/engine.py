"""What retrieval needs of an index, wherever the index is kept: `Engine`, and `Filter` for a part of it.

The embedded engine (`ragkit.index.snapshot.Snapshot`) and every backend answer the same calls with
the same scores; one contract test runs over all of them. A chunk is named by its ordinal, which is
valid for one opened engine only; ordinals run from 0 in the order of document path and place, so that
whoever breaks a tie by ordinal does so for good reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, Protocol, runtime_checkable
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from ragkit.errors import UsageError
from ragkit.index.language_axis import LanguageAxis
from ragkit.ingest.sections import sections_of
from ragkit.values import Chunk, Document

Vectors = npt.NDArray[np.float32]
Ranked = list[tuple[int, float]]
"""``(ordinal, score)``, best first; equal scores in the order of document path and place in it."""


_GROUPS: Final[dict[str, Literal["zh", "other", ""]]] = {"zh": "zh", "en": "other", "other": "other", "": ""}
"""What may be asked for as a language, and the group that chunks are kept under."""


@dataclass(frozen=True)
class Filter:
    """Which chunks a search may return; every given condition must hold.

    Any sequence of texts is taken for `documents` and `tags`, and a lone text for the only one.

    Raises:
        UsageError: If a condition is no text, or the language is unknown.
    """

    documents: tuple[str, ...] = ()
    """Document paths or patterns (``*``, ``?``), any of them; ``2024/*`` is a whole folder."""
    heading: str = ""
    """Text that the heading path contains, or that of a section inside the chunk; upper and lower case alike."""
    tags: tuple[str, ...] = ()
    """``tags`` of the document's front matter, any of them, upper and lower case alike."""
    language: Literal["zh", "en", "other", ""] = ""
    """Language of the chunk: ``zh``, or ``other`` for all that is not Chinese, which ``en`` stands for, too."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "documents", _texts("documents", self.documents))
        # As notes write them in lists: #plan is the tag plan.
        object.__setattr__(self, "tags", tuple(tag.strip(" #") or tag for tag in _texts("tags", self.tags)))
        if not isinstance(self.heading, str):
            raise UsageError(f"Filter.heading must be a text, not {self.heading!r}.")
        if not isinstance(self.language, str) or self.language not in _GROUPS:
            raise UsageError(f"Filter.language cannot be {self.language!r}.", "Allowed: zh, en, other.")
        object.__setattr__(self, "language", _GROUPS[self.language])

    @classmethod
    def of(cls, where: Filter | Mapping[str, Any] | None) -> Filter | None:
        """A filter as a caller may give it: ready, or its conditions by name.

        Raises:
            UsageError: If it is something else, or names a condition that there is not.
        """
        if where is None or isinstance(where, Filter):
            return where
        names = [field.name for field in fields(cls)]
        if not isinstance(where, Mapping) or not set(where) <= set(names):
            known = f"Pass Filter(...) or a mapping with any of {', '.join(names)}."
            raise UsageError(f"{where!r} is no filter.", known)
        return cls(**where)

    def __bool__(self) -> bool:
        return bool(self.documents or self.heading or self.tags or self.language)

    def matches(self, chunk: Chunk, tags: Sequence[str]) -> bool:
        """Whether a chunk of a document with these `tags` may be returned."""
        return (
            self.fits_document(chunk.document, tags)
            and self.fits_sections(chunk)
            and (not self.language or chunk.language == self.language)
        )

    def fits_document(self, path: str, tags: Sequence[str]) -> bool:
        """Whether a document at `path` with these `tags` meets the conditions on documents."""
        wanted = {tag.casefold() for tag in self.tags}
        return (not self.documents or any(fits_path(path, pattern) for pattern in self.documents)) and (
            not wanted or bool(wanted & {tag.casefold() for tag in tags})
        )

    def fits_heading(self, heading: Sequence[str]) -> bool:
        """Whether a heading path meets the condition on headings."""
        return self.heading.casefold() in " > ".join(heading).casefold()

    def fits_sections(self, chunk: Chunk) -> bool:
        """Whether the path of any section inside a chunk does."""
        return not self.heading or any(self.fits_heading(path) for _, path in sections_of(chunk))


def fits_path(path: str, pattern: str) -> bool:
    """Whether a pattern names this document: as it stands, or by its signs ``*``, ``?`` and ``[...]``.

    A path that holds such signs names its own document, and an accent counts as the same however a file system
    spells it (macOS takes "é" apart, keyboards do not).
    """
    path, pattern = normalize("NFC", path), normalize("NFC", pattern)
    return path == pattern or fnmatchcase(path, pattern)


def spellings(path: str) -> list[str]:
    """The ways in which Unicode may spell a path: as it stands, composed, taken apart. For stores of exact texts."""
    return list(dict.fromkeys((path, normalize("NFC", path), normalize("NFD", path))))


def _texts(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str):
        return (given,) if given else ()
    if not isinstance(given, (Sequence, set, frozenset)) or not all(isinstance(one, str) for one in given):
        raise UsageError(f"Filter.{name} must be texts, not {given!r}.", f'Pass {name}=("...",).')
    return tuple(given)


class Engine(Protocol):
    """An opened index. Safe to use from several threads; sees one committed state until closed."""

    language_axis: LanguageAxis

    def __len__(self) -> int:
        """Number of chunks."""
        ...

    def facts(self) -> dict[str, Any]:
        """``model`` (name), ``documents``, ``chunks``, ``roots``, ``generation`` (changes with every commit)."""
        ...

    def dense_search(
        self, vector: Vectors, n: int, *, language_weight: float = 0.0, where: Filter | None = None
    ) -> Ranked:
        """The `n` nearest chunks to a (dimension,) unit vector by ``cosine - language_weight * position``.

        `position` is the chunk's place on the language axis, 0 English to 1 Chinese.
        """
        ...

    def sparse_search(self, terms: Sequence[str], n: int, *, where: Filter | None = None) -> Ranked:
        """The `n` best chunks by BM25 for distinct analysed terms; only scores above 0."""
        ...

    def coverage(self, terms: Sequence[str], ordinals: Sequence[int]) -> list[float]:
        """Share (0..1) of the terms' idf mass that each chunk contains; unseen terms count as mass."""
        ...

    def vectors(self, ordinals: Sequence[int]) -> Vectors:
        """(m, dimension) float32 vectors of chunks."""
        ...

    def chunk(self, ordinal: int) -> Chunk:
        """The chunk with this ordinal.

        Raises:
            KeyError: If there is none.
        """
        ...

    def chunks_of(self, document: str) -> list[tuple[int, Chunk]]:
        """``(ordinal, chunk)`` of a document in reading order; empty if there is no such document."""
        ...

    def document(self, path: str) -> Document | None:
        """A document as it was indexed, or None."""
        ...

    def titles(self) -> dict[str, str]:
        """Title of each document, by path in order: front matter, else first heading, else empty."""
        ...

    def chinese_share(self) -> float:
        """Share (0..1) of the chunks that are in Chinese."""
        ...

    def idf(self, term: str) -> float:
        """Inverse document frequency of an analysed term; an unseen one has the highest."""
        ...

    def knows(self, term: str) -> bool:
        """Whether any chunk has this analysed term."""
        ...

    def like(self, term: str) -> list[str]:
        """Latin terms of about the length of `term`, candidates for what it may misspell."""
        ...

    def close(self) -> None:
        """Give back open files and connections."""
        ...


@runtime_checkable
class BatchEngine(Protocol):
    """An engine that searches for many vectors at once, which is one matrix product instead of many."""

    def dense_search_many(self, vectors: Vectors, n: int, *, language_weights: Sequence[float]) -> list[Ranked]:
        """What `Engine.dense_search` finds for each row of (m, dimension) unit vectors with its weight."""
        ...


def all_chunks(engine: Engine) -> list[Chunk]:
    """Every chunk of an index, document by document in reading order."""
    return [chunk for path in engine.titles() for _, chunk in engine.chunks_of(path)]


def dense_scores(engine: Engine, ordinals: Sequence[int], vector: Vectors, language_weight: float) -> Ranked:
    """What `Engine.dense_search` would say of these chunks, in their order, whether it finds them or not."""
    if not ordinals:
        return []
    found = engine.vectors(ordinals)
    scores = found @ vector - language_weight * engine.language_axis.positions(found)
    return list(zip(ordinals, map(float, scores), strict=True))


def best_first(scored: tuple[int, float]) -> tuple[float, int]:
    """Key that sorts ``(ordinal, score)`` by score, best first, ties by ordinal."""
    return -scored[1], scored[0]
