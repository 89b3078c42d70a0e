"""Which FAISS index proposes the candidates of a large segment: the cheapest that loses nothing.

Candidates for the choice stand in the order of what a query costs. Each is built, its recall@10 is
measured against exact search on the segment's own vectors, and the first that reaches the target
is taken. 4-bit product quantisation scanned in registers (André, Kermarrec, Le Scouarnec 2015;
FAISS: "fast scan") comes first; above `IVF_FROM` rows an inverted file spares most of the scan.

A chunk's language position is one more component of what FAISS sees, next to the vector; the query
has the negative weight there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

from ragkit.index.rows import Ids, Rows, Vectors

FLAT_UP_TO: Final = 50_000
"""Rows up to which everything is compared: a few milliseconds."""
IVF_FROM: Final = 500_000
TARGET: Final = 0.99
"""Recall@10 that a type must keep, with a standard error to spare."""
IVF_TARGET: Final = 0.97
"""The same where an inverted file is used, whose cost grows steeply with the last hundredth."""
CANDIDATES: Final = (200, 400, 800)
"""Rows that FAISS proposes, the fewer that do; their exact scores decide."""
_TOP: Final = 10
_QUERIES: Final = 100
_TRAIN: Final = 4096
_WEIGHT: Final = 0.05
"""Language weight of every other query that measures: about what multilingual E5 needs."""
_ENOUGH: Final = (256, 4096)
"""Random rows that train a type with codes of eight bits, which is quick, or of twelve; lists want a row each."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coarse:
    """A FAISS index over a segment's rows and how to ask it."""

    index: Any
    factory: str
    extra: int
    """Components next to the vector: the position, then zeros."""
    nprobe: int
    """Lists of an inverted file to look into; 0 if it is none."""
    candidates: int
    """Rows to rescore for ten hits."""
    recall: float

    def wanted(self, n: int) -> int:
        """Rows to rescore for `n` hits."""
        return max(4 * n, self.candidates + n)

    def search(self, queries: Vectors, k: int, weight: float) -> Ids:
        """Row ids of about the `k` best for each of (m, d) queries, -1 where there are fewer."""
        parameters = faiss.SearchParametersIVF(nprobe=self.nprobe) if self.nprobe else None  # type: ignore[call-arg]
        return np.asarray(self.index.search(_widen(queries, -weight, self.extra), k, params=parameters)[1])


def choose(rows: Rows, real_queries: Vectors | None = None, factory: str | None = None) -> Coarse | None:
    """Build the index that proposes candidates, or None where comparing everything is the answer.

    That is so in a segment with too few rows to train `factory` on, too: one new note makes a segment of its own,
    which compaction merges into a larger one later.

    Args:
        rows: What the segment holds.
        real_queries: (m, d) unit vectors of questions that were asked; perturbed rows are used besides.
        factory: An ``index_factory`` string that is taken whatever its recall; ``Flat`` compares everything.

    Raises:
        ValueError: If FAISS does not know `factory`, or trains it on no rows of this dimension.
    """
    if factory == "Flat" or len(rows) == 0 or (factory is None and len(rows) <= FLAT_UP_TO):
        return None
    groups = [(queries, own, _truth(rows, queries, own)) for queries, own in _queries(rows, real_queries)]
    target = TARGET if len(rows) < IVF_FROM else IVF_TARGET
    for name in [factory] if factory else _candidates(rows):
        began = time.monotonic()
        try:
            built = _build(rows, name)
        except _TooFewRows:
            _log.info("%s needs more than %d rows; all are compared.", name, len(rows))
            continue
        except RuntimeError as exc:
            if factory:
                raise ValueError(f"FAISS cannot build {factory!r} over {len(rows)} rows: {_reason(exc)}") from exc
            continue
        for nprobe, candidates in product(_probes(built[0], len(groups) > 1), CANDIDATES):
            coarse = Coarse(*built, nprobe=nprobe, candidates=candidates, recall=0.0)
            recall, error = min(measure(rows, coarse, *group) for group in groups)
            if recall - error >= target:
                break
        coarse = replace(coarse, recall=recall)
        seconds = time.monotonic() - began
        _log.info("%s over %d rows: recall@10 %.4f, %.1f s", name, len(rows), recall, seconds)
        if recall - error >= target or factory:
            return coarse
    if factory:
        return None
    _log.warning("No FAISS type keeps recall@10 >= %.2f over %d rows; all are compared.", target, len(rows))
    return None


def measure(rows: Rows, coarse: Coarse, queries: Vectors, own: Ids, truth: list[set[int]]) -> tuple[float, float]:
    """Share of the true ten best that are found, and its standard error; every other query has a language weight."""
    shares = []
    for number, query in enumerate(queries):
        weight = _WEIGHT * (number % 2)
        ids = coarse.search(query[None], coarse.candidates, weight)[0]
        ids = ids[(ids >= 0) & ~np.isin(ids, own[number])]
        best = ids[np.argsort(-rows.exact(query, ids, weight), kind="stable")[:_TOP]]
        shares.append(len(truth[number] & set(best.tolist())) / max(1, len(truth[number])))
    return float(np.mean(shares)), float(np.std(shares) / np.sqrt(len(shares)))


def _candidates(rows: Rows) -> Iterator[str]:
    pairs = (rows.dimension + 2) // 2
    scan = [f"PQ{pairs // 2}x4fs", f"PQ{pairs}x4fs"]
    if len(rows) >= IVF_FROM:
        lists = 1 << int(np.log2(np.sqrt(len(rows))) + 0.5)
        yield f"IVF{lists},PQ{pairs}x4fs"
        yield f"IVF{lists},SQ8"
    yield from (*scan, "SQ8", "SQfp16")


def _probes(index: Any, asked: bool) -> Iterator[int]:
    """How many lists of an inverted file to look into, the fewest first; 0 if it is none.

    Moved rows stay near the lists of their relatives, which questions do not: at a million rows a
    thirty-second of the lists kept .99 of the first and .87 of the second, a quarter kept .96. Less
    than a quarter is tried only where real questions can tell.
    """
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is None:
        yield 0
        return
    for share in (32, 16, 8, 4, 2) if asked else (4, 2):
        yield max(1, inverted.nlist // share)


class _TooFewRows(Exception):
    """A type that FAISS can train, but not on so few rows."""


def _build(rows: Rows, factory: str) -> tuple[Any, str, int]:
    """Train and fill a FAISS index, with as many zeros next to the position as its factory wants."""
    failure: RuntimeError | None = None
    for extra in (1, 2, 3, 4, 8, 16, 32, 64, 128):
        try:
            index = faiss.index_factory(rows.dimension + extra, factory, faiss.METRIC_INNER_PRODUCT)
        except RuntimeError as exc:
            failure = exc
            continue
        size = _TRAIN
        inverted = faiss.try_extract_index_ivf(index)
        if inverted is not None:
            size = max(size, 48 * inverted.nlist)
        sample = np.sort(np.random.default_rng(0).permutation(len(rows))[:size])
        try:
            _train(index, _widen(rows.take(sample), rows.positions[sample], extra))
        except RuntimeError as exc:
            # FAISS has one error for all that goes wrong, so whether rows are missing is found out by giving it more.
            if _can_train(rows.dimension + extra, factory):
                raise _TooFewRows from exc
            raise
        for first, block in rows.blocks():
            index.add(_widen(block, rows.positions[first : first + len(block)], extra))
        return index, factory, extra
    raise failure if failure is not None else RuntimeError(factory)


@lru_cache(maxsize=16)
def _can_train(dimension: int, factory: str) -> bool:
    """Whether FAISS can train this type at all, if it has rows enough."""
    for size in _ENOUGH:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        inverted = faiss.try_extract_index_ivf(index)
        rows = max(size, 0 if inverted is None else inverted.nlist)
        with suppress(RuntimeError):
            _train(index, np.random.default_rng(2).standard_normal((rows, dimension), dtype=np.float32))
            return True
    return False


def _train(index: Any, rows: Vectors) -> None:
    """Train with few iterations of k-means: after six of them recall no longer gains, and exact scores decide anyway.

    FAISS would write a line to stderr for every clustering of less than 39 rows a centroid, thousands for some types.
    """
    owned = []
    parts = [index]
    while parts:
        part = parts.pop()
        if isinstance(part, faiss.Index):
            part = faiss.downcast_index(part)
        elif isinstance(part, faiss.VectorTransform):
            part = faiss.downcast_VectorTransform(part)
        if isinstance(part, faiss.OPQMatrix) and part.pq is None:
            # FAISS makes one of its own otherwise, which nobody can set. It does not keep this one alive.
            owned.append((part, faiss.ProductQuantizer(part.d_out, part.M, 8)))
            part.pq = owned[-1][1]
        if (clustering := getattr(part, "cp", None)) is not None:
            clustering.niter = 6
            clustering.max_points_per_centroid = 64
            clustering.min_points_per_centroid = 1
        chain = getattr(part, "chain", None)
        parts += [chain.at(at) for at in range(chain.size())] if chain is not None else []
        inner = (getattr(part, name, None) for name in ("index", "base_index", "storage", "quantizer", "pq", "rq"))
        parts += [one for one in inner if one is not None]
    try:
        index.train(rows)
    finally:
        for matrix, _ in owned:
            matrix.pq = None


def _widen(vectors: Vectors, positions: npt.ArrayLike, extra: int) -> Vectors:
    """Vectors with their positions (a query: one minus its weight) in the first of `extra` further components."""
    out = np.zeros((len(vectors), vectors.shape[1] + extra), dtype=np.float32)
    out[:, : vectors.shape[1]] = vectors
    out[:, vectors.shape[1]] = positions
    return out


def _queries(rows: Rows, real: Vectors | None) -> list[tuple[Vectors, Ids]]:
    """Groups of questions, each with the ids of rows that it was made from and that do not count.

    A row is moved along the difference of two others, which has the directions in which this corpus
    varies, and then by white noise of twice its length: on two corpora that lost as much as real
    questions did. Rows that are moved less are easy, for their neighbours stand out whatever the
    quantiser loses. Real questions are the second group.
    """
    rng = np.random.default_rng(1)
    own = rng.integers(0, len(rows), (_QUERIES, 3))
    a, b, c = (rows.take(ids) for ids in own.T)
    moved = a + b - c + rng.standard_normal(a.shape, dtype=np.float32) * np.float32(2 / np.sqrt(rows.dimension))
    moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)
    if real is None or not len(real):
        return [(moved, own)]
    asked = np.ascontiguousarray(real[:_QUERIES], dtype=np.float32)
    return [(moved, own), (asked, np.full((len(asked), 3), -1))]


def _truth(rows: Rows, queries: Vectors, own: Ids) -> list[set[int]]:
    """The ids of the ten best rows for each query."""
    weights = np.where(np.arange(len(queries)) % 2, np.float32(_WEIGHT), np.float32(0))
    scores = np.zeros((len(queries), 0), dtype=np.float32)
    ids = np.zeros((len(queries), 0), dtype=np.int64)
    for first, block in rows.blocks():
        here = queries @ block.T - np.outer(weights, rows.positions[first : first + len(block)])
        number, which = np.nonzero((own >= first) & (own < first + len(block)))
        here[number, own[number, which] - first] = -np.inf
        near = _best(here)
        scores = np.hstack((scores, np.take_along_axis(here, near, 1)))
        ids = np.hstack((ids, near + first))
        best = _best(scores)
        scores, ids = np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)
    found = np.isfinite(scores)
    return [set(row[known].tolist()) for row, known in zip(ids, found, strict=True)]


def _best(scores: Vectors) -> Ids:
    """Columns of the highest scores of each row."""
    return np.argpartition(-scores, min(_TOP, scores.shape[1]) - 1, axis=1)[:, :_TOP]


def _reason(exc: RuntimeError) -> str:
    return str(exc).rsplit("Error: ", 1)[-1].splitlines()[0]
