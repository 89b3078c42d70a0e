"""Chunks for speed measurements: Zipf words, 500 topics, 80 to 200 tokens, vectors that follow the words.

    python evals/bench/zipf_data.py FOLDER --chunks 100000

Everything is seeded by block of 1,000 chunks, so that a small corpus is the beginning of a large one and
one set of queries (windows of 5 to 12 tokens of the first 1,000 chunks) serves every size. Vectors are
sums of word vectors weighted as in SIF (Arora et al. 2017) plus noise, of unit length.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

DIMENSION: Final = 512
BLOCK: Final = 1000
WORDS: Final = 33_000
_TOPICS: Final = 500
_TOPIC_WORDS: Final = 150
_SEED: Final = 20_260_101

Ids = npt.NDArray[np.int32]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """Words by frequency, topics over the words in the middle, one vector for each word."""

    frequency: npt.NDArray[np.float64]
    topics: npt.NDArray[np.int64]
    word_vectors: Vectors

    @classmethod
    def make(cls) -> World:
        rng = np.random.default_rng([_SEED, 1])
        frequency = 1 / np.arange(2.7, 2.7 + WORDS) ** 1.03
        frequency /= frequency.sum()
        topics = np.stack([rng.choice(np.arange(200, 20_000), _TOPIC_WORDS, replace=False) for _ in range(_TOPICS)])
        vectors = rng.standard_normal((WORDS, DIMENSION), dtype=np.float32)
        return cls(frequency, topics, vectors * (1e-3 / (1e-3 + frequency)).astype(np.float32)[:, None])

    def block(self, at: int) -> tuple[Ids, npt.NDArray[np.int64]]:
        """Word ids of one block of chunks, run together, and the length of each chunk."""
        rng = np.random.default_rng([_SEED, 2, at])
        lengths = rng.integers(80, 201, BLOCK)
        total = int(lengths.sum())
        own = rng.random(total) < 0.35
        inside = np.cumsum(1 / np.arange(3, 3 + _TOPIC_WORDS))
        topic = np.repeat(rng.integers(0, _TOPICS, BLOCK), lengths)
        anywhere = np.searchsorted(np.cumsum(self.frequency), rng.random(total)).clip(max=WORDS - 1)
        place = np.searchsorted(inside / inside[-1], rng.random(total))
        return np.where(own, self.topics[topic, place], anywhere).astype(np.int32), lengths

    def embed(self, ids: Ids, lengths: npt.NDArray[np.int64], noise: tuple[float, int] | None) -> Vectors:
        """One unit vector for each run of words; `noise` is its size and a seed."""
        starts = np.concatenate(([0], np.cumsum(lengths)))
        bag = sparse.csr_matrix((np.ones(len(ids), np.float32), ids, starts), shape=(len(lengths), WORDS))
        vectors = _unit(np.asarray(bag @ self.word_vectors, dtype=np.float32))
        if noise is None:
            return vectors
        rng = np.random.default_rng([_SEED, 3, noise[1]])
        return _unit(
            vectors + np.float32(noise[0] / np.sqrt(DIMENSION)) * rng.standard_normal(vectors.shape, dtype=np.float32)
        )


def _unit(rows: Vectors) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def word(number: int) -> str:
    """The token of a word id: two Han characters, one in six of them Latin letters."""
    if number % 6 == 5:
        return f"w{number:x}"
    return chr(0x4E00 + number % 180) + chr(0x4E00 + 180 + number // 180)


def tokens(ids: Ids, lengths: npt.NDArray[np.int64]) -> Iterator[list[str]]:
    """The token list of each chunk."""
    names = [word(number) for number in range(WORDS)]
    start = 0
    for length in lengths.tolist():
        yield [names[i] for i in ids[start : start + length].tolist()]
        start += length


def queries(world: World, count: int = 200) -> tuple[list[list[str]], Vectors]:
    """Token lists of 5 to 12 words out of the first 1,000 chunks, and their vectors."""
    ids, lengths = world.block(0)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    rng = np.random.default_rng([_SEED, 4])
    runs = []
    for chunk in rng.choice(BLOCK, count, replace=False):
        size = int(rng.integers(5, 13))
        start = int(starts[chunk] + rng.integers(0, lengths[chunk] - size))
        runs.append(ids[start : start + size])
    sizes = np.array([len(run) for run in runs])
    return [[word(int(i)) for i in run] for run in runs], world.embed(np.concatenate(runs), sizes, None)


def write(folder: Path, chunks: int) -> None:
    """Write ``ids_N.npy``, ``lengths_N.npy`` and ``vectors_N.npy`` for N chunks."""
    world = World.make()
    blocks = [world.block(at) for at in range(-(-chunks // BLOCK))]
    folder.mkdir(parents=True, exist_ok=True)
    lengths = np.concatenate([block[1] for block in blocks])[:chunks]
    np.save(folder / f"lengths_{chunks}.npy", lengths)
    np.save(folder / f"ids_{chunks}.npy", np.concatenate([block[0] for block in blocks])[: int(lengths.sum())])
    vectors = np.lib.format.open_memmap(folder / f"vectors_{chunks}.npy", "w+", np.float32, (chunks, DIMENSION))
    for at, (ids, sizes) in enumerate(blocks):
        rows = world.embed(ids, sizes, (0.3, at))
        vectors[at * BLOCK : (at + 1) * BLOCK] = rows[: chunks - at * BLOCK]


def main() -> None:
    """Write one size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chunks", type=int, default=100_000)
    options = parser.parse_args()
    write(options.folder, options.chunks)


if __name__ == "__main__":
    main()
