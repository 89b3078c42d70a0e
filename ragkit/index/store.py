"""Documents and chunks of one segment in SQLite: written once, then only read.

Documents are numbered by path, chunks by document and place in it, so that the order of the
ordinals in a segment is the order of reading. Beside the database stands `rows`, one row of four
integers for every chunk: what searches need of all chunks at once without touching their texts.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ragkit.errors import IndexClosedError, IndexCorruptError
from ragkit.values import Chunk, Document

Rows = npt.NDArray[np.int32]
DOCUMENT, START, CHINESE, HEADING = range(4)
"""Columns of `rows`: document number, offset in the document, 1 for Chinese, heading number."""

_SCHEMA: Final = """
CREATE TABLE documents (number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, content_hash TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, title TEXT NOT NULL, metadata TEXT NOT NULL,
    warning TEXT NOT NULL, first INTEGER NOT NULL, chunks INTEGER NOT NULL);
CREATE TABLE texts (number INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE headings (number INTEGER PRIMARY KEY, path TEXT NOT NULL);
CREATE TABLE chunks (ordinal INTEGER PRIMARY KEY, id TEXT NOT NULL, document INTEGER NOT NULL,
    heading INTEGER NOT NULL, text TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
    start_line INTEGER NOT NULL, end_line INTEGER NOT NULL, language TEXT NOT NULL, hash BLOB NOT NULL);
CREATE INDEX chunks_by_hash ON chunks (hash);
CREATE INDEX warned ON documents (path, warning) WHERE warning != '';
"""
_DOCUMENT: Final = "d.path, d.content_hash, d.title, d.metadata, t.text, d.warning"
_DOCUMENTS: Final = "FROM documents d JOIN texts t ON t.number = d.number "
_CHUNK: Final = (
    'SELECT c.ordinal, c.id, d.path, h.path, c.text, c.start, c."end", c.start_line, c.end_line, c.language '
    "FROM chunks c JOIN documents d ON d.number = c.document JOIN headings h ON h.number = c.heading "
)
_CACHE: Final = 4096
_BATCH: Final = 500
"""Values in one IN list."""


@dataclass(frozen=True)
class FileState:
    """What is needed to see whether a file changed since it was indexed."""

    content_hash: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Entry:
    """A document that is to be stored, with its chunks in the order of the text."""

    document: Document
    size: int
    mtime_ns: int
    chunks: tuple[Chunk, ...]


def text_hash(model: str, text: str) -> bytes:
    """Under what the vector of a passage is found again: 16 bytes of model fingerprint, role and text."""
    key = f"{model}\0passage\0{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(key, digest_size=16).digest()


def write_store(path: Path, entries: Sequence[Entry], model: str) -> None:
    """Write a new database.

    Args:
        path: File to create.
        entries: Sorted by document path.
        model: Fingerprint of the embedding model.
    """
    headings: dict[str, int] = {}
    firsts = [0, *accumulate(len(entry.chunks) for entry in entries)]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")  # the commit syncs the file itself
        connection.executescript(_SCHEMA)
        numbered = list(enumerate(entries))
        connection.executemany(
            f"INSERT INTO documents VALUES ({', '.join('?' * 10)})",
            (_row(n, entry, firsts[n]) for n, entry in numbered),
        )
        connection.executemany(
            "INSERT INTO texts VALUES (?, ?)", ((n, _sound(entry.document.text)) for n, entry in numbered)
        )
        connection.executemany(
            f"INSERT INTO chunks VALUES ({', '.join('?' * 11)})",
            (
                (
                    firsts[n] + i,
                    c.id,
                    n,
                    headings.setdefault(json.dumps(c.heading, ensure_ascii=False), len(headings)),
                    _sound(c.text),
                    c.start,
                    c.end,
                    c.start_line,
                    c.end_line,
                    c.language,
                    text_hash(model, c.search_text),
                )
                for n, entry in numbered
                for i, c in enumerate(entry.chunks)
            ),
        )
        connection.executemany("INSERT INTO headings VALUES (?, ?)", ((n, path) for path, n in headings.items()))


def make_rows(entries: Sequence[Entry]) -> Rows:
    """The `rows` that belong to what `write_store` writes of `entries`, (chunks, 4) int32."""
    headings: dict[tuple[str, ...], int] = {}
    rows = [
        (number, chunk.start, chunk.language == "zh", headings.setdefault(chunk.heading, len(headings)))
        for number, entry in enumerate(entries)
        for chunk in entry.chunks
    ]
    return np.array(rows, dtype=np.int32).reshape(-1, 4)


def _row(number: int, entry: Entry, first: int) -> tuple[Any, ...]:
    d = entry.document
    metadata = json.dumps(d.metadata, ensure_ascii=False)
    state = (d.content_hash, entry.size, entry.mtime_ns)
    return (number, d.path, *state, d.title, metadata, d.warning, first, len(entry.chunks))


def _sound(text: str) -> str:
    """SQLite stores UTF-8, which has no place for half a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


class ChunkStore:
    """Read access to the database of one segment; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
            counts = self._connection.execute("SELECT count(*), coalesce(sum(chunks), 0) FROM documents").fetchone()
        except sqlite3.DatabaseError as exc:
            raise IndexCorruptError(f"{path} cannot be read.", "Rebuild: ragkit index --rebuild.") from exc
        self.documents, self.size = map(int, counts)
        self._lock = threading.Lock()
        # The file is given back by itself, too, when the store is used no more.
        self._closing = weakref.finalize(self, self._connection.close)
        self._chunks: dict[int, Chunk] = {}

    def close(self) -> None:
        """Give the file back, after what another thread is reading from it."""
        with self._lock:
            self._closing()

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            if not self._closing.alive:
                raise IndexClosedError
            return self._connection.execute(sql, parameters).fetchall()

    def chunk(self, ordinal: int) -> Chunk:
        """The chunk with this ordinal.

        Raises:
            KeyError: If there is none.
        """
        known = self._chunks.get(ordinal)
        if known is None:
            rows = self._rows(_CHUNK + "WHERE c.ordinal = ?", (int(ordinal),))
            if not rows:
                raise KeyError(ordinal)
            if len(self._chunks) >= _CACHE:
                self._chunks.clear()
            known = self._chunks[ordinal] = chunk_of(rows[0])
        return known

    def ids(self) -> list[str]:
        """Ids of all chunks, by ordinal, without reading what they say."""
        return [identity for (identity,) in self._rows("SELECT id FROM chunks ORDER BY ordinal")]

    def number(self, path: str) -> int | None:
        """The number of the document at `path`, or None."""
        rows = self._rows("SELECT number FROM documents WHERE path = ?", (path,))
        return int(rows[0][0]) if rows else None

    def numbers(self, paths: Iterable[str]) -> list[int]:
        """Numbers of those documents among `paths` that are here."""
        wanted = list(paths)
        found: list[int] = []
        for at in range(0, len(wanted), _BATCH):
            batch = wanted[at : at + _BATCH]
            marks = ", ".join("?" * len(batch))
            found.extend(row[0] for row in self._rows(f"SELECT number FROM documents WHERE path IN ({marks})", batch))
        return found

    def document(self, number: int) -> Document:
        """The document with this number, as it was indexed."""
        return document_of(self._rows(f"SELECT {_DOCUMENT} {_DOCUMENTS} WHERE d.number = ?", (number,))[0])

    def chunks_of(self, number: int) -> list[tuple[int, Chunk]]:
        """``(ordinal, chunk)`` of a document, in order of appearance."""
        [(first, count)] = self._rows("SELECT first, chunks FROM documents WHERE number = ?", (number,))
        rows = self._rows(_CHUNK + "WHERE c.ordinal BETWEEN ? AND ? ORDER BY c.ordinal", (first, first + count - 1))
        return [(int(row[0]), chunk_of(row)) for row in rows]

    def entries(self, numbers: Sequence[int]) -> list[Entry]:
        """The documents with these ascending numbers, whole."""
        wanted = set(numbers)
        chunks: dict[str, tuple[Chunk, ...]] = {
            path: tuple(group)
            for path, group in groupby(map(chunk_of, self._rows(_CHUNK + "ORDER BY c.ordinal")), lambda c: c.document)
        }
        found = self._rows(f"SELECT d.number, d.size, d.mtime_ns, {_DOCUMENT} {_DOCUMENTS} ORDER BY d.number")
        return [
            Entry(document_of(rest), size, mtime, chunks.get(rest[0], ()))
            for number, size, mtime, *rest in found
            if number in wanted
        ]

    def state(self, number: int) -> FileState:
        """State of the file of the document with this number."""
        rows = self._rows("SELECT content_hash, size, mtime_ns FROM documents WHERE number = ?", (number,))
        return FileState(*rows[0])

    def files(self) -> list[tuple[str, FileState]]:
        """Path and state of every document, by number."""
        rows = self._rows("SELECT path, content_hash, size, mtime_ns FROM documents ORDER BY number")
        return [(path, FileState(content_hash, size, mtime)) for path, content_hash, size, mtime in rows]

    def paths(self) -> list[str]:
        """Path of every document, by number, which is in order."""
        return [path for (path,) in self._rows("SELECT path FROM documents ORDER BY number")]

    def warnings(self) -> list[tuple[int, str, str]]:
        """``(number, path, warning)`` of the documents that have one."""
        rows = self._rows("SELECT number, path, warning FROM documents WHERE warning != ''")
        return [(int(number), path, warning) for number, path, warning in rows]

    def titles(self) -> list[tuple[str, str]]:
        """Path and title of each document, by number: front matter, else its first heading, else empty."""
        rows = self._rows(
            "SELECT d.path, d.title, (SELECT h.path FROM chunks c JOIN headings h ON h.number = c.heading "
            "WHERE c.ordinal = d.first AND d.chunks > 0) FROM documents d ORDER BY d.number"
        )
        return [(path, title or (json.loads(heading or "[]") or [""])[0]) for path, title, heading in rows]

    def tags(self) -> list[tuple[str, ...]]:
        """Tags in the front matter of each document, by number."""
        return [tags_of(json.loads(data)) for (data,) in self._rows("SELECT metadata FROM documents ORDER BY number")]

    def headings(self) -> list[tuple[str, ...]]:
        """Every heading path, by number."""
        return [tuple(json.loads(path)) for (path,) in self._rows("SELECT path FROM headings ORDER BY number")]

    def chunks_with(self, text: str) -> list[tuple[int, Chunk]]:
        """Ordinals and chunks that hold a text, ASCII letters of both cases alike; all of them for an empty text."""
        pattern = "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"
        return [(row[0], chunk_of(row)) for row in self._rows(rf"{_CHUNK} WHERE c.text LIKE ? ESCAPE '\'", [pattern])]

    def by_hash(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """Ordinal of some chunk with each of these text hashes, as far as there is one."""
        wanted = list(hashes)
        found: dict[bytes, int] = {}
        for at in range(0, len(wanted), _BATCH):
            batch = wanted[at : at + _BATCH]
            marks = ", ".join("?" * len(batch))
            found.update(self._rows(f"SELECT hash, ordinal FROM chunks WHERE hash IN ({marks})", batch))
        return found


def tags_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The tags in a document's front matter, ``tags: a, b`` or ``tags: [a, b]``."""
    return tuple(tag for part in metadata.get("tags", "").strip("[]").split(",") if (tag := part.strip(" \"'#")))


def document_of(row: Sequence[Any]) -> Document:
    """The document in a row of path, content hash, title, metadata, text, warning."""
    path, content_hash, title, metadata, text, warning = row
    return Document(
        path=path, text=text, content_hash=content_hash, title=title, metadata=json.loads(metadata), warning=warning
    )


def chunk_of(row: Sequence[Any]) -> Chunk:
    """The chunk in a row of ordinal, id, document, heading, text, start, end, start line, end line, language."""
    _, identity, document, heading, text, start, end, start_line, end_line, language = row
    return Chunk(
        id=identity,
        document=document,
        heading=tuple(json.loads(heading)),
        text=text,
        start=start,
        end=end,
        start_line=start_line,
        end_line=end_line,
        language=language,
    )
