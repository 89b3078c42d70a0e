"""Documents and chunks of one generation in SQLite: written once, then only read."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ragkit.errors import IndexCorruptError
from ragkit.values import Chunk, Document

_SCHEMA = """
CREATE TABLE documents (path TEXT PRIMARY KEY, content_hash TEXT NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, title TEXT NOT NULL, metadata TEXT NOT NULL, text TEXT NOT NULL,
    warning TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE chunks (ordinal INTEGER PRIMARY KEY, id TEXT NOT NULL, document TEXT NOT NULL, heading TEXT NOT NULL,
    text TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, start_line INTEGER NOT NULL,
    end_line INTEGER NOT NULL, language TEXT NOT NULL);
CREATE INDEX chunks_by_document ON chunks (document, start);
CREATE UNIQUE INDEX chunks_by_id ON chunks (id);
"""
_DOCUMENT = "path, content_hash, title, metadata, text, warning"
_COLUMNS = 'id, document, heading, text, start, "end", start_line, end_line, language'


@dataclass(frozen=True)
class FileState:
    """What is needed to see whether a file changed since it was indexed."""

    content_hash: str
    size: int
    mtime_ns: int


def write_store(path: Path, documents: Iterable[tuple[Document, int, int]], chunks: Iterable[Chunk]) -> None:
    """Write a new store.

    Args:
        path: File to create.
        documents: ``(document, size in bytes, mtime in ns)``.
        chunks: In the order of their ordinals.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.executescript(_SCHEMA)
        connection.executemany(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    d.path,
                    d.content_hash,
                    size,
                    mtime,
                    d.title,
                    json.dumps(d.metadata, ensure_ascii=False),
                    _sound(d.text),
                    d.warning,
                )
                for d, size, mtime in documents
            ),
        )
        connection.executemany(
            "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    i,
                    c.id,
                    c.document,
                    json.dumps(c.heading, ensure_ascii=False),
                    _sound(c.text),
                    c.start,
                    c.end,
                    c.start_line,
                    c.end_line,
                    c.language,
                )
                for i, c in enumerate(chunks)
            ),
        )


def _sound(text: str) -> str:
    """SQLite stores UTF-8, which has no place for half a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


class ChunkStore:
    """Read access to one generation; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
            self.size = int(self._connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
        except sqlite3.DatabaseError as exc:
            raise IndexCorruptError(f"{path} cannot be read.", "Rebuild: ragkit index --rebuild.") from exc
        self._lock = threading.Lock()
        self.chunk = lru_cache(maxsize=4096)(self._chunk)
        self.document = lru_cache(maxsize=64)(self._document)

    def close(self) -> None:
        self._connection.close()

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def _chunk(self, ordinal: int) -> Chunk:
        """The chunk with this ordinal.

        Raises:
            KeyError: If there is none.
        """
        rows = self._rows(f"SELECT {_COLUMNS} FROM chunks WHERE ordinal = ?", (int(ordinal),))
        if not rows:
            raise KeyError(ordinal)
        return _chunk(rows[0])

    def _document(self, path: str) -> Document | None:
        """The document at `path` as it was indexed, or None."""
        rows = self._rows(f"SELECT {_DOCUMENT} FROM documents WHERE path = ?", (path,))
        if not rows:
            return None
        found, content_hash, title, metadata, text, warning = rows[0]
        return Document(
            path=found,
            text=text,
            content_hash=content_hash,
            title=title,
            metadata=json.loads(metadata),
            warning=warning,
        )

    def chunks_of(self, document: str) -> list[tuple[int, Chunk]]:
        """``(ordinal, chunk)`` of a document, in order of appearance."""
        sql = f"SELECT ordinal, {_COLUMNS} FROM chunks WHERE document = ? ORDER BY start"
        return [(int(row[0]), _chunk(row[1:])) for row in self._rows(sql, (document,))]

    def all_chunks(self) -> list[Chunk]:
        """Every chunk, in the order of the ordinals."""
        return [_chunk(row) for row in self._rows(f"SELECT {_COLUMNS} FROM chunks ORDER BY ordinal")]

    def files(self) -> dict[str, FileState]:
        """State of every indexed file, by path."""
        rows = self._rows("SELECT path, content_hash, size, mtime_ns FROM documents ORDER BY path")
        return {path: FileState(content_hash, size, mtime) for path, content_hash, size, mtime in rows}

    def titles(self) -> dict[str, str]:
        """Title of each document: front matter, else its first heading, else empty."""
        rows = self._rows(
            "SELECT d.path, d.title, (SELECT heading FROM chunks c WHERE c.document = d.path ORDER BY start LIMIT 1) "
            "FROM documents d ORDER BY d.path"
        )
        return {path: title or (json.loads(heading or "[]") or [""])[0] for path, title, heading in rows}

    def tags(self) -> dict[str, tuple[str, ...]]:
        """Tags of the front matter of the documents that have any, by path."""
        rows = self._rows("SELECT path, metadata FROM documents")
        return {path: tags for path, metadata in rows if (tags := tags_of(json.loads(metadata)))}

    def chinese(self) -> npt.NDArray[np.bool_]:
        """(size,) mask of the chunks in Chinese."""
        rows = self._rows("SELECT language = 'zh' FROM chunks ORDER BY ordinal")
        return np.fromiter((bool(row[0]) for row in rows), dtype=np.bool_, count=len(rows))


def tags_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The tags in a document's front matter, ``tags: a, b`` or ``tags: [a, b]``."""
    return tuple(tag for part in metadata.get("tags", "").strip("[]").split(",") if (tag := part.strip(" \"'#")))


def _chunk(row: Sequence[Any]) -> Chunk:
    identity, document, heading, text, start, end, start_line, end_line, language = row
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
