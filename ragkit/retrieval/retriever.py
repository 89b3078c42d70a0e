"""From queries to ranked hits over an opened index: both legs, coverage fusion, reasons kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from numbers import Integral
from pathlib import Path
from typing import Final, get_args

import numpy as np

from ragkit.errors import UsageError
from ragkit.index.engine import BatchEngine, Engine, Filter, Ranked
from ragkit.index.enrichment import SHARE, Enrichment
from ragkit.index.sentences import SentenceVectors
from ragkit.ingest.pages import has_pages, page_at
from ragkit.models.embeddings import EmbeddingModel, Vectors
from ragkit.models.encoding import encode_queries, encode_sentences
from ragkit.models.known_pairs import KnownPairs
from ragkit.models.questions import QuestionCentre
from ragkit.retrieval.fusion import Candidate, FusionSettings, combine_queries, distinct_first
from ragkit.retrieval.legs import Aimed, Legs, Mode, Proposed, Scored
from ragkit.text.language import Language, answer_language
from ragkit.text.tokens import query_terms
from ragkit.values import Chunk, Hit, LegScore

MODES: tuple[Mode, ...] = get_args(Mode)
MAX_QUERY_CHARS = 20_000
_EMBEDDED: Final = 3_000
"""Characters of a question that are embedded, from both of its ends: a model takes half a second for a thousand."""
_VECTORS_KEPT = 16
HYBRID_CORRECTION: Final = 1.15
"""Coverage is earned in the question's own language only, so hybrid search takes this much more of the offset back."""


def check_mode(name: str) -> Mode:
    """The retrieval mode of this name.

    Raises:
        UsageError: If there is none; lists those there are.
    """
    for mode in MODES:
        if mode == name:
            return mode
    raise UsageError(f"Unknown mode {name!r}.", f"Allowed: {', '.join(MODES)}.")


def _ends(text: str) -> str:
    """What of a question is embedded: all of it, or where a pasted text is long, its beginning and its end."""
    half = _EMBEDDED // 2
    return text if len(text) <= _EMBEDDED else f"{text[:half]}\n{text[-half:]}"


def check_k(k: object) -> None:
    """Refuse a number of hits that cannot be meant.

    Raises:
        UsageError: If it is no whole number, or below 1.
    """
    if not isinstance(k, Integral) or isinstance(k, bool):
        raise UsageError(f"k must be a whole number, not {k!r}.")
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}.")


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
    user's own words must not drown in invented ones. A query `beside` the question (its translation,
    where the notes have the question's own language, too) finds passages, but says nothing of
    whether the notes answer it: that was measured on questions as they were asked.
    """

    text: str
    weight: float = 1.0
    passage: bool = False
    beside: bool = False


class Retriever:
    """Searches an opened index.

    Args:
        engine: Opened index.
        model: The embedding model that built it.
        settings: Fusion constants; a temperature of None is filled from the model.
        enrichment: Questions that the chunks answer, which then take part in the dense leg.
        enrichment_share: Of them in the dense score, 0 to 1.
        cache: Folder that keeps what is measured once per model; None measures it anew in each process.
        sentences: Sentence vectors of the index, used by hybrid search; None if it has none.
    """

    def __init__(
        self,
        engine: Engine,
        model: EmbeddingModel,
        settings: FusionSettings | None = None,
        enrichment: Enrichment | None = None,
        enrichment_share: float = SHARE,
        cache: Path | None = None,
        sentences: SentenceVectors | None = None,
    ) -> None:
        settings = settings or FusionSettings()
        if settings.temperature is None:
            settings = replace(settings, temperature=model.temperature)
        self._engine, self._model, self._settings = engine, model, settings
        self._enrichment, self._cache, self._sentences = enrichment, cache, sentences
        near = sentences if settings.sentences else None
        self._legs = Legs(engine, self._fusion, enrichment, enrichment_share, near)
        self._last_texts: dict[str, Vectors] = {}
        # A plan that looks at the first search runs the question twice.
        self._vector = lru_cache(maxsize=_VECTORS_KEPT)(self._embed)
        self._lowest_temperature = lru_cache(maxsize=None)(self._measure_lowest_temperature)

    @cached_property
    def _centre(self) -> QuestionCentre:
        return QuestionCentre.of(self._model, self._cache)

    @cached_property
    def _pairs(self) -> KnownPairs:
        return KnownPairs.of(self._model, self._cache)

    def _measure_lowest_temperature(self, language: Language) -> float:
        settings = self._settings
        return self._pairs.temperature(language, self._centre, settings.centring, settings.correction)

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
        _check(queries, k, mode)
        vectors = [None if mode == "sparse" else self._vector(query) for query in queries]
        return self._run(queries, vectors, k, mode, where=where)

    def search_many(self, questions: Sequence[str], k: int = 5, mode: Mode = "hybrid") -> list[list[Hit]]:
        """The `k` best chunks for each question: embedded as one batch, and one matrix product if the engine can.

        Raises:
            UsageError: See `search`.
        """
        queries = [Query(question) for question in questions]
        for query in queries:
            _check([query], k, mode)
        if mode == "sparse" or not queries:
            return [self._run([query], [None], k, mode) for query in queries]
        vectors = encode_queries(self._model, [_ends(question) for question in questions])
        found: list[Ranked | None] = [None] * len(queries)
        if isinstance(self._engine, BatchEngine):
            aims = [self._aim(query, vector, mode) for query, vector in zip(queries, vectors, strict=True)]
            together, weights = np.stack([aim for aim, _ in aims]), [weight for _, weight in aims]
            n = max(self._settings.candidates, k)
            found = list(self._engine.dense_search_many(together, n, language_weights=weights))
        return [self._run([queries[i]], [vectors[i]], k, mode, found[i]) for i in range(len(queries))]

    def nearness(self, questions: Sequence[str], texts: Sequence[str], hits: Sequence[Hit] = ()) -> Vectors:
        """Products of questions' vectors, as a hybrid search aims them, with those of texts, embedded as passages.

        Args:
            questions: Embedded as questions.
            texts: Sentences, lines, blocks.
            hits: Passages that hold the texts; sentences of theirs that have a vector in the index need none.

        Returns:
            (questions, texts).

        Raises:
            ModelError: If the model fails.
        """
        if not questions or not texts:
            return np.zeros((len(questions), len(texts)), dtype=np.float32)
        queries = [Query(question) for question in questions]
        aimed = np.stack([self._aim(query, self._vector(query), "hybrid")[0] for query in queries])
        # The same texts are asked for again a moment later, when the answer is written.
        known = {**self._last_texts, **self._stored(hits)}
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(missing, encode_sentences(self._model, missing), strict=True) if missing else ())
        self._last_texts = {text: known[text] for text in texts}
        products: Vectors = aimed @ np.stack([known[text] for text in texts]).T
        return products

    def _stored(self, hits: Sequence[Hit]) -> dict[str, Vectors]:
        """(dimension,) vectors of the sentences of `hits`, as far as the index has them."""
        if self._sentences is None:
            return {}
        chunks = [
            chunk
            for hit in hits
            for _, chunk in self._engine.chunks_of(hit.document)
            if hit.start <= chunk.start and chunk.end <= hit.end
        ]
        return self._sentences.vectors(chunks)

    def vectors(self, hits: Sequence[Hit]) -> Vectors:
        """(n, dimension) vectors of the chunks of `hits`."""
        ordinals: dict[str, int] = {}
        for document in {hit.document for hit in hits}:
            ordinals.update({chunk.id: ordinal for ordinal, chunk in self._engine.chunks_of(document)})
        return self._engine.vectors([ordinals[hit.chunk.id] for hit in hits])

    def text(self, path: str) -> str | None:
        """Text of a document as it was when this index was opened, or None if there is no such document."""
        document = self._engine.document(path)
        return document.text if document is not None else None

    def _run(
        self,
        queries: Sequence[Query],
        vectors: Sequence[Vectors | None],
        k: int,
        mode: Mode,
        found: Ranked | None = None,
        where: Filter | None = None,
    ) -> list[Hit]:
        """Search with vectors at hand; `found` is the first dense search of a single query, if it was done before."""
        aimed = [self._aimed(*pair, mode) for pair in zip(queries, vectors, strict=True)]
        # Where copies of one text use up the candidates, more are looked at: there may be others behind them.
        for deeper in (1, 4, 16):
            n = deeper * max(self._settings.candidates, k)
            legs = [self._legs.propose(one, n, where, found if deeper == 1 else None) for one in aimed]
            # What one query proposes has a score under the others, too.
            others = {o for leg in legs for o, _ in (*leg.dense, *leg.sparse)} if len(aimed) > 1 else set()
            pairs = zip(aimed, legs, strict=True)
            runs = [self._legs.score(*pair, n, mode, others=others, filtered=bool(where)) for pair in pairs]
            if len(runs) == 1:
                merged = runs[0].fused
            else:
                merged = combine_queries([run.fused for run in runs], [query.weight for query in queries])
            best = distinct_first(merged, self._text, k)
            copies = len(best) - len({self._text(candidate.ordinal) for candidate in best})
            if not copies or all(max(len(leg.dense), len(leg.sparse)) < n for leg in legs):
                break
        return [self._hit(candidate, rank, queries, legs, runs) for rank, candidate in enumerate(best, start=1)]

    def _text(self, ordinal: int) -> str:
        return self._engine.chunk(ordinal).text

    def _embed(self, query: Query) -> Vectors:
        text = _ends(query.text)
        return self._model.encode_documents([text])[0] if query.passage else self._model.encode_query(text)

    def _aimed(self, query: Query, vector: Vectors | None, mode: Mode) -> Aimed:
        terms = query_terms(query.text) if mode != "dense" and not query.passage else []
        aim, weight = (None, 0.0) if vector is None else self._aim(query, vector, mode)
        return Aimed(query.text, terms, vector, aim, weight, query.passage)

    def _fusion(self, question: str) -> FusionSettings:
        """The settings; where the model's temperature is unknown, with what it says at most in this language."""
        settings = self._settings
        if settings.temperature is not None:
            return settings
        lowest = self._lowest_temperature(answer_language(question))
        return replace(settings, lowest_temperature=max(lowest, settings.lowest_temperature))

    def _aim(self, query: Query, vector: Vectors, mode: Mode) -> tuple[Vectors, float]:
        """What the dense leg is searched with: a (dimension,) vector, and the weight of the language axis."""
        settings = self._settings
        if query.passage:
            # A passage is nothing like a question; only its language offset is known, from other passages.
            return vector, self._engine.language_axis.weight(vector, settings.correction)
        if not (settings.centring or settings.correction):
            return vector, 0.0
        more = HYBRID_CORRECTION if mode == "hybrid" else 1.0
        return self._centre.centred(vector, settings.centring, more * settings.correction), 0.0

    def _hit(
        self,
        candidate: Candidate,
        rank: int,
        queries: Sequence[Query],
        legs: Sequence[Proposed],
        runs: Sequence[Scored],
    ) -> Hit:
        # Every candidate stands in one run at least; the first of those that rank it highest explains it.
        _, which, fused = min(
            (place, i, c)
            for i, run in enumerate(runs)
            for place, c in enumerate(run.fused)
            if c.ordinal == candidate.ordinal
        )
        chunk = self._engine.chunk(candidate.ordinal)
        found = {"dense": legs[which].dense, "sparse": legs[which].sparse}
        if self._enrichment is not None:
            found["questions"] = runs[which].questions
        return Hit(
            chunk=chunk,
            rank=rank,
            score=candidate.score,
            legs={name: _leg(ranked, candidate.ordinal) for name, ranked in found.items()},
            coverage=candidate.coverage,
            sentence=fused.sentence,
            query=queries[which].text,
            page=page_of(self._engine, chunk.document, chunk.start),
            end_page=page_of(self._engine, chunk.document, chunk.end - 1),
        )


def unscored(engine: Engine, chunk: Chunk, rank: int) -> Hit:
    """A chunk that was looked up instead of searched for, as a hit."""
    first, last = (page_of(engine, chunk.document, offset) for offset in (chunk.start, chunk.end - 1))
    legs: dict[str, LegScore | None] = {"dense": None, "sparse": None}
    return Hit(chunk=chunk, rank=rank, score=0.0, legs=legs, page=first, end_page=last)


def page_of(engine: Engine, path: str, offset: int) -> int | None:
    """Page or slide of a place in a document; None for documents without pages, which are not looked up."""
    return page_at(engine.document(path), offset) if has_pages(path) else None


def _check(queries: Sequence[Query], k: int, mode: str) -> None:
    check_mode(mode)
    check_k(k)
    if not queries:
        raise UsageError("The question is empty.", "Type a question.")
    check_question(queries[0].text)


def _leg(ranked: Sequence[tuple[int, float]], ordinal: int) -> LegScore | None:
    for rank, (candidate, score) in enumerate(ranked, start=1):
        if candidate == ordinal:
            return LegScore(rank, score)
    return None
