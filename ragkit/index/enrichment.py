"""Questions that chunks answer, kept beside the index: their texts, their vectors, and what they add to a search.

A plain-language question is often nearer to another plain-language question than to the passage
that answers it (doc2query: Nogueira et al. 2019, arXiv:1904.08375; here the questions stand beside
the passage instead of becoming part of it). A chunk's score is then a mixture of its own cosine and
that of its best question, the latter brought to mean and spread of the chunks' cosines.

Two files lie in the index folder: ``questions.sqlite`` (texts by content of the chunk, filled one by
one, so that an interrupted run goes on where it stopped) and ``enrichment.npz`` (vectors by chunk
id, replaced as a whole). Both are beside the engine: they hold for every backend, and a chunk
that is gone takes its questions along (`prune`).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ragkit.errors import IndexCorruptError, IndexMismatchError
from ragkit.index.engine import Engine, Ranked, Vectors, all_chunks, best_first, dense_scores
from ragkit.index.fsops import write_bytes_atomically
from ragkit.models.cache import KeyValueFile
from ragkit.models.embeddings import EmbeddingModel
from ragkit.models.encoding import encode_queries
from ragkit.values import Chunk

VECTORS: Final = "enrichment.npz"
QUESTIONS: Final = "questions.sqlite"
SHARE: Final = 0.3
"""Of the best question in a chunk's dense score."""
_SAMPLE: Final = 512
"""Chunks by which mean and spread of the scores are measured."""
_FEWEST: Final = 16
"""Enriched chunks below which no mean and spread can be told."""
_FORMAT: Final = 1
AGAIN: Final = "Make it anew: ragkit index NOTES --enrich. Search works without it too: delete the file."


@dataclass(frozen=True)
class Mixed:
    """Dense scores after the questions took part."""

    scores: Ranked
    """``(ordinal, mixed score)``, best first."""
    questions: Ranked
    """``(ordinal, cosine of its best question)`` of the enriched ones among them, best first."""


@dataclass(frozen=True)
class Enrichment:
    """The questions of an index as vectors, opened for search. Safe to use from several threads."""

    documents: tuple[str, ...]
    """Document path of each enriched chunk."""
    ids: tuple[str, ...]
    """Chunk id of each."""
    keys: tuple[str, ...]
    """What the questions were written from, see `content_key`."""
    starts: npt.NDArray[np.int64]
    """(n,) row of the first question of each."""
    vectors: npt.NDArray[np.float16]
    """(questions, dimension) unit vectors."""
    fingerprint: str
    """Of the embedding model."""
    _places: dict[str, dict[str, int]] = field(default_factory=dict, repr=False, compare=False)
    _samples: list[tuple[Vectors, Vectors]] = field(default_factory=list, repr=False, compare=False)

    @cached_property
    def _matrix(self) -> Vectors:
        return self.vectors.astype(np.float32)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def build(
        cls, entries: Iterable[tuple[Chunk, str, npt.NDArray[np.floating]]], fingerprint: str, dimension: int
    ) -> Enrichment:
        """Put together ``(chunk, key, (questions, dimension) vectors)``; a chunk without a question is left out."""
        kept = [entry for entry in entries if len(entry[2])]
        counts = np.array([len(vectors) for _, _, vectors in kept], dtype=np.int64)
        stacked = np.vstack([v for _, _, v in kept]) if kept else np.zeros((0, dimension))
        return cls(
            tuple(chunk.document for chunk, _, _ in kept),
            tuple(chunk.id for chunk, _, _ in kept),
            tuple(key for _, key, _ in kept),
            np.cumsum(counts) - counts,
            stacked.astype(np.float16),
            fingerprint,
        )

    def save(self, folder: Path) -> None:
        """Replace the file of `folder` in one step."""
        lists = {"documents": self.documents, "ids": self.ids, "keys": self.keys}
        meta = json.dumps({"format": _FORMAT, "fingerprint": self.fingerprint, **lists})
        buffer = io.BytesIO()
        text = np.frombuffer(meta.encode("ascii"), dtype=np.uint8)
        np.savez(buffer, meta=text, starts=self.starts, vectors=self.vectors)
        write_bytes_atomically(folder / VECTORS, buffer.getvalue())

    @classmethod
    def load(cls, folder: Path, fingerprint: str) -> Enrichment | None:
        """The enrichment of an index folder; None if it has none.

        Raises:
            IndexCorruptError: If the file is damaged (each part carries its CRC-32).
            IndexMismatchError: If its vectors are those of another embedding model.
        """
        path = folder / VECTORS
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                meta = json.loads(data["meta"].tobytes())
                starts, vectors = data["starts"], data["vectors"]
            lists = [tuple(map(str, meta[name])) for name in ("documents", "ids", "keys")]
            made_with = str(meta["fingerprint"])
            whole = meta["format"] == _FORMAT and {len(part) for part in lists} == {len(starts)} and vectors.ndim == 2
            if not whole or (len(starts) and not 0 <= starts.max() < len(vectors)):
                raise ValueError("its parts do not fit together")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as exc:
            raise IndexCorruptError(f"{path} is damaged: {exc}.", AGAIN) from exc
        if made_with != fingerprint:
            raise IndexMismatchError(f"{path} was made with embedding model {made_with}, not {fingerprint}.", AGAIN)
        return cls(lists[0], lists[1], lists[2], starts.astype(np.int64), vectors.astype(np.float16), made_with)

    def best(self, vector: Vectors) -> Vectors:
        """Cosine of the best question of each enriched chunk to a (dimension,) unit vector: (n,) float32."""
        if not len(self):
            return np.zeros(0, dtype=np.float32)
        return np.asarray(np.maximum.reduceat(self._matrix @ vector, self.starts), dtype=np.float32)

    def mix(
        self,
        engine: Engine,
        dense: Ranked,
        question: Vectors,
        *,
        aim: Vectors,
        language_weight: float,
        n: int,
        share: float = SHARE,
        propose: bool = True,
    ) -> Mixed:
        """Let the questions take part in a dense search.

        Args:
            engine: The opened index; the same at every call.
            dense: What ``engine.dense_search(aim, n, language_weight=...)`` found.
            question: (dimension,) unit vector of the user's question.
            aim: The vector that the dense leg was searched with, `question` itself or one derived from it.
            language_weight: That of the dense search.
            n: At most so many.
            share: 0 leaves the dense scores as they are, 1 goes by the questions alone.
            propose: Whether chunks that the dense leg did not find may come in; not where a filter holds.

        Returns:
            The `n` best of those that the dense leg or the questions propose.
        """
        sample, positions = self._sample(engine)
        if len(sample) < _FEWEST or share == 0:
            return Mixed(dense[:n], [])
        own = sample @ aim - language_weight * positions
        best = self.best(question)
        scaled = (best - best.mean()) / max(float(best.std()), 1e-6) * float(own.std()) + float(own.mean())
        scores = dict(dense)
        first = np.argsort(-best, kind="stable")[: n if propose else 0]
        proposed = [o for row in first if (o := self._ordinal(engine, int(row))) is not None and o not in scores]
        scores.update(dense_scores(engine, proposed, aim, language_weight))
        rows = {ordinal: self._rows.get(engine.chunk(ordinal).id) for ordinal in scores}
        mixed = [
            (ordinal, score if (row := rows[ordinal]) is None else (1 - share) * score + share * float(scaled[row]))
            for ordinal, score in scores.items()
        ]
        ranked = sorted(mixed, key=best_first)[:n]
        asked = [(ordinal, float(best[row])) for ordinal, _ in ranked if (row := rows[ordinal]) is not None]
        return Mixed(ranked, sorted(asked, key=best_first))

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {identity: row for row, identity in enumerate(self.ids)}

    def _ordinal(self, engine: Engine, row: int) -> int | None:
        """Ordinal of an enriched chunk; None if it is gone."""
        document = self.documents[row]
        if document not in self._places:
            self._places[document] = {chunk.id: ordinal for ordinal, chunk in engine.chunks_of(document)}
        return self._places[document].get(self.ids[row])

    def _sample(self, engine: Engine) -> tuple[Vectors, Vectors]:
        """Vectors of some enriched chunks, evenly spread, and their positions on the language axis."""
        if not self._samples:
            rows = np.linspace(0, max(len(self) - 1, 0), min(_SAMPLE, len(self))).astype(int)
            ordinals = [o for row in rows if (o := self._ordinal(engine, int(row))) is not None]
            vectors = engine.vectors(ordinals)
            self._samples.append((vectors, engine.language_axis.positions(vectors)))
        return self._samples[0]


def content_key(chunk: Chunk, writer: str) -> str:
    """What questions are kept under: hash of the chunk's text with headings, then of who wrote them.

    Args:
        chunk: Any chunk.
        writer: Name of the chat model and version of the prompt.
    """
    return f"{_hash(chunk.search_text)}:{_hash(writer)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def store_vectors(
    folder: Path, chunks: Sequence[Chunk], questions: KeyValueFile, writer: str, model: EmbeddingModel
) -> Enrichment:
    """Embed the questions that are kept for `chunks`, except those that are embedded already, and save all vectors."""
    try:
        old = Enrichment.load(folder, model.identity.fingerprint)
    except (IndexMismatchError, IndexCorruptError):
        old = None  # made anew from the texts
    known = _known(old)
    keys = [content_key(chunk, writer) for chunk in chunks]
    texts = {key: _texts(value) for key, value in questions.get(list(dict.fromkeys(keys))).items()}
    missing = [key for key in dict.fromkeys(keys) if key in texts and key not in known]
    flat = [text for key in missing for text in texts[key]]
    encoded, at = encode_queries(model, flat), 0
    for key in missing:
        known[key] = encoded[at : at + len(texts[key])].astype(np.float16)
        at += len(texts[key])
    entries = [(chunk, key, known[key]) for chunk, key in zip(chunks, keys, strict=True) if key in texts]
    fresh = Enrichment.build(entries, model.identity.fingerprint, model.identity.dimension)
    fresh.save(folder)
    return fresh


def prune(folder: Path, engine: Engine, fingerprint: str) -> None:
    """Forget the questions of chunks that are no longer in the index; a no-op if it was never enriched."""
    if not (folder / VECTORS).exists() and not (folder / QUESTIONS).exists():
        return
    chunks = {chunk.id: chunk for chunk in all_chunks(engine)}
    present = {_hash(chunk.search_text) for chunk in chunks.values()}
    if (folder / QUESTIONS).exists():
        file = KeyValueFile(folder / QUESTIONS)
        try:
            file.drop([key for key in file.keys() if key.partition(":")[0] not in present])
        finally:
            file.close()
    try:
        old = Enrichment.load(folder, fingerprint)
    except (IndexMismatchError, IndexCorruptError):
        # Vectors of another model (the index was rebuilt) or of nobody knows what; the texts are kept.
        (folder / VECTORS).unlink(missing_ok=True)
        return
    if old is None or all(identity in chunks for identity in old.ids):
        return
    known = _known(old)
    entries = [(chunks[i], key, known[key]) for i, key in zip(old.ids, old.keys, strict=True) if i in chunks]
    Enrichment.build(entries, fingerprint, old.vectors.shape[1]).save(folder)


def _known(old: Enrichment | None) -> dict[str, npt.NDArray[np.float16]]:
    """Vectors of the questions by content key."""
    if old is None:
        return {}
    ends = [*old.starts[1:].tolist(), len(old.vectors)]
    return {key: old.vectors[start:end] for key, start, end in zip(old.keys, old.starts.tolist(), ends, strict=True)}


def _texts(value: bytes) -> list[str]:
    try:
        texts = json.loads(value)
    except ValueError:
        return []
    return [text for text in texts if isinstance(text, str) and text.strip()] if isinstance(texts, list) else []


def fill(
    chunks: Sequence[Chunk],
    questions: KeyValueFile,
    writer: str,
    write: Callable[[Chunk], list[str] | None],
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    at_once: int = 1,
) -> tuple[int, int]:
    """Have questions written for chunks that have none, each kept as soon as it is there.

    Args:
        chunks: Chunks of the index.
        questions: Where the texts are kept.
        writer: Name of the chat model and version of the prompt.
        write: Writes the questions of a chunk; None if it failed, which is tried again next time.
        limit: At most so many chunks.
        progress: Called with (chunks done, chunks to do).
        at_once: How many chunks are written about at a time, each in a thread of its own.

    Returns:
        Chunks written about, and chunks that failed.
    """
    by_key = {content_key(chunk, writer): chunk for chunk in chunks}
    there = questions.get(list(by_key))
    missing = [(key, chunk) for key, chunk in by_key.items() if key not in there][:limit]
    written = failed = 0
    with ThreadPoolExecutor(at_once) as pool:
        for at in range(0, len(missing), at_once):
            if progress is not None:
                progress(at, len(missing))
            some = missing[at : at + at_once]
            # One at a time stays in this thread, where Ctrl-C ends it.
            replies = (map if at_once == 1 else pool.map)(write, [chunk for _, chunk in some])
            for (key, _), texts in zip(some, replies, strict=True):
                if texts is None:
                    failed += 1
                else:
                    questions.put({key: json.dumps(texts, ensure_ascii=False).encode("utf-8", "replace")})
                    written += 1
    if progress is not None and missing:
        progress(len(missing), len(missing))
    return written, failed
