"""Checking the sentence vectors beside an index, and making them whole again."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from ragkit.errors import ModelError, RagkitError
from ragkit.index.engine import Engine
from ragkit.index.fingerprint import Progress
from ragkit.index.sentences import FILE, SentenceVectors, is_whole
from ragkit.models.cache import has_log
from ragkit.models.embeddings import EmbeddingModel


def sentence_damage(folder: Path) -> str:
    """What is wrong with the file of sentence vectors, or an empty string; there need not be one."""
    path = folder / FILE
    if not path.is_file():
        return ""
    try:
        problem = _problem(path, alone=not has_log(path))
        if problem and has_log(path):
            # Somebody wrote while it was read as a file that stands still.
            problem = _problem(path, alone=False)
    except OSError as exc:
        problem = f"cannot be read: {exc.strerror}"
    return f"{problem} (derived data: search works without it, only less sharply)" if problem else ""


def repair_sentences(
    folder: Path, engine: Engine, model: EmbeddingModel, progress: Progress | None = None
) -> tuple[int, str]:
    """Embed again what is damaged; all of it, if the file as a whole is.

    Returns:
        Number of chunks whose sentences were embedded, and where the file was put if it could not be used any more.

    Raises:
        ModelError: If the model fails.
        RagkitError: If not even a new file can be written.
    """
    try:
        done = _update(folder, engine, model, progress)
    except ModelError:
        raise
    except RagkitError:
        done = 0
    if not sentence_damage(folder):
        return done, ""
    kept = f"{FILE}.damaged-{time.time_ns():020d}"
    os.replace(folder / FILE, folder / kept)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            (folder / f"{FILE}{suffix}").unlink()
    return done + _update(folder, engine, model, progress), kept


def _update(folder: Path, engine: Engine, model: EmbeddingModel, progress: Progress | None) -> int:
    with closing(SentenceVectors(folder, model)) as sentences:
        return sentences.update(engine, progress)


def _problem(path: Path, *, alone: bool) -> str:
    # A check writes nothing: without a log beside it SQLite need not make the files that writers share.
    how = "immutable=1" if alone else "mode=ro"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True)) as db:
            said = str(db.execute("PRAGMA integrity_check(1)").fetchone()[0])
            if said != "ok":
                return f"is damaged: {said.splitlines()[-1]}"
            entries = db.execute("SELECT key, CAST(value AS BLOB) FROM entries")
            rows = sum(not is_whole(key, value) for key, value in entries)
    except sqlite3.Error as exc:
        return f"cannot be read: {exc}"
    return f"has {rows} damaged row(s)" if rows else ""
