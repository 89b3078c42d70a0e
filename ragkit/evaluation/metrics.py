"""Ranking metrics over "which needs of a question were met at which rank", computed by ir_measures.

A question has one or more needs: alternatives of a gold group are one need, the groups of a
multi-hop question are several. A need is met at the first rank that satisfies it. With one
need these are the usual hit rate, reciprocal rank, nDCG, recall and precision. nDCG takes the grade
of a need as its gain, undiminished and undoubled, as trec_eval does (Järvelin and Kekäläinen 2002);
to all others a need is a need, whatever its grade.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import ir_measures
import numpy as np
from ir_measures import RR, P, R, Success, nDCG

METRICS: Final = (
    "hit@1", "hit@3", "hit@5", "hit@10", "mrr@10", "ndcg@10", "recall@5", "recall@10", "recall@100", "precision@5",
)  # fmt: skip
HEADLINE: Final = ("hit@1", "hit@5", "mrr@10", "ndcg@10", "recall@10", "precision@5")
"""The metrics that fit a terminal of 80 columns."""
COMPARED: Final = ("hit@5", "mrr@10")
"""The metrics in which runs are tested against the baseline."""

Ranks = Sequence[int | None]
_DEPTH: Final = 100
# What is measured on which ranking that `ranking_metrics` makes of a question.
_ON_NEEDS: Final[dict[str, Any]] = {
    "ndcg@10": nDCG @ 10, "recall@5": R @ 5, "recall@10": R @ 10, "recall@100": R @ 100, "precision@5": P @ 5,
}  # fmt: skip
_ON_ANSWERED: Final[dict[str, Any]] = {f"hit@{k}": Success @ k for k in (1, 3, 5, 10)}
_ON_FIRST: Final[dict[str, Any]] = {"mrr@10": RR @ 10}


def ranking_metrics(
    ranks: Sequence[Ranks], *, need_all: bool = True, grades: Sequence[Sequence[int]] | None = None
) -> list[dict[str, float]]:
    """Metrics of every question, in the order given.

    Args:
        ranks: For each question and each of its needs the rank (from 1) at which it was met, or None.
        need_all: Whether a question is answered only when every need is met (multi-hop), or by
            any of several relevant documents (BEIR).
        grades: For each question and each of its needs how relevant it is (from 1); None: all alike.

    Raises:
        ValueError: If a question has no need, a rank or grade is below 1, or a need has no grade.
    """
    if grades is None:
        grades = [[1] * len(row) for row in ranks]
    if list(map(len, grades)) != list(map(len, ranks)) or any(grade < 1 for row in grades for grade in row):
        raise ValueError("every need takes one grade, from 1")
    for row in ranks:
        if not row:
            raise ValueError("a question without gold has no ranking metrics")
        if any(rank is not None and rank < 1 for rank in row):
            raise ValueError(f"ranks count from 1: {list(row)}")
    values: list[dict[str, float]] = [{} for _ in ranks]
    needs = {f"q{i}": _place([(f"need{j}", rank) for j, rank in enumerate(row)]) for i, row in enumerate(ranks)}
    wanted = {f"q{i}": {f"need{j}": grade for j, grade in enumerate(row)} for i, row in enumerate(grades)}
    _measure(_ON_NEEDS, wanted, needs, values)
    answered = {f"q{i}": _place([("answer", answered_at(row, need_all))]) for i, row in enumerate(ranks)}
    one = {f"q{i}": {"answer": 1} for i in range(len(ranks))}
    _measure(_ON_ANSWERED, one, answered, values)
    # The best place at which n needs can all be met is n: a perfect multi-hop ranking has an MRR of 1.
    first = {}
    for i, row in enumerate(ranks):
        at = answered_at(row, need_all)
        spare = len(row) - 1 if need_all else 0
        first[f"q{i}"] = _place([("answer", max(1, at - spare) if at is not None and at <= 10 else None)])
    _measure(_ON_FIRST, one, first, values)
    return [{name: row[name] for name in METRICS} for row in values]


def question_metrics(ranks: Ranks, *, need_all: bool = True) -> dict[str, float]:
    """`ranking_metrics` of one question."""
    return ranking_metrics([ranks], need_all=need_all)[0]


def answered_at(row: Ranks, need_all: bool) -> int | None:
    """The rank (from 1) at which a question was answered: every need met, or any of them; None: nowhere."""
    met = [rank for rank in row if rank is not None]
    if need_all:
        # Every need must be met: the question is answered where its last need is.
        return max(met) if len(met) == len(row) else None
    return min(met, default=None)


def _place(names: Sequence[tuple[str, int | None]]) -> dict[str, float]:
    """A ranking, as scores by name, that has each name at its rank and other passages between."""
    run: dict[str, float] = {}
    last = 0
    for name, rank in sorted(((n, r) for n, r in names if r is not None and r <= _DEPTH), key=lambda item: item[1]):
        # One passage may meet two needs; they then count at consecutive places.
        at = max(rank, last + 1)
        run.update({f"other{place}": -float(place) for place in range(last + 1, at)})
        run[name] = -float(at)
        last = at
    return run


def _measure(
    measures: Mapping[str, Any],
    wanted: Mapping[str, Mapping[str, int]],
    run: Mapping[str, Mapping[str, float]],
    into: list[dict[str, float]],
) -> None:
    names = {measure: name for name, measure in measures.items()}
    for row in into:
        row.update(dict.fromkeys(measures, 0.0))
    if not run:
        return
    # A question for which nothing was found must still be counted: the library skips empty rankings.
    full = {name: scores or {"other": 0.0} for name, scores in run.items()}
    for item in ir_measures.iter_calc(list(names), wanted, full):
        into[int(item.query_id[1:])][names[item.measure]] = float(item.value)


def mean_metrics(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of each metric over the questions; NaN without questions."""
    return {name: float(np.mean([row[name] for row in rows])) if rows else math.nan for name in METRICS}
