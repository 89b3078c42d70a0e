"""Both search structures of a segment against plain ones, one thread, interleaved; ratios only.

    OMP_NUM_THREADS=1 python evals/bench/legs.py FOLDER [--chunks 100000] [--rounds 5] [--json]

Dense: `VectorSegment` against FAISS's flat fp32 search. Sparse: `Bm25` over `PostingsSegment` against
precomputed weights in compressed columns, summed over all chunks (what bm25s does). FOLDER keeps the
data of `zipf_data.py`, which is made if it is missing. Times are of the process (other jobs do not
count), the least of the rounds for each query, the median over queries; memory is above the input.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt
import zipf_data

from ragkit.index.bm25 import Bm25, BM25Settings
from ragkit.index.postings import PostingsSegment
from ragkit.index.vector_segment import VectorSegment

_DEPTH: Final = 50
Ids = npt.NDArray[np.int64]


def _status(field: str) -> float:
    """A line of /proc/self/status in MB; 0 where there is none."""
    path = Path("/proc/self/status")
    lines = path.read_text(encoding="ascii").splitlines() if path.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


def built(make: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What `make` returns, its seconds of CPU and its peak of memory above what was there."""
    before = _status("VmRSS")
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5", encoding="ascii")
    began = time.process_time()
    out = make()
    return out, {"build_seconds": time.process_time() - began, "build_peak_mb": _status("VmHWM") - before}


def interleaved(
    searches: dict[str, Callable[[Any], Ids]], queries: Sequence[Any], rounds: int
) -> tuple[dict[str, float], dict[str, list[set[int]]]]:
    """Median over the queries of the least time in ms, and the ids found, for each search."""
    times = {name: np.full(len(queries), np.inf) for name in searches}
    found: dict[str, list[set[int]]] = {name: [set()] * len(queries) for name in searches}
    for _ in range(rounds):
        for number, query in enumerate(queries):
            for name, search in searches.items():
                began = time.process_time()
                ids = search(query)
                times[name][number] = min(times[name][number], time.process_time() - began)
                found[name][number] = set(ids.tolist())
    return {name: float(np.median(values)) * 1e3 for name, values in times.items()}, found


def dense(vectors: npt.NDArray[np.float32], queries: npt.NDArray[np.float32], rounds: int) -> dict[str, Any]:
    """The dense leg over ready vectors."""
    positions = np.random.default_rng(0).random(len(vectors)).astype(np.float32)
    segment, cost = built(lambda: VectorSegment.build(vectors, positions))
    with tempfile.TemporaryDirectory() as name:
        files = segment.save(Path(name))
        del segment
        disk = sum((Path(name) / file).stat().st_size for file in files) / 1e6
        before, began = _status("VmRSS"), time.process_time()
        segment = VectorSegment.load(Path(name))
        opened = (time.process_time() - began) * 1e3
        for query in queries[:10]:
            segment.search(query, _DEPTH)
        serving = _status("VmRSS") - before
        most = np.random.default_rng(1).random(len(vectors)) < 0.9
        rows = np.asarray(vectors)
        times, found = interleaved(
            {
                "base": lambda q: faiss.knn(q[None], rows, _DEPTH, metric=faiss.METRIC_INNER_PRODUCT)[1][0],
                "ragkit": lambda q: segment.search(q, _DEPTH)[0],
                "language weight": lambda q: segment.search(q, _DEPTH, None, 0.08)[0],
                "90% allowed": lambda q: segment.search(q, _DEPTH, most)[0],
            },
            queries,
            rounds,
        )
        began = time.process_time()
        segment.search_batch(queries, _DEPTH)
        batch = (time.process_time() - began) / len(queries) * 1e3
        recall = {}
        for n in (10, _DEPTH):
            pairs = [(set(segment.search(q, n)[0].tolist()), set(_exact(rows, q, n).tolist())) for q in queries]
            recall[f"recall@{n}"] = sum(len(a & b) for a, b in pairs) / (n * len(queries))
    ratios = {name: value / times["base"] for name, value in {**times, "batch": batch}.items()}
    overlap = float(np.mean([len(a & b) / _DEPTH for a, b in zip(found["base"], found["ragkit"], strict=True)]))
    return {
        "kind": segment.kind,
        "recall at build": segment.recall,
        **recall,
        "overlap": overlap,
        "ratios": ratios,
        "ms": times,
        "open_ms": opened,
        "serving_mb": serving,
        "disk_mb": disk,
        **cost,
    }


def _exact(rows: npt.NDArray[np.float32], query: npt.NDArray[np.float32], n: int) -> Ids:
    return np.asarray(faiss.knn(query[None], rows, n, metric=faiss.METRIC_INNER_PRODUCT)[1][0])


class _Columns:
    """Precomputed BM25 weights by term, added up over all chunks."""

    def __init__(self, segment: PostingsSegment) -> None:
        settings, size = BM25Settings(), len(segment)
        df = np.diff(segment.pointers)
        idf = np.log(1 + (size - df + 0.5) / (df + 0.5)).astype(np.float32)
        norm = settings.k1 * (1 - settings.b + settings.b * segment.lengths / segment.lengths.mean())
        tf = np.asarray(segment.tf, dtype=np.float32)
        self._weights = np.repeat(idf * np.float32(settings.k1 + 1), df) * tf
        self._weights /= tf + norm.astype(np.float32)[segment.chunks]
        self._segment = segment

    def search(self, terms: Sequence[str]) -> Ids:
        scores = np.zeros(len(self._segment), dtype=np.float32)
        for term in dict.fromkeys(terms):
            if (row := self._segment.row(term)) >= 0:
                at = slice(self._segment.pointers[row], self._segment.pointers[row + 1])
                scores[self._segment.chunks[at]] += self._weights[at]
        best = np.argpartition(scores, len(scores) - _DEPTH)[len(scores) - _DEPTH :]
        return np.asarray(best[np.lexsort((best, -scores[best]))])


def sparse(
    ids: npt.NDArray[np.int32], lengths: npt.NDArray[np.int64], queries: list[list[str]], rounds: int
) -> dict[str, Any]:
    """The sparse leg over ready tokens."""
    began = time.process_time()
    for _ in zipf_data.tokens(ids, lengths):
        pass
    making = time.process_time() - began
    segment, cost = built(lambda: PostingsSegment.build(zipf_data.tokens(ids, lengths)))
    cost["build_seconds"] -= making
    with tempfile.TemporaryDirectory() as name:
        (file,) = segment.save(Path(name))
        del segment
        disk = (Path(name) / file).stat().st_size / 1e6
        before, began = _status("VmRSS"), time.process_time()
        segment = PostingsSegment.load(Path(name))
        engine = Bm25([segment])
        opened = (time.process_time() - began) * 1e3
        for query in queries[:10]:
            engine.search(query, _DEPTH)
        serving = _status("VmRSS") - before
        dead = np.zeros(len(segment), dtype=np.bool_)
        dead[:: max(1, len(segment) // 100)] = True
        deleted = Bm25([segment], [dead])
        columns = _Columns(segment)
        times, found = interleaved(
            {
                "base": columns.search,
                "ragkit": lambda q: engine.search(q, _DEPTH)[0],
                "100 deleted": lambda q: deleted.search(q, _DEPTH)[0],
            },
            queries,
            rounds,
        )
    overlap = float(np.mean([len(a & b) / _DEPTH for a, b in zip(found["base"], found["ragkit"], strict=True)]))
    ratios = {name: value / times["base"] for name, value in times.items()}
    rest = {"open_ms": opened, "serving_mb": serving, "disk_mb": disk}
    return {"overlap": overlap, "ratios": ratios, "ms": times, **rest, **cost}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--leg", choices=["dense", "sparse", "both"], default="both")
    parser.add_argument("--vectors", type=Path, help=".npy of (n, d) float32; the last rows are the queries")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    n = options.chunks
    if not (options.folder / f"vectors_{n}.npy").is_file():
        zipf_data.write(options.folder, n)
    words, asked = zipf_data.queries(zipf_data.World.make(), options.queries)
    out: dict[str, Any] = {"chunks": n}
    if options.leg != "sparse":
        # A map that is read for the first time would count as memory of the build.
        mode: Any = "r" if n > 200_000 else None
        vectors = np.load(options.vectors or options.folder / f"vectors_{n}.npy", mmap_mode=mode, allow_pickle=False)
        if options.vectors:
            vectors, asked = vectors[: -options.queries], np.array(vectors[-options.queries :])
        out["dense"] = dense(vectors, asked, options.rounds)
    if options.leg != "dense":
        ids, lengths = (np.load(options.folder / f"{name}_{n}.npy", allow_pickle=False) for name in ("ids", "lengths"))
        out["sparse"] = sparse(ids, lengths, words, options.rounds)
    if options.json:
        print(json.dumps(out, indent=1))
        return
    for leg in ("dense", "sparse"):
        for name, value in out.get(leg, {}).items():
            for part, figure in value.items() if isinstance(value, dict) else [("", value)]:
                print(f"{leg:8}{name:18}{part:18}{figure if isinstance(figure, str) else f'{figure:.3f}'}")


if __name__ == "__main__":
    main()
