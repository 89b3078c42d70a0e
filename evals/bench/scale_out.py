"""The figures of docs/scale-out.md: Milvus Lite against the embedded engine, and the arithmetic for large corpora.

    python evals/bench/scale_out.py [--chunks 1000 10000] [--queries 30] [--no-measure]

Measured: synthetic notes with Zipf words, vectors of 384 numbers from `HashingEmbedder` (so that no model's speed is
in the table), the same notes and queries for both, one thread each, ratios of medians. Computed: sizes per chunk
from the shipped corpus, multiplied.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from ragkit.api import Index
from ragkit.content import default_corpus
from ragkit.index.backends.store import StoredChunk, payload_of, version_of
from ragkit.index.store import tags_of
from ragkit.ingest.chunk_settings import ChunkSettings
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import read_all, scan
from ragkit.settings import Settings, load_settings
from ragkit.testing import HashingEmbedder
from ragkit.text.tokens import query_terms, tokenize
from ragkit.values import Document

DIMENSION = 384
CHANGED = 100
PER_NOTE = 10
"""Chunks of a synthetic note."""


def write_notes(folder: Path, chunks: int, seed: int = 1) -> None:
    """Notes of ten sections of 120 Zipf words each: ten chunks."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for note in range(chunks // PER_NOTE):
        sections = []
        for section in range(PER_NOTE):
            words = " ".join(f"w{word}" for word in np.minimum(rng.zipf(1.3, 120), 50_000))
            sections.append(f"## Note {note} section {section}\n\n{words}.\n")
        (folder / f"{note:06d}.md").write_text("\n".join(sections), encoding="utf-8")


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def size_of(path: Path) -> int:
    """Bytes of all files at or below `path`."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def measure(settings: Settings, notes: Path, more: Path, data: Path, asked: int) -> dict[str, float]:
    """One engine through build, open, `asked` queries of each mode, an addition and a deletion; seconds and bytes."""
    folder = data if settings.backend == "faiss" else None

    def open_index(over: Path | None) -> Index:
        return Index.open(over, folder, embedding=HashingEmbedder(dimension=DIMENSION), settings=settings)

    found: dict[str, float] = {}
    began = time.perf_counter()
    open_index(notes).close()
    found["build (vectors included)"] = time.perf_counter() - began
    rng = np.random.default_rng(2)
    queries = [" ".join(f"w{word}" for word in np.minimum(rng.zipf(1.3, 8), 50_000)) for _ in range(asked)]
    began = time.perf_counter()
    index = open_index(None)
    index.search(queries[0], k=10)
    found["open and first answer"] = time.perf_counter() - began
    for mode in ("dense", "sparse", "hybrid"):
        index.search(queries[1], k=10, mode=mode)  # type: ignore[arg-type]
        times = [seconds(lambda q=query, m=mode: index.search(q, k=10, mode=m)) for query in queries]  # type: ignore[misc]
        found[f"query, {mode}, p50"] = statistics.median(times)
    index.close()
    found["size on disk"] = size_of(data)
    for note in more.iterdir():
        shutil.copy(note, notes / f"more-{note.name}")
    found[f"add {CHANGED} chunks"] = seconds(lambda: open_index(notes).close())
    for note in more.iterdir():
        (notes / f"more-{note.name}").unlink()
    found[f"delete {CHANGED} chunks"] = seconds(lambda: open_index(notes).close())
    return found


def compare(counts: list[int], asked: int) -> None:
    """Print the table of ratios."""
    columns: list[dict[str, float]] = []
    for count in counts:
        base = Path(tempfile.mkdtemp())
        write_notes(base / "notes", count)
        write_notes(base / "more", CHANGED, seed=3)
        database = base / "lite.db"
        embedded = load_settings(home=base / "home")
        milvus = load_settings(home=base / "home", backend="milvus", backend_uri=str(database))
        ours = measure(embedded, base / "notes", base / "more", base / "index", asked)
        theirs = measure(milvus, base / "notes", base / "more", database, asked)
        columns.append({name: theirs[name] / ours[name] for name in ours})
        print(f"{count:,} chunks: {columns[-1]}", file=sys.stderr, flush=True)
        shutil.rmtree(base, ignore_errors=True)
    print("| Milvus Lite : embedded | " + " | ".join(f"{count:,} chunks" for count in counts) + " |")
    print("|---|" + "---|" * len(counts))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:.2g} : 1" for column in columns) + " |")


def arithmetic(passages: float, bandwidth: float) -> None:
    """Print the sizes and times for large corpora, from the shipped corpus's chunks."""
    sources, _ = scan([default_corpus()])
    stored, terms, frequencies, text = 0, [], {}, 0
    for _, document in read_all(sources):
        if not isinstance(document, Document):
            continue
        text += len(document.text.encode())
        for number, chunk in enumerate(chunk_document(document, ChunkSettings())):
            version = version_of(document.path, document.content_hash)
            stored += len(payload_of(StoredChunk(version, number, chunk, tags_of(document.metadata))).encode())
            distinct = set(tokenize(chunk.search_text))
            terms.append(len(distinct))
            for term in distinct:
                frequencies[term] = frequencies.get(term, 0) + 1
    chunks = len(terms)
    questions = ["为什么需要位置编码？", "LSTM 和 GRU 的区别", "What does the KV cache keep?", "LoRA 的秩怎么选？"]
    touched = statistics.mean(sum(frequencies.get(t, 0) for t in query_terms(q)) / chunks for q in questions)
    each = {
        "vectors, float32": (DIMENSION + 1) * 4,
        "vectors, 8 bit": DIMENSION + 1,
        "term weights": statistics.mean(terms) * 8,
        "chunks with their text and places": stored / chunks,
        "texts of the documents": text / chunks,
    }
    print(f"\nFrom {chunks:,} chunks of the shipped corpus: {statistics.mean(terms):.0f} different terms a chunk;")
    print(f"a question's terms stand in {touched:.2f} chunks for each chunk there is, with repetitions.\n")
    print("| | a chunk | 10 million | 1 billion |")
    print("|---|---|---|---|")
    for name, size in each.items():
        print(f"| {name} | {size:,.0f} B | {size * 1e7 / 1e9:,.0f} GB | {size * 1e9 / 1e12:,.2f} TB |")
    for machines in (1, 100):
        days = [count / passages / machines / 86_400 for count in (1e7, 1e9)]
        print(
            f"| embedding, {machines} machine(s) at {passages:g} passages/s | | {days[0]:,.1f} d | {days[1]:,.0f} d |"
        )
    scan_time = [(DIMENSION + 1) * 4 * count / (bandwidth * 1e9) for count in (1e7, 1e9)]
    print(f"| exact dense query, memory at {bandwidth:g} GB/s | | {scan_time[0]:.2f} s | {scan_time[1]:,.0f} s |")
    sparse = [touched * 8 * count / (bandwidth * 1e9) for count in (1e7, 1e9)]
    print(f"| exact BM25 query, memory at {bandwidth:g} GB/s | | {sparse[0] * 1000:.1f} ms | {sparse[1]:.2f} s |")


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--queries", type=int, default=30, help="of each mode; at least 2")
    parser.add_argument("--passages-per-second", type=float, default=70.0)
    parser.add_argument("--bandwidth", type=float, default=20.0, help="GB/s that one machine reads from memory")
    parser.add_argument("--no-measure", action="store_true", help="the arithmetic only")
    options = parser.parse_args()
    if not options.no_measure:
        compare(options.chunks, options.queries)
    arithmetic(options.passages_per_second, options.bandwidth)


if __name__ == "__main__":
    main()
