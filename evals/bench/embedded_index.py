"""What commits, opening and searching cost with the embedded index, all in one run.

    OMP_NUM_THREADS=1 python evals/bench/embedded_index.py --chunks 100000

Texts and vectors are those of `zipf_data`; vectors are handed out in turn, so no model is measured. Wall
time and CPU time of this process stand beside each other: on a busy machine only the second says much.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from zipf_data import BLOCK, World, queries, tokens

from ragkit.api import Index
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import make_document
from ragkit.models.embeddings import ModelIdentity
from ragkit.text.tokens import tokenize
from ragkit.values import Document

_OPEN = """
import sys, time
sys.path.insert(0, sys.argv[1])
began, cpu = time.perf_counter(), time.process_time()
from ragkit.api import Index
from embedded_index import Vectors
index = Index.open(None, sys.argv[2], embedding=Vectors(0))
assert index.search(sys.argv[3], k=10)
print(time.perf_counter() - began, time.process_time() - cpu)
for line in open("/proc/self/status"):
    if line.startswith("VmRSS"):
        print(int(line.split()[1]) / 1024)
"""


class Vectors:
    """An embedding model that hands out prepared vectors in turn."""

    name = "prepared"
    temperature: float | None = 0.05
    relevance_floor: float | None = None

    def __init__(self, chunks: int) -> None:
        if not chunks:  # only to open an index and ask
            self._rows = np.eye(1, 512, dtype=np.float32)
            self._query, self._next = self._rows[0], 0
            return
        world = World.make()
        blocks = [world.embed(*world.block(b), (0.3, b)) for b in range(-(-chunks // BLOCK))]
        self._rows = np.concatenate(blocks)
        self._query = queries(world, 1)[1][0]
        self._next = 0

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(self.name, "1", self._rows.shape[1], "")

    def encode_documents(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        at = (self._next + np.arange(len(texts))) % len(self._rows)
        self._next += len(texts)
        return self._rows[at]

    def encode_query(self, text: str) -> np.ndarray:
        return self._query


def notes(chunks: int, first: int = 0) -> Iterator[Document]:
    """Notes of ten short paragraphs, together about so many chunks."""
    world = World.make()
    paragraphs: list[str] = []
    for block in range(first, first + -(-chunks // BLOCK)):
        for number, words in enumerate(tokens(*world.block(block))):
            paragraphs.append(f"## {words[0]} {block} {number}\n\n{' '.join(words)}")
            if len(paragraphs) == 10:
                yield make_document(f"{block % 100:02}/{block:05}-{number:03}.md", "\n\n".join(paragraphs))
                paragraphs = []


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall time and of CPU time."""
    began, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - began, time.process_time() - cpu


def median(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The middle of each, for the report."""
    return {name: round(statistics.median(p[i] for p in pairs), 4) for i, name in enumerate(("wall", "cpu"))}


def _words(documents: Sequence[Document]) -> list[list[str]]:
    return [tokenize(chunk.search_text) for document in documents for chunk in chunk_document(document)]


def run(chunks: int, rounds: int, folder: Path) -> dict[str, object]:
    """Build, open, search, add, delete, compact."""
    model = Vectors(chunks)
    documents = list(notes(chunks * 10 // 14))  # the chunker makes about 14 chunks of ten paragraphs
    extra = list(notes(BLOCK, first=5000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    built: list[Index] = []
    build = timed(lambda: built.append(Index.from_documents(documents, folder, embedding=model)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    index = built[0]
    out: dict[str, object] = {
        "chunks": len(index),
        "build": median([build]),
        "build_peak_mb_above_input": peak - before,
    }
    asked = [" ".join(words) for words in queries(World.make(), 100)[0]]
    index.search(asked[0])
    out["query"] = median([timed(lambda q=q: index.search(q, k=10)) for q in asked])  # type: ignore[misc]
    adds, deletes, found, words = [], [], [], []
    for i in range(rounds):
        few = extra[7 * i : 7 * i + 7]
        had = len(index)
        words.append(timed(lambda some=few: _words(some)))  # type: ignore[misc]
        adds.append(timed(lambda some=few: index.add_documents(some)))  # type: ignore[misc]
        out["chunks_added"] = len(index) - had
        found.append(timed(lambda q=asked[i]: index.search(q, k=10)))  # type: ignore[misc]
    for i in range(rounds):
        paths = [document.path for document in documents[7 * i : 7 * i + 7]]
        deletes.append(timed(lambda some=paths: index.remove(some)))  # type: ignore[misc]
    out |= {
        "add": median(adds),
        "of_that_cutting_and_tokenising": median(words),
        "first_query_after_add": median(found),
        "delete": median(deletes),
    }
    out["segments"] = len(list(folder.glob("seg-*")))
    index.close()
    command = [sys.executable, "-c", _OPEN, str(Path(__file__).parent), str(folder), asked[1]]
    opens = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(5)]
    out["cold_open_to_first_answer"] = median([(float(a), float(b)) for a, b, *_ in opens])
    out["serving_mb"] = max(float(line[2]) for line in opens)
    index = Index.open(None, folder, embedding=model)
    out["compact"] = median([timed(index.compact)])
    return out


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=14)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        print(json.dumps(run(arguments.chunks, arguments.rounds, Path(folder) / "index"), indent=1))


if __name__ == "__main__":
    main()
