"""From queries to ranked hits over an opened index: both legs, coverage fusion, reasons kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ragkit.errors import UsageError
from ragkit.index.engine import Engine, Filter, Ranked
from ragkit.models.embeddings import EmbeddingModel, Vectors
from ragkit.retrieval.fusion import Candidate, FusionSettings, combine_queries, distinct_first, fuse
from ragkit.text.tokens import query_terms
from ragkit.values import Hit, LegScore

Mode = Literal["hybrid", "dense", "sparse"]
MODES: tuple[Mode, ...] = get_args(Mode)
MAX_QUERY_CHARS = 20_000


def check_mode(name: str) -> Mode:
    """The retrieval mode of this name.

    Raises:
        UsageError: If there is none; lists those there are.
    """
    for mode in MODES:
        if mode == name:
            return mode
    raise UsageError(f"Unknown mode {name!r}.", f"Allowed: {', '.join(MODES)}.")


def check_question(text: str, limit: int = MAX_QUERY_CHARS) -> None:
    """Refuse a question that cannot be searched for.

    Raises:
        UsageError: If it is empty or longer than `limit` characters.
    """
    if not text.strip():
        raise UsageError("The question is empty.", "Type a question.")
    if len(text) > limit:
        raise UsageError(
            f"The question has {len(text):,} characters; at most {limit:,} are taken.",
            "Put long text into a note and index it.",
        )


@dataclass(frozen=True)
class Query:
    """One query to run.

    `passage` queries (HyDE) are embedded as passages and take no part in the sparse leg: the
    user's own words must not drown in invented ones.
    """

    text: str
    weight: float = 1.0
    passage: bool = False


@dataclass(frozen=True)
class _Legs:
    dense: list[tuple[int, float]]
    sparse: list[tuple[int, float]]
    fused: list[Candidate]


class Retriever:
    """Searches an opened index.

    Args:
        engine: Opened index.
        model: The embedding model that built it.
        settings: Fusion constants; a temperature of None is filled from the model.
    """

    def __init__(self, engine: Engine, model: EmbeddingModel, settings: FusionSettings | None = None) -> None:
        settings = settings or FusionSettings()
        if settings.temperature is None:
            settings = replace(settings, temperature=model.temperature)
        self._engine, self._model, self._settings = engine, model, settings

    def search(
        self, queries: str | Sequence[Query], k: int = 5, mode: Mode = "hybrid", where: Filter | None = None
    ) -> list[Hit]:
        """The `k` best chunks, best first; copies of a better chunk's text stand behind all others.

        Args:
            queries: The question, or several queries for it; the first is the user's own.
            k: At most so many hits, 1 or more.
            mode: Which legs take part.
            where: Which chunks may be returned; None allows all.

        Raises:
            UsageError: For an empty question, an unknown mode or a k below 1.
        """
        if isinstance(queries, str):
            queries = [Query(queries)]
        check_mode(mode)
        if k < 1:
            raise UsageError(f"k must be at least 1, not {k}.")
        if not queries:
            raise UsageError("The question is empty.", "Type a question.")
        check_question(queries[0].text)
        vectors = [None if mode == "sparse" else self._embed(query) for query in queries]
        # Where copies of one text use up the candidates, more are looked at: there may be others behind them.
        for deeper in (1, 4, 16):
            n = deeper * max(self._settings.candidates, k)
            runs = [self._legs(query, vector, n, mode, where) for query, vector in zip(queries, vectors, strict=True)]
            if len(runs) == 1:
                merged = runs[0].fused
            else:
                merged = combine_queries([run.fused for run in runs], [query.weight for query in queries])
            best = distinct_first(merged, self._text, k)
            copies = len(best) - len({self._text(candidate.ordinal) for candidate in best})
            if not copies or all(max(len(run.dense), len(run.sparse)) < n for run in runs):
                break
        return [self._hit(candidate, rank, queries, runs) for rank, candidate in enumerate(best, start=1)]

    def _text(self, ordinal: int) -> str:
        return self._engine.chunk(ordinal).text

    def _embed(self, query: Query) -> Vectors:
        return self._model.encode_documents([query.text])[0] if query.passage else self._model.encode_query(query.text)

    def _legs(self, query: Query, vector: Vectors | None, n: int, mode: Mode, where: Filter | None) -> _Legs:
        dense: list[tuple[int, float]] = []
        sparse: list[tuple[int, float]] = []
        coverage: dict[int, float] = {}
        if vector is not None:
            dense = self._dense(vector, n, where)
        if mode != "dense" and not query.passage:
            terms = query_terms(query.text)
            sparse = self._engine.sparse_search(terms, n, where=where)
            ordinals = [ordinal for ordinal, _ in sparse]
            coverage = dict(zip(ordinals, self._engine.coverage(terms, ordinals), strict=True))
        if mode == "sparse":
            fused = [Candidate(ordinal, score, coverage[ordinal]) for ordinal, score in sparse]
        elif mode == "dense":
            fused = [Candidate(ordinal, score, 0.0) for ordinal, score in dense]
        else:
            fused = fuse(dense, sparse, coverage, self._settings)
        return _Legs(dense, sparse, fused)

    def _dense(self, vector: Vectors, n: int, where: Filter | None) -> Ranked:
        weight = self._engine.language_axis.weight(vector, self._settings.correction)
        return self._engine.dense_search(vector, n, language_weight=weight, where=where)

    def _hit(self, candidate: Candidate, rank: int, queries: Sequence[Query], runs: Sequence[_Legs]) -> Hit:
        best: tuple[int, int] | None = None
        for i, run in enumerate(runs):
            place = next((at for at, c in enumerate(run.fused) if c.ordinal == candidate.ordinal), None)
            if place is not None and (best is None or place < best[0]):
                best = (place, i)
        which = best[1] if best else 0
        return Hit(
            chunk=self._engine.chunk(candidate.ordinal),
            rank=rank,
            score=candidate.score,
            legs={
                "dense": _leg(runs[which].dense, candidate.ordinal),
                "sparse": _leg(runs[which].sparse, candidate.ordinal),
            },
            coverage=candidate.coverage,
            query=queries[which].text,
        )


def _leg(ranked: Sequence[tuple[int, float]], ordinal: int) -> LegScore | None:
    for rank, (candidate, score) in enumerate(ranked, start=1):
        if candidate == ordinal:
            return LegScore(rank, score)
    return None
