"""Why questions are missed: the first thing to know before changing a retriever.

Works on a saved report. The cause of a miss is the stage at which the gold got lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ragkit.evaluation.report_file import ReportData, RowData

Cause = Literal["lost in fusion", "ranked too low", "right note, wrong passage", "not proposed", "unknown"]
CAUSES: Final[dict[Cause, str]] = {
    "lost in fusion": "one leg alone has the gold in time; merging the legs, or what the run adds, pushed it down",
    "ranked too low": "the gold is among the hits, but below the cut in every leg",
    "right note, wrong passage": "no leg proposes the gold, but a passage of its note stands above the cut",
    "not proposed": "neither leg proposes the gold, nor does its note show",
    "unknown": "the report has no run of the bare legs that would tell",
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


def legs_of(run: str) -> tuple[str, ...]:
    """The runs that are the bare legs of a run: ``a.toml:dense`` and ``a.toml:sparse`` of ``a.toml:hybrid+hyde``."""
    file, colon, rest = run.rpartition(":")
    if not colon and run.endswith(".toml"):
        file, rest = run, "hybrid"
    mode = rest.split("+")[0]
    return tuple(f"{file}:{leg}" if file else leg for leg in (("dense", "sparse") if mode == "hybrid" else (mode,)))


def missing_legs(report: ReportData) -> tuple[str, ...]:
    """Runs that the report does not have, without which the causes of the first run's misses stay unknown."""
    names = {run.name for run in report.runs}
    return tuple(leg for leg in legs_of(report.runs[0].name) if leg not in names)


def find_failures(report: ReportData, at: int = 5) -> list[Failure]:
    """The questions that the first run of a report does not answer down to rank `at`, and why.

    Args:
        report: Its runs that are the bare legs of the first one tell the causes apart, and no others.
        at: The cut, from 1.
    """
    first = report.runs[0]
    legs = legs_of(first.name)
    answered = {run.name: {row.id: row.answered for row in run.rows} for run in report.runs}
    failures = []
    for row in first.rows:
        if row.answered is not None and row.answered <= at:
            continue
        ranks = {name: by_id[row.id] for name, by_id in answered.items() if row.id in by_id}
        known = [ranks[leg] for leg in legs if leg in ranks]
        cause = _cause(row, known, len(known) == len(legs), at)
        failures.append(Failure(row.id, row.text, row.type, row.language, cause, ranks))
    return failures


def _cause(row: RowData, legs: Sequence[int | None], complete: bool, at: int) -> Cause:
    if not complete:
        return "unknown"
    found = [rank for rank in legs if rank is not None]
    if any(rank <= at for rank in found):
        return "lost in fusion"
    if found or row.answered is not None:
        return "ranked too low"
    shown = {passage.document for passage in row.passages[:at]}
    return "right note, wrong passage" if shown & set(row.gold) else "not proposed"


def causes_by_type(failures: list[Failure]) -> dict[str, dict[Cause, int]]:
    """How often each cause stands behind the misses of each question type."""
    counts = Counter((failure.type, failure.cause) for failure in failures)
    kinds = sorted({failure.type for failure in failures})
    return {kind: {cause: counts[kind, cause] for cause in CAUSES} for kind in kinds}
