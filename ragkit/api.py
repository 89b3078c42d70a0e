"""`Index`: the notes of one corpus, opened for search. The class that users of the library meet first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.errors import IndexFailure, ModelError, UsageError
from ragkit.index.engine import Engine
from ragkit.index.enrichment import Enrichment, prune
from ragkit.index.sentences import SentenceVectors
from ragkit.index.snapshot import Snapshot
from ragkit.index.writer import Progress, check_fingerprint, index_documents, update_index
from ragkit.models.chat import resolve_chat
from ragkit.models.embeddings import Embedder, EmbeddingModel, is_local
from ragkit.opening import (
    as_roots,
    model_for,
)
from ragkit.opening import default_folder as default_folder
from ragkit.opening import fusion_settings as fusion_settings
from ragkit.opening import index_settings as index_settings
from ragkit.opening import remember_notes as remember_notes
from ragkit.opening import remembered_notes as remembered_notes
from ragkit.retrieval.confidence import LOOKED_AT, Confidence, confidence_of
from ragkit.retrieval.diversity import diversified
from ragkit.retrieval.enrich import EnrichReport, enrich
from ragkit.retrieval.names import unknown_names
from ragkit.retrieval.neighbours import merge_neighbours
from ragkit.retrieval.planner import MIXED, Name, Plan, Planner, Policy
from ragkit.retrieval.replies import KeptReplies, chosen_policies
from ragkit.retrieval.rerank import RERANKED, CrossEncoderReranker, ListwiseReranker, Reranker
from ragkit.retrieval.retriever import Mode, Query, Retriever, check_question, page_of, unscored
from ragkit.retrieval.rewrite import StructuredModel, Turn
from ragkit.settings import Settings, load_settings
from ragkit.text.language import Language, answer_language
from ragkit.text.sanitize import clean_question
from ragkit.values import Chunk, Document, Hit, IndexReport, PictureHit

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import BaseTool


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
        self._engine = engine
        self._sentences: SentenceVectors | None = None
        if settings.sentence_vectors == "on" or (settings.sentence_vectors == "auto" and is_local(model)):
            fresh = report is not None
            self._sentences = SentenceVectors.beside(folder, engine, model, update=fresh, progress=progress)
        self._retriever = self._searcher()
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
        roots = as_roots(notes)
        if not roots and index_dir is None:
            raise UsageError("Neither notes nor an index folder were given.", "Pass one of them to Index.open.")
        folder = Path(index_dir).expanduser() if index_dir else default_folder(settings, roots)
        model = model_for(folder, embedding, settings, rebuild)
        report = None
        if roots:
            report = update_index(folder, roots, model, index_settings(settings), rebuild=rebuild, progress=progress)
        snapshot = Snapshot.open(folder)
        if snapshot is None:
            raise IndexFailure(f"There is no index in {folder}.", "Build it: ragkit index NOTES --index DIR.")
        if report is not None and settings.images:
            from ragkit.retrieval.pictures import look_at_pictures

            report = look_at_pictures(folder, roots, snapshot, settings.images, report)
        if not roots:
            check_fingerprint(snapshot.manifest, model, index_settings(settings))
        elif report is not None and report.added + report.updated + report.deleted:
            prune(folder, snapshot, model.identity.fingerprint)
        return cls(folder, snapshot, model, settings, report, progress=progress)

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
        report = index_documents(folder, documents, model, index_settings(settings), progress=progress)
        snapshot = Snapshot.open(folder)
        if snapshot is None:
            raise IndexFailure(f"There is no index in {folder}.", "Index the documents again.")
        if report.added + report.updated + report.deleted:
            prune(folder, snapshot, model.identity.fingerprint)
        return cls(folder, snapshot, model, settings, report, progress=progress)

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
        rewrite: bool | Policy | None = None,
        hyde: bool | Policy | None = None,
        history: Sequence[Turn] = (),
        translate: bool | Policy | None = None,
        rerank: bool = False,
        merge: bool | None = None,
    ) -> list[Hit]:
        """The `k` best chunks for a question, best first.

        Args:
            query: The question, at most 20,000 characters.
            k: Number of hits, at least 1.
            mode: ``hybrid``, ``dense`` or ``sparse``.
            rewrite: Whether the chat model adds rewritten and varied queries: always, never, or ``"auto"``, see
                `ragkit.retrieval.planner`; None: as the setting says.
            hyde: The same for a hypothetical passage.
            history: Earlier turns that a follow-up refers to.
            translate: The same for the question in the notes' language; None: as `rewrite`, if that is given.
            rerank: Let the reranker of the settings put the best candidates in order.
            merge: Whether adjacent hits of one section become one passage; None: as ``merge_neighbours`` says.

        Raises:
            UsageError: If the question is empty or too long, or k or mode is wrong.
        """
        plan = self.plan(query, rewrite=rewrite, hyde=hyde, history=history, translate=translate)
        return self.search_queries(plan.queries, k=k, mode=mode, rerank=plan.standalone if rerank else "", merge=merge)

    async def asearch(self, *args: Any, **kwargs: Any) -> list[Hit]:
        """Async twin of `search` (runs in a thread)."""
        return await asyncio.to_thread(self.search, *args, **kwargs)

    def plan(
        self,
        query: str,
        *,
        rewrite: bool | Policy | None = None,
        hyde: bool | Policy | None = None,
        history: Sequence[Turn] = (),
        translate: bool | Policy | None = None,
        chat: StructuredModel | None = None,
        started: Callable[[Name], None] = lambda name: None,
    ) -> Plan:
        """The queries that `search` would run, the user's own first, and why each is there.

        Args:
            query: See `search`, as for `rewrite`, `hyde`, `history` and `translate`.
            rewrite: See `search`.
            hyde: See `search`.
            history: See `search`.
            translate: See `search`.
            chat: Model to ask; None: that of the index.
            started: Told the name of a transform before the model is asked.
        """
        query = clean_question(query)
        check_question(query)
        policies = chosen_policies(self.settings, rewrite, translate, hyde)
        model = (chat or self._structured()) if policies.wanted else None
        planner = Planner(
            (lambda: self._replies.around(model)) if model is not None else None,
            self.language,
            policies,
            self.confidence,
            self.settings.transform_seconds,
            self._engine.chinese_share() >= MIXED <= 1 - self._engine.chinese_share(),
            started,
        )
        return planner.plan(query, history)

    def confidence(self, queries: Sequence[Query]) -> Confidence:
        """How sure a hybrid search for `queries` is to have found what they ask for."""
        return confidence_of(self._retriever.search(list(queries), k=LOOKED_AT), self.model.temperature)

    def search_queries(
        self,
        queries: Sequence[Query],
        k: int = 5,
        mode: Mode = "hybrid",
        *,
        rerank: str = "",
        merge: bool | None = None,
    ) -> list[Hit]:
        """Run prepared queries; the first one is the user's own.

        Reranking for the question `rerank`, diversity and merging of neighbours follow, see `search`.
        """
        merge = self.settings.merge_neighbours if merge is None else merge
        hits = self._retriever.search(list(queries), k=self._depth(k, bool(rerank), merge), mode=mode)
        return self._staged(hits, k, rerank, merge)

    def search_many(self, queries: Sequence[str], k: int = 5, mode: Mode = "hybrid") -> list[list[Hit]]:
        """The `k` best chunks for each question, as `search` finds them without a chat model.

        The questions are embedded as one batch and searched for by one matrix product where the engine
        has one; a model that runs batches in bfloat16 may move a score by some thousandths.

        Raises:
            UsageError: If a question is empty or too long, or k or mode is wrong.
        """
        cleaned = [clean_question(query) for query in queries]
        merge = self.settings.merge_neighbours
        found = self._retriever.search_many(cleaned, k=self._depth(k, False, merge), mode=mode)
        return [self._staged(hits, k, "", merge) for hits in found]

    def _depth(self, k: int, rerank: bool, merge: bool) -> int:
        # A k below 1 is refused by the retriever.
        return max(k, RERANKED) if (rerank or merge or self.settings.diversity) and k > 0 else k

    def _staged(self, hits: list[Hit], k: int, rerank: str, merge: bool) -> list[Hit]:
        """The stages behind the search itself."""
        diversity = self.settings.diversity
        if rerank:
            hits = [*self._reranker().rerank(rerank, hits[:RERANKED]), *hits[RERANKED:]]
        if diversity:
            head = hits[:RERANKED]
            hits = [*diversified(head, self._retriever.vectors(head), diversity), *hits[RERANKED:]]
        if merge:
            return merge_neighbours(hits, lambda path: d.text if (d := self.document(path)) else None, k)
        return hits[:k]

    def enrich(
        self,
        *,
        limit: int | None = None,
        only: Callable[[Chunk], bool] | None = None,
        progress: Progress | None = None,
    ) -> EnrichReport:
        """Let the chat model write the questions that chunks answer; searches use them from then on.

        Takes some seconds a chunk; what an interrupted run wrote is kept. See `ragkit.index.enrichment`.

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
        name = resolve_chat(self.settings.chat_model, self.settings).name
        report = enrich(self.folder, self._engine, self.model, chat, name, limit=limit, only=only, progress=progress)
        self._retriever = self._searcher()
        return report

    def _searcher(self) -> Retriever:
        share = self.settings.enrichment_share
        enrichment = Enrichment.load(self.folder, self.model.identity.fingerprint) if share else None
        cache = self.settings.home / "cache"
        fusion = fusion_settings(self.settings)
        return Retriever(self._engine, self.model, fusion, enrichment, share, cache, self._sentences)

    def search_images(self, query: str, k: int = 5) -> list[PictureHit]:
        """The `k` pictures of the notes that fit a text best, each at its place in a note.

        Raises:
            ConfigError: If the setting ``images`` is off.
            IndexMismatchError: If the pictures were looked at with another model, or not yet.
        """
        from ragkit.retrieval.pictures import search_pictures

        return search_pictures(self.folder, self.settings.images, query, k)

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
            unscored(self._engine, chunk, i)
            for i, chunk in enumerate(chunks[at : at + 1 + after] if chunks else [], start=1)
        ]

    def page(self, document: str, offset: int) -> int | None:
        """Page or slide (from 1) that character `offset` of a document stands on; None if it has no pages."""
        return page_of(self._engine, document, offset)

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
        self._replies.close()
        self._engine.close()
        if self._sentences is not None:
            self._sentences.close()

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
            self.chat = resolve_chat(self.settings.chat_model, self.settings).structured()
        return self.chat
