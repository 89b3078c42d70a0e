"""Indexes of format 1: one generation folder, rewritten at every commit. Read here, written no more.

`convert` makes a segment of the generation, with the vectors it has; nothing is embedded again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np

from ragkit.errors import IndexCorruptError
from ragkit.index import fsops
from ragkit.index.language_axis import LanguageAxis
from ragkit.index.manifest import MANIFEST, REBUILD, Manifest, fresh_name
from ragkit.index.segment import Vectors, measure, write_segment
from ragkit.index.store import Entry, chunk_of, document_of
from ragkit.models.embeddings import ModelIdentity
from ragkit.values import Chunk

_CHUNKS: Final = (
    'SELECT ordinal, id, document, heading, text, start, "end", start_line, end_line, language '
    "FROM chunks ORDER BY document, start"
)
_DOCUMENTS: Final = (
    "SELECT size, mtime_ns, path, content_hash, title, metadata, text, warning FROM documents ORDER BY path"
)


def convert(folder: Path, manifest: Manifest, target: Path) -> Manifest:
    """Write the generation that `manifest` (format 1) names as a segment into `target`, not synced yet.

    Returns:
        A manifest of today's format that names the new files; not committed.

    Raises:
        IndexCorruptError: If a file differs from its checksum.
        FileNotFoundError: If one is missing: a writer may have replaced the generation.
    """
    generation = folder / manifest.generation
    _verify(folder, generation, manifest)
    try:
        entries, order = _entries(generation / "chunks.sqlite")
        vectors = _vectors(generation / "vectors.faiss")[order]
        axis = LanguageAxis.load(generation / "axis.npy")
    except (sqlite3.DatabaseError, RuntimeError, ValueError, IndexError) as exc:
        raise IndexCorruptError(f"{generation} cannot be read.", REBUILD) from exc
    segment = write_segment(
        target,
        fresh_name("seg"),
        entries,
        vectors,
        axis=axis,
        model=ModelIdentity(**manifest.model).fingerprint,
    )
    name = fresh_name("axis") + ".npy"
    fsops.write_file(target / name, axis.save)
    return Manifest(
        generation=fresh_name("gen"),
        model=manifest.model,
        analyser=manifest.analyser,
        chunker=manifest.chunker,
        bm25=manifest.bm25,
        roots=manifest.roots,
        documents=segment.documents,
        chunks=segment.chunks,
        segments=(segment,),
        files={name: measure(target / name)},
        axis=name,
    )


def damaged(folder: Path) -> list[Path]:
    """The files of an index of format 1 that are missing or differ from their checksum."""
    data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    generation = folder / data["generation"]
    return [generation / name for name, expected in data["files"].items() if not _sound(generation / name, expected)]


def _verify(folder: Path, generation: Path, manifest: Manifest) -> None:
    data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if data.get("generation") != manifest.generation:
        raise FileNotFoundError(2, "replaced by a writer", str(generation))
    for name, expected in data["files"].items():
        (generation / name).stat()
        if not _sound(generation / name, expected):
            raise IndexCorruptError(f"{generation / name} differs from its checksum.", REBUILD)


def _sound(path: Path, expected: dict[str, Any]) -> bool:
    try:
        return bool(path.stat().st_size == expected["bytes"] and _sha256(path) == expected["sha256"])
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entries(path: Path) -> tuple[list[Entry], Sequence[int]]:
    """Documents with their chunks, and the ordinal that each chunk had."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        order: list[int] = []
        chunks: dict[str, list[Chunk]] = {}
        for row in connection.execute(_CHUNKS):
            chunk = chunk_of(row)
            order.append(row[0])
            chunks.setdefault(chunk.document, []).append(chunk)
        entries = []
        for size, mtime, *row in connection.execute(_DOCUMENTS):
            document = document_of(row)
            entries.append(Entry(document, size, mtime, tuple(chunks.get(document.path, ()))))
    return entries, order


def _vectors(path: Path) -> Vectors:
    """The model's vectors; the last component of each stored one is its language position."""
    with path.open("rb") as file:
        index = faiss.read_index(faiss.PyCallbackIOReader(file.read))  # type: ignore[attr-defined]
    stored = index.reconstruct_n(0, index.ntotal) if index.ntotal else np.zeros((0, index.d), dtype=np.float32)
    return np.ascontiguousarray(stored[:, :-1], dtype=np.float32)
