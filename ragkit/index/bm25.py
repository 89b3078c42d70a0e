"""BM25 over any number of segments, scored as if their living chunks had been indexed at once.

Weights follow Lucene's BM25 (Robertson & Zaragoza 2009): ``idf * tf (k1 + 1) / (tf + k1 (1 - b + b len / avglen))``
with ``idf = ln(1 + (N - df + 0.5) / (df + 0.5))``. The variant ``okapi`` reproduces rank_bm25's
``BM25Okapi``, negative idf floor included. Chunks without any term of the query are no hits.

N, avglen and df are those of the living chunks. The df of the dead ones is counted when a term is
first asked for, from its postings and the tombstones, so no segment stores a forward list.

Search is exact and skips what cannot matter, as MaxScore does (Turtle & Flood 1995): terms are
taken in the order of the most that they can add; once all the rest together cannot lift an unseen
chunk among the best n, only the chunks seen so far are looked up in the remaining, long lists.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from ragkit.index.postings import ChunkIds, Counts, PostingsSegment

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_SLACK: Final = 1e-5
"""Share by which a sum of single precision may be off; the best chunks are scored anew in double precision."""
_LONG: Final = 2048
"""Postings above which it pays to ask first whether they are needed."""
_SPREAD: Final = 4
"""Candidates are looked up in a list so many times as long; a shorter one is laid out over all chunks."""
_NONE: Final = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class BM25Settings:
    """Defaults measured on short chunks, where term frequency and length are mostly noise."""

    k1: float = 0.4
    b: float = 0.3
    variant: Literal["lucene", "okapi", "rank-bm25"] = "lucene"
    """``rank-bm25`` scores with that package itself: as ``okapi``, but slow. For comparison."""
    epsilon: float = 0.25
    """``okapi`` only: a negative idf becomes this share of the mean idf."""

    @property
    def fingerprint(self) -> str:
        return f"bm25-{self.variant}/{self.k1:g}/{self.b:g}"


@dataclass(frozen=True)
class _Part:
    """A segment in its place among the others."""

    postings: PostingsSegment
    base: int
    alive: Mask | None
    dead: ChunkIds
    norm: Scores
    """k1 (1 - b + b len / avglen) of each chunk."""

    def __len__(self) -> int:
        return len(self.postings)


class Bm25:
    """The sparse leg over segments; a chunk's ordinal is its segment's base plus its id there."""

    def __init__(
        self,
        segments: Sequence[PostingsSegment],
        dead: Sequence[Mask | None] | None = None,
        settings: BM25Settings | None = None,
    ) -> None:
        """Take the statistics of the living chunks.

        Args:
            segments: In the order of their ordinals.
            dead: For each segment a mask of the chunks that were deleted, or None.
            settings: Scoring; the postings do not depend on it.
        """
        self._settings = settings or BM25Settings()
        masks: Sequence[Mask | None] = [None] * len(segments) if dead is None else dead
        gone = [np.flatnonzero([] if mask is None else mask).astype(np.int32) for mask in masks]
        bases = list(accumulate((len(segment) for segment in segments), initial=0))
        pairs = list(zip(segments, gone, strict=True))
        tokens = sum(s.tokens - int(s.lengths[ids].sum(dtype=np.int64)) for s, ids in pairs)
        self._size, self._bases = bases[-1], bases
        self._living = self._size - sum(len(ids) for ids in gone)
        self._average = tokens / self._living if tokens else 1.0
        self._parts = [
            _Part(segment, base, ~mask if mask is not None and len(ids) else None, ids, self._norm(segment.lengths))
            for (segment, ids), base, mask in zip(pairs, bases, masks, strict=False)
        ]
        self._df: dict[str, int] = {}
        self._local = threading.local()
        self._mean_idf: float | None = None

    def __len__(self) -> int:
        """Chunks in all segments, the dead included: ordinals are below it."""
        return self._size

    def __contains__(self, term: str) -> bool:
        """Whether any living chunk has this analysed term."""
        return self.df(term) > 0

    def df(self, term: str) -> int:
        """How many living chunks hold the term."""
        known = self._df.get(term)
        if known is None:
            known = sum(_living_df(part, part.postings.row(term)) for part in self._parts)
            self._df[term] = known
        return known

    def idf(self, term: str) -> float:
        """Inverse document frequency of a term, never negative; an unseen term has the highest."""
        return lucene_idf(self.df(term), self._living)

    def like(self, term: str) -> list[str]:
        """Latin terms of about the length of `term`, candidates for what it may misspell."""
        found = {like for part in self._parts for like in part.postings.latin(len(term), 2)}
        return sorted(like for like in found if like in self)

    def search(self, terms: Sequence[str], n: int, allowed: Mask | None = None) -> tuple[Ids, Scores]:
        """The `n` best living chunks by BM25, best first, ties by ordinal; only scores above 0.

        Args:
            terms: Distinct query terms.
            n: At most so many.
            allowed: (len,) mask of the chunks that may be returned; None allows all.

        Returns:
            Ordinals (int64) and BM25 scores (float32).
        """
        weights = {term: self._weight(term) for term in dict.fromkeys(terms) if term in self}
        if n <= 0 or not weights:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        best = np.zeros(0, dtype=np.float32)
        found: list[tuple[int, ChunkIds, Scores]] = []
        # The threshold that a large segment sets spares most of the work in the small ones.
        for number in sorted(range(len(self._parts)), key=lambda i: -len(self._parts[i])):
            part = self._parts[number]
            mask = part.alive
            if allowed is not None:
                here = allowed[part.base : part.base + len(part)]
                mask = here if mask is None else mask & here
            if min(weights.values()) > 0:
                ids, scores = self._prune(part, weights, n, mask, best)
            else:
                ids, scores = self._score_all(part, weights, mask)
            found.append((number, ids, scores))
            best = _largest(np.concatenate((best, scores)), n)
        cut = float(best.min()) * (1 - _SLACK) if len(best) == n else -math.inf
        ordinals, exact = [], []
        for number, ids, scores in found:
            near = np.sort(ids[scores >= cut])
            ordinals.append(near.astype(np.int64) + self._parts[number].base)
            exact.append(self._exact(self._parts[number], weights, near))
        hits, final = np.concatenate(ordinals), np.concatenate(exact).astype(np.float32)
        hits, final = hits[final > 0], final[final > 0]
        order = np.lexsort((hits, -final))[:n]
        return hits[order], final[order]

    def coverage(self, terms: Sequence[str], ordinals: npt.ArrayLike) -> Scores:
        """Share of the query's idf mass that each of `ordinals` contains, (m,) float32 in 0..1.

        A term that no chunk contains stays in the denominator: that is what tells the fusion
        that this leg has little to say, for instance across languages.
        """
        wanted = np.asarray(ordinals, dtype=np.int64)
        idf = {term: self.idf(term) for term in dict.fromkeys(terms)}
        mass = np.zeros(len(wanted), dtype=np.float64)
        for part in self._parts:
            at = np.flatnonzero((wanted >= part.base) & (wanted < part.base + len(part)))
            if not len(at):
                continue
            local = (wanted[at] - part.base).astype(np.int32)
            for term, share in idf.items():
                tf = np.zeros(len(local), dtype=np.float64)
                _count(part.postings, term, local, tf)
                mass[at] += np.where(tf > 0, share, 0.0)
        total = sum(idf.values())
        return np.clip(mass / total if total else mass, 0, 1).astype(np.float32)

    def _norm(self, lengths: ChunkIds) -> Scores:
        scale = self._settings.k1 * self._settings.b / self._average
        return (self._settings.k1 * (1 - self._settings.b) + scale * lengths).astype(np.float32)

    def _weight(self, term: str) -> float:
        """What the term's idf and the constant factor make together."""
        idf = self.idf(term)
        if self._settings.variant != "lucene":
            df = self.df(term)
            idf = math.log(self._living - df + 0.5) - math.log(df + 0.5)
            if idf < 0:
                idf = self._settings.epsilon * self._okapi_mean()
        return idf * (self._settings.k1 + 1)

    def _okapi_mean(self) -> float:
        """Mean of rank_bm25's idf over all terms; the sum does not depend on how chunks lie in segments."""
        if self._mean_idf is None:
            df: Counter[str] = Counter()
            for part in self._parts:
                postings = part.postings
                counts = np.diff(postings.pointers)
                if part.alive is not None:
                    rows = np.repeat(np.arange(postings.terms), counts)
                    counts = np.bincount(rows[part.alive[postings.chunks]], minlength=postings.terms)
                for row in np.flatnonzero(counts).tolist():
                    df[postings.term(row)] += int(counts[row])
            values = [math.log(self._living - n + 0.5) - math.log(n + 0.5) for n in df.values()]
            self._mean_idf = math.fsum(values) / len(values)
        return self._mean_idf

    def _prune(
        self, part: _Part, weights: dict[str, float], n: int, mask: Mask | None, best: Scores
    ) -> tuple[ChunkIds, Scores]:
        """Chunks that may be among the best n, with all their score; `best` are scores found elsewhere."""
        rows = [(row, weight) for term, weight in weights.items() if (row := part.postings.row(term)) >= 0]
        bounded = sorted(((self._bound(part.postings, *row), *row) for row in rows), key=lambda entry: -entry[0])
        reach = sum(bound for bound, _, _ in bounded)
        rest = [reach - done for done in accumulate((bound for bound, _, _ in bounded), initial=0.0)]
        total = self._scratch(part)
        seen: list[ChunkIds] = []
        count, at, threshold, due = 0, 0, _threshold(best, n), _LONG
        try:
            for at, (_, row, weight) in enumerate(bounded):
                ids, tf = part.postings.postings(row)
                # Vain while nothing seen can have scored more than what is to come.
                if len(ids) > due and rest[at] < reach - rest[at] and count + len(best) >= n:
                    known = np.concatenate(seen) if seen else _NONE
                    threshold = self._floor(part, known, total.take(known), bounded[at:], n, best)
                    due = 4 * len(ids)
                if rest[at] < threshold:
                    break
                at_ids = ids.astype(np.intp)  # numpy would convert them anew for each use
                if mask is not None:
                    keep = mask.take(at_ids)
                    ids, tf, at_ids = ids[keep], tf[keep], at_ids[keep]
                before = total.take(at_ids)
                seen.append(ids[before == 0])
                count += len(seen[-1])
                before += _contributions(part, at_ids, tf, weight)
                total[at_ids] = before
            else:
                at = len(bounded)
            ids = np.concatenate(seen) if seen else _NONE
            scores = total.take(ids)
        finally:
            for touched in seen:
                total[touched] = 0
        later = bounded[at:]
        if later and len(ids) > 4 * n:
            threshold = self._floor(part, ids, scores, later, n, best)
            keep = scores >= np.float32(threshold - rest[at])
            ids, scores = ids[keep], scores[keep]
        order = np.argsort(ids)
        ids, scores = ids[order], scores[order]
        for number, (_, row, weight) in enumerate(later, start=at):
            threshold = max(threshold, _threshold(np.concatenate((best, scores)), n))
            keep = scores >= np.float32(threshold - rest[number])
            ids, scores = ids[keep], scores[keep]
            known, tf = part.postings.postings(row)
            if len(known) > _SPREAD * len(ids):
                scores += _looked_up(part, ids, row, weight)
            else:
                total[known] = _contributions(part, known, tf, weight)
                scores += total.take(ids)
                total[known] = 0
        return ids, scores

    def _floor(
        self, part: _Part, ids: ChunkIds, scores: Scores, later: list[tuple[float, int, float]], n: int, best: Scores
    ) -> float:
        """What a chunk must reach: the n best so far, with all that the later terms give them."""
        if len(ids) > n:
            top = np.argpartition(scores, len(scores) - n)[len(scores) - n :]
            ids, scores = ids[top], scores[top]
        order = np.argsort(ids)
        ids, scores = ids[order], scores[order]
        for _, row, weight in later:
            scores += _looked_up(part, ids, row, weight)
        return _threshold(np.concatenate((best, scores)), n)

    def _scratch(self, part: _Part) -> Scores:
        """Zeros for each chunk of the segment; who writes to them sets them back. One array a thread."""
        arrays: dict[tuple[int, int], Scores] | None = getattr(self._local, "arrays", None)
        if arrays is None:
            arrays = self._local.arrays = {}
        key = (part.base, len(part))
        if key not in arrays:
            arrays[key] = np.zeros(len(part), dtype=np.float32)
        return arrays[key]

    def _score_all(self, part: _Part, weights: dict[str, float], mask: Mask | None) -> tuple[ChunkIds, Scores]:
        """Every chunk with a term of the query, where an idf of 0 or less leaves nothing to prune by."""
        seen = np.zeros(len(part), dtype=np.bool_)
        for term in weights:
            if (row := part.postings.row(term)) >= 0:
                seen[part.postings.postings(row)[0]] = True
        ids = np.flatnonzero(seen if mask is None else seen & mask).astype(np.int32)
        return ids, self._exact(part, weights, ids).astype(np.float32)

    def _exact(self, part: _Part, weights: dict[str, float], ids: ChunkIds) -> npt.NDArray[np.float64]:
        """Scores in double precision, summed in the order of the query whatever the segments are."""
        tf = np.zeros((len(weights), len(ids)), dtype=np.float64)
        for number, term in enumerate(weights):
            _count(part.postings, term, ids, tf[number])
        lengths = part.postings.lengths[ids].astype(np.float64)
        norm = self._settings.k1 * (1 - self._settings.b + self._settings.b * lengths / self._average)
        scores = np.array(list(weights.values()))[:, None] * tf / np.where(tf > 0, tf + norm, 1.0)
        total = np.zeros(len(ids), dtype=np.float64)
        for row in scores:  # numpy's own sum may add in another order
            total += row
        return total

    def _bound(self, postings: PostingsSegment, row: int, weight: float) -> float:
        """The most that a term adds to any chunk of the segment."""
        tf = float(postings.max_tf[row])
        shortest = float(postings.min_length[row])
        norm = self._settings.k1 * (1 - self._settings.b + self._settings.b * shortest / self._average)
        return weight * tf / (tf + norm) * (1 + _SLACK)


def lucene_idf(df: int, chunks: int) -> float:
    """Inverse document frequency of a term that `df` of `chunks` chunks have; one that none has is the rarest."""
    return math.log(1 + (chunks - df + 0.5) / (df + 0.5))


def _contributions(part: _Part, ids: npt.NDArray[np.integer], tf: Counts, weight: float) -> Scores:
    occurrences = tf.astype(np.float32)
    norm = part.norm.take(ids)
    norm += occurrences
    occurrences *= np.float32(weight)
    occurrences /= norm
    return occurrences


def _looked_up(part: _Part, ids: ChunkIds, row: int, weight: float) -> Scores:
    """What a term adds to each of the ascending `ids`."""
    known, tf = part.postings.postings(row)
    place, hit = _lookup(known, ids)
    return np.where(hit, _contributions(part, ids, tf.take(place), weight), np.float32(0))


def _living_df(part: _Part, row: int) -> int:
    if row < 0:
        return 0
    ids, _ = part.postings.postings(row)
    if part.alive is None:
        return len(ids)
    if len(ids) > 16 * len(part.dead):
        return len(ids) - int(np.count_nonzero(_lookup(ids, part.dead)[1]))
    return int(np.count_nonzero(part.alive[ids]))


def _count(postings: PostingsSegment, term: str, ids: ChunkIds, out: npt.NDArray[np.float64]) -> None:
    """Write into `out` how often each of `ids` holds the term, where it does."""
    if (row := postings.row(term)) >= 0:
        known, tf = postings.postings(row)
        place, hit = _lookup(known, ids)
        np.copyto(out, tf[place], where=hit)


def _lookup(known: ChunkIds, ids: ChunkIds) -> tuple[Ids, Mask]:
    """Where each of `ids` would be in the ascending `known`, which is not empty, and whether it is there."""
    place = np.minimum(known.searchsorted(ids), len(known) - 1)
    return place, known[place] == ids


def _largest(scores: Scores, n: int) -> Scores:
    return np.partition(scores, len(scores) - n)[len(scores) - n :] if len(scores) > n else scores


def _threshold(scores: Scores, n: int) -> float:
    """What a chunk must reach to be among the best n; 0 while there are fewer."""
    if len(scores) < n:
        return 0.0
    return float(np.partition(scores, len(scores) - n)[len(scores) - n]) * (1 - _SLACK)
