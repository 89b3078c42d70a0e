"""Documents on their way into a collection: chunked, described, weighted, and counted. No network, no commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ragkit.index.backends.engine import stored_weight
from ragkit.index.backends.records import in_parts
from ragkit.index.backends.store import (
    NO_TERM,
    PATH_BYTES,
    NewChunk,
    Store,
    StoredChunk,
    dumps,
    payload_of,
    term_id,
    version_of,
)
from ragkit.index.bm25 import BM25Settings
from ragkit.index.engine import Vectors
from ragkit.index.language_axis import LanguageAxis
from ragkit.index.store import tags_of
from ragkit.ingest.chunk_settings import ChunkSettings
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import SourceFile
from ragkit.text.tokens import tokenize
from ragkit.values import Chunk, Document, Skipped


@dataclass(frozen=True)
class NewDocument:
    """A document that is to be written."""

    document: Document
    chunks: list[Chunk]
    state: dict[str, Any]
    """What its record will say."""
    tokens: list[list[str]]
    """Analysed terms of each chunk."""


class Statistics:
    """What a run adds to and takes from the numbers that BM25 needs."""

    def __init__(self) -> None:
        self.frequencies: Counter[str] = Counter()
        self.documents = self.chunks = self.tokens = self.chinese = self.longest = 0

    def count(self, chunks: Sequence[Chunk], tokens: Sequence[Sequence[str]], sign: int) -> None:
        """Add (`sign` 1) or take away (-1) these chunks."""
        self.chunks += sign * len(chunks)
        for chunk, words in zip(chunks, tokens, strict=True):
            self.tokens += sign * len(words)
            self.chinese += sign * (chunk.language == "zh")
            self.longest = max(self.longest, len(words))
            for term in set(words):
                self.frequencies[term] += sign


def prepare(document: Document, source: SourceFile, settings: ChunkSettings, store: Store) -> NewDocument | Skipped:
    """Chunk a document and describe it, unless the database cannot hold it."""
    if len(document.path.encode("utf-8")) > PATH_BYTES:
        return Skipped(path=document.path, reason=f"path longer than {PATH_BYTES:,} bytes")
    chunks = chunk_document(document, settings)
    title = document.title or (chunks[0].heading[:1] or ("",))[0] if chunks else document.title
    version, tags = version_of(document.path, document.content_hash), tags_of(document.metadata)
    state: dict[str, Any] = {
        "path": document.path,
        "version": version,
        "hash": document.content_hash,
        "size": source.size,
        "mtime": source.mtime_ns,
        "chunks": len(chunks),
        "parts": len(parts_of(document, store)),
        "title": title,
        "tags": tags,
        "warning": document.warning,
    }
    stored = [StoredChunk(version, number, chunk, tags) for number, chunk in enumerate(chunks)]
    most = max(len(text.encode()) for text in (dumps([0, state, state]), *map(payload_of, stored)))
    if most > store.max_bytes:
        reason = f"{most:,} bytes in one piece, more than the {store.max_bytes:,} that {store.kind} takes"
        return Skipped(path=document.path, reason=reason)
    tokens = [tokenize(chunk.search_text) for chunk in chunks]
    if (terms := max((len(set(words)) for words in tokens), default=0)) > store.max_terms:
        reason = f"{terms:,} different terms in one chunk, more than the {store.max_terms:,} that {store.kind} takes"
        return Skipped(path=document.path, reason=f"{reason}; lower chunk_maximum")
    return NewDocument(document, chunks, state, tokens)


def parts_of(document: Document, store: Store) -> list[str]:
    """The document as texts that the store can hold."""
    return in_parts(dumps(asdict(document)), store.max_bytes)


def chunks_with_vectors(
    documents: Iterable[NewDocument],
    vectors: Mapping[str, Vectors],
    axis: LanguageAxis,
    reference: float,
    settings: BM25Settings,
) -> Iterator[NewChunk]:
    """The chunks of `documents` as they are written.

    Args:
        documents: In any order.
        vectors: (dimension,) unit vectors by the text that was embedded.
        axis: Tells the chunks' positions between the languages.
        reference: Average length that the weights are computed for.
        settings: BM25.
    """
    for new in documents:
        for number, (chunk, words) in enumerate(zip(new.chunks, new.tokens, strict=True)):
            vector = vectors[chunk.search_text]
            position = axis.positions(vector.reshape(1, -1))
            weights: dict[int, float] = {}
            for term, count in Counter(words).items():
                weight = stored_weight(count, len(words), reference, settings)
                weights[term_id(term)] = weights.get(term_id(term), 0.0) + weight
            stored = StoredChunk(new.state["version"], number, chunk, tuple(new.state["tags"]))
            yield NewChunk(stored, np.append(vector, position), weights or {NO_TERM: 1.0})
