"""Reports laid out as one page; every value passes `layout.clean` and then Jinja's escaping, without exception."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ragkit.evaluation.html.layout import make_environment, without_credentials
from ragkit.evaluation.html.plots import plots, short_name, time_text
from ragkit.evaluation.metrics import METRICS
from ragkit.evaluation.report_file import ComparisonData, ReportData, RowData
from ragkit.evaluation.stats import ALPHA

AT: Final = 5
"""A question is missed when it is not answered down to this rank."""
MOST_MISSED: Final = 100
"""Missed questions that are listed; the report itself has all."""


@dataclass(frozen=True)
class Missed:
    """A question that the first run does not answer down to rank `AT`."""

    row: RowData
    others: tuple[tuple[str, int | None], ...]
    """The rank at which each other run answers it, by the run's name."""


@dataclass(frozen=True)
class Groups:
    """hit@5 of every run by question type or language."""

    title: str
    rows: tuple[tuple[str, int, tuple[Mapping[str, Any] | None, ...]], ...]
    """(group, questions, one cell for each run: value and interval)."""


def render_page(reports: Sequence[ReportData]) -> str:
    """The page as text: HTML that is well-formed XML too.

    Args:
        reports: At least one.

    Raises:
        ValueError: Without reports.
    """
    if not reports:
        raise ValueError("a page needs at least one report")
    environment = make_environment(ms=time_text, verdict=verdict, short=short_name)
    sections = [_section(report, f"set{number}") for number, report in enumerate(reports, start=1)]
    return environment.get_template("report.html.j2").render(sections=sections, at=AT)


def verdict(item: ComparisonData) -> str:
    """A comparison in plain words."""
    if item.p_corrected >= ALPHA or item.difference == 0:
        return "no difference shown"
    return "significantly better" if item.difference > 0 else "significantly worse"


def _section(report: ReportData, prefix: str) -> dict[str, Any]:
    missed = _missed(report)
    return {
        "id": prefix,
        "report": report,
        "model": without_credentials(report.embedding_model),
        "settings": {name: without_credentials(_text(value)) for name, value in sorted(report.settings.items())},
        "metrics": [name for name in METRICS if all(name in run.metrics and name in run.ci95 for run in report.runs)],
        "plots": plots(report, prefix),
        "groups": [_groups(report, "by_type", "question type"), _groups(report, "by_language", "language")],
        "missed": missed[:MOST_MISSED],
        "missed_count": len(missed),
    }


def _missed(report: ReportData) -> list[Missed]:
    ranks = [(run.name, {row.id: row.answered for row in run.rows}) for run in report.runs[1:]]
    return [
        Missed(row, tuple((name, answered.get(row.id)) for name, answered in ranks))
        for row in report.runs[0].rows
        if row.answered is None or row.answered > AT
    ]


def _groups(report: ReportData, key: str, title: str) -> Groups:
    by_run = [getattr(run, key) for run in report.runs]
    names = sorted({name for groups in by_run for name in groups})
    rows = []
    for name in names:
        cells = tuple(
            {"value": groups[name].hit_5, "ci95": groups[name].ci95["hit@5"]} if name in groups else None
            for groups in by_run
        )
        rows.append((name, max(groups[name].questions for groups in by_run if name in groups), cells))
    return Groups(title, tuple(rows))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
