"""Which embedding model an index is opened with."""

from __future__ import annotations

from pathlib import Path

from ragkit.errors import ConfigError, IndexCorruptError
from ragkit.index.manifest import read_manifest
from ragkit.models.embeddings import Embedder, EmbeddingModel, resolve_embedding
from ragkit.settings import Settings


def model_for(
    folder: Path, embedding: str | Embedder | EmbeddingModel | None, settings: Settings, rebuild: bool
) -> EmbeddingModel:
    """The embedding model for the index in `folder`, see `choose_model`; `rebuild` forgets what it was built with.

    Raises:
        IndexCorruptError: If the index is damaged and would have to name its model.
        ConfigError: If its model has an address.
    """
    known = None
    if (embedding if embedding is not None else settings.embedding_model) == "auto":
        try:
            manifest = read_manifest(folder)
        except IndexCorruptError:
            if not rebuild:
                raise
            manifest = None
        if manifest is not None and not rebuild:
            known = manifest.model["name"]
    return choose_model(embedding, settings, known, str(folder))


def choose_model(
    embedding: str | Embedder | EmbeddingModel | None, settings: Settings, known: str | None, where: str
) -> EmbeddingModel:
    """The embedding model that was asked for; for "auto" the one that an index was built with.

    Args:
        embedding: Model, or its name; None takes the setting.
        settings: Name the model, the home and the keys.
        known: Name of the model that the index was built with; None for a new index.
        where: Where the index is, for the error.

    Raises:
        ConfigError: If the index names a model with an address: it is data, and must not say where keys are sent.
    """
    spec = embedding if embedding is not None else settings.embedding_model
    if spec == "auto" and known is not None:
        # "auto" must not change the vector space of an index because a hub became reachable.
        spec = known
        if spec.startswith("openai:") and "@" in spec:
            raise ConfigError(
                f"The index in {where} names an address for its embedding model: {spec}.",
                "Name the model yourself: set embedding_model.",
            )
    return resolve_embedding(spec, settings.home, api_key=settings.api_key, base_url=settings.base_url)
