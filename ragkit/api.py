"""`Index`: the notes of one corpus, opened for search. The class that users of the library meet first."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ragkit.errors import IndexFailure, ModelError, UsageError
from ragkit.index.backends import open_backend, state_folder
from ragkit.index.engine import Engine, Filter
from ragkit.index.enrichment import Enrichment, prune
from ragkit.index.fingerprint import Progress, check_fingerprint
from ragkit.index.manifest import read_manifest
from ragkit.index.model_choice import choose_model, model_for
from ragkit.index.sentences import SentenceVectors
from ragkit.index.snapshot import Snapshot
from ragkit.ingest.loader import distinct_roots
from ragkit.models.cache import is_local
from ragkit.models.embeddings import Embedder, EmbeddingModel
from ragkit.multi import MultiIndex, names_for, open_all
from ragkit.opened import Opened
from ragkit.opening import (
    default_folder,
    fusion_settings,
    given_path,
    index_settings,
    note_roots,
    remember_notes,
    remembered_notes,
)
from ragkit.retrieval.enrich import EnrichReport, enrich
from ragkit.retrieval.replies import KeptReplies
from ragkit.retrieval.rerank import CrossEncoderReranker
from ragkit.retrieval.retriever import Retriever
from ragkit.retrieval.rewrite import StructuredModel
from ragkit.searching import Searching
from ragkit.settings import Settings, load_settings
from ragkit.values import Chunk, Document, IndexReport

__all__ = [
    "Filter",
    "Index",
    "default_folder",
    "fusion_settings",
    "index_settings",
    "remember_notes",
    "remembered_notes",
]


logger = logging.getLogger(__name__)


class Index(Opened, Searching):
    """Notes, indexed on disk and searchable. Made by `Index.open`; safe to use from several threads.

    Every method that reads or changes the notes raises `IndexClosedError` after `close`.
    """

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        model: EmbeddingModel,
        settings: Settings,
        report: IndexReport | None = None,
        chat: StructuredModel | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.report = report
        """What bringing the index up to date did; None if it was opened as it is."""
        self.model = model
        self.chat = chat
        """Chat model for ``rewrite=`` and ``hyde=``; None: resolved from the settings at first use."""
        self._cross_encoder: CrossEncoderReranker | None = None
        # A progress callback may close the index that it is called for.
        self._changing = threading.RLock()
        self._state = engine
        self._sentences: SentenceVectors | None = None
        self._beside(report, progress)
        self._replies = KeptReplies(settings)

    @classmethod
    def open(
        cls,
        notes: str | Path | Sequence[str | Path] | None = None,
        index_dir: str | Path | None = None,
        *,
        embedding: str | Embedder | EmbeddingModel | None = None,
        settings: Settings | None = None,
        rebuild: bool = False,
        progress: Progress | None = None,
    ) -> Index:
        """Open an index; build it or bring it up to date first if `notes` are given.

        With notes it is made equal to them: what else was added to it is dropped. It goes on seeing the state that it
        was opened with, whatever other processes commit; `refresh` reads theirs.

        Args:
            notes: Folder(s) or file(s) of notes; None opens `index_dir`, or the backend's collection, as it is.
                What is named twice, or lies within another of them, is indexed once, with a warning in the log.
            index_dir: Index folder; None keeps it under ``$RAGKIT_HOME``, named after the notes. Not with a `backend`.
            embedding: Model name, path or LangChain ``Embeddings``; None takes the setting. An
                existing index goes on with the model it was built with.
            settings: None reads ``ragkit.toml`` and the environment.
            rebuild: Index everything anew.
            progress: Called with (chunks embedded, chunks to embed).

        Raises:
            UsageError: If neither notes nor an index folder are named, or a path is empty.
            IngestError: If the notes are missing or none is readable.
            IndexMismatchError: If the index was built with another model.
            IndexFailure: If there is no index to open, or it is damaged or locked.
            EndpointError: If the database of `settings.backend` fails.
        """
        settings = settings or load_settings()
        cut = index_settings(settings)
        roots, twice = distinct_roots(note_roots(notes))
        for line in twice:
            logger.warning("%s", line)
        if settings.backend != "faiss":
            if index_dir is not None:
                raise UsageError(f"Both an index folder and backend {settings.backend} were named.", "Leave one out.")
            resolve = partial(choose_model, embedding, settings)
            engine, model, report = open_backend(settings, roots, cut, resolve, rebuild=rebuild, progress=progress)
            return cls(state_folder(settings), engine, model, settings, report, progress=progress)
        if not roots and index_dir is None:
            raise UsageError("Neither notes nor an index folder were given.", "Pass one of them to Index.open.")
        folder = given_path(index_dir) if index_dir is not None else default_folder(settings, roots)
        model = model_for(folder, embedding, settings, rebuild)
        if roots:
            from ragkit.index.writer import update_index

            report, snapshot = update_index(folder, roots, model, cut, rebuild=rebuild, progress=progress)
            if settings.images:
                from ragkit.retrieval.pictures import look_at_pictures

                report = look_at_pictures(folder, roots, snapshot, settings.images, report)
            return cls(folder, snapshot, model, settings, report, progress=progress)
        found = Snapshot.open(folder)
        if found is None:
            raise IndexFailure(f"There is no index in {folder}.", "Build it: ragkit index NOTES --index DIR.")
        check_fingerprint(found.manifest, model, cut)
        return cls(folder, found, model, settings)

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Document],
        index_dir: str | Path,
        *,
        embedding: str | Embedder | EmbeddingModel | None = None,
        settings: Settings | None = None,
        progress: Progress | None = None,
    ) -> Index:
        """Index texts that are in memory instead of files; make them with `ragkit.ingest.loader.make_document`.

        Always with the embedded engine, whatever `backend` says.
        """
        settings = settings or load_settings()
        folder = given_path(index_dir)
        model = model_for(folder, embedding, settings, rebuild=False)
        from ragkit.index.writer import index_documents

        report, snapshot = index_documents(folder, documents, model, index_settings(settings), progress=progress)
        return cls(folder, snapshot, model, settings, report, progress=progress)

    @classmethod
    def open_many(
        cls,
        folders: Sequence[str | Path] | Mapping[str, str | Path],
        *,
        embedding: str | Embedder | EmbeddingModel | None = None,
        settings: Settings | None = None,
    ) -> MultiIndex:
        """Open several index folders as they are, for one search over all of them.

        Args:
            folders: Index folders, named after their last part, or by name.
            embedding: As of `open`.
            settings: None reads ``ragkit.toml`` and the environment.

        Raises:
            UsageError: If there is none, or two have the same name.
            IndexMismatchError: If they were built with different embedding models.
        """
        settings = settings or load_settings()

        def opened(folder: Path, known: Index | None) -> Index:
            return cls.open(None, folder, embedding=known.model if known else embedding, settings=settings)

        return open_all(names_for(folders), opened)

    @classmethod
    async def aopen(cls, *args: Any, **kwargs: Any) -> Index:
        """Async twin of `open` (runs in a thread)."""
        return await asyncio.to_thread(cls.open, *args, **kwargs)

    def enrich(
        self,
        *,
        limit: int | None = None,
        only: Callable[[Chunk], bool] | None = None,
        progress: Progress | None = None,
    ) -> EnrichReport:
        """Let the chat model write the questions that chunks answer; searches use them from then on.

        Takes some seconds a chunk, an endpoint is asked about four chunks at a time; what an interrupted run wrote is
        kept. See `ragkit.index.enrichment`.

        Args:
            limit: At most so many chunks; the next call goes on from there.
            only: Which chunks; None means all.
            progress: Called with (chunks done, chunks to do).

        Raises:
            ModelError: If there is no chat model.
        """
        chat = self._structured()
        if chat is None:
            raise ModelError("Enrichment needs a chat model.", "Set chat_model, or install ragkit[local].")
        from ragkit.models.chat import StructuredChat, resolve_chat

        name = resolve_chat(self.settings.chat_model, self.settings).name
        report = enrich(
            self.folder,
            self._engine,
            self.model,
            chat,
            name,
            limit=limit,
            only=only,
            progress=progress,
            at_once=chat.at_once if isinstance(chat, StructuredChat) else 1,
        )
        self._searcher = self._made_searcher()
        return report

    def _beside(self, report: IndexReport | None, progress: Progress | None = None) -> None:
        """Bring what lies beside the index up to date with it, and search with all of it."""
        if report is not None and report.added + report.updated + report.deleted:
            prune(self.folder, self._engine, self.model.identity.fingerprint)
        wanted = self.settings.sentence_vectors
        if self._sentences is not None:
            self._sentences.keep_up(self._engine, progress)
        elif wanted == "on" or (wanted == "auto" and is_local(self.model) and isinstance(self._engine, Snapshot)):
            update = report is not None
            self._sentences = SentenceVectors.beside(
                self.folder, self._engine, self.model, update=update, progress=progress
            )
        self._searcher = self._made_searcher()

    def _made_searcher(self) -> Retriever:
        share = self.settings.enrichment_share
        enrichment = Enrichment.load(self.folder, self.model.identity.fingerprint) if share else None
        cache = self.settings.home / "cache"
        fusion = fusion_settings(self.settings)
        return Retriever(self._engine, self.model, fusion, enrichment, share, cache, self._sentences)

    def add(self, paths: str | Path | Sequence[str | Path], progress: Progress | None = None) -> IndexReport:
        """Read notes and add them, or replace those of the same path, in one durable commit; others stay.

        Below the folder that this index was built from a note gets the path that it has there. Elsewhere its
        path begins with the name of the given folder (of a file's own), or with more of the folders above if
        another file has that path; adding the file again updates it. `Index.open` with notes drops again
        what lies outside of those notes.

        Raises:
            UsageError: If no path is given, or an empty one.
            IngestError: If a path does not exist.
            IndexFailure: If another process writes for longer than five seconds, or the disk refuses.
        """
        from ragkit.index.writer import add_notes

        roots = note_roots(paths)
        if not roots:
            raise UsageError("No notes were given.", "Name a file or a folder.")
        return self._commit(add_notes, roots, progress)

    def add_documents(self, documents: Sequence[Document]) -> IndexReport:
        """Add texts that are in memory, or replace those of the same path, in one durable commit; others stay.

        They stay until `Index.open` is called with notes: it makes the index equal to those notes, and drops what is
        not among them. Open an index of texts without notes: ``Index.open(index_dir=...)``.

        Raises:
            UsageError: If one is no `Document` of ``make_document``.
            IngestError: If two have the same path.
            IndexFailure: If another process writes for longer than five seconds, or the disk refuses.
        """
        from ragkit.index.writer import add_documents

        return self._commit(add_documents, documents)

    def remove(self, document: str | Sequence[str]) -> IndexReport:
        """Remove documents by path or pattern (``*``, ``?``) in one durable commit; their notes stay untouched.

        No search finds them from then on; `compact` also drops their text from the files.

        Raises:
            UsageError: If there is no such document.
        """
        from ragkit.index.writer import remove_documents

        return self._commit(remove_documents, [document] if isinstance(document, str) else list(document))

    def compact(self) -> IndexReport:
        """Merge all segments into one and drop for good what was deleted. Nothing is embedded."""
        from ragkit.index.writer import compact_index

        return self._commit(compact_index)

    def _commit(self, action: Callable[..., tuple[IndexReport, Snapshot]], *arguments: Any) -> IndexReport:
        """Run a change of the index; searches that are running end on the state they began with."""
        with self._changing:
            report, new = action(self._embedded(), *arguments, model=self.model, settings=index_settings(self.settings))
            # The old snapshot is not closed: it gives its files back when the last search over it is done.
            self._state = new
            self._beside(report)
        return report

    def refresh(self) -> bool:
        """Read what other processes, or other objects of this one, have committed since; whether there was anything.

        An index goes on seeing the state that it was opened with, or that its own last change made. Searches that
        are running end on the state they began with. Nothing is embedded.

        Raises:
            UsageError: If it is kept by another engine.
            IndexMismatchError: If it was built anew with another model.
            IndexFailure: If it is gone, or damaged.
        """
        with self._changing:
            old = self._embedded()
            if read_manifest(self.folder) == old.manifest:
                return False
            new = Snapshot.open(self.folder, old)
            if new is None:
                raise IndexFailure(f"There is no index in {self.folder} any more.", "Index the notes again.")
            check_fingerprint(new.manifest, self.model, index_settings(self.settings))
            self._state = new
            self._searcher = self._made_searcher()
        return True

    def _embedded(self) -> Snapshot:
        """The state of an index that can be changed here."""
        if not isinstance(self._engine, Snapshot):
            raise UsageError("This index is kept by another engine.", "Change it where it is kept, and open it again.")
        return self._engine

    def close(self) -> None:
        """Give back open files, once a change that is running is done. Closing twice does nothing.

        ``with Index.open(...) as index:`` closes it at the end.
        """
        with self._changing:
            state, self._state, self._searcher = self._state, None, None
            self._replies.close()
            if state is not None:
                state.close()
            if self._sentences is not None:
                self._sentences.close()
