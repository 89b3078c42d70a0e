"""A part of a question set that has every type in its share."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.errors import UsageError
from ragkit.evaluation.datasets import Question


def stratified(questions: Sequence[Question], limit: int) -> list[Question]:
    """Exactly `limit` questions (all, if there are no more), spread evenly over each type; no chance in it.

    Every type gets its share by largest remainder, and at least one question while there are
    enough places. The order is that of `questions`.

    Raises:
        UsageError: If the limit is below 1.
    """
    if limit < 1:
        raise UsageError(f"--limit {limit} leaves no question.", "It must be at least 1.")
    if limit >= len(questions):
        return list(questions)
    places: dict[str, list[int]] = {}
    for at, question in enumerate(questions):
        places.setdefault(question.type, []).append(at)
    exact = {kind: limit * len(at) / len(questions) for kind, at in places.items()}
    share = {kind: int(value) for kind, value in exact.items()}
    # A type below one place comes first, then the largest remainder.
    for kind in sorted(places, key=lambda k: (share[k] > 0, share[k] - exact[k]))[: limit - sum(share.values())]:
        share[kind] += 1
    for kind in [kind for kind in places if not share[kind]]:
        richest = max(share, key=lambda k: share[k])
        if share[richest] > 1:
            share[richest] -= 1
            share[kind] = 1
    picked = [at[(2 * n + 1) * len(at) // (2 * share[kind])] for kind, at in places.items() for n in range(share[kind])]
    return [questions[at] for at in sorted(picked)]
