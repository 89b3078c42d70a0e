"""Vector databases behind the same search as the embedded engine: `open_backend` opens the one of the settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import ConfigError, IndexFailure
from ragkit.settings import Settings

if TYPE_CHECKING:
    from ragkit.index.backends.engine import RemoteEngine
    from ragkit.index.backends.store import Store
    from ragkit.index.fingerprint import IndexSettings, Progress
    from ragkit.models.embeddings import EmbeddingModel
    from ragkit.values import IndexReport


def open_store(settings: Settings) -> Store:
    """Connect to the database of the settings.

    Raises:
        ConfigError: If no address is set, a package is missing, or the collection cannot have its name.
        EndpointError: If the database does not answer.
    """
    uri, collection = settings.backend_uri or "", settings.backend_collection
    token = settings.backend_token.get_secret_value() if settings.backend_token is not None else ""
    if settings.backend == "pinecone":
        from ragkit.index.backends.pinecone import PineconeStore

        # The service's own variable is for the service: no other address gets a key that was not meant for it.
        return PineconeStore(uri, token or (os.environ.get("PINECONE_API_KEY", "") if not uri else ""), collection)
    from ragkit.index.backends.milvus import MilvusStore

    if not uri:
        raise ConfigError(
            "Backend milvus needs an address.",
            "Set backend_uri (--uri): http://HOST:19530, or a file like notes.db for Milvus Lite.",
        )
    return MilvusStore(uri, token, collection, settings.backend_vector_index)


def state_folder(settings: Settings) -> Path:
    """Local folder of a collection: only the writer's lock is kept in it."""
    from ragkit.index.backends.store import digest, without_credentials

    uri = settings.backend_uri or ""
    place = without_credentials(uri) if "//" in uri else str(Path(uri).expanduser().resolve())
    name = digest(settings.backend, place, settings.backend_collection)[:16]
    return settings.ensure_home() / "backends" / f"{settings.backend}-{name}"


def open_backend(
    settings: Settings,
    roots: Sequence[Path],
    index: IndexSettings,
    resolve: Callable[[str | None, str], EmbeddingModel],
    *,
    rebuild: bool = False,
    progress: Progress | None = None,
) -> tuple[RemoteEngine, EmbeddingModel, IndexReport | None]:
    """Open the collection of the settings; bring it up to date first if `roots` are given.

    Args:
        settings: Name backend, address, token and collection.
        roots: Folders or files of notes; empty opens the collection as it is.
        index: Chunking and BM25.
        resolve: Gives the embedding model, told the name of the one the collection was built with (None for
            a new one) and where that name was found.
        rebuild: Drop the collection and index everything anew.
        progress: Told about embedding.

    Raises:
        IndexFailure: If there is no collection to open.
        IndexMismatchError: If it was built with another model, analyser, chunker or BM25.
        EndpointError: If the database fails.
    """
    from ragkit.index.backends.engine import RemoteEngine
    from ragkit.index.backends.records import read_head
    from ragkit.index.backends.writer import check_head, update_store

    store = open_store(settings)
    try:
        where = f"collection {store.collection} at {store.uri}"
        head = None if rebuild and roots else read_head(store)
        model = resolve(head.model["name"] if head is not None else None, where)
        report = None
        if roots:
            folder = state_folder(settings)
            report = update_store(store, roots, model, index, folder=folder, rebuild=rebuild, progress=progress)
            head = read_head(store)
        if head is None or not head.generation:
            unfinished = "The first run over it was interrupted. " if head is not None else ""
            raise IndexFailure(
                f"There is no index in {where}.",
                f"{unfinished}Run: ragkit index NOTES --backend {store.kind} --uri ... --collection {store.collection}",
            )
        check_head(head, model, index)
        return RemoteEngine(store, head, index.bm25), model, report
    except BaseException:
        store.close()
        raise
