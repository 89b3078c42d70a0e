"""How sure a first search is: each of the three signs counts, and none at all is no confidence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ragkit.retrieval.confidence import FITTED, LOW, Confidence, confidence_of
from ragkit.values import Chunk, Hit, LegScore


def hit(rank: int, cosine: float | None, bm25_rank: int | None, coverage: float) -> Hit:
    chunk = Chunk(id=str(rank), document="a.md", heading=(), text="x", start=0, end=1, start_line=1, end_line=1)
    legs = {
        "dense": None if cosine is None else LegScore(rank, cosine),
        "sparse": None if bm25_rank is None else LegScore(bm25_rank, 1.0),
    }
    return Hit(chunk=chunk, rank=rank, score=0.0, legs=legs, coverage=coverage)


def test_the_three_signs_are_what_they_say() -> None:
    hits = [hit(1, 0.88, 1, 0.5), hit(2, 0.86, 11, 0.9), hit(3, 0.85, None, 0.0), hit(4, None, 2, 0.2)]
    found = confidence_of(hits, 0.01)
    assert found.coverage == 0.9
    assert found.margin == pytest.approx((0.88 - (0.86 + 0.85) / 2) / 0.01)
    assert found.agreement == 1 / 5
    bias, *weights = FITTED
    linear = bias + weights[0] * 0.9 + weights[1] * math.log(1 + found.margin)
    assert found.value == pytest.approx(1 / (1 + math.exp(-linear)))


def test_passages_in_the_other_language_lie_behind_by_nats() -> None:
    def at(rank: int, cosine: float, group: str) -> Hit:
        found = hit(rank, cosine, None, 0.0)
        return replace(found, chunk=replace(found.chunk, language=group))

    rest = [at(rank, 0.8, "other") for rank in range(4, 21)]
    hits = [at(1, 0.88, "other"), at(2, 0.87, "other"), at(3, 0.85, "zh"), *rest]
    assert confidence_of(hits, 0.01, "en").behind == pytest.approx(3)
    assert confidence_of(hits, 0.01, "zh").behind == pytest.approx(-3)
    english = [hit for hit in hits if hit.chunk.language == "other"] + [at(20, 0.79, "other")]
    assert confidence_of(english, 0.01, "en").behind == math.inf
    assert confidence_of(english, 0.01, "zh").behind == -math.inf


def test_of_notes_that_are_all_in_view_nothing_lies_behind() -> None:
    assert confidence_of([hit(rank, 0.8, None, 0.0) for rank in range(1, 20)], 0.01, "zh").behind == math.inf


def test_a_hit_beyond_the_first_five_covers_nothing() -> None:
    assert confidence_of([hit(i, 0.8, None, float(i == 6)) for i in range(1, 8)], 0.01).coverage == 0


@pytest.mark.parametrize("hits", [[], [hit(1, None, 1, 0.0)], [hit(1, 0.9, None, 0.0)]])
def test_nothing_found_is_no_confidence(hits: list[Hit]) -> None:
    found = confidence_of(hits, None)
    assert found.margin == 0 and found.low


def test_every_sign_raises_it_and_the_threshold_lies_between() -> None:
    signs = [Confidence(0.1, 0.5, 0.0), Confidence(0.9, 0.5, 0.0), Confidence(0.9, 4.0, 0.0), Confidence(0.9, 4.0, 1.0)]
    values = [sign.value for sign in signs]
    assert values == sorted(values) and values[0] < LOW < values[-1]
    assert signs[0].low and not signs[-1].low


def test_an_unknown_temperature_is_estimated() -> None:
    hits = [hit(i, 0.9 - i / 100, None, 0.0) for i in range(1, 21)]
    assert 0 < confidence_of(hits, None).margin < 20
