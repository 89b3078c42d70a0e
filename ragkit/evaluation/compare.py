"""Two reports question by question: what got fixed, what broke, what moved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ragkit.errors import DatasetError
from ragkit.evaluation.metrics import COMPARED, METRICS, answered_at
from ragkit.evaluation.stats import difference_ci95, holm, randomisation_test

Change = Literal["fixed", "broken", "moved up", "moved down", "same"]
_ORDER: tuple[Change, ...] = ("broken", "fixed", "moved down", "moved up", "same")


@dataclass(frozen=True)
class Side:
    """One question as one of the runs saw it."""

    rank: int | None
    """Where the question was answered, from 1; None: nowhere."""
    passages: tuple[dict[str, Any], ...]


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


@dataclass(frozen=True)
class Difference:
    """What run B does differently from run A."""

    a: str
    b: str
    at: int
    metrics: dict[str, dict[str, Any]]
    """By metric: a, b, difference, ci95 of the difference, p_value, p_corrected."""
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
            "questions": [asdict(q) for q in self.questions if q.change != "same"],
            "only_a": list(self.only_a),
            "only_b": list(self.only_b),
        }


def read_report(path: Path) -> dict[str, Any]:
    """A report that ``eval retrieval --out`` or ``eval run --out`` wrote; of several data sets the first.

    Raises:
        DatasetError: If the file is no such report.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if "runs" not in report and report.get("datasets"):
            report = report["datasets"][0]
        if not report["runs"]:
            raise ValueError("it has no run")
        for run in report["runs"]:
            str(run["name"])
            for row in run.get("rows", ()):
                _check_row(row)
    except (OSError, ValueError) as exc:
        raise _no_report(path, str(exc)) from exc
    except KeyError as exc:
        raise _no_report(path, f"{exc} is missing") from exc
    except (TypeError, AttributeError, RecursionError) as exc:
        raise _no_report(path, "it has another shape") from exc
    return dict(report)


def _check_row(row: Mapping[str, Any]) -> None:
    for key in ("id", "text", "type", "language", "ranks", "need_all", "passages"):
        row[key]
    for metric in METRICS:
        float(row["metrics"][metric])


def _no_report(path: Path, why: str) -> DatasetError:
    return DatasetError(f"{path} is no report: {why}.", "Make one: ragkit eval retrieval DATASET --out FILE.json.")


def read_report_run(spec: str) -> tuple[str, dict[str, Any]]:
    """A run of a report that ``eval retrieval --out`` wrote.

    Args:
        spec: ``FILE`` (its first run) or ``FILE:RUN``.

    Returns:
        A label, and the run with its ``rows``.

    Raises:
        DatasetError: If the file is no such report or has no such run.
    """
    path, name = _split_spec(spec)
    runs = {run["name"]: run for run in read_report(path)["runs"]}
    run = next(iter(runs.values())) if name is None else runs.get(name)
    if run is None:
        raise DatasetError(f"{path} has no run {name!r}.", f"It has: {', '.join(runs)}.")
    if "rows" not in run:
        raise DatasetError(f"{path} keeps no questions.", "Write it with --out, not by redirecting --json.")
    return f"{path.stem}:{run['name']}", run


def _split_spec(spec: str) -> tuple[Path, str | None]:
    # File names and run names ("small.toml:dense") may both hold colons: the file is what is there.
    if Path(spec).is_file():
        return Path(spec), None
    parts = spec.split(":")
    for at in range(len(parts) - 1, 0, -1):
        path = Path(":".join(parts[:at]))
        if path.is_file():
            return path, ":".join(parts[at:])
    return Path(spec), None


def compare_runs(a: tuple[str, Mapping[str, Any]], b: tuple[str, Mapping[str, Any]], at: int = 5) -> Difference:
    """What changed from run `a` to run `b`.

    Args:
        a: Label and run of a report, see `read_report_run`.
        b: The other one.
        at: A question counts as answered down to this rank (1..100).

    Raises:
        DatasetError: If the two share no question.
    """
    rows_a = {row["id"]: row for row in a[1]["rows"]}
    rows_b = {row["id"]: row for row in b[1]["rows"]}
    shared = [name for name in rows_a if name in rows_b]
    if not shared:
        raise DatasetError(f"{a[0]} and {b[0]} share no question.", "Compare runs over the same data set.")
    p_values = {}
    metrics: dict[str, dict[str, Any]] = {}
    for metric in METRICS:
        x = [rows_a[name]["metrics"][metric] for name in shared]
        y = [rows_b[name]["metrics"][metric] for name in shared]
        difference = [after - before for before, after in zip(x, y, strict=True)]
        p_values[metric] = randomisation_test(x, y)
        metrics[metric] = {
            "a": float(np.mean(x)),
            "b": float(np.mean(y)),
            "difference": float(np.mean(difference)),
            "ci95": list(difference_ci95(difference)),
            "p_value": p_values[metric],
        }
    # The decision is made on the compared metrics; the others are there to look at.
    for metric, corrected in zip(COMPARED, holm([p_values[m] for m in COMPARED]), strict=True):
        metrics[metric]["p_corrected"] = corrected
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


def _moved(a: Mapping[str, Any], b: Mapping[str, Any], at: int) -> Moved:
    before, after = row_answered_at(a), row_answered_at(b)
    was, now = before is not None and before <= at, after is not None and after <= at
    change: Change = "same"
    if was != now:
        change = "fixed" if now else "broken"
    elif before != after:
        change = "moved up" if before is None or (after is not None and after < before) else "moved down"
    sides = (Side(before, tuple(a["passages"])), Side(after, tuple(b["passages"])))
    return Moved(a["id"], a["text"], a["type"], a["language"], change, *sides)


def row_answered_at(row: Mapping[str, Any]) -> int | None:
    """The rank at which a row of a report was answered, see `ragkit.evaluation.metrics.answered_at`."""
    return answered_at(row["ranks"], row["need_all"])
