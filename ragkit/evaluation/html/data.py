"""The part of a report that the page shows, checked: a file that was saved may be anybody's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeFloat, PositiveInt, ValidationError

from ragkit.errors import DatasetError
from ragkit.evaluation.metrics import COMPARED, HEADLINE, answered_at

_MAKE = "Make one: ragkit eval retrieval DATASET --out FILE.json."
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Interval = tuple[FiniteFloat, FiniteFloat]


class _Part(BaseModel):
    """Frozen, and blind to keys that later versions add."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PassageData(_Part):
    """One of the best passages of a question."""

    document: str
    start_line: int
    end_line: int
    heading: tuple[str, ...]
    text: str
    score: float


class RowData(_Part):
    """One question in one run."""

    id: str
    text: str
    type: str
    language: str
    ranks: Annotated[tuple[PositiveInt | None, ...], Field(min_length=1)]
    need_all: bool
    passages: tuple[PassageData, ...]

    @property
    def answered(self) -> int | None:
        """The rank at which it was answered."""
        return answered_at(self.ranks, self.need_all)


class GroupData(_Part):
    """The questions of one type or language."""

    questions: PositiveInt
    hit_5: Share = Field(alias="hit@5")
    ci95: dict[str, Interval]


class RunData(_Part):
    """One way to search."""

    name: str
    questions: PositiveInt
    metrics: dict[str, Share]
    ci95: dict[str, Interval]
    by_type: dict[str, GroupData]
    by_language: dict[str, GroupData]
    seconds_p50: Annotated[NonNegativeFloat, Field(allow_inf_nan=False)]
    seconds_p95: Annotated[NonNegativeFloat, Field(allow_inf_nan=False)]
    rows: Annotated[tuple[RowData, ...], Field(min_length=1)]

    def model_post_init(self, context: Any, /) -> None:
        # pydantic turns this into a ValidationError that says where.
        for name in dict.fromkeys((*HEADLINE, *COMPARED)):
            if name not in self.metrics or name not in self.ci95:
                raise ValueError(f"no {name} in run {self.name}")
        for group in (*self.by_type.values(), *self.by_language.values()):
            if "hit@5" not in group.ci95:
                raise ValueError(f"no interval of hit@5 in a group of run {self.name}")


class ComparisonData(_Part):
    """A run against the first one in one metric."""

    a: str
    b: str
    metric: str
    difference: FiniteFloat
    p_value: Share
    p_corrected: Share
    ci95: Interval


class IndexData(_Part):
    """What was searched."""

    chunks: int
    documents: int


class ReportData(_Part):
    """One data set."""

    dataset: str
    questions: PositiveInt
    embedding_model: str
    ragkit: str
    index: IndexData
    settings: dict[str, Any] = {}
    runs: Annotated[tuple[RunData, ...], Field(min_length=1)]
    comparisons: tuple[ComparisonData, ...] = ()


def parse_report(report: Mapping[str, Any], where: str) -> ReportData:
    """The report of one data set, checked.

    Args:
        report: As ``report_json(rows=True)`` gives it.
        where: What to call it in an error.

    Raises:
        DatasetError: If something is missing or of the wrong kind, naming the first such thing.
    """
    runs = report.get("runs")
    if isinstance(runs, list) and any(isinstance(run, dict) and "rows" not in run for run in runs):
        raise DatasetError(f"{where} keeps no questions.", "Write it with --out, not by redirecting --json.")
    try:
        return ReportData.model_validate(report)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DatasetError(f"{where} is no report: {place}: {first['msg']}.", _MAKE) from exc


def read_reports(path: Path) -> list[dict[str, Any]]:
    """The reports in a file of ``eval retrieval --out``, one for each data set.

    Raises:
        DatasetError: If the file is not there, is no JSON, or is no report.
    """
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise DatasetError(f"{path} is no report: {reason}.", _MAKE) from exc
    reports = whole.get("datasets", [whole]) if isinstance(whole, dict) else None
    if not isinstance(reports, list) or not reports or not all(isinstance(item, dict) for item in reports):
        raise DatasetError(f"{path} is no report.", _MAKE)
    for item in reports:
        parse_report(item, str(path))
    return reports
