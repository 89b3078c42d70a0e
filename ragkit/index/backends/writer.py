"""Bring a collection up to date with its notes: resumable, one commit, seen all at once.

Documents go out in batches: chunks with their vectors, then the text, then the document's record,
which says that it is complete. All of it is for a generation that no reader sees before the head is
written. A run that is killed leaves its batches behind; the next one finds their records, takes over what
fits the notes as they are now and sends the rest. Chunks are keyed by the document's content, so a
document that changed in between is another version and never mixes with the half of an earlier one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from filelock import FileLock, Timeout

from ragkit.errors import IndexFailure, IndexLockedError
from ragkit.index.backends.records import (
    ABSENT,
    REFERENCE,
    Head,
    Versioned,
    batches,
    begin,
    document_key,
    pack_axis,
    part_key,
    read_head,
    read_records,
    term_key,
    unpack_axis,
    write_head,
)
from ragkit.index.backends.sending import NewDocument, Statistics, chunks_with_vectors, parts_of, prepare
from ragkit.index.backends.store import (
    Store,
    chunk_key,
    dumps,
)
from ragkit.index.engine import Vectors
from ragkit.index.fingerprint import IndexSettings, Progress, check_fingerprint
from ragkit.index.language_axis import LanguageAxis
from ragkit.ingest.loader import SourceFile, nothing_readable, read_all, scan, unread
from ragkit.models.embeddings import EmbeddingModel, unit
from ragkit.text.tokens import ANALYSER_VERSION, tokenize
from ragkit.values import IndexReport, Skipped, Warned

_SENT_AT_ONCE: Final = 256
"""Chunks that are embedded and sent together, at least; a document is never split."""


def check_head(head: Head, model: EmbeddingModel, settings: IndexSettings) -> None:
    """Refuse to mix what does not fit together.

    Raises:
        IndexMismatchError: Naming what differs, and how to rebuild.
    """
    check_fingerprint(cast(Any, head), model, settings)  # a head names these things as a manifest does


@contextmanager
def writer_lock(folder: Path, store: Store) -> Iterator[None]:
    """Keep other processes of this machine from writing to the same collection.

    Raises:
        IndexLockedError: If one does.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(folder / "LOCK", timeout=0)
    try:
        with lock:
            yield
    except Timeout as exc:
        raise IndexLockedError(
            f"Another process is writing to collection {store.collection} at {store.uri}.", "Wait until it is done."
        ) from exc


def update_store(
    store: Store,
    roots: Sequence[Path],
    model: EmbeddingModel,
    settings: IndexSettings,
    *,
    folder: Path,
    rebuild: bool = False,
    progress: Progress | None = None,
) -> IndexReport:
    """Make the collection equal to the notes under `roots`.

    Args:
        store: Where the collection is kept.
        roots: Folders or files of notes.
        model: Embedding model; must be the one the collection was built with, unless `rebuild`.
        settings: Chunking and BM25.
        folder: Local folder for the writer's lock.
        rebuild: Drop the collection first; until the commit there is nothing to search.
        progress: Told about embedding; the total is an estimate from the size of the files.

    Raises:
        IngestError: If there is no readable note.
        IndexMismatchError: If model, analyser, chunker or BM25 differ from the collection's.
        IndexLockedError: If another process is writing, or began to after this one did.
        EndpointError: If the database fails; what was sent stays, and the next run goes on from there.
    """
    if settings.bm25.variant != "lucene":
        raise IndexFailure(
            f"BM25 variant {settings.bm25.variant!r} needs the idf of every term at every change.",
            f"Set bm25_variant to lucene; backend {store.kind} has no other.",
        )
    began = time.monotonic()
    sources, skipped = scan(roots)
    with writer_lock(folder, store):
        run = _Run(store, model, settings, roots, rebuild, progress)
        report = run.update(sources, skipped)
    return replace(report, seconds=time.monotonic() - began)


class _Run:
    """One update of a collection."""

    def __init__(
        self,
        store: Store,
        model: EmbeddingModel,
        settings: IndexSettings,
        roots: Sequence[Path],
        rebuild: bool,
        progress: Progress | None,
    ) -> None:
        self._store, self._model, self._settings, self._progress = store, model, settings, progress
        self._roots = [str(root.resolve()) for root in roots]
        self._head = self._open(rebuild)
        self._axis = unpack_axis(self._head.axis) if self._head.axis else None
        self._known = {
            state["path"]: record
            for _, text in (store.scan("d-") if self._head.attempt else ())
            if (state := (record := Versioned.load(text)).now or record.old) is not None
        }
        self._by_content = {
            state["hash"]: state for record in self._known.values() if (state := record.at(self._head)) is not None
        }
        self._statistics = Statistics()
        self._written: dict[str, Versioned] = {}
        self._waiting: list[NewDocument] = []
        self._attempt = 0
        self._embedded = 0
        self._bytes_done = self._bytes_total = 0

    def update(self, sources: Sequence[SourceFile], skipped: list[Skipped]) -> IndexReport:
        """Send what changed, and commit it."""
        states: dict[str, dict[str, Any]] = {}
        kept: set[str] = set()
        changed = []
        for source in sources:
            state = self._committed(source.path)
            if state is not None and (state["size"], state["mtime"]) == (source.size, source.mtime_ns):
                states[source.path] = state
                kept.add(source.path)
            else:
                changed.append(source)
        for path in self._known:
            if unread(path, skipped) and (state := self._committed(path)) is not None:
                states[path] = state
                kept.add(path)
        self._bytes_total = sum(source.size for source in changed) or 1
        for source, document in read_all(changed):
            state = self._committed(source.path)
            if isinstance(document, Skipped):
                skipped.append(document)
            elif state is not None and state["hash"] == document.content_hash:
                states[source.path] = state
                kept.add(source.path)
            elif isinstance(new := prepare(document, source, self._settings.chunks, self._store), Skipped):
                skipped.append(new)
            else:
                states[source.path] = new.state
                self._begin()
                self._queue(new)
            self._bytes_done += source.size
        if not states:
            raise nothing_readable(self._roots, skipped)
        old = {path for path, record in self._known.items() if record.at(self._head) is not None}
        for path in sorted(old - states.keys()):
            self._begin()
            self._replace(path, None)
        if self._attempt:
            self._commit()
        return IndexReport(
            documents=len(states),
            chunks=self._head.chunks,
            added=len(states.keys() - old),
            updated=len(states.keys() & old) - len(kept),
            deleted=len(old - states.keys()),
            unchanged=len(kept),
            skipped=tuple(sorted(skipped, key=lambda item: item.path)),
            warnings=tuple(
                Warned(path=path, reason=state["warning"]) for path, state in sorted(states.items()) if state["warning"]
            ),
            embedding_model=self._model.name,
            embedded_chunks=self._embedded,
            seconds=0.0,
        )

    def _open(self, rebuild: bool) -> Head:
        """The head as it stands, or that of a new collection."""
        mine = Head(
            model=asdict(self._model.identity),
            analyser=ANALYSER_VERSION,
            chunker=self._settings.chunks.fingerprint,
            bm25=self._settings.bm25.fingerprint,
            axis="",
        )
        head = None if rebuild else read_head(self._store)
        if head is None:
            return mine
        check_head(head, self._model, self._settings)
        return head

    def _committed(self, path: str) -> Any:
        record = self._known.get(path)
        return None if record is None else record.at(self._head)

    def _begin(self) -> None:
        """Write the number of this attempt before anything else, once; earlier readers learn from it to stop."""
        if self._attempt:
            return
        if self._axis is None:  # nothing is there, or nothing that is to be used
            self._axis = LanguageAxis.measure(self._model)
            self._store.drop()
            self._store.create(self._model.identity.dimension + 1)
        reference = self._head.reference or float(self._store.get([REFERENCE]).get(REFERENCE, 0))
        self._head = begin(replace(self._head, axis=pack_axis(self._axis), reference=reference))
        self._attempt = self._head.attempt
        write_head(self._store, self._head)
        self._store.settle()

    def _fence(self) -> None:
        """Stop if somebody else began to write: the last to begin is the one who commits."""
        head = read_head(self._store)
        if head is None or head.attempt != self._attempt:
            raise IndexLockedError(
                f"Somebody else began to write to collection {self._store.collection} at {self._store.uri}.",
                "Wait until that is done, then index again.",
            )

    def _queue(self, new: NewDocument) -> None:
        path = new.document.path
        pending = self._known.get(path, ABSENT).now
        self._statistics.count(new.chunks, new.tokens, 1)
        if pending is not None and pending["version"] == new.state["version"]:
            self._replace(path, new.state)  # sent by a run that was killed: only the record is to be renewed
            return
        self._waiting.append(new)
        if sum(len(waiting.chunks) for waiting in self._waiting) >= _SENT_AT_ONCE:
            self._send()

    def _send(self) -> None:
        """Embed and write the waiting documents; the record of each comes last."""
        if not self._waiting:
            return
        self._fence()
        waiting, self._waiting = self._waiting, []
        if not self._head.reference:
            lengths = [len(words) for new in waiting for words in new.tokens if words]
            self._head = replace(self._head, reference=float(np.mean(lengths)) if lengths else 1.0)
            self._store.put({REFERENCE: dumps(self._head.reference)})
        vectors = self._vectors(waiting)
        assert self._axis is not None
        rows = chunks_with_vectors(waiting, vectors, self._axis, self._head.reference, self._settings.bm25)
        for some in batches(rows, _SENT_AT_ONCE):
            self._store.put_chunks(some)
        for new in waiting:
            parts = parts_of(new.document, self._store)
            self._store.put({part_key(new.state["version"], i): part for i, part in enumerate(parts)})
        # Another writer may still begin between this look and the writes behind it: a database without
        # transactions has no lock to take.
        self._fence()
        for new in waiting:
            self._replace(new.document.path, new.state)

    def _vectors(self, waiting: Sequence[NewDocument]) -> dict[str, Vectors]:
        """Unit vectors by text: those of earlier versions and of renamed documents are taken over."""
        vectors: dict[str, Vectors] = {}
        for new in waiting:
            donor = self._committed(new.document.path) or self._by_content.get(new.state["hash"])
            if donor is not None:
                keys = [chunk_key(donor["version"], number) for number in range(donor["chunks"])]
                for some in batches(keys):
                    texts = {key: stored.chunk.search_text for key, stored in self._store.get_chunks(some).items()}
                    for key, vector in self._store.get_vectors(some).items():
                        vectors[texts[key]] = vector[:-1]
        missing = list(
            dict.fromkeys(c.search_text for new in waiting for c in new.chunks if c.search_text not in vectors)
        )
        if missing:
            done = 0

            def report(count: int) -> None:
                nonlocal done
                done += count
                self._tell(self._embedded + done)

            self._tell(self._embedded)
            vectors.update(zip(missing, unit(self._model.encode_documents(missing, report)), strict=True))
            self._embedded += len(missing)
        return vectors

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            queued = self._statistics.chunks
            share = max(self._bytes_done, 1) / self._bytes_total
            self._progress(done, max(done, queued, round(queued / share) if share < 1 else queued))

    def _replace(self, path: str, state: dict[str, Any] | None) -> None:
        """Write a document's record for this attempt, and take the version it replaces out of the statistics."""
        before = self._known.get(path, ABSENT)
        record = before.becomes(state, self._head, self._attempt)
        self._statistics.documents += (state is not None) - (record.old is not None)
        if record.old is not None:
            for some in batches(chunk_key(record.old["version"], number) for number in range(record.old["chunks"])):
                chunks = [stored.chunk for stored in self._store.get_chunks(some).values()]
                self._statistics.count(chunks, [tokenize(chunk.search_text) for chunk in chunks], -1)
        self._store.put({document_key(path): record.dump()})
        self._written[path] = record

    def _commit(self) -> None:
        """Write the terms, then the head: from then on the new generation is the collection."""
        self._send()
        numbers, before = self._statistics, self._head
        changed = [(term, change) for term, change in sorted(numbers.frequencies.items()) if change]
        for some in batches(changed):
            records = read_records(self._store, (term_key(term) for term, _ in some))
            renewed = {}
            for term, change in some:
                record = records.get(term_key(term), ABSENT)
                count = (record.at(before) or [term, 0])[1] + change
                renewed[term_key(term)] = record.becomes([term, count], before, self._attempt).dump()
            self._store.put(renewed)
        self._store.settle()
        self._fence()
        self._head = replace(
            before,
            generation=self._attempt,
            previous=before.generation,
            documents=before.documents + numbers.documents,
            chunks=before.chunks + numbers.chunks,
            tokens=before.tokens + numbers.tokens,
            chinese=before.chinese + numbers.chinese,
            longest=max(before.longest, numbers.longest),
            roots=self._roots,
        )
        write_head(self._store, self._head)
        self._store.settle()
        self._sweep(before)

    def _sweep(self, before: Head) -> None:
        """Remove versions that neither this generation nor the one before it has.

        Records go first: one that names a version whose chunks are gone would pass for a version to take over.
        """
        for path, record in self._known.items():
            kept = self._written.get(path)
            if kept is None:
                kept = Versioned(record.since if before.counts(record.since) else 0, record.at(before), None)
                if kept.now is None:
                    self._store.remove([document_key(path)])
                elif kept != record:
                    self._store.put({document_key(path): kept.dump()})
            needed = {state["version"] for state in kept.states()}
            for state in record.states():
                if state["version"] not in needed:
                    for some in batches(chunk_key(state["version"], number) for number in range(state["chunks"])):
                        self._store.remove_chunks(some)
                    for some in batches(part_key(state["version"], number) for number in range(state["parts"])):
                        self._store.remove(some)
