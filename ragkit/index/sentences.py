"""Vectors of the single sentences of each chunk, which tell the right one among the candidates.

A chunk of several sentences has one vector, in which a single fact is averaged with all that
stands around it. The best sentence's cosine says whether the fact itself is there: the maximum
over the parts of a text, as in MaxP (Dai & Callan 2019, arXiv:1905.09217) and, for tokens, late
interaction (Khattab & Zaharia 2020, arXiv:2004.12832). Sentences are embedded bare, without the
heading path. Sentence vectors taken from the chunk's own pass through the model ("late chunking",
arXiv:2409.04701) cost nothing and were measured to give nothing: at the last layer of an embedding
model all tokens say nearly the same.

Only candidates are looked up, so the vectors stay on disk: one row of ``sentences.sqlite`` in the
index folder for each chunk, found by the chunk's id (which stands for its text), 8 bits a number.
The file is a cache beside the index: a row is right or missing, never stale, and the search does
without those that are missing. A row that fails its checksum is as good as missing, and embedded
again when the index is next brought up to date. Building the file costs about as much embedding again
as the index itself.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ragkit.errors import ModelError, RagkitError
from ragkit.index.engine import Engine, all_chunks
from ragkit.index.snapshot import Snapshot
from ragkit.models.cache import KeyValueFile
from ragkit.models.embeddings import EmbeddingModel, Vectors
from ragkit.text.sentences import split_sentences
from ragkit.values import Chunk

log = logging.getLogger(__name__)

FILE: Final = "sentences.sqlite"
SHORTEST: Final = 8
"""A sentence of fewer characters has nothing to say for itself."""
_NO_SENTENCE: Final = ("#", "```", "~~~", "|--", "| --", "|:-", "---")
_BATCH: Final = 128
"""Chunks that are embedded between two commits."""
_DONE: Final = "done"
_WITHOUT: Final = "searching without sentence vectors: %s"
_DAMAGED: Final = "searching without the damaged rows of %s. Embed them again: ragkit index --repair."
_CHECK: Final = 4
"""Bytes of checksum behind the rows of a chunk."""
_said: Final[set[Path]] = set()
"""Files whose trouble a search of this process has told of; it would do so with every question."""


def sentences_of(chunk: Chunk) -> list[str]:
    """The sentences of a chunk that get a vector: no headings, fences, rules or scraps."""
    return [s for s in split_sentences(chunk.text) if len(s) >= SHORTEST and not s.startswith(_NO_SENTENCE)]


def is_whole(key: object, value: object) -> bool:
    """Whether an entry of the file is what was written; the one that says done has no checksum and needs none."""
    if isinstance(key, str) and key.endswith(f"-{_DONE}"):
        return True
    if not isinstance(key, str) or not isinstance(value, bytes):
        return False
    return zlib.crc32(value[:-_CHECK]).to_bytes(_CHECK, "little") == value[-_CHECK:]


class SentenceVectors:
    """Sentence vectors of an index folder. Safe to use from several threads.

    Raises:
        RagkitError: If the file cannot be opened.
    """

    def __init__(self, folder: Path, model: EmbeddingModel) -> None:
        self._path = folder / FILE
        self._file = KeyValueFile(self._path)
        self._checked = False
        self._model = model
        self._prefix = f"{zlib.crc32(model.identity.fingerprint.encode()):08x}"
        dimension = model.identity.dimension
        self._row = np.dtype([("scale", "<f4"), ("numbers", "i1", (dimension,))])

    @classmethod
    def beside(
        cls,
        folder: Path,
        engine: Engine,
        model: EmbeddingModel,
        *,
        update: bool,
        progress: Callable[[int, int], None] | None = None,
    ) -> SentenceVectors | None:
        """Those of an index, or None if there are none or the file cannot be used, which is logged.

        Args:
            folder: Index folder.
            engine: The index as it is now.
            model: The model that built it.
            update: Bring them up to date first; else only those that are there are used.
            progress: Called with (chunks done, chunks to do).

        Raises:
            ModelError: If the model fails.
        """
        if not update and not (folder / FILE).is_file():
            return None
        try:
            sentences = cls(folder, model)
        except RagkitError as exc:
            log.warning(_WITHOUT, exc)
            return None
        return sentences if not update or sentences.keep_up(engine, progress) else None

    def keep_up(self, engine: Engine, progress: Callable[[int, int], None] | None = None) -> bool:
        """`update`, but a file that cannot be used is logged; whether it went well.

        They are a cache beside the index: a full disk or a damaged file costs quality, not the search.

        Raises:
            ModelError: If the model fails.
        """
        try:
            self.update(engine, progress)
        except ModelError:
            raise
        except RagkitError as exc:
            log.warning(_WITHOUT, exc)
            return False
        return True

    def update(self, engine: Engine, progress: Callable[[int, int], None] | None = None) -> int:
        """Embed the sentences of chunks that have no whole row, and drop the rows of chunks that are gone.

        The first call reads all rows, as opening an index reads all of its files: damage is in those that nobody
        asked for yet, too. Work is kept every 128 chunks, so that an interrupted run goes on where it stopped.

        Args:
            engine: The index as it is now.
            progress: Called with (chunks done, chunks to do).

        Returns:
            Number of chunks whose sentences were embedded.
        """
        state = str(engine.facts()["generation"]).encode()
        done_key = self._key(_DONE)
        broken = set() if self._checked else self._file.failing(is_whole)
        self._checked = True
        if broken:
            log.warning("%d damaged row(s) of %s are embedded again", len(broken), self._path)
        elif self._file.get([done_key]).get(done_key) == state:
            return 0
        there = set(self._file.keys()) - broken
        # Of a large index only what is new is read, not all of it after each small change.
        chunks = engine.chunk_ids() if isinstance(engine, Snapshot) else {c.id: c for c in all_chunks(engine)}
        wanted = {self._key(identity): at for identity, at in chunks.items()}
        self._file.drop(sorted((there | broken) - wanted.keys(), key=str))
        new = ((key, at) for key, at in wanted.items() if key not in there)
        missing = [(key, engine.chunk(at) if isinstance(at, int) else at) for key, at in new]
        for at in range(0, len(missing), _BATCH):
            part = missing[at : at + _BATCH]
            self._file.put(dict(self._embed(part)))
            if progress is not None:
                progress(at + len(part), len(missing))
        self._file.put({done_key: state})
        return len(missing)

    def best(self, question: Vectors, chunks: Sequence[Chunk]) -> dict[str, float]:
        """The best sentence's product with a (dimension,) question vector, by chunk id.

        Chunks without sentences, or without a row that is whole, are left out.
        """
        keys = {self._key(chunk.id): chunk.id for chunk in chunks}
        rows = {keys[key]: rows for key, rows in self._whole(list(keys)).items() if rows}
        if not rows:
            return {}
        counts = [len(row) // self._row.itemsize for row in rows.values()]
        table = np.frombuffer(b"".join(rows.values()), dtype=self._row)
        scores = (table["numbers"].astype(np.float32) @ question) * table["scale"]
        starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
        return dict(zip(rows, np.maximum.reduceat(scores, starts).tolist(), strict=True))

    def vectors(self, chunks: Sequence[Chunk]) -> dict[str, Vectors]:
        """(dimension,) float32 vectors of the sentences of `chunks` that have one, by their text."""
        keys = {self._key(chunk.id): chunk for chunk in chunks}
        found: dict[str, Vectors] = {}
        for key, rows in self._whole(list(keys)).items():
            table = np.frombuffer(rows, dtype=self._row)
            sentences = sentences_of(keys[key])
            if len(table) == len(sentences):
                found.update(zip(sentences, table["numbers"] * table["scale"][:, None], strict=True))
        return found

    def close(self) -> None:
        """Give back the file."""
        self._file.close()

    def _embed(self, part: Sequence[tuple[str, Chunk]]) -> Iterator[tuple[str, bytes]]:
        sentences = [sentences_of(chunk) for _, chunk in part]
        texts = list(dict.fromkeys(text for several in sentences for text in several))
        vectors = dict(zip(texts, self._model.encode_documents(texts), strict=True)) if texts else {}
        for (key, _), several in zip(part, sentences, strict=True):
            rows = self._packed(np.asarray([vectors[text] for text in several], dtype=np.float32))
            yield key, rows + zlib.crc32(rows).to_bytes(_CHECK, "little")

    def _packed(self, vectors: npt.NDArray[np.float32]) -> bytes:
        table = np.zeros(len(vectors), dtype=self._row)
        if len(vectors):
            scale = np.maximum(np.abs(vectors).max(axis=1), 1e-12) / 127
            table["scale"] = scale
            table["numbers"] = np.rint(vectors / scale[:, None])
        return table.tobytes()

    def _whole(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The rows of those chunks that have some which are not damaged."""
        try:
            found = self._file.get(keys)
        except RagkitError as exc:
            self._tell(_WITHOUT, exc)
            return {}
        rows = {key: value[:-_CHECK] for key, value in found.items() if is_whole(key, value)}
        if len(rows) < len(found):
            self._tell(_DAMAGED, self._path)
        return {key: value for key, value in rows.items() if len(value) % self._row.itemsize == 0}

    def _tell(self, message: str, about: object) -> None:
        if self._path not in _said:
            _said.add(self._path)
            log.warning(message, about)

    def _key(self, name: str) -> str:
        return f"{self._prefix}-{name}"
