"""One query over both legs: what each proposes, and the fused score of every candidate.

A search for several queries scores what any of them proposes under each of them, since a passage
that one query did not find has a score there all the same. Taking that list's lowest instead cost the
questions of ``evals/llm-interview`` and their translations .013 of hit@5.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from ragkit.index.engine import Engine, Filter, Ranked, best_first, dense_scores
from ragkit.index.enrichment import Enrichment
from ragkit.index.sentences import SentenceVectors
from ragkit.models.embeddings import Vectors
from ragkit.retrieval.fusion import Candidate, FusionSettings, fuse
from ragkit.retrieval.identifiers import identifier_bonus

Mode = Literal["hybrid", "dense", "sparse"]


@dataclass(frozen=True)
class Aimed:
    """A query as the legs take it."""

    text: str
    terms: Sequence[str]
    """For the sparse leg and for coverage; none for a passage and in dense search."""
    vector: Vectors | None
    """(dimension,) unit vector of the text; None in sparse search."""
    aim: Vectors | None
    """What the dense leg is searched with, `vector` itself or one derived from it."""
    language_weight: float
    passage: bool
    """A hypothetical passage, which is compared with chunks but not with sentences or questions."""


@dataclass(frozen=True)
class Proposed:
    """What the two legs propose for one query, best first."""

    dense: Ranked
    sparse: Ranked


@dataclass(frozen=True)
class Scored:
    """The candidates of one query."""

    fused: list[Candidate]
    """All of them, best first."""
    questions: Ranked
    """Those that questions of the index speak for, with the nearest question's cosine."""


class Legs:
    """Both legs of an opened index.

    Args:
        engine: Opened index.
        settings: Constants of the fusion for a question.
        enrichment: Questions that the chunks answer, which then take part in the dense leg.
        share: Of them in the dense score, 0 to 1.
        sentences: Sentence vectors of the index, used by hybrid search; None if they are not.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Callable[[str], FusionSettings],
        enrichment: Enrichment | None,
        share: float,
        sentences: SentenceVectors | None,
    ) -> None:
        self._engine, self._settings = engine, settings
        self._enrichment, self._share, self._sentences = enrichment, share, sentences

    def propose(self, query: Aimed, n: int, where: Filter | None = None, found: Ranked | None = None) -> Proposed:
        """The `n` best chunks of each leg; `found` is the dense search, if it was done before."""
        sparse = self._engine.sparse_search(query.terms, n, where=where) if query.terms else []
        dense: Ranked = []
        if query.aim is not None and found is None:
            dense = self._engine.dense_search(query.aim, n, language_weight=query.language_weight, where=where)
        return Proposed(found or dense, sparse)

    def score(
        self,
        query: Aimed,
        proposed: Proposed,
        n: int,
        mode: Mode,
        *,
        others: Collection[int] = (),
        filtered: bool = False,
    ) -> Scored:
        """Score what the legs propose.

        Args:
            query: The query.
            proposed: What `propose` found for it.
            n: As in `propose`.
            mode: Which legs take part.
            others: Further chunks to score, by ordinal; not in sparse search.
            filtered: Whether chunks beyond these are not to come in.
        """
        dense, asked = self._dense(query, proposed, n, others, filtered)
        # Also of what only the dense leg proposes: of a common word BM25 lists but some of the chunks that hold it.
        ordinals = list(dict.fromkeys(ordinal for ordinal, _ in (*proposed.sparse, *dense))) if query.terms else []
        coverage = dict(zip(ordinals, self._engine.coverage(query.terms, ordinals), strict=True)) if ordinals else {}
        if mode == "sparse":
            fused = [Candidate(ordinal, score, coverage[ordinal]) for ordinal, score in proposed.sparse]
        elif mode == "dense":
            fused = [Candidate(ordinal, score, 0.0) for ordinal, score in dense]
        else:
            best = self._best_sentences(query, {o for o, _ in (*proposed.dense, *proposed.sparse)}.union(others))
            bonus = identifier_bonus(self._engine, query.terms, coverage)
            fused = fuse(dense, proposed.sparse, coverage, self._settings(query.text), best, bonus)
        return Scored(fused, asked)

    def _dense(
        self, query: Aimed, proposed: Proposed, n: int, others: Collection[int], filtered: bool
    ) -> tuple[Ranked, Ranked]:
        """The dense scores, and what questions of the index say."""
        if query.vector is None or query.aim is None:
            return [], []
        dense = proposed.dense
        missing = sorted(set(others) - {ordinal for ordinal, _ in dense})
        if missing:
            more = dense_scores(self._engine, missing, query.aim, query.language_weight)
            dense = sorted((*dense, *more), key=best_first)
        # What a passage looks like says nothing about which questions it answers.
        if self._enrichment is None or query.passage:
            return dense, []
        mixed = self._enrichment.mix(
            self._engine,
            dense,
            query.vector,
            aim=query.aim,
            language_weight=query.language_weight,
            n=n + len(missing),
            share=self._share,
            propose=not filtered,
        )
        return mixed.scores, mixed.questions

    def _best_sentences(self, query: Aimed, ordinals: set[int]) -> dict[int, float]:
        if self._sentences is None or query.aim is None or query.passage:
            return {}
        chunks = {ordinal: self._engine.chunk(ordinal) for ordinal in sorted(ordinals)}
        best = self._sentences.best(query.aim, list(chunks.values()))
        return {ordinal: best[chunk.id] for ordinal, chunk in chunks.items() if chunk.id in best}
