"""BM25 scored by the package rank-bm25 itself, for comparison: every query scores every chunk in Python."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rank_bm25 import BM25Okapi

from ragkit.index.bm25 import Bm25, BM25Settings, Ids, Mask, Scores
from ragkit.index.postings import PostingsSegment


class RankBm25(Bm25):
    """`Bm25` with the scores of ``rank_bm25.BM25Okapi`` over the living chunks, which are all held in memory."""

    def __init__(
        self,
        segments: Sequence[PostingsSegment],
        dead: Sequence[Mask | None] | None = None,
        settings: BM25Settings | None = None,
    ) -> None:
        """Take the living chunks' tokens out of their postings; arguments as for `Bm25`."""
        super().__init__(segments, dead, settings)
        alive = [part.alive if part.alive is not None else np.ones(len(part), dtype=np.bool_) for part in self._parts]
        self._ordinals = np.flatnonzero(np.concatenate([np.zeros(0, dtype=np.bool_), *alive]))
        bags = [bag for part in self._parts for bag in part.postings.chunk_tokens()]
        living = [bags[ordinal] for ordinal in self._ordinals.tolist()]
        k1, b, epsilon = self._settings.k1, self._settings.b, self._settings.epsilon
        # The package divides by the number of chunks and by their average length.
        self._okapi = BM25Okapi(living, k1=k1, b=b, epsilon=epsilon) if any(living) else None

    def search(self, terms: Sequence[str], n: int, allowed: Mask | None = None) -> tuple[Ids, Scores]:
        """As `Bm25.search`."""
        if self._okapi is None or n <= 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        scores = np.asarray(self._okapi.get_scores(list(dict.fromkeys(terms))), dtype=np.float32)
        keep = scores > 0
        if allowed is not None:
            keep &= allowed[self._ordinals]
        hits, final = self._ordinals[keep], scores[keep]
        order = np.lexsort((hits, -final))[:n]
        return hits[order], final[order]


def open_bm25(
    segments: Sequence[PostingsSegment],
    dead: Sequence[Mask | None] | None = None,
    settings: BM25Settings | None = None,
) -> Bm25:
    """The engine that `settings.variant` names."""
    engine = RankBm25 if settings is not None and settings.variant == "rank-bm25" else Bm25
    return engine(segments, dead, settings)
