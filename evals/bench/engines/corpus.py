"""A deterministic corpus of any size: texts of topical words, vectors that follow the words, queries cut from chunks.

Words are drawn from a Zipf-Mandelbrot distribution; a third of each chunk comes from one of 500 topics. A
chunk's vector is the weighted sum of random vectors of its words plus noise, so that lexical and
dense neighbours overlap as they do in notes. Words read ``w123x``: letters and digits together, which every
engine's default tokenizer keeps whole and no stemmer touches.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

DIMENSION = 512
WORDS, TOPICS, TOPIC_WORDS, BLOCK = 33_000, 500, 150, 1_000
QUERIES, EXTRA = 200, 100


@dataclass(frozen=True)
class Part:
    """Chunks with their ids, texts and (n, 512) float32 unit vectors."""

    ids: list[str]
    texts: list[str]
    vectors: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """A query: words of one chunk, its vector, and the id of that chunk."""

    text: str
    vector: npt.NDArray[np.float32]
    source: str


class Maker:
    """Draws blocks of chunks; block i is the same whatever the size of the corpus."""

    def __init__(self, seed: int = 7) -> None:
        self._seed = seed
        draw = np.random.default_rng(seed)
        frequency = 1 / (np.arange(WORDS) + 2.7) ** 1.03
        self._frequency = np.cumsum(frequency / frequency.sum())
        self._idf = np.sqrt(-np.log(frequency / frequency.sum())).astype(np.float32)
        self._topics = draw.integers(200, WORDS, (TOPICS, TOPIC_WORDS))
        self._word_vectors = draw.standard_normal((WORDS, DIMENSION), dtype=np.float32)

    def block(self, number: int, size: int = BLOCK) -> tuple[list[npt.NDArray[np.int64]], npt.NDArray[np.float32]]:
        """Word ids of each chunk, and the chunks' vectors."""
        draw = np.random.default_rng([self._seed, number])
        chunks, vectors = [], np.empty((size, DIMENSION), dtype=np.float32)
        for row in range(size):
            length = int(draw.integers(80, 201))
            words = np.searchsorted(self._frequency, draw.random(length))
            topical = draw.random(length) < 0.35
            topic = self._topics[draw.integers(TOPICS)]
            words[topical] = topic[draw.integers(0, TOPIC_WORDS, int(topical.sum()))]
            chunks.append(words)
            vectors[row] = self._vector(words, draw, 0.3)
        return chunks, vectors

    def _vector(self, words: npt.NDArray[np.int64], draw: np.random.Generator, noise: float) -> npt.NDArray[np.float32]:
        total = self._idf[words] @ self._word_vectors[words]
        total = total / np.linalg.norm(total)
        other = draw.standard_normal(DIMENSION, dtype=np.float32)
        total = total + noise * other / np.linalg.norm(other)
        return np.asarray(total / np.linalg.norm(total), dtype=np.float32)

    def questions(self) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], int]]:
        """Windows of 5 to 12 words from chunks of the first block."""
        chunks, _ = self.block(0)
        draw = np.random.default_rng([self._seed, 999_999_999])
        found = []
        for _ in range(QUERIES):
            source = int(draw.integers(len(chunks)))
            length = int(draw.integers(5, 13))
            start = int(draw.integers(len(chunks[source]) - length))
            words = chunks[source][start : start + length]
            found.append((words, self._vector(words, draw, 0.3), source))
        return found


def text_of(words: npt.NDArray[np.int64]) -> str:
    """The words as text, a full stop now and then."""
    return " ".join(f"w{word}x." if i % 17 == 16 else f"w{word}x" for i, word in enumerate(words))


def write(folder: Path, n: int) -> None:
    """Write a corpus of `n` chunks, the queries and the chunks to add later; does nothing if it is there."""
    target = folder / f"n{n}"
    if (target / "done").exists():
        return
    target.mkdir(parents=True, exist_ok=True)
    maker = Maker()
    vectors = np.lib.format.open_memmap(target / "vectors.npy", "w+", np.float32, (n + EXTRA, DIMENSION))
    with (target / "texts.txt").open("w", encoding="utf-8") as file:
        for start in range(0, n + EXTRA, BLOCK):
            # The chunks that are added later come from a block of their own, the same for every size.
            size = min(BLOCK, n - start) if start < n else EXTRA
            chunks, rows = maker.block(start // BLOCK if start < n else 10_000_000, size)
            vectors[start : start + size] = rows
            file.writelines(text_of(words) + "\n" for words in chunks)
    vectors.flush()
    asked = maker.questions()
    np.save(target / "query_vectors.npy", np.stack([vector for _, vector, _ in asked]))
    listed = [{"text": text_of(words).replace(".", ""), "source": f"c{source}"} for words, _, source in asked]
    (target / "queries.json").write_text(json.dumps(listed), encoding="utf-8")
    (target / "done").touch()


def read(folder: Path, n: int) -> tuple[Part, Part]:
    """The corpus of `n` chunks, and the chunks to add."""
    texts = (folder / f"n{n}" / "texts.txt").read_text(encoding="utf-8").splitlines()
    vectors = np.load(folder / f"n{n}" / "vectors.npy", mmap_mode="r")
    ids = [f"c{i}" for i in range(n)]
    added = [f"x{i}" for i in range(EXTRA)]
    return Part(ids, texts[:n], np.array(vectors[:n])), Part(added, texts[n:], np.array(vectors[n:]))


def read_questions(folder: Path, n: int) -> list[Question]:
    """The queries, the same for every size."""
    listed = json.loads((folder / f"n{n}" / "queries.json").read_text(encoding="utf-8"))
    vectors = np.load(folder / f"n{n}" / "query_vectors.npy")
    return [Question(q["text"], vectors[i], q["source"]) for i, q in enumerate(listed)]
