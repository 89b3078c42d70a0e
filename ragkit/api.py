"""`Index`: the notes of one corpus, opened for search. The class that users of the library meet first."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ragkit.errors import (
    ConfigError,
    IndexCorruptError,
    IndexFailure,
    IngestError,
    ModelError,
    UsageError,
)
from ragkit.index.engine import Engine
from ragkit.index.fsops import write_json_atomically
from ragkit.index.sentences import SentenceVectors
from ragkit.index.snapshot import Snapshot, read_manifest
from ragkit.index.sparse import BM25Settings
from ragkit.index.writer import IndexSettings, Progress, check_fingerprint, index_documents, update_index
from ragkit.ingest.chunker import ChunkSettings
from ragkit.models.cache import is_local
from ragkit.models.embeddings import Embedder, EmbeddingModel, resolve_embedding
from ragkit.retrieval.fusion import FusionSettings
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

CURRENT: Final = "current.json"


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
        cache = settings.home / "cache"
        self._retriever = Retriever(engine, model, fusion_settings(settings), cache, self._sentences)

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
        roots = _roots(notes)
        if not roots and index_dir is None:
            raise UsageError("Neither notes nor an index folder were given.", "Pass one of them to Index.open.")
        folder = Path(index_dir).expanduser() if index_dir else default_folder(settings, roots)
        model = _model_for(folder, embedding, settings, rebuild)
        report = None
        if roots:
            report = update_index(folder, roots, model, index_settings(settings), rebuild=rebuild, progress=progress)
        snapshot = Snapshot.open(folder)
        if snapshot is None:
            raise IndexFailure(f"There is no index in {folder}.", "Build it: ragkit index NOTES --index DIR.")
        if not roots:
            check_fingerprint(snapshot.manifest, model, index_settings(settings))
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
        model = _model_for(folder, embedding, settings, rebuild=False)
        report = index_documents(folder, documents, model, index_settings(settings), progress=progress)
        snapshot = Snapshot.open(folder)
        if snapshot is None:
            raise IndexFailure(f"There is no index in {folder}.", "Index the documents again.")
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
        rewrite: bool = False,
        hyde: bool = False,
        history: Sequence[Turn] = (),
        translate: bool | None = None,
        rerank: bool = False,
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

        Raises:
            UsageError: If the question is empty or too long, or k or mode is wrong.
        """
        plan = self.plan(query, rewrite=rewrite, hyde=hyde, history=history, translate=translate)
        if not rerank:
            return self.search_queries(plan.queries, k=k, mode=mode)
        if k < 1:
            raise UsageError(f"k must be at least 1, not {k}.")
        hits = self.search_queries(plan.queries, k=max(k, RERANKED), mode=mode)
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

    def search_queries(self, queries: Sequence[Query], k: int = 5, mode: Mode = "hybrid") -> list[Hit]:
        """Run prepared queries; the first one is the user's own."""
        return self._retriever.search(list(queries), k=k, mode=mode)

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
            from ragkit.models.chat import resolve_chat

            self.chat = resolve_chat(self.settings.chat_model, self.settings).structured()
        return self.chat


def default_folder(settings: Settings, roots: Sequence[Path]) -> Path:
    """Index folder below the home for these notes: readable name plus a hash of the full paths."""
    resolved = "\n".join(str(root.expanduser().resolve()) for root in roots)
    digest = hashlib.sha256(resolved.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in roots[0].resolve().name)[:40] or "notes"
    return settings.ensure_home() / "indexes" / f"{name}-{digest}"


def remember_notes(settings: Settings, roots: Sequence[Path]) -> None:
    """Make these notes the ones that commands use when none are named."""
    write_json_atomically(settings.ensure_home() / CURRENT, {"notes": [str(root.resolve()) for root in roots]})


def remembered_notes(settings: Settings) -> list[Path]:
    """The notes that were indexed last; empty if there are none.

    Raises:
        IngestError: If they are gone; answering from other notes instead would go unnoticed.
    """
    try:
        data = json.loads((settings.home / CURRENT).read_text(encoding="utf-8"))
        paths = [Path(path) for path in data["notes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    for path in paths:
        if not path.exists():
            raise IngestError(
                f"The notes indexed last are gone: {path}",
                "Index others with `ragkit index PATH`, or name them with --notes.",
            )
    return paths


def index_settings(settings: Settings) -> IndexSettings:
    """The part of the settings that decides the contents of an index."""
    chunks = ChunkSettings(target=settings.chunk_target, maximum=max(settings.chunk_maximum, settings.chunk_target))
    bm25 = BM25Settings(k1=settings.bm25_k1, b=settings.bm25_b, variant=settings.bm25_variant)
    return IndexSettings(chunks=chunks, bm25=bm25)


def fusion_settings(settings: Settings) -> FusionSettings:
    """The part of the settings that decides how the legs are merged."""
    return FusionSettings(
        weight=settings.coverage_weight,
        floor=settings.coverage_floor,
        temperature=settings.temperature,
        centring=settings.question_centring,
        correction=settings.language_correction,
        sentences=settings.sentence_share,
        candidates=settings.candidates,
    )


def _roots(notes: str | Path | Sequence[str | Path] | None) -> list[Path]:
    if notes is None:
        return []
    given = [notes] if isinstance(notes, (str, Path)) else list(notes)
    return [Path(path).expanduser() for path in given]


def _model_for(
    folder: Path, embedding: str | Embedder | EmbeddingModel | None, settings: Settings, rebuild: bool
) -> EmbeddingModel:
    spec = embedding if embedding is not None else settings.embedding_model
    if spec == "auto":
        try:
            manifest = read_manifest(folder)
        except IndexCorruptError:
            if not rebuild:
                raise
            manifest = None
        if manifest is not None and not rebuild:
            # "auto" must not change the vector space of an index because a hub became reachable.
            spec = manifest.model["name"]
            if spec.startswith("openai:") and "@" in spec:
                # An index folder is data; it must not say where keys are sent.
                raise ConfigError(
                    f"The index in {folder} names an address for its embedding model: {spec}.",
                    "Name the model yourself: set embedding_model.",
                )
    return resolve_embedding(spec, settings.home, api_key=settings.api_key, base_url=settings.base_url)
