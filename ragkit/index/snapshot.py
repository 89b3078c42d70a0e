"""One committed generation of an index, opened for reading: chunk store, vectors, postings.

The MANIFEST names the generation's files with their checksums. Every checksum is verified
before a file is used, because FAISS loads most damaged files without a word.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ragkit.errors import IndexCorruptError, IndexFailure
from ragkit.index.dense import DenseIndex
from ragkit.index.engine import Filter, Ranked, Vectors
from ragkit.index.fsops import sha256
from ragkit.index.language_axis import LanguageAxis
from ragkit.index.sparse import SparseIndex
from ragkit.index.store import ChunkStore
from ragkit.values import Chunk, Document

FORMAT: Final = 1
MANIFEST: Final = "MANIFEST.json"
REBUILD: Final = "Rebuild it: ragkit index NOTES --rebuild."


@dataclass(frozen=True)
class Manifest:
    """What a committed index consists of and how it was made."""

    generation: str
    files: dict[str, dict[str, Any]]
    model: dict[str, Any]
    """name, revision, dimension, prompts of the embedding model."""
    analyser: str
    chunker: str
    bm25: str
    roots: list[str]
    documents: int
    chunks: int
    format: int = FORMAT
    extra: dict[str, Any] = field(default_factory=dict)


def seal(data: dict[str, Any]) -> dict[str, Any]:
    """Manifest data with the checksum of itself as ``seal``."""
    body = json.dumps({key: value for key, value in data.items() if key != "seal"}, ensure_ascii=False, sort_keys=True)
    return {**data, "seal": hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of an index folder; None if nothing was committed there yet.

    Raises:
        IndexCorruptError: If it cannot be parsed or differs from its checksum.
        IndexFailure: If a newer ragkit wrote it, or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.get("format", 0) > FORMAT:
            raise IndexFailure(f"{path} was written by a newer ragkit (format {data['format']}).", "Upgrade ragkit.")
        if seal(data) != data:
            raise IndexCorruptError(f"{path} differs from its checksum.", REBUILD)
        return Manifest(**{key: value for key, value in data.items() if key != "seal"})
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise IndexFailure(
            f"{path} cannot be read: {exc.strerror}.",
            "Check its permissions, or choose another index folder with --index.",
        ) from exc
    except (ValueError, TypeError, AttributeError) as exc:
        raise IndexCorruptError(f"{path} is damaged.", REBUILD) from exc


class Snapshot:
    """A generation opened for reading. It stays readable while a writer commits the next one."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self.generation = folder / manifest.generation
        self._verify()
        self.store = ChunkStore(self.generation / "chunks.sqlite")
        self.dense = DenseIndex.load(self.generation / "vectors.faiss")
        self.sparse = SparseIndex.load(self.generation)
        self.language_axis = LanguageAxis.load(self.generation / "axis.npy")
        self.chinese = self.store.chinese()
        if not len(self.dense) == len(self.sparse) == self.store.size == len(self.chinese):
            raise IndexCorruptError(f"The parts of {self.generation} hold different numbers of chunks.", REBUILD)

    @classmethod
    def open(cls, folder: Path) -> Snapshot | None:
        """Open what is committed in `folder`; None if nothing is.

        Raises:
            IndexCorruptError: If a file is missing or differs from its checksum.
        """
        for attempt in (1, 2, 3):
            manifest = read_manifest(folder)
            if manifest is None:
                return None
            try:
                return cls(folder, manifest)
            except FileNotFoundError as exc:
                # A writer may have replaced the generation between our two reads.
                if attempt == 3 or read_manifest(folder) == manifest:
                    raise IndexCorruptError(f"{exc.filename} is missing from the index.", REBUILD) from exc
        return None

    def _verify(self) -> None:
        for name, expected in self.manifest.files.items():
            path = self.generation / name
            if path.stat().st_size != expected["bytes"] or sha256(path) != expected["sha256"]:
                raise IndexCorruptError(f"{path} differs from its checksum.", REBUILD)

    def __len__(self) -> int:
        return self.store.size

    def facts(self) -> dict[str, Any]:
        data = self.manifest
        return {
            "model": data.model["name"],
            "documents": data.documents,
            "chunks": data.chunks,
            "roots": data.roots,
            "generation": data.generation,
        }

    def dense_search(
        self, vector: Vectors, n: int, *, language_weight: float = 0.0, where: Filter | None = None
    ) -> Ranked:
        ordinals, cosines = self.dense.search(vector, n, self._allowed(where), language_weight)
        return list(zip(ordinals.tolist(), cosines.tolist(), strict=True))

    def sparse_search(self, terms: Sequence[str], n: int, *, where: Filter | None = None) -> Ranked:
        ordinals, scores = self.sparse.search(terms, n, self._allowed(where))
        return list(zip(ordinals.tolist(), scores.tolist(), strict=True))

    def coverage(self, terms: Sequence[str], ordinals: Sequence[int]) -> list[float]:
        share = self.sparse.coverage(terms)
        return [float(share[ordinal]) for ordinal in ordinals]

    def vectors(self, ordinals: Sequence[int]) -> Vectors:
        return self.dense.vectors(ordinals)

    def chunk(self, ordinal: int) -> Chunk:
        return self.store.chunk(ordinal)

    def chunks_of(self, document: str) -> list[tuple[int, Chunk]]:
        return self.store.chunks_of(document)

    def document(self, path: str) -> Document | None:
        return self.store.document(path)

    def titles(self) -> dict[str, str]:
        return self.store.titles()

    def chinese_share(self) -> float:
        return float(self.chinese.mean()) if len(self.chinese) else 0.0

    def idf(self, term: str) -> float:
        return self.sparse.idf(term)

    def knows(self, term: str) -> bool:
        return term in self.sparse

    def like(self, term: str) -> list[str]:
        return self.sparse.like(term)

    def close(self) -> None:
        self.store.close()

    def _allowed(self, where: Filter | None) -> npt.NDArray[np.bool_] | None:
        if not where:
            return None
        tags = self.store.tags() if where.tags else {}
        chunks = self.store.all_chunks()
        return np.array([where.matches(chunk, tags.get(chunk.document, ())) for chunk in chunks], dtype=np.bool_)
