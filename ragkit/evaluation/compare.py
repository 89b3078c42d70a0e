"""Two reports question by question: what got fixed, what broke, what moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ragkit.errors import DatasetError
from ragkit.evaluation.metrics import COMPARED, METRICS
from ragkit.evaluation.paired import compare_values, corrected
from ragkit.evaluation.report_file import PassageData, RowData, RunData
from ragkit.evaluation.stats import difference_ci95
from ragkit.text.sanitize import one_line

Change = Literal["fixed", "broken", "moved up", "moved down", "same"]
_ORDER: tuple[Change, ...] = ("broken", "fixed", "moved down", "moved up", "same")


@dataclass(frozen=True)
class Side:
    """One question as one of the runs saw it."""

    rank: int | None
    """Where the question was answered, from 1; None: nowhere."""
    passages: tuple[PassageData, ...]


@dataclass(frozen=True)
class Moved:
    """One question in both runs."""

    id: str
    text: str
    type: str
    language: str
    change: Change
    a: Side
    b: Side

    def to_json(self) -> dict[str, Any]:
        sides = {
            name: {"rank": side.rank, "passages": [p.model_dump() for p in side.passages]}
            for name, side in (("a", self.a), ("b", self.b))
        }
        return {
            "id": self.id,
            "text": self.text,
            "type": self.type,
            "language": self.language,
            "change": self.change,
            **sides,
        }


@dataclass(frozen=True)
class Difference:
    """What run B does differently from run A."""

    a: str
    b: str
    at: int
    metrics: dict[str, dict[str, Any]]
    """By metric: a, b, difference, ci95 of the difference; of those in which runs are compared also p_value
    and p_corrected, see `ragkit.evaluation.stats`."""
    questions: tuple[Moved, ...]
    """Broken first, then fixed, then moved."""
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    def counts(self) -> dict[Change, int]:
        """How many questions changed in which way."""
        return {change: sum(q.change == change for q in self.questions) for change in _ORDER}

    def to_json(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "at": self.at,
            "metrics": self.metrics,
            "counts": self.counts(),
            "questions": [q.to_json() for q in self.questions if q.change != "same"],
            "only_a": list(self.only_a),
            "only_b": list(self.only_b),
        }


def differing_settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """By name the values of the settings that two reports do not share; None for one that a report does not have.

    Reports without any settings say nothing of theirs, so nothing differs.
    """
    if not a or not b:
        return {}
    return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name)}


def compare_runs(a: tuple[str, RunData], b: tuple[str, RunData], at: int = 5) -> Difference:
    """What changed from run `a` to run `b`.

    Args:
        a: Label and run of a report, see `ragkit.evaluation.report_file.one_run`.
        b: The other one.
        at: A question counts as answered down to this rank (1..100).

    Raises:
        DatasetError: If the two share no question, or ask something else under one id.
    """
    rows_a = {row.id: row for row in a[1].rows}
    rows_b = {row.id: row for row in b[1].rows}
    shared = [name for name in rows_a if name in rows_b]
    if not shared:
        raise DatasetError(f"{a[0]} and {b[0]} share no question.", "Compare runs over the same data set.")
    for name in shared:
        if rows_a[name].text != rows_b[name].text:
            raise DatasetError(
                f"Question {name} of {a[0]} is {one_line(rows_a[name].text, 60)!r}, "
                f"of {b[0]} {one_line(rows_b[name].text, 60)!r}.",
                "Compare runs over the same questions.",
            )
    values = {
        metric: ([rows_a[name].metrics[metric] for name in shared], [rows_b[name].metrics[metric] for name in shared])
        for metric in METRICS
    }
    # The decision is made on the compared metrics; the others are there to look at.
    family = corrected([compare_values((a[0], values[m][0]), (b[0], values[m][1]), m) for m in COMPARED])
    tested = {item.metric: item for item in family}
    metrics: dict[str, dict[str, Any]] = {}
    for metric, (x, y) in values.items():
        difference = [after - before for before, after in zip(x, y, strict=True)]
        item = tested.get(metric)
        metrics[metric] = {
            "a": float(np.mean(x)),
            "b": float(np.mean(y)),
            "difference": float(np.mean(difference)),
            "ci95": list(item.ci95 if item else difference_ci95(difference)),
        }
        if item:
            metrics[metric] |= {"p_value": item.p_value, "p_corrected": item.p_corrected}
    moved = [_moved(rows_a[name], rows_b[name], at) for name in shared]
    moved.sort(key=lambda item: _ORDER.index(item.change))
    return Difference(
        a[0],
        b[0],
        at,
        metrics,
        tuple(moved),
        tuple(name for name in rows_a if name not in rows_b),
        tuple(name for name in rows_b if name not in rows_a),
    )


def _moved(a: RowData, b: RowData, at: int) -> Moved:
    before, after = a.answered, b.answered
    was, now = before is not None and before <= at, after is not None and after <= at
    change: Change = "same"
    if was != now:
        change = "fixed" if now else "broken"
    elif before != after:
        change = "moved up" if before is None or (after is not None and after < before) else "moved down"
    return Moved(a.id, a.text, a.type, a.language, change, Side(before, a.passages), Side(after, b.passages))
