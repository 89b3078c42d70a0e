"""Saved reports, checked: a file may be anybody's, and every reader of reports takes this way in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeFloat,
    PositiveInt,
    ValidationError,
)

from ragkit.errors import DatasetError
from ragkit.evaluation.datasets import where_and_why
from ragkit.evaluation.metrics import COMPARED, HEADLINE, METRICS, answered_at

_MAKE: Final = "Make one: ragkit eval retrieval DATASET --out FILE.json."
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Interval = tuple[FiniteFloat, FiniteFloat]


def _every_metric(values: dict[str, float]) -> dict[str, float]:
    if missing := [name for name in METRICS if name not in values]:
        raise ValueError(f"no {missing[0]}")
    return values


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
    gold: tuple[str, ...]
    metrics: Annotated[dict[str, Share], AfterValidator(_every_metric)]
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
        if twice := _twice(row.id for row in self.rows):
            raise ValueError(f"question {twice!r} stands twice in run {self.name}")


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

    def model_post_init(self, context: Any, /) -> None:
        if twice := _twice(run.name for run in self.runs):
            raise ValueError(f"run {twice!r} stands twice")


def _twice(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


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
        raise DatasetError(f"{where} is no report: {where_and_why(exc)}.", _MAKE) from exc


def read_reports(path: Path) -> list[ReportData]:
    """The reports in a file of ``eval retrieval --out`` or ``eval run --out``, one for each data set.

    Raises:
        DatasetError: If the file is not there, is no JSON, or is no report; names the place in it.
    """
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise DatasetError(f"{path} is no report: {reason}.", _MAKE) from exc
    reports = whole.get("datasets", [whole]) if isinstance(whole, dict) else None
    if not isinstance(reports, list) or not reports or not all(isinstance(item, dict) for item in reports):
        raise DatasetError(f"{path} is no report: it holds no data set.", _MAKE)
    if len(reports) == 1:
        return [parse_report(reports[0], str(path))]
    return [parse_report(item, f"{path}: data set {number}") for number, item in enumerate(reports, start=1)]


def labels_of(reports: Sequence[ReportData]) -> list[str]:
    """What the data sets of a file are called when one of them is named: a second one of a name gets ``-2``."""
    labels: list[str] = []
    for report in reports:
        label, count = report.dataset, 1
        while label in labels:
            count += 1
            label = f"{report.dataset}-{count}"
        labels.append(label)
    return labels


def one_report(path: Path, dataset: str | None = None) -> ReportData:
    """The report of one data set out of a file.

    Args:
        path: Report file.
        dataset: Its name, see `labels_of`; None: the only one.

    Raises:
        DatasetError: If the file is no report, has no such data set, or has several and none is named.
    """
    reports = read_reports(path)
    labels = labels_of(reports)
    if dataset is None and len(reports) > 1:
        raise DatasetError(f"{path} has several data sets: {', '.join(labels)}.", "Name one with --dataset NAME.")
    if dataset is not None and dataset not in labels:
        raise DatasetError(f"{path} has no data set {dataset!r}.", f"It has: {', '.join(labels)}.")
    return reports[labels.index(dataset) if dataset is not None else 0]


class ChosenRun(NamedTuple):
    """A run out of a file."""

    label: str
    run: RunData
    settings: Mapping[str, Any]
    """Of its report; a run ``SETTINGS.toml:RUN`` says in its name what else it was measured under."""


def one_run(spec: str) -> ChosenRun:
    """A run out of a file, and a label for it.

    Args:
        spec: ``FILE[:DATASET][:RUN]``; without a run the first one. File, data set and run may hold colons
            themselves: the file is the longest beginning of the spec that is one, the rest is what the file has.

    Raises:
        DatasetError: If the file is no report, has no such run or several that the spec may mean, or has
            several data sets and none is named.
    """
    path, rest = _split_spec(spec)
    reports = read_reports(path)
    labels = labels_of(reports)
    if not rest and len(reports) > 1:
        raise _which(path, labels)
    meant: dict[tuple[str, str], tuple[RunData, ReportData]] = {}
    for label, report in zip(labels, reports, strict=True):
        for number, run in enumerate(report.runs):
            ways = {f"{label}:{run.name}"}
            if number == 0:
                ways.add(label)
            if len(reports) == 1:
                ways |= {run.name} | ({""} if number == 0 else set())
            if rest in ways:
                meant[label, run.name] = run, report
    if len(meant) == 1:
        [((label, name), (run, report))] = meant.items()
        shown = f"{path.stem}:{label}:{name}" if len(reports) > 1 else f"{path.stem}:{name}"
        return ChosenRun(shown, run, report.settings)
    if meant:
        found = " or ".join(f"{path}:{label}:{name}" for label, name in meant)
        raise DatasetError(f"{spec} may mean several runs.", f"Write {found}.")
    if len(reports) == 1:
        runs = ", ".join(run.name for run in reports[0].runs)
        raise DatasetError(f"{path} has no run {rest!r}.", f"It has: {runs} (data set {labels[0]}).")
    named = next((item for item in zip(labels, reports, strict=True) if rest.startswith(f"{item[0]}:")), None)
    if named is None:
        raise _which(path, labels, f"no data set of {rest!r}, but")
    runs = ", ".join(run.name for run in named[1].runs)
    raise DatasetError(f"{path}: data set {named[0]} has no run {rest[len(named[0]) + 1 :]!r}.", f"It has: {runs}.")


def _which(path: Path, labels: Sequence[str], but: str = "") -> DatasetError:
    several = f"{but} several data sets".strip()
    return DatasetError(
        f"{path} has {several}: {', '.join(labels)}.", f"Name one: {path}:DATASET or {path}:DATASET:RUN."
    )


def _split_spec(spec: str) -> tuple[Path, str]:
    parts = spec.split(":")
    for at in range(len(parts), 0, -1):
        path = Path(":".join(parts[:at])).expanduser()
        if path.is_file():
            return path, ":".join(parts[at:])
    return Path(spec).expanduser(), ""
