"""A part of a question set: exact size, every type in its share, no chance."""

from __future__ import annotations

from collections import Counter

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


def test_more_than_there_are_is_all() -> None:
    everything = questions(a=2, b=1)
    assert stratified(everything, 50) == everything


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="--limit 0"):
        stratified(questions(a=3), 0)
