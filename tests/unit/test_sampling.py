"""A part of a question set: exact size, every type in its share, no chance."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from ragkit.errors import UsageError
from ragkit.evaluation.datasets import Question, stratified


def questions(**counts: int) -> list[Question]:
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    return [Question(str(n), "q", "zh", kind, ()) for n, kind in enumerate(kinds)]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 10, 33, 99, 100])
def test_the_size_is_what_was_asked_for(limit: int) -> None:
    picked = stratified(questions(a=60, b=30, c=9, d=1), limit)
    assert len(picked) == len({q.id for q in picked}) == limit


def test_types_keep_their_share() -> None:
    assert Counter(q.type for q in stratified(questions(a=60, b=30, c=10), 10)) == {"a": 6, "b": 3, "c": 1}


def test_a_rare_type_is_there_if_there_is_room() -> None:
    assert {q.type for q in stratified(questions(a=97, b=1, c=1, d=1), 4)} == set("abcd")


def test_picks_are_spread_over_a_type_and_in_order() -> None:
    assert [q.id for q in stratified(questions(a=100), 4)] == ["12", "37", "62", "87"]


@pytest.mark.parametrize("limit", [2, 10, 50])
def test_languages_that_take_turns_are_sampled_alike(limit: int) -> None:
    both = [replace(q, language=("zh", "en")[n % 2]) for n, q in enumerate(questions(a=100))]
    picked = stratified(both, limit)
    assert Counter(q.language for q in picked) == {"zh": limit // 2, "en": limit // 2}
    assert [int(q.id) for q in picked] == sorted(int(q.id) for q in picked)


def test_a_language_keeps_its_share_within_a_type_to_the_question() -> None:
    mixed = [replace(q, language="en" if n % 5 == 0 else "zh") for n, q in enumerate(questions(a=100, b=50))]
    for limit in range(1, 150):
        for kind, total in {"a": 100, "b": 50}.items():
            picked = [q for q in stratified(mixed, limit) if q.type == kind]
            share = len(picked) * sum(q.language == "en" for q in mixed if q.type == kind) / total
            assert abs(sum(q.language == "en" for q in picked) - share) <= 1


def test_more_than_there_are_is_all() -> None:
    everything = questions(a=2, b=1)
    assert stratified(everything, 50) == everything


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="--limit 0"):
        stratified(questions(a=3), 0)
