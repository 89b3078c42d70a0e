"""Milvus, and Milvus Lite in a local file, as a `Store`. Needs the extra ``milvus``.

Filter values are never quoted into an expression: paths and tags are compared by their hashes, and
where a pattern has to be matched, every character that could mean something to the
expression's parser becomes the wildcard ``%``. That lets too much through, which the engine expects.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from unicodedata import combining, normalize

import numpy as np

from ragkit.errors import ConfigError, EndpointError, IndexLockedError
from ragkit.index.backends.records import batches
from ragkit.index.backends.store import (
    NewChunk,
    StoredChunk,
    digest,
    payload_of,
    stored_from,
    unreachable,
    without_credentials,
)
from ragkit.index.engine import Filter, Vectors, spellings
from ragkit.ingest.sections import sections_of

_SENT: Final = 200
"""Rows of one request; with their vectors and text about a megabyte."""
_TIMEOUT: Final = 60.0
"""Seconds for one request."""
_PLAIN: Final = re.compile(r"[^\w\-./ ]")
_PATTERN_BYTES: Final = 4096


class MilvusStore:
    """A collection in Milvus: one for the chunks, and beside it ``NAME_records`` for the records.

    Args:
        uri: Address of a server (``http://host:19530``), or a file for Milvus Lite (``notes.db``).
        token: ``user:password`` or an API key; empty for none.
        collection: Name: letters, digits and underscores.
        dense_index: Index type of the vectors. ``auto``: exact (``FLAT``) in Milvus Lite, Milvus's own
            choice (``AUTOINDEX``) on a server, which is approximate.

    Raises:
        ConfigError: If pymilvus is missing, or the name or the file cannot be used.
        IndexLockedError: If another process has the file of Milvus Lite open.
        EndpointError: If the server does not answer.
    """

    kind = "milvus"
    max_hits = 16_384
    max_bytes = 65_000
    max_terms = 1_000_000

    def __init__(self, uri: str, token: str, collection: str, dense_index: str = "auto") -> None:
        try:
            import pymilvus
        except ImportError as exc:
            raise ConfigError("Backend milvus needs pymilvus.", 'Install it: pip install "ragkit[milvus]"') from exc
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,200}", collection):
            raise ConfigError(
                f"Milvus cannot name a collection {collection!r}.",
                "Set backend_collection to letters, digits and underscores.",
            )
        # They log every failure with a traceback; the failure itself reaches the user once.
        for name in ("pymilvus", "milvus_lite"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.uri, self.collection, self._token = without_credentials(uri), collection, token
        self._records = f"{collection}_records"
        self._api: Any = pymilvus
        lite = "//" not in uri
        if lite and not uri.endswith(".db"):
            raise ConfigError(f"Milvus Lite keeps a collection in a file whose name ends in .db, not in {uri!r}.")
        if lite:
            Path(uri).expanduser().resolve().parent.mkdir(parents=True, exist_ok=True)
            uri = str(Path(uri).expanduser().resolve())
        self._index = ("FLAT" if lite else "AUTOINDEX") if dense_index == "auto" else dense_index
        self._loaded = self._there = False
        # The server inside Milvus Lite takes the client's pings during a long request for an attack and hangs up.
        calm = {"grpc_options": {"grpc.keepalive_time_ms": 3_600_000}} if lite else {}
        # A server that died in the middle would be asked again for minutes; Lite, in this process, may work as long.
        self._deadline = {} if lite else {"timeout": _TIMEOUT}
        self._client: Any = self._try(pymilvus.MilvusClient, uri=uri, token=token, timeout=_TIMEOUT, **calm)

    def exists(self) -> bool:
        self._there = self._there or bool(self._try(self._client.has_collection, self._records, **self._deadline))
        return self._there

    def create(self, dimension: int) -> None:
        types = self._api.DataType

        def make() -> None:
            schema = self._api.MilvusClient.create_schema(auto_id=False)
            schema.add_field("key", types.VARCHAR, is_primary=True, max_length=64)
            schema.add_field("document_key", types.VARCHAR, max_length=64)
            schema.add_field("document", types.VARCHAR, max_length=_PATTERN_BYTES)
            schema.add_field("heading", types.VARCHAR, max_length=65_535)
            schema.add_field("language", types.VARCHAR, max_length=16)
            tag = {"element_type": types.VARCHAR, "max_capacity": 1024, "max_length": 64}
            schema.add_field("tags", types.ARRAY, **tag)
            schema.add_field("payload", types.VARCHAR, max_length=65_535)
            schema.add_field("dense", types.FLOAT_VECTOR, dim=dimension)
            schema.add_field("sparse", types.SPARSE_FLOAT_VECTOR)
            index = self._client.prepare_index_params()
            index.add_index("dense", index_type=self._index, metric_type="IP")
            index.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
            self._client.create_collection(
                self.collection, schema=schema, index_params=index, consistency_level="Strong"
            )
            schema = self._api.MilvusClient.create_schema(auto_id=False)
            schema.add_field("key", types.VARCHAR, is_primary=True, max_length=64)
            schema.add_field("value", types.VARCHAR, max_length=65_535)
            schema.add_field("nothing", types.FLOAT_VECTOR, dim=2)  # Milvus keeps no collection without vectors
            index = self._client.prepare_index_params()
            index.add_index("nothing", index_type="FLAT", metric_type="IP")
            # The records come last: a collection counts as created once they are there.
            self._client.create_collection(self._records, schema=schema, index_params=index, consistency_level="Strong")

        self._try(make)

    def drop(self) -> None:
        def drop() -> None:
            for name in (self._records, self.collection):
                if self._client.has_collection(name):
                    self._client.drop_collection(name)

        self._try(drop)
        self._loaded = self._there = False

    def put_chunks(self, chunks: Sequence[NewChunk]) -> None:
        for some in batches(chunks, _SENT):
            self._do(self._client.upsert, self.collection, [_row(new) for new in some])

    def get_chunks(self, keys: Sequence[str]) -> dict[str, StoredChunk]:
        if not keys:
            return {}
        rows = self._do(self._client.get, self.collection, ids=list(keys), output_fields=["key", "payload"])
        return {row["key"]: stored_from(row["payload"]) for row in rows}

    def get_vectors(self, keys: Sequence[str]) -> dict[str, Vectors]:
        if not keys:
            return {}
        rows = self._do(self._client.get, self.collection, ids=list(keys), output_fields=["key", "dense"])
        return {row["key"]: np.asarray(row["dense"], dtype=np.float32) for row in rows}

    def remove_chunks(self, keys: Sequence[str]) -> None:
        if keys:
            self._do(self._client.delete, self.collection, ids=list(keys))

    def dense(self, vector: Vectors, n: int, where: Filter | None) -> list[tuple[StoredChunk, float]]:
        return self._found("dense", vector.tolist(), n, where)

    def sparse(self, weights: Mapping[int, float], n: int, where: Filter | None) -> list[tuple[StoredChunk, float]]:
        return self._found("sparse", dict(weights), n, where)

    def put(self, records: Mapping[str, str]) -> None:
        for some in batches(records.items(), _SENT * 5):
            rows = [{"key": key, "value": value, "nothing": [1.0, 0.0]} for key, value in some]
            self._do(self._client.upsert, self._records, rows)

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        if not keys:
            return {}
        rows = self._do(self._client.get, self._records, ids=list(keys), output_fields=["key", "value"])
        return {row["key"]: row["value"] for row in rows}

    def scan(self, prefix: str) -> Iterator[tuple[str, str]]:
        pages = self._do(
            self._client.query_iterator,
            self._records,
            filter=f'key like "{prefix}%"',
            output_fields=["key", "value"],
            batch_size=1000,
        )
        try:
            while rows := self._try(pages.next):
                for row in rows:
                    yield row["key"], row["value"]
        finally:
            pages.close()

    def remove(self, keys: Sequence[str]) -> None:
        if keys:
            self._do(self._client.delete, self._records, ids=list(keys))

    def settle(self) -> None:
        """Nothing to do: the collections are strongly consistent, a read sees every write before it."""

    def close(self) -> None:
        self._client.close()

    def _found(self, field: str, query: Any, n: int, where: Filter | None) -> list[tuple[StoredChunk, float]]:
        hits = self._do(
            self._client.search,
            self.collection,
            data=[query],
            anns_field=field,
            limit=n,
            filter=expression(where),
            output_fields=["payload"],
            search_params={"metric_type": "IP"},
        )
        return [(stored_from(hit["entity"]["payload"]), float(hit["distance"])) for hit in hits[0]]

    def _do(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """A request that needs the collections in memory."""
        if not self._loaded:
            for name in (self.collection, self._records):
                self._try(self._client.load_collection, name, **self._deadline)
            self._loaded = True
        return self._try(call, *arguments, **self._deadline, **options)

    def _try(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """A request, with whatever the client raises as one clear error."""
        try:
            return call(*arguments, **options)
        except (ConfigError, EndpointError):
            raise
        except Exception as exc:
            # pymilvus raises its own MilvusException, grpc's errors, ValueError and plain RuntimeError for a server
            # that is not there; they share no base class.
            reason = str(getattr(exc, "message", "")) or str(exc) or type(exc).__name__
            if "Open local milvus failed" in reason:  # all that is left of the reason when it arrives here
                raise IndexLockedError(
                    f"Milvus Lite cannot open {self.uri}: another process has it open, or it is damaged.",
                    "Wait until that process is done. Several at a time need a server: --uri http://HOST:19530.",
                ) from exc
            raise unreachable("Milvus", self.uri, reason, self._token) from exc


def expression(where: Filter | None) -> str:
    """A filter as an expression of Milvus that lets through at least what it matches; empty for all."""
    if not where:
        return ""
    conditions = []
    if where.documents:
        exact = [path for path in where.documents if not set(path) & set("*?[")]
        keys = [spelling for path in exact for spelling in spellings(path)]
        options = [f"document_key in [{_hashes(keys)}]"] if exact else []
        options += [f'document like "{_like(path)}"' for path in where.documents if path not in exact]
        conditions.append(f"({' or '.join(options)})")
    if where.heading:
        conditions.append(f'heading like "%{_PLAIN.sub("%", where.heading.casefold())}%"')
    if where.tags:
        conditions.append(f"array_contains_any(tags, [{_hashes([tag.casefold() for tag in where.tags])}])")
    if where.language:
        conditions.append(f'language == "{"zh" if where.language == "zh" else "other"}"')
    return " and ".join(conditions)


def _like(pattern: str) -> str:
    """A pattern of `fnmatch` as one of ``like`` that matches at least the same.

    A set ``[...]`` becomes ``%``, and so does a letter that Unicode spells in two ways, as the path may have the other.
    """
    composed = normalize("NFC", re.sub(r"\[.*\]", "%", pattern))
    plain = "".join("%" if combining(sign) or normalize("NFD", sign) != sign else sign for sign in composed)
    return re.sub(r"%+", "%", _PLAIN.sub("%", plain))


def _hashes(texts: Sequence[str]) -> str:
    return ", ".join(f'"{digest(text)}"' for text in texts)


def _row(new: NewChunk) -> dict[str, Any]:
    chunk = new.stored.chunk
    paths = " | ".join(" > ".join(path) for _, path in sections_of(chunk))
    return {
        "key": new.stored.key,
        "document_key": digest(chunk.document),
        "document": re.sub(r"\s", " ", chunk.document),
        "heading": re.sub(r"\s", " ", paths.casefold())[:16_000],
        "language": chunk.language,
        "tags": sorted({digest(tag.casefold()) for tag in new.stored.tags})[:1024],
        "payload": payload_of(new.stored),
        "dense": np.asarray(new.vector, dtype=np.float32).tolist(),
        "sparse": dict(new.weights),
    }
