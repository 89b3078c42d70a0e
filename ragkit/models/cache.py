"""Results of models kept on disk, so that repeating a measurement costs no model call.

Entries are found by what decides the result: the model's identity and the text it was given.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from ragkit.errors import RagkitError
from ragkit.models.embeddings import (
    EmbeddingModel,
    ModelIdentity,
    Progress,
    SentenceTransformerModel,
    Vectors,
)
from ragkit.models.encoding import encode_queries

_BATCH: Final = 256
_VALUE: Final = "CAST(value AS BLOB)"
"""A damaged file may say that a value is text, which need not be any: one such entry would hide the others."""


class _Completes(Protocol):
    def complete_json(
        self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256
    ) -> dict[str, Any]: ...


class KeyValueFile:
    """Bytes by key in one SQLite file. Safe to use from several threads and processes.

    A file that may only be read, as in an index on a read-only disk, gives what it has and takes nothing.

    Raises:
        RagkitError: On any call, if the file is damaged or cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._read_only = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # SQLite gives its other files the mode of the first.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            # Beside a file it keeps others, which a folder must let it make.
            self._read_only = not os.access(path.parent, os.W_OK)
        except OSError as exc:
            if exc.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not os.access(path, os.R_OK):
                raise _unusable(path, exc) from exc
            self._read_only = True
        try:
            if self._read_only:
                # Nobody can change it here, so it needs no lock, and no other files beside it; but what a program that
                # was killed left in its log belongs to it.
                how = "mode=ro" if has_log(path) else "immutable=1"
                self._db = sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, check_same_thread=False)
            else:
                self._db = sqlite3.connect(path, timeout=30, check_same_thread=False)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL)")
        except sqlite3.Error as exc:
            raise _unusable(path, exc) from exc
        self._path = path
        self._lock = threading.Lock()

    def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The entries that are there."""
        found: dict[str, bytes] = {}
        with self._lock, self._errors():
            for at in range(0, len(keys), _BATCH):
                part = list(keys[at : at + _BATCH])
                marks = ",".join("?" * len(part))
                # Only constants and the number of question marks are put together here, never a value.
                found.update(self._db.execute(f"SELECT key, {_VALUE} FROM entries WHERE key IN ({marks})", part))
        return found

    def put(self, entries: Mapping[str, bytes]) -> None:
        """Keep these entries; either all are written or none. A file that may only be read keeps none."""
        if self._read_only:
            return
        with self._lock, self._errors(), self._db:
            self._db.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?)", entries.items())

    def keys(self) -> list[str]:
        """The keys of all entries, sorted."""
        with self._lock, self._errors():
            return [key for (key,) in self._db.execute("SELECT key FROM entries ORDER BY key")]

    def failing(self, whole: Callable[[str, bytes], bool]) -> set[str]:
        """The keys of those entries that `whole` says no to; all of the file is read."""
        with self._lock, self._errors():
            entries = self._db.execute(f"SELECT key, {_VALUE} FROM entries")
            return {key for key, value in entries if not whole(key, value)}

    def drop(self, keys: Sequence[str]) -> None:
        """Remove entries for good: their bytes are overwritten in the file."""
        with self._lock, self._errors():
            self._db.execute("PRAGMA secure_delete=ON")
            with self._db:
                self._db.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in keys])
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Give back the file."""
        self._db.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        # Damage behind the first page of the file shows only when it is read.
        try:
            yield
        except sqlite3.Error as exc:
            raise _unusable(self._path, exc) from exc


def has_log(path: Path) -> bool:
    """Whether SQLite keeps a log beside a file, with entries that the file itself does not hold yet."""
    log = path.with_name(f"{path.name}-wal")
    return log.is_file() and log.stat().st_size > 0


def _unusable(path: Path, exc: Exception) -> RagkitError:
    return RagkitError(f"Cache {path} cannot be used: {exc}.", "Delete it; it will be filled again.")


def _key(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class CachedEmbeddings:
    """An `EmbeddingModel` that embeds each text once and for all."""

    def __init__(self, model: EmbeddingModel, file: KeyValueFile) -> None:
        self._model, self._file = model, file
        self.name = model.name
        self.temperature = model.temperature
        self.relevance_floor = model.relevance_floor
        self.computed = 0
        """Texts that had to be embedded."""

    @property
    def inner(self) -> EmbeddingModel:
        """The model behind the cache."""
        return self._model

    @property
    def identity(self) -> ModelIdentity:
        return self._model.identity

    def encode_documents(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Embed passages; returns (n, dimension) float32 unit vectors, in the order of `texts`."""
        return self._through(
            "passage", texts, lambda missing: self._model.encode_documents(missing, progress), progress
        )

    def encode_query(self, text: str) -> Vectors:
        """Embed a question; returns (dimension,) float32 of length 1."""
        key = _key(self.identity.fingerprint, "query", text)
        known = self._known([key])
        if not known:
            self.computed += 1
            known = {key: self._model.encode_query(text).astype("<f4").tobytes()}
            self._file.put(known)
        return np.frombuffer(known[key], dtype="<f4").astype(np.float32)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Embed questions together; returns (n, dimension) float32 unit vectors, in the order of `texts`."""
        return self._through("query", texts, lambda missing: encode_queries(self._model, missing))

    def _through(
        self,
        role: str,
        texts: Sequence[str],
        encode: Callable[[list[str]], Vectors],
        progress: Progress | None = None,
    ) -> Vectors:
        """The vectors of `texts`, in their order; `encode` makes those that are not kept yet."""
        keys = [_key(self.identity.fingerprint, role, text) for text in texts]
        known = self._known(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if progress is not None and len(keys) > len(missing):
            progress(sum(key in known for key in keys))
        if missing:
            vectors = encode(list(missing.values()))
            self.computed += len(missing)
            fresh = {key: vector.astype("<f4").tobytes() for key, vector in zip(missing, vectors, strict=True)}
            self._file.put(fresh)
            known.update(fresh)
        out = np.zeros((len(keys), self.identity.dimension), dtype=np.float32)
        for i, key in enumerate(keys):
            out[i] = np.frombuffer(known[key], dtype="<f4")
        return out

    def _known(self, keys: Sequence[str]) -> dict[str, bytes]:
        size = 4 * self.identity.dimension
        return {key: value for key, value in self._file.get(keys).items() if len(value) == size}


class CachedCompletions:
    """A `StructuredModel` that is asked the same thing once. Failures are not kept."""

    def __init__(self, model: _Completes, name: str, file: KeyValueFile) -> None:
        self._model, self._name, self._file = model, name, file
        self.computed = 0

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        """Reply to `user` with an object that satisfies `schema`; errors are those of the model."""
        key = _key(self._name, system, user, json.dumps(schema, sort_keys=True), str(max_tokens))
        known = self._file.get([key]).get(key)
        if known is not None:
            try:
                value = json.loads(known)
            except ValueError:
                value = None
            if isinstance(value, dict):
                return value
        reply = self._model.complete_json(system, user, schema, max_tokens)
        self.computed += 1
        self._file.put({key: json.dumps(reply, ensure_ascii=False).encode("utf-8", "surrogatepass")})
        return reply


def is_local(model: EmbeddingModel) -> bool:
    """Whether embedding costs time of this machine only: no endpoint, no LangChain ``Embeddings``."""
    return isinstance(model.inner if isinstance(model, CachedEmbeddings) else model, SentenceTransformerModel)
