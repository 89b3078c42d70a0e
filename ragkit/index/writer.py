"""Bring an index folder up to date with its notes: one writer, one commit, both legs.

A commit writes a new generation folder, syncs it, and switches the MANIFEST by an atomic
rename. Until then the old generation is the index; afterwards the new one is. Vectors of
chunks whose text did not change are taken from the old generation.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from ragkit.errors import IndexFailure, IndexLockedError, IndexMismatchError, IngestError
from ragkit.index.dense import DenseIndex
from ragkit.index.fsops import fsync_file, fsync_folder, sha256, with_disk_errors, write_json_atomically
from ragkit.index.language_axis import LanguageAxis
from ragkit.index.snapshot import MANIFEST, Manifest, Snapshot, read_manifest, seal
from ragkit.index.sparse import BM25Settings, SparseIndex
from ragkit.index.store import write_store
from ragkit.ingest.chunker import ChunkSettings, chunk_document
from ragkit.ingest.loader import SourceFile, read_all, scan
from ragkit.models.embeddings import EmbeddingModel, ModelIdentity, unit
from ragkit.text.tokens import ANALYSER_VERSION, tokenize
from ragkit.values import Chunk, Document, IndexReport, Skipped, Warned

Progress = Callable[[int, int], None]
"""Called with (chunks embedded so far, chunks to embed)."""
_FILES: Final = ("chunks.sqlite", "vectors.faiss", "postings.npz", "terms.txt", "axis.npy")


@dataclass(frozen=True)
class IndexSettings:
    """What decides the contents of an index besides the notes and the model."""

    chunks: ChunkSettings = field(default_factory=ChunkSettings)
    bm25: BM25Settings = field(default_factory=BM25Settings)


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's writer lock; the kernel frees it when the holder dies.

    Raises:
        IndexLockedError: If another process holds it, naming that process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise IndexFailure(
            f"Cannot create the index folder {folder}: {exc.strerror}.", "Choose another with --index."
        ) from exc
    holder = folder / "LOCK.pid"
    lock = FileLock(folder / "LOCK", timeout=0)
    try:
        lock.acquire()
    except Timeout as exc:
        pid = (holder.read_text(encoding="utf-8") if holder.is_file() else "") or "unknown"
        raise IndexLockedError(
            f"Another process (pid {pid}) is writing to {folder}.", "Wait until it is done."
        ) from exc
    except OSError as exc:
        raise IndexFailure(f"Cannot write to {folder}: {exc.strerror}.", "Choose another folder with --index.") from exc
    try:
        with suppress(OSError):  # only names the holder to others; a full disk is reported by the commit
            holder.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        lock.release()


@contextmanager
def _previous(folder: Path, rebuild: bool = False) -> Iterator[Snapshot | None]:
    """The committed generation, closed afterwards; None if there is none or it is not to be used."""
    old = None if rebuild else Snapshot.open(folder)
    try:
        yield old
    finally:
        if old is not None:
            old.close()


def update_index(
    folder: Path,
    roots: Sequence[Path],
    model: EmbeddingModel,
    settings: IndexSettings,
    *,
    rebuild: bool = False,
    progress: Progress | None = None,
) -> IndexReport:
    """Make the index in `folder` equal to the notes under `roots`.

    Args:
        folder: Index folder; created if missing.
        roots: Folders or files of notes.
        model: Embedding model; must be the one the index was built with, unless `rebuild`.
        settings: Chunking and BM25.
        rebuild: Start from nothing; also accepts another model or damaged files.
        progress: Told about embedding.

    Raises:
        IngestError: If there is no readable note.
        IndexMismatchError: If model, analyser or chunker differ from the index's.
        IndexLockedError: If another process is writing.
    """
    began = time.monotonic()
    sources, skipped = scan(roots)
    fresh: dict[str, Document | Skipped] = {}  # converting a book takes seconds: it is done once

    refused = None if rebuild else folder / ".refused.json"

    def update(old: Snapshot | None, *, commit: bool) -> dict[str, object] | None:
        if old is not None:
            check_fingerprint(old.manifest, model, settings)
        passed = list(skipped)
        documents, kept = _gather(sources, passed, old, fresh, refused)
        if not commit and (old is None or not _as_indexed(documents, kept, old)):
            return None
        return _update(folder, documents, kept, passed, old, roots, model, settings, progress)

    with _previous(folder, rebuild) as old:
        # Looking needs no lock: readers must not wait for a writer when nothing changed.
        report = update(old, commit=False) if old is not None else None
    if report is None:
        with writer_lock(folder), _previous(folder, rebuild) as old:
            report = update(old, commit=True)
    return IndexReport(**{**(report or {}), "seconds": time.monotonic() - began})  # type: ignore[arg-type]


def check_fingerprint(manifest: Manifest, model: EmbeddingModel, settings: IndexSettings) -> None:
    """Refuse to mix what does not fit together.

    Raises:
        IndexMismatchError: Naming what differs, and how to rebuild.
    """
    expected = {
        "embedding model": (manifest.model, asdict(model.identity)),
        "analyser": (manifest.analyser, ANALYSER_VERSION),
        "chunker": (manifest.chunker, settings.chunks.fingerprint),
        "BM25": (manifest.bm25, settings.bm25.fingerprint),
    }
    for what, (built, now) in expected.items():
        if built != now:
            was, is_ = (ModelIdentity(**v).fingerprint if isinstance(v, dict) else v for v in (built, now))
            raise IndexMismatchError(
                f"The index was built with {what} {was}, but {is_} is in use.",
                "Rebuild it with `ragkit index NOTES --rebuild`, or go back to the setting it was built with.",
            )


def index_documents(
    folder: Path,
    documents: Sequence[Document],
    model: EmbeddingModel,
    settings: IndexSettings,
    *,
    progress: Progress | None = None,
) -> IndexReport:
    """Make the index in `folder` equal to documents that are in memory already.

    Raises:
        IngestError: If there is no document, or two have the same path.
        IndexMismatchError: If model, analyser or chunker differ from the index's.
    """
    began = time.monotonic()
    if twice := [path for path, count in Counter(document.path for document in documents).items() if count > 1]:
        raise IngestError(
            f"{len(twice)} path(s) stand for more than one document, the first is {twice[0]!r}.",
            "Give every document a path of its own: make_document(path, text).",
        )
    with writer_lock(folder), _previous(folder) as old:
        if old is not None:
            check_fingerprint(old.manifest, model, settings)
        known = old.store.files() if old is not None else {}
        kept = {d.path for d in documents if d.path in known and known[d.path].content_hash == d.content_hash}
        gathered = [(document, len(document.text), 0) for document in documents]
        report = _update(folder, gathered, kept, [], old, (), model, settings, progress)
    return IndexReport(**{**report, "seconds": time.monotonic() - began})  # type: ignore[arg-type]


def _as_indexed(documents: Sequence[tuple[Document, int, int]], kept: set[str], old: Snapshot) -> bool:
    """Whether the notes are exactly those of the committed index."""
    return len(kept) == len(documents) == len(old.store.files())


def _gather(
    sources: Sequence[SourceFile],
    skipped: list[Skipped],
    old: Snapshot | None,
    fresh: dict[str, Document | Skipped],
    refused: Path | None,
) -> tuple[list[tuple[Document, int, int]], set[str]]:
    """Documents with size and mtime, and the paths among them that are as they were indexed."""
    known = old.store.files() if old is not None else {}
    documents: list[tuple[Document, int, int]] = []
    kept: set[str] = set()
    changed = [s for s in sources if (k := known.get(s.path)) is None or (k.size, k.mtime_ns) != (s.size, s.mtime_ns)]
    unread = [s for s in changed if s.path not in fresh]
    fresh.update((source.path, result) for source, result in read_all(unread, refused))
    indexed = {source.path for source in sources} - {source.path for source in changed}
    for source in sources:
        result = None if source.path in indexed else fresh.get(source.path)
        if isinstance(result, Skipped):
            skipped.append(result)
            continue
        same = result is None or (source.path in known and known[source.path].content_hash == result.content_hash)
        if same and old is not None:
            kept.add(source.path)
            result = old.store.document(source.path)
        if result is None:
            raise IndexFailure(f"{source.path} is missing from the index.", "Rebuild: ragkit index NOTES --rebuild.")
        documents.append((result, source.size, source.mtime_ns))
    return documents, kept


def _update(
    folder: Path,
    documents: Sequence[tuple[Document, int, int]],
    kept: set[str],
    skipped: list[Skipped],
    old: Snapshot | None,
    roots: Sequence[Path],
    model: EmbeddingModel,
    settings: IndexSettings,
    progress: Progress | None,
) -> dict[str, object]:
    known = old.store.files() if old is not None else {}
    if not documents:
        reasons = f" ({skipped[0].path}: {skipped[0].reason})" if skipped else ""
        raise IngestError(f"No readable note in {', '.join(map(str, roots))}{reasons}.", "See Formats in the README.")
    paths = {document.path for document, _, _ in documents}
    counts: dict[str, object] = {
        "documents": len(documents),
        "added": len(paths - known.keys()),
        "deleted": len(known.keys() - paths),
        "unchanged": len(kept),
        "updated": len(paths & known.keys()) - len(kept),
        "skipped": tuple(sorted(skipped, key=lambda item: item.path)),
        "warnings": tuple(Warned(path=d.path, reason=d.warning) for d, _, _ in documents if d.warning),
        "embedding_model": model.name,
    }
    if old is not None and _as_indexed(documents, kept, old):
        return {**counts, "chunks": len(old), "embedded_chunks": 0}
    chunks, vectors, embedded = _chunks_and_vectors(documents, kept, old, model, settings, progress)
    axis = old.language_axis if old is not None else LanguageAxis.measure(model)
    manifest = Manifest(
        generation=f"gen-{time.time_ns():020d}-{secrets.token_hex(3)}",
        files={},
        model=asdict(model.identity),
        analyser=ANALYSER_VERSION,
        chunker=settings.chunks.fingerprint,
        bm25=settings.bm25.fingerprint,
        roots=[str(root.resolve()) for root in roots],
        documents=len(documents),
        chunks=len(chunks),
    )
    with_disk_errors(folder, lambda: _commit(folder, manifest, documents, chunks, vectors, axis, settings))
    return {**counts, "chunks": len(chunks), "embedded_chunks": embedded}


def _chunks_and_vectors(
    documents: Sequence[tuple[Document, int, int]],
    kept: set[str],
    old: Snapshot | None,
    model: EmbeddingModel,
    settings: IndexSettings,
    progress: Progress | None,
) -> tuple[list[Chunk], npt.NDArray[np.float32], int]:
    chunks: list[Chunk] = []
    for document, _, _ in documents:
        if document.path in kept and old is not None:
            chunks.extend(chunk for _, chunk in old.store.chunks_of(document.path))
        else:
            chunks.extend(chunk_document(document, settings.chunks))
    known = {chunk.search_text: i for i, chunk in enumerate(old.store.all_chunks())} if old is not None else {}
    missing = list(dict.fromkeys(c.search_text for c in chunks if c.search_text not in known))
    vectors = np.zeros((len(chunks), model.identity.dimension), dtype=np.float32)
    if old is not None:
        reused = [(i, known[c.search_text]) for i, c in enumerate(chunks) if c.search_text in known]
        if reused:
            vectors[[i for i, _ in reused]] = old.dense.vectors([row for _, row in reused])
    if missing:
        done = 0

        def report(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(done, len(missing))

        if progress is not None:
            progress(0, len(missing))
        # Only new vectors are scaled: dividing again by a length of almost 1 would move the last bit of those
        # that are taken over, and an updated index would no longer score like one built at once.
        encoded = unit(model.encode_documents(missing, report))
        row = {text: encoded[i] for i, text in enumerate(missing)}
        for i, chunk in enumerate(chunks):
            if chunk.search_text in row:
                vectors[i] = row[chunk.search_text]
    return chunks, vectors, len(missing)


def _commit(
    folder: Path,
    manifest: Manifest,
    documents: Sequence[tuple[Document, int, int]],
    chunks: Sequence[Chunk],
    vectors: npt.NDArray[np.float32],
    axis: LanguageAxis,
    settings: IndexSettings,
) -> None:
    generation = folder / manifest.generation
    generation.mkdir(mode=0o700)
    try:
        write_store(generation / "chunks.sqlite", documents, chunks)
        DenseIndex.build(vectors, axis.positions(vectors)).save(generation / "vectors.faiss")
        SparseIndex.build([tokenize(chunk.search_text) for chunk in chunks], settings.bm25).save(generation)
        axis.save(generation / "axis.npy")
        for name in _FILES:
            path = generation / name
            fsync_file(path)
            manifest.files[name] = {"sha256": sha256(path), "bytes": path.stat().st_size}
        fsync_folder(generation)
        fsync_folder(folder)
        write_json_atomically(folder / MANIFEST, seal(asdict(manifest)))
    except BaseException:
        # Once the MANIFEST is switched, this generation is the index, whatever fails after that.
        current = read_manifest(folder)
        if current is None or current.generation != manifest.generation:
            shutil.rmtree(generation, ignore_errors=True)
        raise
    for stale in folder.glob("gen-*"):
        if stale.name != manifest.generation:
            shutil.rmtree(stale, ignore_errors=True)
