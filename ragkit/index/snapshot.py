"""One committed state of an index, opened for reading: segments, tombstones, statistics over both.

Every checksum is verified before a file is used, because FAISS loads most damaged files without a
word. A snapshot stays readable while a writer commits the next one: it holds its files open, and
segments that both have are shared.

A chunk's ordinal is its place among all living chunks by document path and place there, however they
lie in segments. With scores from rows and counts alone, and statistics of the living chunks, an index
that followed any number of edits answers like one that was built at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from ragkit.errors import IndexClosedError, IndexCorruptError, IndexFailure
from ragkit.index.bm25 import BM25Settings
from ragkit.index.bm25_reference import open_bm25
from ragkit.index.engine import Filter, Ranked, Vectors
from ragkit.index.language_axis import LanguageAxis
from ragkit.index.legacy import convert
from ragkit.index.manifest import FORMAT, REBUILD, Manifest, read_manifest
from ragkit.index.segment import Mask, Segment, differs
from ragkit.index.store import CHINESE, DOCUMENT, ChunkStore, FileState
from ragkit.values import Chunk, Document

Ids = npt.NDArray[np.int64]
T = TypeVar("T")
_SPARE: Final = 8
"""Candidates asked for beyond n, to see whether the n-th place is tied."""


@dataclass(frozen=True)
class Part:
    """A segment in its place among the others, with what was deleted of it."""

    segment: Segment
    base: int
    dead_documents: Mask | None
    """By document number; None if nothing was deleted."""
    dead: Mask | None
    """By local chunk id."""

    def alive(self, number: int) -> bool:
        """Whether the document with this number was not deleted."""
        return self.dead_documents is None or not self.dead_documents[number]

    def living(self) -> list[int]:
        """Numbers of the documents that were not deleted."""
        if self.dead_documents is None:
            return list(range(self.segment.store.documents))
        return [int(number) for number in np.flatnonzero(~self.dead_documents)]

    def allowed(self, where: Filter | None) -> Mask | None:
        """Which chunks a search may return; None for all."""
        if not where:
            return None if self.dead is None else ~self.dead
        mask = self.segment.mask(where)
        return mask if self.dead is None else mask & ~self.dead


@dataclass(frozen=True)
class _Order:
    ordinals: Ids
    """By place in the segments (base plus local id); -1 for a deleted chunk."""
    at: Ids
    """Place in the segments by ordinal."""


class Snapshot:
    """A committed state opened for reading; implements `ragkit.index.engine.Engine`."""

    def __init__(self, folder: Path, manifest: Manifest, reuse: Snapshot | None = None) -> None:
        self.manifest = manifest
        self.folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._axes: list[LanguageAxis] = []
        self._parts: list[Part] | None = []
        try:
            if manifest.format < FORMAT:
                folder, manifest = self._converted(manifest)
            self._open(folder, manifest, reuse)
        except BaseException:
            self.close()
            raise
        self.bm25 = open_bm25(
            [part.segment.postings for part in self.parts], [part.dead for part in self.parts], self._settings()
        )

    @classmethod
    def open(cls, folder: Path, reuse: Snapshot | None = None) -> Snapshot | None:
        """Open what is committed in `folder`; None if nothing is.

        Args:
            folder: Index folder.
            reuse: An open snapshot of the same folder; segments that it has are not read and verified again.

        Raises:
            IndexCorruptError: If a file is missing or differs from its checksum.
        """
        for attempt in (1, 2, 3):
            manifest = read_manifest(folder)
            if manifest is None:
                return None
            try:
                return cls(folder, manifest, reuse)
            except (FileNotFoundError, IndexCorruptError) as exc:
                # A writer may have replaced the files between our two reads.
                if attempt == 3 or read_manifest(folder) == manifest:
                    if isinstance(exc, IndexCorruptError):
                        raise
                    raise IndexCorruptError(f"{exc.filename} is missing from the index.", REBUILD) from exc
        return None

    def _open(self, folder: Path, manifest: Manifest, reuse: Snapshot | None) -> None:
        for name, expected in manifest.files.items():
            _verify(folder / name, expected)
        self.language_axis = LanguageAxis.load(folder / manifest.axis)
        known = {part.segment.entry.name: part.segment for part in reuse.parts} if reuse is not None else {}
        base = 0
        for entry in manifest.segments:
            segment = known.get(entry.name)
            if segment is not None and segment.entry.files == entry.files and segment.folder.parent == folder:
                segment.acquire()
            else:
                for name, expected in entry.files.items():
                    _verify(folder / entry.name / name, expected)
                segment = Segment(folder, entry)
            documents = chunks = None
            if entry.dead:
                gone = np.load(folder / entry.dead, allow_pickle=False)
                documents = np.zeros(entry.documents, dtype=np.bool_)
                documents[gone] = True
                chunks = documents[segment.rows[:, DOCUMENT]]
            self.parts.append(Part(segment, base, documents, chunks))
            base += len(segment)
        self._bases = np.array([part.base for part in self.parts] + [base], dtype=np.int64)

    def _converted(self, manifest: Manifest) -> tuple[Path, Manifest]:
        """An index of format 1 as one of today's, in a folder that goes with this snapshot."""
        try:
            self._temporary = tempfile.TemporaryDirectory(prefix="ragkit-")
            folder = Path(self._temporary.name)
            return folder, convert(self.folder, manifest, folder)
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise IndexFailure(
                f"{self.folder} is an index of an older format, which cannot be read: {exc.strerror}.",
                f"Make room in {tempfile.gettempdir()}, or bring the index up to date: ragkit index NOTES.",
            ) from exc

    def _settings(self) -> BM25Settings:
        """The settings that the fingerprint in the MANIFEST stands for."""
        try:
            variant, k1, b = self.manifest.bm25.removeprefix("bm25-").rsplit("/", 2)
            return BM25Settings(k1=float(k1), b=float(b), variant=variant)  # type: ignore[arg-type]
        except ValueError as exc:
            raise IndexCorruptError(f"{self.folder} was scored with {self.manifest.bm25!r}.", REBUILD) from exc

    def __len__(self) -> int:
        return self.manifest.chunks

    @property
    def parts(self) -> list[Part]:
        """The segments."""
        if self._parts is None:  # as an empty list it would be an empty index to a writer, whose commit drops the rest
            raise IndexClosedError
        return self._parts

    def close(self) -> None:
        parts, self._parts = self._parts or [], None
        for part in parts:
            part.segment.release()
        if self._temporary is not None:
            with suppress(OSError):
                self._temporary.cleanup()

    def facts(self) -> dict[str, Any]:
        data = self.manifest
        return {
            "model": data.model["name"],
            "documents": data.documents,
            "chunks": data.chunks,
            "roots": data.roots,
            "generation": data.generation,
        }

    # ------------------------------------------------------------ the two legs

    def dense_search(
        self, vector: Vectors, n: int, *, language_weight: float = 0.0, where: Filter | None = None
    ) -> Ranked:
        if n <= 0:
            return []
        masks = [part.allowed(where) for part in self.parts]
        wanted = n if len(self.parts) == 1 else n + _SPARE
        while True:
            found = [
                part.segment.vectors.search(vector, wanted, mask, language_weight)
                for part, mask in zip(self.parts, masks, strict=True)
            ]
            ranked = self._merged(found, n, wanted)
            if ranked is not None:
                return ranked
            wanted *= 4

    def dense_search_many(self, vectors: Vectors, n: int, *, language_weights: Sequence[float]) -> list[Ranked]:
        if n <= 0 or any(language_weights):
            pairs = zip(vectors, language_weights, strict=True)
            return [self.dense_search(vector, n, language_weight=weight) for vector, weight in pairs]
        wanted = n if len(self.parts) == 1 else n + _SPARE
        found = [part.segment.vectors.search_batch(vectors, wanted, part.allowed(None)) for part in self.parts]
        merged = (self._merged([part[i] for part in found], n, wanted) for i in range(len(vectors)))
        return [self.dense_search(vectors[i], n) if one is None else one for i, one in enumerate(merged)]

    def _merged(self, found: Sequence[tuple[Ids, Vectors]], n: int, wanted: int) -> Ranked | None:
        """The `n` best of what each segment found; None if a segment may have more that are tied with the last."""
        scores = np.concatenate([np.zeros(0, dtype=np.float32), *(cosines for _, cosines in found)])
        cut = np.partition(scores, len(scores) - n)[len(scores) - n] if len(scores) >= n else -np.inf
        if wanted != n and any(len(ids) == wanted and cosines[-1] >= cut for ids, cosines in found):
            return None
        bases = [ids + part.base for part, (ids, _) in zip(self.parts, found, strict=True)]
        ordinals = np.concatenate([np.zeros(0, dtype=np.int64), *bases])
        return self._ranked(ordinals[scores >= cut], scores[scores >= cut], n)

    def sparse_search(self, terms: Sequence[str], n: int, *, where: Filter | None = None) -> Ranked:
        if n <= 0 or not self.parts:
            return []
        allowed = None
        if where:
            allowed = np.concatenate([part.segment.mask(where) for part in self.parts])
        wanted = n if len(self.parts) == 1 else n + _SPARE
        while True:
            ordinals, scores = self.bm25.search(terms, wanted, allowed)
            if wanted == n or len(scores) < wanted or scores[-1] < scores[n - 1]:
                return self._ranked(ordinals, scores, n)
            wanted *= 4

    def _ranked(self, at: Ids, scores: Vectors, n: int) -> Ranked:
        """The `n` best by ordinal, equal scores in the order of the ordinals."""
        ordinals = at if self._order is None else self._order.ordinals[at]
        best = np.lexsort((ordinals, -scores))[:n]
        return list(zip(ordinals[best].tolist(), scores[best].tolist(), strict=True))

    @cached_property
    def _order(self) -> _Order | None:
        """How chunks in segments and ordinals belong together; None where they are the same."""
        if not self.parts or (len(self.parts) == 1 and self.parts[0].dead is None):
            return None
        # Each segment's paths are sorted, so this merges runs.
        documents = sorted(
            (path, i, number)
            for i, part in enumerate(self.parts)
            for number, path in enumerate(part.segment.paths)
            if part.alive(number)
        )
        which = np.array([(i, number) for _, i, number in documents], dtype=np.int64).reshape(-1, 2)
        counts = [np.bincount(p.segment.rows[:, DOCUMENT], minlength=p.segment.store.documents) for p in self.parts]
        size = np.array([counts[i][number] for i, number in which.tolist()], dtype=np.int64)
        first = np.cumsum(size) - size
        ordinals = np.full(int(self._bases[-1]), -1, dtype=np.int64)
        for i, part in enumerate(self.parts):
            here = which[:, 0] == i
            shift = np.zeros(len(counts[i]), dtype=np.int64)
            shift[which[here, 1]] = first[here] - (np.cumsum(counts[i]) - counts[i])[which[here, 1]]
            local = np.arange(len(part.segment))
            places = local + shift[part.segment.rows[:, DOCUMENT]]
            ordinals[part.base + local] = places if part.dead is None else np.where(part.dead, -1, places)
        alive = np.flatnonzero(ordinals >= 0)
        at = np.empty(len(alive), dtype=np.int64)
        at[ordinals[alive]] = alive
        return _Order(ordinals, at)

    def coverage(self, terms: Sequence[str], ordinals: Sequence[int]) -> list[float]:
        at = ordinals if self._order is None else self._order.at[list(ordinals)]
        return [float(share) for share in self.bm25.coverage(terms, at)]

    def vectors(self, ordinals: Sequence[int]) -> Vectors:
        dimension = int(self.manifest.model["dimension"])
        out = np.zeros((len(ordinals), dimension), dtype=np.float32)
        places = [self._part(ordinal) for ordinal in ordinals]
        for part in {id(part): part for part, _ in places}.values():
            rows = [i for i, (of, _) in enumerate(places) if of is part]
            out[rows] = part.segment.vectors.vectors([places[i][1] for i in rows])
        return out

    def idf(self, term: str) -> float:
        return self.bm25.idf(term)

    def knows(self, term: str) -> bool:
        return term in self.bm25

    def like(self, term: str) -> list[str]:
        return self.bm25.like(term)

    # ------------------------------------------------------------ chunks and documents

    def chunk(self, ordinal: int) -> Chunk:
        part, local = self._part(ordinal)
        return part.segment.store.chunk(local)

    def chunk_ids(self) -> dict[str, int]:
        """An ordinal of each chunk id; the texts are not read."""
        found: dict[str, int] = {}
        for part in self.parts:
            for local, identity in enumerate(part.segment.store.ids()):
                if part.dead is None or not part.dead[local]:
                    at = part.base + local
                    found[identity] = at if self._order is None else int(self._order.ordinals[at])
        return found

    def _part(self, ordinal: int) -> tuple[Part, int]:
        """The segment of a chunk, and its local id there."""
        if not 0 <= ordinal < len(self):
            raise KeyError(ordinal)
        at = int(ordinal) if self._order is None else int(self._order.at[ordinal])
        part = self.parts[int(np.searchsorted(self._bases, at, side="right")) - 1]
        return part, at - part.base

    def find(self, document: str) -> tuple[Part, int] | None:
        """The segment and the number there of a living document, or None."""
        for part in self.parts:
            number = part.segment.store.number(document)
            if number is not None and part.alive(number):
                return part, number
        return None

    def state(self, path: str) -> FileState | None:
        """State of the file that a living document was read from, or None."""
        found = self.find(path)
        return found[0].segment.store.state(found[1]) if found is not None else None

    def chunks_of(self, document: str) -> list[tuple[int, Chunk]]:
        found = self.find(document)
        if found is None:
            return []
        part, number = found
        shift = part.base
        chunks = part.segment.store.chunks_of(number)
        if self._order is not None and chunks:
            shift = int(self._order.ordinals[part.base + chunks[0][0]]) - chunks[0][0]
        return [(local + shift, chunk) for local, chunk in chunks]

    def document(self, path: str) -> Document | None:
        found = self.find(path)
        return found[0].segment.store.document(found[1]) if found is not None else None

    def _living(self, values: Callable[[ChunkStore], list[tuple[str, T]]]) -> dict[str, T]:
        """What `values` says of each document, by path in order, without the deleted ones."""
        found = {}
        for part in self.parts:
            for number, (path, value) in enumerate(values(part.segment.store)):
                if part.alive(number):
                    found[path] = value
        return dict(sorted(found.items()))

    def titles(self) -> dict[str, str]:
        return self._living(ChunkStore.titles)

    def files(self) -> dict[str, FileState]:
        """State of every indexed file, by path."""
        return self._living(ChunkStore.files)

    def warnings(self) -> dict[str, str]:
        """What had to be guessed to read a document, by path, where anything had."""
        return dict(
            sorted(
                (path, warning)
                for part in self.parts
                for number, path, warning in part.segment.store.warnings()
                if part.alive(number)
            )
        )

    def chinese_share(self) -> float:
        if not len(self):
            return 0.0
        chinese = 0
        for part in self.parts:
            mask = part.segment.rows[:, CHINESE] == 1
            chinese += int(np.count_nonzero(mask if part.dead is None else mask & ~part.dead))
        return chinese / len(self)


def _verify(path: Path, expected: Any) -> None:
    if problem := differs(path, expected):
        raise IndexCorruptError(f"{path} {problem}.", REBUILD)
