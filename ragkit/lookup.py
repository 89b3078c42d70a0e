"""Looking things up in an opened index without searching: documents, chunks, terms, facts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ragkit.errors import IndexClosedError
from ragkit.index.engine import Engine
from ragkit.index.snapshot import Snapshot
from ragkit.ingest.staleness import staleness
from ragkit.models.embeddings import EmbeddingModel
from ragkit.retrieval.names import unknown_names
from ragkit.retrieval.retriever import page_of, unscored
from ragkit.text.language import Language, answer_language
from ragkit.values import Chunk, Document, Hit


class Lookup:
    """The part of `ragkit.api.Index` that only reads.

    Whatever reads the index raises `IndexClosedError` once it is closed.
    """

    folder: Path
    model: EmbeddingModel
    _state: Engine | None
    """None once the index is closed."""

    @property
    def _engine(self) -> Engine:
        """The state of the index that is read now."""
        if self._state is None:
            raise IndexClosedError
        return self._state

    def document(self, path: str) -> Document | None:
        """A document as it was indexed, or None."""
        return self._engine.document(path)

    def staleness(self, document: str, quote: str = "") -> str:
        """What happened to the file of a document since it was indexed, see `ragkit.ingest.staleness`.

        Empty if nothing did, or if the document never was a file below the notes of this index.
        """
        engine = self._engine  # one state for all of it: the index may change meanwhile
        known, roots = engine.document(document), engine.facts().get("roots") or []
        if known is None or not roots:
            return ""
        size = None
        if isinstance(engine, Snapshot):
            state = engine.state(document)
            if state is None or not state.mtime_ns:
                return ""
            size = state.size
        return staleness(known, quote, roots, size)

    def passages_at(self, document: str, line: int, after: int = 1) -> list[Hit]:
        """The chunk of `document` that holds `line` and the `after` chunks behind it, as unscored hits.

        Returns an empty list if there is no such document; a line past the end gives the last chunk.
        """
        engine = self._engine
        chunks = [chunk for _, chunk in engine.chunks_of(document)]
        at = next((i for i, chunk in enumerate(chunks) if chunk.end_line >= line), len(chunks) - 1)
        return [
            unscored(engine, chunk, i) for i, chunk in enumerate(chunks[at : at + 1 + after] if chunks else [], start=1)
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
