"""What a vector database must offer, so that `RemoteEngine` can be the same search over it: `Store`.

A store keeps two things: chunks with a dense and a sparse vector, found by similarity or by key, and
small text records, found by key or by the beginning of the key. Everything else (BM25, visibility,
ties, commits) is written once, above this seam. Keys are hashes in hexadecimal, so no path and no
word of the notes ever stands in a key or has to be escaped in one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, Final, Protocol
from urllib.parse import urlsplit, urlunsplit

from ragkit.errors import EndpointError
from ragkit.index.engine import Filter, Vectors
from ragkit.values import Chunk

PATH_BYTES: Final = 1024
"""Longest document path, in bytes of UTF-8; paths are put into fixed width by `ordinal_of`."""
_NUMBER_BYTES: Final = 4
NO_TERM: Final = 2**32 - 2
"""Sparse dimension of a chunk without any term; databases refuse empty sparse vectors. No term has it."""


@dataclass(frozen=True)
class StoredChunk:
    """A chunk as a store gives it back."""

    version: str
    """Of its document: see `version_of`."""
    number: int
    """Place in its document, from 0."""
    chunk: Chunk
    tags: tuple[str, ...]
    """Of its document."""

    @property
    def key(self) -> str:
        return chunk_key(self.version, self.number)


@dataclass(frozen=True)
class NewChunk:
    """A chunk on its way into a store."""

    stored: StoredChunk
    vector: Vectors
    """(dimension + 1,) unit vector and the position on the language axis."""
    weights: Mapping[int, float]
    """Part of BM25 that does not depend on other chunks, above 0, by `term_id`; never empty."""


class Store(Protocol):
    """A collection in a vector database. Every method raises `EndpointError` when the database fails."""

    kind: str
    """``milvus`` or ``pinecone``."""
    uri: str
    """Address without credentials."""
    collection: str
    max_hits: int
    """Most hits of one search."""
    max_bytes: int
    """Longest text of a record or a chunk's payload, in bytes of UTF-8."""
    max_terms: int
    """Most different terms of a chunk."""

    def exists(self) -> bool:
        """Whether the collection was created."""
        ...

    def create(self, dimension: int) -> None:
        """Create the empty collection for vectors with `dimension` components, position included."""
        ...

    def drop(self) -> None:
        """Remove the collection and all that is in it; nothing happens if there is none."""
        ...

    def put_chunks(self, chunks: Sequence[NewChunk]) -> None:
        """Write chunks; those with the same key are replaced."""
        ...

    def get_chunks(self, keys: Sequence[str]) -> dict[str, StoredChunk]:
        """Chunks by key; those that are not there are left out."""
        ...

    def get_vectors(self, keys: Sequence[str]) -> dict[str, Vectors]:
        """(dimension + 1,) vectors by key; those that are not there are left out."""
        ...

    def remove_chunks(self, keys: Sequence[str]) -> None:
        """Remove chunks; those that are not there are ignored."""
        ...

    def dense(self, vector: Vectors, n: int, where: Filter | None) -> list[tuple[StoredChunk, float]]:
        """The `n` chunks with the highest inner product, best first; `where` may be answered too widely."""
        ...

    def sparse(self, weights: Mapping[int, float], n: int, where: Filter | None) -> list[tuple[StoredChunk, float]]:
        """The `n` chunks with the highest sparse inner product above 0; `where` may be answered too widely."""
        ...

    def put(self, records: Mapping[str, str]) -> None:
        """Write records; each one is replaced as a whole."""
        ...

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """Records by key; those that are not there are left out."""
        ...

    def scan(self, prefix: str) -> Iterator[tuple[str, str]]:
        """All records whose key begins with `prefix`."""
        ...

    def remove(self, keys: Sequence[str]) -> None:
        """Remove records; those that are not there are ignored."""
        ...

    def settle(self) -> None:
        """Return when everything written so far is seen by every reader."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


def digest(*parts: str) -> str:
    """32 hexadecimal digits that stand for these texts, in this order."""
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def version_of(path: str, content_hash: str) -> str:
    """Names one state of one document: another text is another version, the same text the same one."""
    return digest(path, content_hash)


def chunk_key(version: str, number: int) -> str:
    """Key of the chunk at place `number` of a document version."""
    return f"{version}-{number:07d}"


def term_id(term: str) -> int:
    """Sparse dimension of an analysed term, 0 to 2**32 - 3, the same in every process.

    Two terms may share one. That makes candidates, never hits: every candidate is scored anew from its text.
    """
    return int.from_bytes(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest()) % NO_TERM


def ordinal_of(path: str, number: int) -> int:
    """The ordinal of a chunk: its place among all chunks there could be, by path and then by `number`.

    Nothing has to be counted or kept for it, it decides ties as the embedded engine does, and it
    leads back to the chunk. It is a large integer: UTF-8 sorts like Unicode, and the path stands in front.
    """
    text = path.encode("utf-8").ljust(PATH_BYTES, b"\0")
    return int.from_bytes(text + number.to_bytes(_NUMBER_BYTES))


def place_of(ordinal: int) -> tuple[str, int]:
    """Path and number behind an ordinal.

    Raises:
        KeyError: If no chunk can have it.
    """
    try:
        data = int(ordinal).to_bytes(PATH_BYTES + _NUMBER_BYTES)
        path = data[:PATH_BYTES].rstrip(b"\0").decode("utf-8")
    except (OverflowError, UnicodeDecodeError) as exc:
        raise KeyError(ordinal) from exc
    return path, int.from_bytes(data[PATH_BYTES:])


def payload_of(stored: StoredChunk) -> str:
    """All of a stored chunk as one text."""
    return dumps([stored.version, stored.number, list(stored.tags), asdict(stored.chunk)])


def stored_from(payload: str) -> StoredChunk:
    """The chunk that `payload_of` wrote."""
    version, number, tags, fields = json.loads(payload)
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    chunk = Chunk(**values)
    return StoredChunk(version, number, chunk, tuple(tags))


def dumps(value: Any) -> str:
    """Compact JSON in UTF-8; halves of surrogate pairs, which it has no place for, become question marks."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def without_credentials(uri: str) -> str:
    """The address as it may be shown: what stands before ``@`` and behind ``?`` is left out."""
    if "//" not in uri:
        return uri
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def unreachable(kind: str, uri: str, reason: str, secret: str = "") -> EndpointError:
    """The error for a database that does not answer, or refuses.

    Args:
        kind: Name of the database.
        uri: Address without credentials.
        reason: What the client said; only its first line is shown.
        secret: Token that must not be shown, wherever the client put it.
    """
    line = (reason.strip().splitlines() or ["no reason given"])[0][:300]
    if secret:
        line = line.replace(secret, "***")
    return EndpointError(
        f"{kind} at {uri} failed: {line}",
        "Check that it runs, backend_uri (--uri) and backend_token (RAGKIT_BACKEND_TOKEN), then run the command again: "
        "what was written stays.",
    )
