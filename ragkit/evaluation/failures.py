"""Why questions are missed: the first thing to know before changing a retriever.

Works on a saved report. The cause of a miss is the stage at which the gold got lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ragkit.errors import DatasetError
from ragkit.evaluation.compare import row_answered_at

Cause = Literal["lost in fusion", "ranked too low", "right note, wrong passage", "not proposed"]
CAUSES: Final[dict[Cause, str]] = {
    "lost in fusion": "one leg alone has the gold in time; merging the legs pushed it down",
    "ranked too low": "the gold is among the hits, but below the cut in every leg",
    "right note, wrong passage": "no leg proposes the gold, but a passage of its note stands above the cut",
    "not proposed": "neither leg proposes the gold, nor does its note show",
}


@dataclass(frozen=True)
class Failure:
    """One question that a run missed."""

    id: str
    text: str
    type: str
    language: str
    cause: Cause
    ranks: dict[str, int | None]
    """By run: where the question was answered."""


def find_failures(report: Mapping[str, Any], at: int = 5) -> list[Failure]:
    """The questions that the first run of a report does not answer down to rank `at`, and why.

    Args:
        report: Report with rows; its further runs (dense, sparse) tell the causes apart.
        at: The cut, from 1.

    Raises:
        DatasetError: If the report keeps no questions.
    """
    runs = report["runs"]
    if any("rows" not in run for run in runs):
        raise DatasetError("The report keeps no questions.", "Write it with `ragkit eval retrieval --out`.")
    rows = {run["name"]: {row["id"]: row for row in run["rows"]} for run in runs}
    failures = []
    for row in runs[0]["rows"]:
        ranks = {name: row_answered_at(by_id[row["id"]]) for name, by_id in rows.items() if row["id"] in by_id}
        own = ranks[runs[0]["name"]]
        if own is None or own > at:
            cause = _cause(row, own, [rank for name, rank in ranks.items() if name != runs[0]["name"]], at)
            failures.append(Failure(row["id"], row["text"], row["type"], row["language"], cause, ranks))
    return failures


def _cause(row: Mapping[str, Any], own: int | None, others: list[int | None], at: int) -> Cause:
    found = [rank for rank in others if rank is not None]
    if any(rank <= at for rank in found):
        return "lost in fusion"
    if found or own is not None:
        return "ranked too low"
    shown = {passage["document"] for passage in row["passages"][:at]}
    return "right note, wrong passage" if shown & set(row["gold"]) else "not proposed"


def causes_by_type(failures: list[Failure]) -> dict[str, dict[Cause, int]]:
    """How often each cause stands behind the misses of each question type."""
    counts = Counter((failure.type, failure.cause) for failure in failures)
    kinds = sorted({failure.type for failure in failures})
    return {kind: {cause: counts[kind, cause] for cause in CAUSES} for kind in kinds}
