"""Pinecone as a `Store`, through its official client. Needs the extra ``pinecone``.

Written from the client's own documentation (pinecone 10, API 2026-07: document indexes with a dense and a
sparse vector field) and tested against a local stand-in for its HTTP API. It was never run against the
service itself: expect to find out about quotas, speed and recall for yourself.

Pinecone's filters are JSON, so no value is ever quoted. It has no pattern matching on text: a pattern for
documents is narrowed to the folder it begins with, one for headings not at all; the engine decides.
Its reads lag behind its writes; `PineconeStore.settle` waits until they caught up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np

from ragkit.errors import ConfigError, EndpointError
from ragkit.index.backends.records import batches
from ragkit.index.backends.store import (
    NO_TERM,
    NewChunk,
    StoredChunk,
    digest,
    payload_of,
    stored_from,
    unreachable,
    without_credentials,
)
from ragkit.index.engine import Filter, Vectors, spellings

SERVICE: Final = "https://api.pinecone.io"
"""Address of the service's control plane."""
_NAMESPACE: Final = "ragkit"
_SENT_BYTES: Final = 1_500_000
"""Of one upsert; the service takes 2 MB."""
_FETCHED: Final = 100
_TIMEOUT: Final = 30.0
_SETTLED: Final = 120.0
"""Seconds to wait until reads have caught up with writes."""
_MARK: Final = {"indices": [0], "values": [1.0]}
"""Sparse vector of every record: their index needs a vector field, and a search that finds them tells how far
reads have come."""


class PineconeStore:
    """A collection in Pinecone: the index NAME for the chunks, and ``NAME-records`` for the records.

    Args:
        uri: Address of the control plane; empty for the service.
        token: API key.
        collection: Name: lower case letters, digits and hyphens.
        deployment: Where a new index is put.

    Raises:
        ConfigError: If the client is missing, the key is missing, or the name cannot be used.
    """

    kind = "pinecone"
    max_hits = 1_000
    max_bytes = 36_000
    max_terms = 1_000  # of a sparse vector, by the only figure that its documentation gives

    def __init__(self, uri: str, token: str, collection: str, deployment: Mapping[str, str] | None = None) -> None:
        try:
            import pinecone
        except ImportError as exc:
            raise ConfigError(
                "Backend pinecone needs its client.", 'Install it: pip install "ragkit[pinecone]"'
            ) from exc
        name = collection.replace("_", "-")
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,34}[a-z0-9])?", name):
            raise ConfigError(
                f"Pinecone cannot name an index {collection!r}.",
                "Set backend_collection to at most 36 lower case letters, digits and hyphens.",
            )
        if not token:
            raise ConfigError("Pinecone needs an API key.", "Set RAGKIT_BACKEND_TOKEN or PINECONE_API_KEY.")
        self.uri, self.collection, self._token = without_credentials(uri or SERVICE), name, token
        self._names = (name, f"{name}-records")
        self._deployment = dict(deployment or {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"})
        self._api: Any = pinecone
        self._client: Any = self._try(
            pinecone.Pinecone, api_key=token, host=uri or SERVICE, timeout=_TIMEOUT, source_tag="ragkit"
        )
        self._there = False
        self._indexes: dict[str, Any] = {}
        self._written: dict[str, int] = {}

    def exists(self) -> bool:
        self._there = self._there or bool(self._try(self._client.indexes.exists, self._names[1]))
        return self._there

    def create(self, dimension: int) -> None:
        dense = {"type": "dense_vector", "dimension": dimension, "metric": "dotproduct"}
        chunks = {"fields": {"dense": dense, "sparse": {"type": "sparse_vector"}}}
        records = {"fields": {"mark": {"type": "sparse_vector"}}}
        # The records come last: a collection counts as created once they are there.
        for name, schema in zip(self._names, (chunks, records), strict=True):
            create = self._client.indexes.create
            self._try(create, name=name, schema=schema, deployment=self._deployment)

    def drop(self) -> None:
        for name in reversed(self._names):
            if self._try(self._client.indexes.exists, name):
                self._try(self._client.indexes.delete, name)
        self._there = False
        self._indexes.clear()
        self._written.clear()

    def put_chunks(self, chunks: Sequence[NewChunk]) -> None:
        self._upsert(0, [_fields(new) for new in chunks])

    def get_chunks(self, keys: Sequence[str]) -> dict[str, StoredChunk]:
        return {key: stored_from(fields.get("payload")) for key, fields in self._fetch(0, keys, "payload")}

    def get_vectors(self, keys: Sequence[str]) -> dict[str, Vectors]:
        found = self._fetch(0, keys, "dense")
        return {key: np.asarray(fields.get("dense"), dtype=np.float32) for key, fields in found}

    def remove_chunks(self, keys: Sequence[str]) -> None:
        self._delete(0, keys)

    def dense(self, vector: Vectors, n: int, where: Filter | None) -> list[tuple[StoredChunk, float]]:
        return self._search(self._api.DenseVectorQuery(field="dense", values=vector.tolist()), n, where)

    def sparse(self, weights: Mapping[int, float], n: int, where: Filter | None) -> list[tuple[StoredChunk, float]]:
        values = self._api.SparseValues(indices=list(weights), values=list(weights.values()))
        return self._search(self._api.SparseVectorQuery(field="sparse", sparse_values=values), n, where)

    def put(self, records: Mapping[str, str]) -> None:
        self._upsert(1, [{"_id": key, "value": value, "mark": _MARK} for key, value in records.items()])

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        return {key: fields.get("value") for key, fields in self._fetch(1, keys, "value")}

    def scan(self, prefix: str) -> Iterator[tuple[str, str]]:
        listed = iter(self._try(self._documents(1).list, namespace=_NAMESPACE, prefix=prefix, limit=_FETCHED))
        while keys := self._try(lambda: [item.id for item in islice(listed, _FETCHED)]):
            yield from self.get(keys).items()

    def remove(self, keys: Sequence[str]) -> None:
        self._delete(1, keys)

    def settle(self) -> None:
        """Wait until searches have caught up with the last write to each index.

        Raises:
            EndpointError: If they have not within two minutes.
        """
        probes = {
            self._names[0]: self._api.SparseVectorQuery(
                field="sparse", sparse_values=self._api.SparseValues(indices=[NO_TERM], values=[1.0])
            ),
            self._names[1]: self._api.SparseVectorQuery(field="mark", sparse_values=self._api.SparseValues(**_MARK)),
        }
        until = time.monotonic() + _SETTLED
        for which, name in enumerate(self._names):
            while (written := self._written.get(name)) is not None:
                search = self._documents(which).search
                answer = self._try(search, namespace=_NAMESPACE, score_by=[probes[name]], top_k=1)
                if answer.response_info.is_reconciled(written):
                    del self._written[name]
                elif time.monotonic() > until:
                    reason = f"index {name} has not caught up with its last write within {_SETTLED:.0f} s"
                    raise unreachable("Pinecone", self.uri, reason)
                else:
                    time.sleep(0.5)

    def close(self) -> None:
        for index in self._indexes.values():
            index.close()
        self._client.close()

    def _search(self, query: Any, n: int, where: Filter | None) -> list[tuple[StoredChunk, float]]:
        answer = self._try(
            self._documents(0).search,
            namespace=_NAMESPACE,
            score_by=[query],
            top_k=n,
            include_fields=["payload"],
            filter=conditions(where),
        )
        return [(stored_from(match.get("payload")), float(match.score)) for match in answer.matches]

    def _upsert(self, which: int, documents: Sequence[Mapping[str, Any]]) -> None:
        waiting: list[Mapping[str, Any]] = []
        size = 0
        for document in [*documents, None]:
            weight = len(repr(document).encode("utf-8", "replace"))
            if waiting and (document is None or size + weight > _SENT_BYTES or len(waiting) == 1000):
                upsert = self._documents(which).upsert
                answer = self._try(upsert, namespace=_NAMESPACE, documents=waiting)
                self._note(which, answer)
                waiting, size = [], 0
            if document is not None:
                waiting.append(document)
                size += weight

    def _fetch(self, which: int, keys: Sequence[str], field: str) -> Iterator[tuple[str, Any]]:
        for some in batches(keys, _FETCHED):
            fetch = self._documents(which).fetch
            answer = self._try(fetch, namespace=_NAMESPACE, ids=list(some), include_fields=[field])
            yield from answer.documents.items()

    def _delete(self, which: int, keys: Sequence[str]) -> None:
        for some in batches(keys, 1000):
            answer = self._try(self._documents(which).delete, namespace=_NAMESPACE, ids=list(some))
            self._note(which, answer)

    def _note(self, which: int, answer: Any) -> None:
        """Remember how far reads must come to see a write; a service that does not say is believed."""
        committed = answer.response_info.lsn_committed
        if committed is not None:
            self._written[self._names[which]] = max(committed, self._written.get(self._names[which], 0))

    def _documents(self, which: int) -> Any:
        name = self._names[which]
        if name not in self._indexes:
            self._indexes[name] = self._try(self._client.index, name)
        return self._indexes[name].documents

    def _try(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """A request, with whatever the client raises as one clear error."""
        try:
            return call(*arguments, **options)
        except (ConfigError, EndpointError):
            raise
        except self._api.PineconeError as exc:
            raise unreachable("Pinecone", self.uri, str(exc), self._token) from exc


def conditions(where: Filter | None) -> dict[str, Any] | None:
    """A filter as Pinecone's metadata filter that lets through at least what it matches; None for all."""
    if not where:
        return None
    found: list[dict[str, Any]] = []
    if where.documents:
        places = [_place(pattern) for pattern in where.documents]
        if all(places):
            found.append({"places": {"$in": [digest(same) for place in places for same in spellings(place)]}})
    if where.tags:
        found.append({"tags": {"$in": [digest(tag.casefold()) for tag in where.tags]}})
    if where.language:
        found.append({"language": {"$eq": where.language}})
    return {"$and": found} if found else None


def _place(pattern: str) -> str:
    """The document or the folder (with ``/`` behind it) that all matches are in; empty for none."""
    plain = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return pattern if plain == pattern else plain[: plain.rfind("/") + 1]


def _fields(new: NewChunk) -> dict[str, Any]:
    chunk = new.stored.chunk
    folders = [chunk.document[: at + 1] for at, sign in enumerate(chunk.document) if sign == "/"]
    weights = dict(new.weights)
    return {
        "_id": new.stored.key,
        "places": [digest(place) for place in (chunk.document, *folders)],
        "language": chunk.language,
        "tags": sorted({digest(tag.casefold()) for tag in new.stored.tags}),
        "payload": payload_of(new.stored),
        "dense": np.asarray(new.vector, dtype=np.float32).tolist(),
        "sparse": {"indices": list(weights), "values": list(weights.values())},
    }
