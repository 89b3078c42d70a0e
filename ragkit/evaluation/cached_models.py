"""Models whose answers are kept in ``$RAGKIT_HOME/cache``, for measurements that ask the same thing many times."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from ragkit.models.cache import CachedCompletions, CachedEmbeddings, KeyValueFile
from ragkit.models.chat import resolve_chat
from ragkit.models.embeddings import EmbeddingModel, resolve_embedding
from ragkit.settings import Settings


class CachedModels:
    """The models that settings name, each asked the same thing once and for all.

    Args:
        home: ``$RAGKIT_HOME``; the caches are kept in its folder ``cache``.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._embeddings: dict[str, CachedEmbeddings] = {}
        self._chats: dict[str, CachedCompletions | None] = {}

    @cached_property
    def _vectors(self) -> KeyValueFile:
        return KeyValueFile(self._home / "cache" / "embeddings.sqlite")

    @cached_property
    def _replies(self) -> KeyValueFile:
        return KeyValueFile(self._home / "cache" / "completions.sqlite")

    def embedding(self, settings: Settings) -> EmbeddingModel:
        """The embedding model."""
        name = settings.embedding_model
        if name not in self._embeddings:
            model = resolve_embedding(name, self._home, api_key=settings.api_key, base_url=settings.base_url)
            self._embeddings[name] = CachedEmbeddings(model, self._vectors)
        return self._embeddings[name]

    def chat(self, settings: Settings) -> CachedCompletions | None:
        """The chat model for query transforms; None if there is none."""
        name = settings.chat_model
        if name not in self._chats:
            structured = resolve_chat(name, settings).structured()
            identity = self.chat_identity(settings)
            self._chats[name] = CachedCompletions(structured, identity, self._replies) if structured else None
        return self._chats[name]

    def chat_identity(self, settings: Settings) -> str:
        """Name and address of the chat model: two servers may call different models the same."""
        return f"{resolve_chat(settings.chat_model, settings).name}@{settings.base_url or ''}"

    @property
    def computed(self) -> int:
        """Texts that had to be embedded so far."""
        return sum(model.computed for model in self._embeddings.values())
