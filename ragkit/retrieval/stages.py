"""What comes behind the search itself, over one index or several: reranking, diversity, merging of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ragkit.models.embeddings import Vectors
from ragkit.retrieval.diversity import diversified
from ragkit.retrieval.neighbours import merge_neighbours
from ragkit.retrieval.rerank import RERANKED, Reranker
from ragkit.values import Hit


class Source(Protocol):
    """Where hits come from: one state of an index, whatever was committed since."""

    def vectors(self, hits: Sequence[Hit]) -> Vectors:
        """(n, dimension) vectors of the chunks of `hits`."""
        ...

    def text(self, path: str) -> str | None:
        """Text of a document, or None if there is no such document."""
        ...


@dataclass(frozen=True)
class Stages:
    """The stages that one search goes through."""

    question: str = ""
    """What `reranker` is asked; it need not be there for an empty one."""
    reranker: Reranker | None = None
    diversity: float = 0.0
    merge: bool = False

    def depth(self, k: int) -> int:
        """Hits to search for, so that `k` are left."""
        # A k below 1 is refused by the retriever.
        return max(k, RERANKED) if (self.reranker or self.merge or self.diversity) and k > 0 else k

    def run(self, hits: list[Hit], source: Source, k: int) -> list[Hit]:
        """The first `k` of what the stages make of `hits`, which are the best first."""
        if self.reranker is not None:
            hits = [*self.reranker.rerank(self.question, hits[:RERANKED]), *hits[RERANKED:]]
        if self.diversity:
            head = hits[:RERANKED]
            hits = [*diversified(head, source.vectors(head), self.diversity), *hits[RERANKED:]]
        return merge_neighbours(hits, source.text, k) if self.merge else hits[:k]
