"""Which segments a commit merges: cheap for small additions, bounded over many, nothing half dead is kept."""

from __future__ import annotations

import random

import pytest

from ragkit.index.compaction import FAN, FOREGROUND, Size, choose


def living(*sizes: int) -> list[Size]:
    return [Size(size, 0) for size in sizes]


def test_a_small_addition_never_rewrites_a_large_segment() -> None:
    assert choose(living(100_000), 100) == set()
    assert choose(living(100_000, *[100] * 20), 100) == set(range(1, 21))
    assert choose(living(*[50_000] * 20), 100) == set()


def test_eight_of_a_tier_become_one_of_the_next() -> None:
    assert choose(living(*[100] * (FAN - 2)), 100) == set()
    assert choose(living(*[100] * (FAN - 1)), 100) == set(range(FAN - 1))


def test_a_merge_that_fills_the_next_tier_goes_on_there() -> None:
    sizes = living(*[80] * 7, *[10] * 7)
    assert choose(sizes, 10) == set(range(14))


@pytest.mark.parametrize(("dead", "chosen"), [(50, set()), (51, {0})])
def test_more_than_half_dead_is_rewritten(dead: int, chosen: set[int]) -> None:
    assert choose([Size(100, dead), *living(100_000)], 0) == chosen


def test_what_has_nothing_living_is_dropped_and_not_merged() -> None:
    assert choose([Size(100, 100)], 10) == set()
    assert choose([Size(100, 100)], 10, everything=True) == set()


def test_everything_leaves_one_segment_without_the_dead() -> None:
    assert choose(living(5, 6), 0, everything=True) == {0, 1}
    assert choose(living(5), 3, everything=True) == {0}
    assert choose([Size(5, 1)], 0, everything=True) == {0}
    assert choose(living(5), 0, everything=True) == set()


@pytest.mark.parametrize("commit", [1, 10, 100])
def test_many_commits_write_each_chunk_a_bounded_number_of_times(commit: int) -> None:
    chance = random.Random(commit)
    segments: list[int] = []
    written = added = most = 0
    for _ in range(20_000 // commit):
        new = chance.randint(1, 2 * commit)
        merged = choose(living(*segments), new)
        size = new + sum(segments[i] for i in merged)
        segments = [s for i, s in enumerate(segments) if i not in merged] + [size]
        written, added, most = written + size, added + new, max(most, size)
    assert written <= 6 * added
    assert most <= FOREGROUND
    assert len(segments) <= added / FOREGROUND * FAN + 5 * FAN
