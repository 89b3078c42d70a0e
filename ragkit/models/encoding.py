"""Embedding many questions, or some sentences, by models that have a quicker way for it than one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from ragkit.models.embeddings import EmbeddingModel, Vectors


@runtime_checkable
class EncodesQueries(Protocol):
    """A model that embeds many questions in less time than one after the other."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors: ...


def encode_queries(model: EmbeddingModel, texts: Sequence[str]) -> Vectors:
    """Embed questions; returns (n, dimension) float32 unit vectors, in the order of `texts`."""
    if isinstance(model, EncodesQueries):
        return model.encode_queries(texts)
    if not texts:
        return np.zeros((0, model.identity.dimension), dtype=np.float32)
    return np.stack([model.encode_query(text) for text in texts])


@runtime_checkable
class EncodesSentences(Protocol):
    """A model that embeds some short passages sooner than `EmbeddingModel.encode_documents` would."""

    def encode_sentences(self, texts: Sequence[str]) -> Vectors: ...


def encode_sentences(model: EmbeddingModel, texts: Sequence[str]) -> Vectors:
    """Embed some short passages while somebody waits; returns (n, dimension) float32 unit vectors."""
    return model.encode_sentences(texts) if isinstance(model, EncodesSentences) else model.encode_documents(texts)
