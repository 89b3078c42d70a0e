"""Bring an index folder up to date with its notes: one writer at a time, one commit, both legs.

What changed is told by content hashes; only that is read, cut, embedded and written (see
`ragkit.index.commit`). Looking whether anything changed needs no lock.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import Final

from filelock import FileLock, Timeout

from ragkit.errors import IndexFailure, IndexLockedError, IngestError, RagkitError, UsageError
from ragkit.index.changes import Changes, compare, new_ones
from ragkit.index.commit import Change, Commit, collect_garbage, leftovers, migrate
from ragkit.index.engine import fits_path
from ragkit.index.fingerprint import IndexSettings, Progress, check_fingerprint
from ragkit.index.manifest import FORMAT, read_manifest
from ragkit.index.outside import name_outside, outside_files
from ragkit.index.snapshot import Snapshot
from ragkit.index.store import Entry
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import SourceFile, below, nothing_readable, readable, scan
from ragkit.models.embeddings import EmbeddingModel
from ragkit.values import Document, IndexReport, Skipped, Warned

__all__ = [
    "IndexSettings",
    "Progress",
    "add_documents",
    "add_notes",
    "check_fingerprint",
    "compact_index",
    "index_documents",
    "remove_documents",
    "update_index",
    "writer_lock",
]

REFUSED: Final = ".refused.json"
"""Files that took too much time or memory to convert, see `ragkit.ingest.loader.read_all`."""


WAIT: Final = 5.0
"""Seconds that a change waits for another process to commit; one that embeds a whole folder takes longer."""


@contextmanager
def writer_lock(folder: Path, wait: float = 0) -> Iterator[None]:
    """Hold the folder's writer lock; the kernel frees it when the holder dies.

    Args:
        folder: Index folder.
        wait: Seconds to wait for another process.

    Raises:
        IndexLockedError: If another process holds it for longer, naming that process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise IndexFailure(
            f"Cannot create the index folder {folder}: {exc.strerror}.", "Choose another with --index."
        ) from exc
    holder = folder / "LOCK.pid"
    lock = FileLock(folder / "LOCK", timeout=wait)
    try:
        lock.acquire(poll_interval=0.02)
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


def update_index(
    folder: Path,
    roots: Sequence[Path],
    model: EmbeddingModel,
    settings: IndexSettings,
    *,
    rebuild: bool = False,
    progress: Progress | None = None,
) -> tuple[IndexReport, Snapshot]:
    """Make the index in `folder` equal to the notes under `roots`.

    Args:
        folder: Index folder; created if missing.
        roots: Folders or files of notes.
        model: Embedding model; must be the one the index was built with, unless `rebuild`.
        settings: Chunking and BM25.
        rebuild: Start from nothing; also accepts another model or damaged files.
        progress: Told about embedding.

    Returns:
        What was done, and the state after it, opened.

    Raises:
        IngestError: If there is no readable note.
        IndexMismatchError: If model, analyser or chunker differ from the index's.
        IndexLockedError: If another process is writing.
    """
    sources, skipped = scan(roots)
    fresh: dict[str, Document | Skipped] = {}  # converting a book takes seconds: it is done once
    refused = None if rebuild else folder / REFUSED

    def plan(old: Snapshot | None) -> Changes:
        found = compare(sources, skipped, old, fresh, refused)
        found.roots = [str(root.resolve()) for root in roots]
        if not (found.put or (old is not None and old.manifest.documents > len(found.remove))):
            raise nothing_readable(list(map(str, roots)), found.skipped)
        return found

    old = None if rebuild else Snapshot.open(folder)
    with ExitStack() as opened:
        if old is not None:
            opened.callback(old.close)
            check_fingerprint(old.manifest, model, settings)
            began = time.monotonic()
            if not (found := plan(old)):
                # Looking needs no lock: readers must not wait for a writer when nothing changed.
                new = _tidied(folder, old, model, settings)
                if new is old:
                    opened.pop_all()
                return _report(found, old, new, began, 0), new
        return _apply(folder, old, plan, model, settings, progress, rebuild=rebuild)


def index_documents(
    folder: Path,
    documents: Sequence[Document],
    model: EmbeddingModel,
    settings: IndexSettings,
    *,
    progress: Progress | None = None,
) -> tuple[IndexReport, Snapshot]:
    """Make the index in `folder` equal to documents that are in memory already.

    Raises:
        UsageError: If one is no `Document`.
        IngestError: If there is no document, or two have the same path.
        IndexMismatchError: If model, analyser or chunker differ from the index's.
    """
    documents = _checked(documents)
    if not documents:
        raise IngestError("No documents were given.", "Pass at least one: make_document(path, text).")

    def plan(old: Snapshot | None) -> Changes:
        found = new_ones(documents, old)
        known = old.files().keys() if old is not None else set()
        found.remove = frozenset(known - {document.path for document in documents})
        found.roots = []
        return found

    return _apply(folder, None, plan, model, settings, progress)


def add_documents(
    old: Snapshot, documents: Sequence[Document], *, model: EmbeddingModel, settings: IndexSettings
) -> tuple[IndexReport, Snapshot]:
    """Add documents to an index, or replace those of the same path, in one commit; the others stay.

    Raises:
        UsageError: If one is no `Document`.
        IngestError: If two have the same path.
        IndexMismatchError: If model, analyser or chunker differ from the index's.
        IndexLockedError: If another process writes for longer than `WAIT`.
    """
    documents = _checked(documents)
    return _apply(old.folder, old, lambda now: new_ones(documents, now), model, settings, wait=WAIT)


def add_notes(
    old: Snapshot,
    paths: Sequence[Path],
    progress: Progress | None = None,
    *,
    model: EmbeddingModel,
    settings: IndexSettings,
) -> tuple[IndexReport, Snapshot]:
    """Read notes and add them to an index, or replace those of the same path, in one commit.

    Args:
        old: An open snapshot.
        paths: Folders or files. Below a root of the index they get the path that they have there, elsewhere
            one that begins with the name of their folder and that no other file has (`ragkit.index.outside`).
        model: The embedding model of the index.
        settings: Chunking and BM25.
        progress: Told about embedding.

    Raises:
        IngestError: If a path does not exist.
    """
    inside: dict[str, SourceFile] = {}
    outside: list[SourceFile] = []
    fresh: dict[str, Document | Skipped] = {}
    skipped: list[Skipped] = []
    for path in paths:
        found, bad = scan([path])
        lead = below(path, old.manifest.roots)
        if lead is None:
            top = (path if path.is_dir() else path.parent).resolve()
            lead = f"{readable(PurePath(top.name))}/" if top.name else ""
            for source in found:
                home = below(source.file, old.manifest.roots)
                if home is None:
                    outside.append(replace(source, path=lead + source.path))
                else:
                    at = home + readable(PurePath(source.file.name))
                    inside[at] = replace(source, path=at)
        else:
            inside.update({lead + s.path: replace(s, path=lead + s.path) for s in found})
        skipped.extend(replace(item, path=lead + item.path) for item in bad)

    def plan(now: Snapshot | None) -> Changes:
        taken = inside.keys() | (now.files().keys() if now is not None else set())
        kept = outside_files(now.manifest.extra) if now is not None else {}
        named, files, none = name_outside(outside, taken, kept, old.manifest.roots)
        sources = {**inside, **named}
        found = compare(
            [sources[path] for path in sorted(sources)], [*skipped, *none], now, fresh, old.folder / REFUSED
        )
        found.remove = frozenset()
        found.outside = files
        return found

    return _apply(old.folder, old, plan, model, settings, progress, wait=WAIT)


def remove_documents(
    old: Snapshot, patterns: Sequence[str], *, model: EmbeddingModel, settings: IndexSettings
) -> tuple[IndexReport, Snapshot]:
    """Remove documents by path or pattern (``*``, ``?``), in one commit; found no more from then on.

    Their text stays in the files until a compaction.

    Raises:
        UsageError: If nothing has such a path.
    """

    def plan(now: Snapshot | None) -> Changes:
        gone: set[str] = set()
        for pattern in patterns:
            if now is None:
                continue
            if now.find(pattern) is not None:
                gone.add(pattern)
                continue
            found = {path for path in now.files() if fits_path(path, pattern)}
            if not found:
                raise UsageError(f"The index has no document {pattern!r}.", "Index.documents() lists them.")
            gone |= found
        return Changes(remove=frozenset(gone))

    return _apply(old.folder, old, plan, model, settings, wait=WAIT)


def compact_index(old: Snapshot, *, model: EmbeddingModel, settings: IndexSettings) -> tuple[IndexReport, Snapshot]:
    """Merge all segments into one and drop for good what was deleted. Nothing is embedded."""
    return _apply(old.folder, old, lambda _: Changes(everything=True), model, settings, wait=WAIT)


def _apply(
    folder: Path,
    old: Snapshot | None,
    plan: Callable[[Snapshot | None], Changes],
    model: EmbeddingModel,
    settings: IndexSettings,
    progress: Progress | None = None,
    *,
    rebuild: bool = False,
    wait: float = 0,
) -> tuple[IndexReport, Snapshot]:
    """Commit what `plan` finds against the newest state; `old`, if given, spares reading its segments again."""
    began = time.monotonic()
    with writer_lock(folder, wait), ExitStack() as opened:
        now = None if rebuild else _latest(folder, old, model, settings)
        embedded_before = _embedded(folder, model) if rebuild else None
        if embedded_before is not None:
            opened.callback(embedded_before.close)
        if now is not None and now is not old:
            opened.callback(now.close)
        found = plan(now)
        embedded = 0
        if found or now is None:
            entries = [
                Entry(document, size, mtime, tuple(chunk_document(document, settings.chunks)))
                for document, size, mtime in (*found.put, *found.touched)
            ]
            change = Change(entries, found.remove, found.everything, found.outside)
            embedded = Commit(folder, now, model, settings, embedded_before).run(change, found.roots, progress)
        else:
            collect_garbage(folder, now.manifest)
        new = Snapshot.open(folder, now)
        if new is None:
            raise IndexFailure(f"There is no index in {folder}.", "Index the notes again.")
        return _report(found, now, new, began, embedded), new


def _embedded(folder: Path, model: EmbeddingModel) -> Snapshot | None:
    """What is committed, if a rebuild can take its vectors from there: whole, in today's format, of the same model."""
    try:
        manifest = read_manifest(folder)
        if manifest is None or manifest.format != FORMAT or manifest.model != asdict(model.identity):
            return None
        return Snapshot.open(folder)
    except RagkitError:
        return None


def _latest(folder: Path, old: Snapshot | None, model: EmbeddingModel, settings: IndexSettings) -> Snapshot | None:
    """The committed state, in today's format; needs the writer's lock."""
    manifest = read_manifest(folder)
    if manifest is None:
        return None
    check_fingerprint(manifest, model, settings)
    if manifest.format < FORMAT:
        migrate(folder, manifest)
    elif old is not None and manifest == old.manifest:
        return old
    return Snapshot.open(folder, old)


def _tidied(folder: Path, old: Snapshot, model: EmbeddingModel, settings: IndexSettings) -> Snapshot:
    """An index that needs no change, without what a killed writer left and in today's format, if that can be had."""
    if old.manifest.format == FORMAT and not leftovers(folder, old.manifest):
        return old
    try:
        _, new = _apply(folder, old, lambda _: Changes(), model, settings)
    except IndexFailure:  # another writer is at work, or the folder may only be read
        return old
    return new


def _report(found: Changes, old: Snapshot | None, new: Snapshot, began: float, embedded: int) -> IndexReport:
    replaced = sum(old is not None and old.find(document.path) is not None for document, _, _ in found.put)
    added = len(found.put) - replaced
    return IndexReport(
        documents=new.manifest.documents,
        chunks=new.manifest.chunks,
        added=added,
        updated=replaced,
        deleted=len(found.remove),
        unchanged=new.manifest.documents - added - replaced,
        skipped=tuple(sorted(found.skipped, key=lambda item: item.path)),
        warnings=tuple(Warned(path=path, reason=reason) for path, reason in new.warnings().items()),
        embedding_model=str(new.manifest.model["name"]),
        embedded_chunks=embedded,
        seconds=time.monotonic() - began,
    )


def _checked(documents: Iterable[Document]) -> list[Document]:
    """Documents as a caller gave them, if they can be indexed.

    Raises:
        UsageError: If one is something else.
        IngestError: If two have the same path.
    """
    given = list(documents) if isinstance(documents, Iterable) and not isinstance(documents, str) else [documents]
    if wrong := [one for one in given if not isinstance(one, Document)]:
        raise UsageError(
            f"A list of ragkit documents is needed, not one with a {type(wrong[0]).__name__}.",
            "Make them: from ragkit.ingest.loader import make_document; make_document(path, text).",
        )
    if twice := [path for path, count in Counter(document.path for document in given).items() if count > 1]:
        raise IngestError(
            f"{len(twice)} path(s) stand for more than one document, the first is {twice[0]!r}.",
            "Give every document a path of its own: make_document(path, text).",
        )
    return given
