"""Coverage fusion: pure functions over two ranked lists. No I/O, no model calls.

``score(p) = ((1 - share) d'(p) + share s(p)) / tau + weight * max(0, c(p) - floor)``

``d'`` is the product of the passage with the centred question (`ragkit.models.questions`): the
cosine less what any question has in common with that passage, its language included. ``s`` is the
same product with the passage's best sentence (`ragkit.index.sentences`), where the index has them.
``tau`` is the softmax temperature the embedding model was trained with (so the first term is in
nats), and ``c`` the share of the question's idf mass that the passage contains. Coverage is
absolute: it is divided by what the question asks for, not by the best hit of the list, so a leg
that found nothing says nothing; what a passage holds of the question's rare identifiers counts by
their rarity (`ragkit.retrieval.identifiers`). Rank fusion (RRF) and max-normalised sums give the best of a bad
list full credit; across languages that costs most of the dense leg's hits. Ranks start at 1; ties
are decided by ordinal. What was tried and measured is in ``docs/retrieval.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

MIN_TEMPERATURE: Final = 1e-4
SOME_TEMPERATURE: Final = 0.02
"""What contrastive embedding models are commonly trained with, for lists that tell nothing."""


@dataclass(frozen=True)
class FusionSettings:
    """Constants of the formula; defaults were chosen on held-out development questions."""

    weight: float = 10.0
    floor: float = 0.05
    """Coverage up to this share counts as accidental."""
    temperature: float | None = None
    """None: estimate it from the first `candidates` hits of the dense leg for each question."""
    lowest_temperature: float = 0.0
    """What an estimate is raised to: the model was seen to say no more than that (`ragkit.models.known_pairs`)."""
    centring: float = 0.7
    """Share (0..1) of what all questions have in common that is taken off a question's vector."""
    correction: float = 1.0
    """How much of the language offset is taken back: 0 keeps to the question's language."""
    sentences: float = 0.4
    """Share (0..1) of the best sentence in the dense term, where the index has sentence vectors."""
    candidates: int = 50
    """Hits each leg proposes."""


@dataclass(frozen=True)
class Candidate:
    """A fused result: ordinal of the chunk, fused score, coverage."""

    ordinal: int
    score: float
    coverage: float
    sentence: float | None = None
    """Product of the centred question with the chunk's best sentence; None if that is unknown."""


def estimate_temperature(cosines: Sequence[float]) -> float:
    """Temperature of a model about which nothing is known.

    The median distance of the top cosines from the lowest of them, divided by ln 2; it needs a
    list of about 100 to mean something. One without any spread says nothing: its only hits must not
    stand before those of another index because of that.
    """
    spread = float(np.median(np.asarray(cosines) - min(cosines))) if len(cosines) else 0.0
    if spread == 0:
        return SOME_TEMPERATURE
    return max(spread / float(np.log(2)), MIN_TEMPERATURE)


def fuse(
    dense: Sequence[tuple[int, float]],
    sparse: Sequence[tuple[int, float]],
    coverage: Mapping[int, float],
    settings: FusionSettings,
    sentences: Mapping[int, float] | None = None,
    bonus: Mapping[int, float] | None = None,
) -> list[Candidate]:
    """Merge the two legs' candidates by coverage fusion.

    Args:
        dense: ``(ordinal, centred cosine)``, best first.
        sparse: ``(ordinal, BM25)``, best first, scores above 0 only. BM25 proposes; it is the
            coverage that scores.
        coverage: Coverage (0..1) of the candidates of both legs by ordinal.
        settings: Constants of the formula.
        sentences: Cosine of the best sentence by ordinal, with the same question vector.
        bonus: What is added to a candidate's coverage in its score, by ordinal, to 1 at most
            (`ragkit.retrieval.identifiers`); the candidate keeps its coverage as it is.

    Returns:
        All candidates, best first. A candidate that the dense leg did not propose takes that
        list's lowest cosine; one without coverage has none. A sentence is no closer
        or farther than a chunk on the whole, so one without sentence vectors goes by its own cosine,
        moved by the mean difference of the others.
    """
    cosines = dict(dense)
    lowest = min(cosines.values(), default=0.0)
    # Of as many as each leg proposes at least: a search for more hits must not weigh the legs otherwise.
    nearest = sorted(cosines.values(), reverse=True)[: settings.candidates]
    tau = settings.temperature or max(estimate_temperature(nearest), settings.lowest_temperature)
    best, more = sentences or {}, bonus or {}
    shift = [sentence - cosines[ordinal] for ordinal, sentence in best.items() if ordinal in cosines]
    moved = settings.sentences * (sum(shift) / len(shift)) if shift else 0.0
    fused = []
    for ordinal in cosines.keys() | {ordinal for ordinal, _ in sparse}:
        share = float(coverage.get(ordinal, 0.0))
        similarity = cosines.get(ordinal, lowest)
        sentence = best.get(ordinal)
        if sentence is None:
            similarity += moved
        else:
            similarity += settings.sentences * (sentence - similarity)
        counted = min(1.0, share + more.get(ordinal, 0.0))
        score = similarity / tau + settings.weight * max(0.0, counted - settings.floor)
        fused.append(Candidate(ordinal, score, share, sentence))
    return sorted(fused, key=lambda c: (-c.score, c.ordinal))


def distinct_first(ranked: Sequence[Candidate], text_of: Callable[[int], str], k: int) -> list[Candidate]:
    """The `k` best candidates, those that only repeat the text of a better one behind all others.

    Copies of a note would otherwise fill a short list. They are kept behind, not dropped: a copy
    may be all there is, or the one that was looked for.

    Args:
        ranked: Best first.
        text_of: Text of a chunk by its ordinal; asked for no more candidates than needed.
        k: At most so many, 1 or more.
    """
    seen: set[str] = set()
    first: list[Candidate] = []
    repeated: list[Candidate] = []
    for candidate in ranked:
        text = text_of(candidate.ordinal)
        (repeated if text in seen else first).append(candidate)
        seen.add(text)
        if len(first) == k:
            break
    return [*first, *repeated][:k]


def combine_queries(lists: Sequence[Sequence[Candidate]], weights: Sequence[float]) -> list[Candidate]:
    """Merge the fused lists of several queries for the same question.

    Each list's scores are taken relative to its best one and summed with the query's weight; a
    candidate missing from a list takes that list's lowest score. To the sum comes the mean of the best
    scores, so that it says as much beside the hits of another index as the score of one query.
    Coverage is the best of all.
    """
    total: dict[int, float] = {}
    given = [(candidates[0].score, weight) for candidates, weight in zip(lists, weights, strict=True) if candidates]
    level = sum(best * weight for best, weight in given) / (sum(weight for _, weight in given) or 1.0)
    coverage: dict[int, float] = {}
    everyone = {c.ordinal for candidates in lists for c in candidates}
    for candidates, weight in zip(lists, weights, strict=True):
        if not candidates:
            continue
        best, worst = candidates[0].score, candidates[-1].score
        scores = {c.ordinal: c.score for c in candidates}
        for ordinal in everyone:
            total[ordinal] = total.get(ordinal, 0.0) + weight * (scores.get(ordinal, worst) - best)
        for c in candidates:
            coverage[c.ordinal] = max(coverage.get(c.ordinal, 0.0), c.coverage)
    merged = [Candidate(ordinal, level + score, coverage.get(ordinal, 0.0)) for ordinal, score in total.items()]
    return sorted(merged, key=lambda c: (-c.score, c.ordinal))
