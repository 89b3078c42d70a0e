"""The sparse leg: BM25 over precomputed term weights, and how much of a question a chunk covers.

Weights follow Lucene's BM25 (Robertson & Zaragoza 2009): ``idf * tf (k1 + 1) / (tf + k1 (1 - b + b len / avglen))``
with ``idf = ln(1 + (N - df + 0.5) / (df + 0.5))``. The variant ``okapi`` reproduces rank_bm25's
``BM25Okapi``, negative idf floor included. Chunks without any term of the query are no hits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ragkit.errors import IndexCorruptError
from ragkit.index.bm25 import BM25Settings as BM25Settings

Ids = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


class SparseIndex:
    """Postings by term: which chunks contain it, with which weight."""

    def __init__(
        self,
        terms: Sequence[str],
        pointers: Ids,
        chunks: npt.NDArray[np.int32],
        weights: Scores,
        idf: Scores,
        size: int,
    ) -> None:
        self._terms = {term: i for i, term in enumerate(terms)}
        self._pointers, self._chunks, self._weights, self._idf = pointers, chunks, weights, idf
        self._size = size
        self._unseen = math.log(1 + (size + 0.5) / 0.5)

    def __len__(self) -> int:
        return self._size

    @classmethod
    def build(cls, tokens: Sequence[Sequence[str]], settings: BM25Settings | None = None) -> SparseIndex:
        """Index the token list of each chunk, in the order of the chunks' ordinals."""
        settings = settings or BM25Settings()
        counts = [Counter(chunk) for chunk in tokens]
        terms = sorted({term for count in counts for term in count})
        row = {term: i for i, term in enumerate(terms)}
        lengths = np.array([len(chunk) for chunk in tokens], dtype=np.float64)
        mean = float(lengths.mean()) if len(lengths) and lengths.sum() else 1.0
        total = sum(len(count) for count in counts)
        term_ids = np.fromiter((row[t] for count in counts for t in count), dtype=np.int64, count=total)
        tf = np.fromiter((n for count in counts for n in count.values()), dtype=np.float64, count=total)
        chunk_ids = np.repeat(np.arange(len(counts)), [len(count) for count in counts])
        order = np.lexsort((chunk_ids, term_ids))
        term_ids, tf, chunk_ids = term_ids[order], tf[order], chunk_ids[order]
        df = np.bincount(term_ids, minlength=len(terms)).astype(np.float64)
        idf = _idf(df, len(counts), settings)
        norm = settings.k1 * (1 - settings.b + settings.b * lengths[chunk_ids] / mean)
        weights = idf[term_ids] * tf * (settings.k1 + 1) / (tf + norm)
        pointers = np.concatenate(([0], np.cumsum(df))).astype(np.int64)
        # Coverage needs an idf that is never negative, whatever the variant scores with.
        mass = _idf(df, len(counts), BM25Settings())
        return cls(
            terms,
            pointers,
            chunk_ids.astype(np.int32),
            weights.astype(np.float32),
            mass.astype(np.float32),
            len(counts),
        )

    def save(self, folder: Path) -> None:
        """Write ``postings.npz`` and ``terms.txt`` into `folder`."""
        np.savez(
            folder / "postings.npz",
            pointers=self._pointers,
            chunks=self._chunks,
            weights=self._weights,
            idf=self._idf,
            size=np.array([self._size]),
        )
        (folder / "terms.txt").write_text("\n".join(self._terms), encoding="utf-8", newline="")

    @classmethod
    def load(cls, folder: Path) -> SparseIndex:
        """Read what `save` wrote.

        Raises:
            IndexCorruptError: If the files do not fit together.
        """
        text = (folder / "terms.txt").read_text(encoding="utf-8")
        terms = text.split("\n") if text else []
        with np.load(folder / "postings.npz", allow_pickle=False) as arrays:
            loaded = cls(
                terms, arrays["pointers"], arrays["chunks"], arrays["weights"], arrays["idf"], int(arrays["size"][0])
            )
        if len(terms) != len(loaded._idf):
            raise IndexCorruptError(f"Postings in {folder} do not fit together.", "Rebuild: ragkit index --rebuild.")
        return loaded

    def search(self, terms: Sequence[str], n: int, allowed: npt.NDArray[np.bool_] | None = None) -> tuple[Ids, Scores]:
        """The `n` best chunks by BM25, best first, ties by ordinal; only scores above 0.

        Args:
            terms: Distinct query terms.
            n: At most so many.
            allowed: (len,) mask of the chunks that may be returned; None allows all.

        Returns:
            Ordinals (int64) and BM25 scores (float32).
        """
        scores = np.zeros(self._size, dtype=np.float32)
        for term in dict.fromkeys(terms):
            if (i := self._terms.get(term)) is not None:
                at = slice(self._pointers[i], self._pointers[i + 1])
                scores[self._chunks[at]] += self._weights[at]
        if allowed is not None:
            scores[~allowed] = 0
        hits = np.flatnonzero(scores > 0)
        if len(hits) > n:
            # Ties at the cut are kept until the sort below decides them by ordinal.
            cut = np.partition(scores[hits], len(hits) - n)[len(hits) - n]
            hits = hits[scores[hits] >= cut]
        order = np.lexsort((hits, -scores[hits]))[:n]
        return hits[order].astype(np.int64), scores[hits[order]]

    def coverage(self, terms: Sequence[str]) -> Scores:
        """Share of the query's idf mass that each chunk contains, (len,) float32 in 0..1.

        A term that no chunk contains stays in the denominator: that is what tells the fusion
        that this leg has little to say, for instance across languages.
        """
        mass = np.zeros(self._size, dtype=np.float32)
        total = 0.0
        for term in dict.fromkeys(terms):
            i = self._terms.get(term)
            if i is None:
                total += self._unseen
                continue
            total += float(self._idf[i])
            mass[self._chunks[self._pointers[i] : self._pointers[i + 1]]] += self._idf[i]
        return np.clip(mass / total, 0, 1, dtype=np.float32) if total else mass

    def __contains__(self, term: str) -> bool:
        """Whether any chunk has this analysed term."""
        return term in self._terms

    def like(self, term: str) -> list[str]:
        """Latin terms of about the length of `term`, candidates for what it may misspell."""
        return [t for t in self._terms if t.isascii() and abs(len(t) - len(term)) <= 2 and t[:1].isalpha()]

    def idf(self, term: str) -> float:
        """Inverse document frequency of a term; an unseen term has the highest."""
        i = self._terms.get(term)
        return self._unseen if i is None else float(self._idf[i])


def _idf(df: npt.NDArray[np.float64], size: int, settings: BM25Settings) -> npt.NDArray[np.float64]:
    if settings.variant == "lucene":
        return np.log(1 + (size - df + 0.5) / (df + 0.5))
    idf = np.log(size - df + 0.5) - np.log(df + 0.5)
    floor = settings.epsilon * (idf.mean() if len(idf) else 0.0)
    return np.where(idf < 0, floor, idf)
