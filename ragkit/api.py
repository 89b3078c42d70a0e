"""`Index`: the notes of one corpus, opened for search. The class that users of the library meet first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.errors import IndexFailure, IndexMismatchError, ModelError, UsageError
from ragkit.index import writer
from ragkit.index.engine import Engine, Filter
from ragkit.index.snapshot import Snapshot
from ragkit.index.writer import Progress, check_fingerprint, index_documents, update_index
from ragkit.models.embeddings import Embedder, EmbeddingModel
from ragkit.multi import MultiIndex, names_for
from ragkit.opening import (
    default_folder,
    fusion_settings,
    index_settings,
    model_for,
    note_roots,
    remember_notes,
    remembered_notes,
)
from ragkit.retrieval.names import unknown_names
from ragkit.retrieval.rerank import RERANKED, CrossEncoderReranker, ListwiseReranker, Reranker
from ragkit.retrieval.retriever import Mode, Query, Retriever, check_question
from ragkit.retrieval.rewrite import Plan, StructuredModel, Turn, plan_queries
from ragkit.settings import Settings, load_settings
from ragkit.text.language import Language, answer_language
from ragkit.text.sanitize import clean_question
from ragkit.values import Chunk, Document, Hit, IndexReport

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import BaseTool

__all__ = [
    "Filter",
    "Index",
    "default_folder",
    "fusion_settings",
    "index_settings",
    "remember_notes",
    "remembered_notes",
]


class Index:
    """Notes, indexed on disk and searchable. Made by `Index.open`; safe to use from several threads."""

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        model: EmbeddingModel,
        settings: Settings,
        report: IndexReport | None = None,
        chat: StructuredModel | None = None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.report = report
        """What bringing the index up to date did; None if it was opened as it is."""
        self.model = model
        self.chat = chat
        """Chat model for ``rewrite=`` and ``hyde=``; None: resolved from the settings at first use."""
        self._cross_encoder: CrossEncoderReranker | None = None
        self._changing = threading.Lock()
        self._engine = engine
        self._retriever = Retriever(engine, model, fusion_settings(settings))

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

        Args:
            notes: Folder(s) or file(s) of notes; None opens `index_dir` as it is.
            index_dir: Index folder; None keeps it under ``$RAGKIT_HOME``, named after the notes.
            embedding: Model name, path or LangChain ``Embeddings``; None takes the setting. An
                existing index goes on with the model it was built with.
            settings: None reads ``ragkit.toml`` and the environment.
            rebuild: Index everything anew.
            progress: Called with (chunks embedded, chunks to embed).

        Raises:
            IngestError: If the notes are missing or none is readable.
            IndexMismatchError: If the index was built with another model.
            IndexFailure: If there is no index to open, or it is damaged or locked.
        """
        settings = settings or load_settings()
        roots = note_roots(notes)
        if not roots and index_dir is None:
            raise UsageError("Neither notes nor an index folder were given.", "Pass one of them to Index.open.")
        folder = Path(index_dir).expanduser() if index_dir else default_folder(settings, roots)
        model = model_for(folder, embedding, settings, rebuild)
        report = None
        cut = index_settings(settings)
        if roots:
            report, snapshot = update_index(folder, roots, model, cut, rebuild=rebuild, progress=progress)
            return cls(folder, snapshot, model, settings, report)
        found = Snapshot.open(folder)
        if found is None:
            raise IndexFailure(f"There is no index in {folder}.", "Build it: ragkit index NOTES --index DIR.")
        check_fingerprint(found.manifest, model, cut)
        return cls(folder, found, model, settings, report)

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
        """Index texts that are in memory instead of files; make them with `ragkit.ingest.loader.make_document`."""
        settings = settings or load_settings()
        folder = Path(index_dir)
        model = model_for(folder, embedding, settings, rebuild=False)
        report, snapshot = index_documents(folder, documents, model, index_settings(settings), progress=progress)
        return cls(folder, snapshot, model, settings, report)

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
        indexes: dict[str, Index] = {}
        with ExitStack() as opened:
            for name, folder in names_for(folders).items():
                model = next(iter(indexes.values())).model if indexes else embedding
                try:
                    indexes[name] = cls.open(None, folder, embedding=model, settings=settings)
                except IndexMismatchError as exc:
                    raise IndexMismatchError(f"{folder}: {exc.message}", exc.remedy) from exc
                opened.callback(indexes[name].close)
            opened.pop_all()
        return MultiIndex(indexes)

    @classmethod
    async def aopen(cls, *args: Any, **kwargs: Any) -> Index:
        """Async twin of `open` (runs in a thread)."""
        return await asyncio.to_thread(cls.open, *args, **kwargs)

    def search(
        self,
        query: str,
        k: int = 5,
        mode: Mode = "hybrid",
        *,
        rewrite: bool = False,
        hyde: bool = False,
        history: Sequence[Turn] = (),
        translate: bool | None = None,
        rerank: bool = False,
        where: Filter | None = None,
    ) -> list[Hit]:
        """The `k` best chunks for a question, best first.

        Args:
            query: The question, at most 20,000 characters.
            k: Number of hits, at least 1.
            mode: ``hybrid``, ``dense`` or ``sparse``.
            rewrite: Let the chat model add rewritten, translated and varied queries.
            hyde: Let the chat model add a hypothetical passage.
            history: Earlier turns that a follow-up refers to.
            translate: Let the chat model translate the question into the notes' language; None: as `rewrite` says.
            rerank: Let the reranker of the settings put the best candidates in order.
            where: Which chunks may be returned, by document, heading, tags and language; None allows all.

        Raises:
            UsageError: If the question is empty or too long, or k or mode is wrong.
        """
        plan = self.plan(query, rewrite=rewrite, hyde=hyde, history=history, translate=translate)
        if not rerank:
            return self.search_queries(plan.queries, k=k, mode=mode, where=where)
        if k < 1:
            raise UsageError(f"k must be at least 1, not {k}.")
        hits = self.search_queries(plan.queries, k=max(k, RERANKED), mode=mode, where=where)
        return [*self._reranker().rerank(plan.standalone, hits[:RERANKED]), *hits[RERANKED:]][:k]

    async def asearch(self, *args: Any, **kwargs: Any) -> list[Hit]:
        """Async twin of `search` (runs in a thread)."""
        return await asyncio.to_thread(self.search, *args, **kwargs)

    def plan(
        self,
        query: str,
        *,
        rewrite: bool = False,
        hyde: bool = False,
        history: Sequence[Turn] = (),
        translate: bool | None = None,
    ) -> Plan:
        """The queries that `search` would run, the user's own first."""
        query = clean_question(query)
        check_question(query)
        translate = rewrite if translate is None else translate
        if not (rewrite or hyde or translate):
            return plan_queries(query, None, history=history)
        return plan_queries(
            query,
            self._structured(),
            history=history,
            resolve=rewrite,
            corpus_language=self.language if translate else None,
            passage_language=self.language,
            variants=rewrite,
            hyde=hyde,
        )

    def search_queries(
        self, queries: Sequence[Query], k: int = 5, mode: Mode = "hybrid", where: Filter | None = None
    ) -> list[Hit]:
        """Run prepared queries; the first one is the user's own."""
        return self._retriever.search(list(queries), k=k, mode=mode, where=where)

    def add(self, paths: str | Path | Sequence[str | Path], progress: Progress | None = None) -> IndexReport:
        """Read notes and add them, or replace those of the same path, in one durable commit; others stay.

        Below the folder that this index was built from a note gets the path that it has there, elsewhere
        that below the given path. `Index.open` with notes drops again what lies outside of those notes.

        Raises:
            IngestError: If a path does not exist.
            IndexFailure: If another process is writing, or the disk refuses.
        """
        return self._commit(writer.add_notes, note_roots(paths), progress)

    def add_documents(self, documents: Sequence[Document]) -> IndexReport:
        """Add texts that are in memory, or replace those of the same path, in one durable commit; others stay."""
        return self._commit(writer.add_documents, list(documents))

    def remove(self, document: str | Sequence[str]) -> IndexReport:
        """Remove documents by path or pattern (``*``, ``?``) in one durable commit; their notes stay untouched.

        No search finds them from then on; `compact` also drops their text from the files.

        Raises:
            UsageError: If there is no such document.
        """
        return self._commit(writer.remove_documents, [document] if isinstance(document, str) else list(document))

    def compact(self) -> IndexReport:
        """Merge all segments into one and drop for good what was deleted. Nothing is embedded."""
        return self._commit(writer.compact_index)

    def _commit(self, action: Callable[..., tuple[IndexReport, Snapshot]], *arguments: Any) -> IndexReport:
        """Run a change of the index; searches that are running end on the state they began with."""
        if not isinstance(self._engine, Snapshot):
            raise UsageError("This index is kept by another engine.", "Change it where it is kept.")
        with self._changing:
            report, new = action(self._engine, *arguments, model=self.model, settings=index_settings(self.settings))
            # The old snapshot is not closed: it gives its files back when the last search over it is done.
            self._engine, self._retriever = new, Retriever(new, self.model, fusion_settings(self.settings))
        return report

    def document(self, path: str) -> Document | None:
        """A document as it was indexed, or None."""
        return self._engine.document(path)

    def passages_at(self, document: str, line: int, after: int = 1) -> list[Hit]:
        """The chunk of `document` that holds `line` and the `after` chunks behind it, as unscored hits.

        Returns an empty list if there is no such document; a line past the end gives the last chunk.
        """
        chunks = [chunk for _, chunk in self._engine.chunks_of(document)]
        at = next((i for i, chunk in enumerate(chunks) if chunk.end_line >= line), len(chunks) - 1)
        return [
            Hit(chunk=chunk, rank=i, score=0.0, legs={"dense": None, "sparse": None})
            for i, chunk in enumerate(chunks[at : at + 1 + after] if chunks else [], start=1)
        ]

    def chunks(self, document: str) -> list[Chunk]:
        """The chunks of `document` in reading order; empty if there is no such document."""
        return [chunk for _, chunk in self._engine.chunks_of(document)]

    def documents(self) -> dict[str, str]:
        """Title of every document, by path."""
        return self._engine.titles()

    def idf(self, term: str) -> float:
        """Inverse document frequency of an analysed term over the chunks."""
        return self._engine.idf(term)

    def unknown_names(self, question: str) -> list[str]:
        """Names in a question that the notes never mention, see `ragkit.retrieval.names`."""
        foreign = answer_language(question) != self.language
        return unknown_names(question, self._engine.knows, self._engine.like, numbered_only=foreign)

    def similarity(self, text: str, others: Sequence[str]) -> list[float]:
        """Cosine of `text` to each of `others` in the model's space, all embedded as questions."""
        vector = self.model.encode_query(text)
        return [float(vector @ self.model.encode_query(other)) for other in others]

    @property
    def language(self) -> Language:
        """The language that most chunks are in."""
        return "zh" if self._engine.chinese_share() >= 0.5 else "en"

    @property
    def manifest(self) -> dict[str, Any]:
        """Facts about the index: model, versions, counts, roots."""
        return {"folder": str(self.folder), **self._engine.facts()}

    def __len__(self) -> int:
        return len(self._engine)

    def close(self) -> None:
        """Give back open files."""
        self._engine.close()

    def as_retriever(self, k: int = 5, mode: Mode = "hybrid") -> BaseRetriever:
        """A LangChain ``BaseRetriever`` over this index."""
        from ragkit.interop import IndexRetriever

        return IndexRetriever(index=self, k=k, mode=mode)

    def as_tool(self, name: str = "search_notes", k: int = 5) -> BaseTool:
        """A LangChain tool that searches this index; its artifact is the list of hits."""
        from ragkit.interop import search_tool

        return search_tool(self, name=name, k=k)

    @property
    def has_chat(self) -> bool:
        """Whether a chat model is there for ``rewrite=`` and ``hyde=``."""
        return self._structured() is not None

    def _reranker(self) -> Reranker:
        """The reranker of the settings.

        Raises:
            ModelError: If it is the chat model and there is none.
        """
        name = self.settings.rerank_model
        if name != "chat":
            if self._cross_encoder is None or self._cross_encoder.name != name:
                self._cross_encoder = CrossEncoderReranker(name)
            return self._cross_encoder
        chat = self._structured()
        if chat is None:
            raise ModelError("Reranking needs a chat model.", "Set chat_model, or rerank_model to a cross-encoder.")
        return ListwiseReranker(chat)

    def _structured(self) -> StructuredModel | None:
        if self.chat is None:
            from ragkit.models.chat import resolve_chat

            self.chat = resolve_chat(self.settings.chat_model, self.settings).structured()
        return self.chat
