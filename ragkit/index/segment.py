"""One immutable segment: chunk store, rows, vectors and postings of some documents, in a folder of its own.

Inside a segment a chunk is named by its local id, 0..size-1 in the order of document path and
place. A segment knows nothing of other segments, nor of what was deleted since.
"""

from __future__ import annotations

import re
import stat
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ragkit.errors import ConfigError, IndexCorruptError
from ragkit.index import fsops
from ragkit.index.engine import Filter
from ragkit.index.language_axis import LanguageAxis
from ragkit.index.manifest import REBUILD, FileSum, SegmentEntry
from ragkit.index.postings import PostingsSegment
from ragkit.index.store import CHINESE, DOCUMENT, HEADING, ChunkStore, Entry, Rows, make_rows, write_store
from ragkit.index.vector_segment import VectorSegment

Vectors = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
STORE: Final = "chunks.sqlite"
ROWS: Final = "rows.npy"
_PLAIN: Final = re.compile(r"[A-Za-z0-9]+|[\u3400-\u9fff]+")
_MASKS: Final = 16
"""Filters whose masks are remembered."""


class Segment:
    """A segment opened for reading. Shared by the snapshots that hold it; safe to use from several threads."""

    def __init__(self, folder: Path, entry: SegmentEntry) -> None:
        """Open files whose checksums were verified before.

        Raises:
            IndexCorruptError: If they do not fit together.
            FileNotFoundError: If one is missing.
        """
        self.folder = folder / entry.name
        self.entry = entry
        self.store = ChunkStore(self.folder / STORE)
        try:
            self.rows: Rows = np.load(self.folder / ROWS, mmap_mode="r", allow_pickle=False)
        except ValueError as exc:
            raise IndexCorruptError(f"{self.folder / ROWS} cannot be read.", REBUILD) from exc
        self.vectors = VectorSegment.load(self.folder)
        self.postings = PostingsSegment.load(self.folder)
        self._masks: dict[Filter, Mask] = {}
        self._users = 1
        self._lock = threading.Lock()
        sizes = {len(self.vectors), len(self.postings), self.store.size, len(self.rows), entry.chunks}
        if len(sizes) > 1 or self.store.documents != entry.documents:
            self.store.close()
            raise IndexCorruptError(f"The parts of {self.folder} hold different numbers of chunks.", REBUILD)

    def __len__(self) -> int:
        return self.entry.chunks

    @cached_property
    def paths(self) -> list[str]:
        """Path of every document, by number, which is in order."""
        return self.store.paths()

    def acquire(self) -> Segment:
        """Count one more snapshot that uses this segment."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """Count one snapshot less; the last one closes the files."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self.store.close()

    def mask(self, where: Filter) -> Mask:
        """(size,) which chunks meet the conditions, deleted ones included."""
        known = self._masks.get(where)
        if known is None:
            known = self._mask(where)
            if len(self._masks) >= _MASKS:
                self._masks.clear()
            self._masks[where] = known
        return known

    def _mask(self, where: Filter) -> Mask:
        mask = np.ones(len(self), dtype=np.bool_)
        if where.documents or where.tags:
            tags = self.store.tags() if where.tags else [()] * self.store.documents
            fits = [where.fits_document(path, has) for path, has in zip(self.paths, tags, strict=True)]
            mask &= np.array(fits, dtype=np.bool_)[self.rows[:, DOCUMENT]]
        if where.heading:
            fits = [where.fits_heading(heading) for heading in self.store.headings()]
            under = np.array(fits, dtype=np.bool_)[self.rows[:, HEADING]]
            inside = self.store.chunks_with(_telling(where.heading))
            under[[at for at, chunk in inside if where.fits_sections(chunk)]] = True
            mask &= under
        if where.language:
            mask &= (self.rows[:, CHINESE] == 1) == (where.language == "zh")
        return mask


def _telling(heading: str) -> str:
    """What must stand in a chunk that has this heading in it: its longest stretch that markup cannot part.

    Cased letters beyond ASCII are left out, which SQLite does not know to be the same.
    """
    return max(_PLAIN.findall(heading.rpartition(">")[2]), key=len, default="")


def write_segment(
    folder: Path,
    name: str,
    entries: Sequence[Entry],
    vectors: Vectors,
    *,
    axis: LanguageAxis,
    model: str,
    factory: str | None = None,
    bags: Iterable[Sequence[str]] | None = None,
) -> SegmentEntry:
    """Write a new segment into the index folder, not synced yet.

    Args:
        folder: Index folder.
        name: Of the segment, see `ragkit.index.manifest.fresh_name`.
        entries: Its documents, sorted by path.
        vectors: (chunks, dimension) float32 unit vectors.
        axis: Gives each chunk its language position.
        model: Fingerprint of the embedding model.
        factory: FAISS index type; None chooses by size.
        bags: Tokens of each chunk, where they are known; read once.
    """
    path = folder / name
    fsops.make_folder(path)
    # FAISS lets go of the interpreter, so the dense leg has a core of its own; files are written by this thread
    # only, one after the other.
    with ThreadPoolExecutor(max_workers=1) as beside:
        dense = beside.submit(_dense, vectors, axis, factory)
        fsops.write_file(path / STORE, lambda file: write_store(file, entries, model))
        fsops.write_file(path / ROWS, lambda file: np.save(file, make_rows(entries), allow_pickle=False))
        texts = (chunk.search_text for entry in entries for chunk in entry.chunks)
        sparse = PostingsSegment.of_texts(texts) if bags is None else PostingsSegment.build(bags)
        names = [STORE, ROWS, *fsops.write_files(path, dense.result().save), *fsops.write_files(path, sparse.save)]
    return SegmentEntry(
        name=name,
        documents=len(entries),
        chunks=len(vectors),
        files={file: measure(path / file) for file in names},
    )


def _dense(vectors: Vectors, axis: LanguageAxis, factory: str | None) -> VectorSegment:
    """The dense leg of a segment."""
    try:
        return VectorSegment.build(vectors, axis.positions(vectors), factory=factory)
    except ValueError as exc:
        if factory is None:
            raise
        raise ConfigError(f"{exc}.", "Set faiss_factory to another type, or remove it.") from exc


def measure(path: Path) -> FileSum:
    """Size and checksum of a file."""
    return FileSum(bytes=path.stat().st_size, xxh3=fsops.checksum(path))


def differs(path: Path, expected: FileSum) -> str:
    """What is wrong with a file of the index, or an empty string.

    Raises:
        FileNotFoundError: If it is missing.
    """
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode):
        return "is no regular file"
    if info.st_size != expected.bytes:
        return f"has {info.st_size} bytes where {expected.bytes} were written"
    return "" if fsops.checksum(path) == expected.xxh3 else "differs from its checksum"
