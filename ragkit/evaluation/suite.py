"""Suites: data sets, runs and what is asked of them in one YAML file, with a baseline to compare with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

from ragkit.errors import CheckFailed, ConfigError, DatasetError, UsageError
from ragkit.evaluation.datasets import where_and_why
from ragkit.evaluation.places import check_file
from ragkit.evaluation.plans import (
    Bar,
    DatasetRef,
    Strict,
    check_metric,
    check_run,
    check_unique,
    no_bar,
    split_missing,
)
from ragkit.evaluation.questions import Dataset
from ragkit.evaluation.retrieval import Run, evaluate, open_dataset, report_json
from ragkit.evaluation.suite_checks import (
    BaselineSet,
    Check,
    NotWorse,
    PairedValues,
    Threshold,
    baseline_set,
    check_family,
    check_threshold,
    not_worse,
    regressions,
)
from ragkit.index.fsops import write_text_atomically
from ragkit.settings import Settings

_UPDATE: Final = "Write it with --update-baseline."


class SuiteDataset(DatasetRef):
    """A data set of a suite."""

    split: Literal["dev", "test", "all"] = "all"


class Suite(Strict):
    """A suite file."""

    name: str = Field(min_length=1)
    datasets: tuple[SuiteDataset, ...] = Field(min_length=1)
    runs: tuple[str, ...] = Field(min_length=1)
    thresholds: tuple[Threshold, ...] = ()
    not_worse: tuple[NotWorse, ...] = ()
    baseline: str | None = None
    """Committed results that no run may fall behind significantly."""

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        labels = [ref.label for ref in self.datasets]
        check_unique(labels, "data set")
        check_unique([check_run(run) for run in self.runs], "run")
        named: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
        named += [(item.dataset, (item.run,), (item.metric,)) for item in self.thresholds]
        named += [(item.dataset or labels[0], (item.run, *item.than), item.metrics) for item in self.not_worse]
        for dataset, runs, metrics in named:
            if dataset not in labels:
                raise ValueError(f"a check names data set {dataset!r}, but the suite has {', '.join(labels)}")
            for run in runs:
                if run not in self.runs:
                    raise ValueError(f"a check names run {run!r}, but the suite has {', '.join(self.runs)}")
            for metric in metrics:
                check_metric(metric)
        return self


class Baseline(Strict):
    """A committed report: question ids and the compared metrics only."""

    format: Literal[1] = 1
    ragkit: str
    datasets: dict[str, BaselineSet]


@dataclass(frozen=True)
class Measured:
    """A data set and its runs."""

    dataset: Dataset
    embedding_model: str
    runs: tuple[Run, ...]
    report: dict[str, Any]
    """As ``eval retrieval --out`` writes it."""


@dataclass(frozen=True)
class SuiteResult:
    """What a suite found."""

    suite: Suite
    measured: tuple[Measured, ...]
    checks: tuple[Check, ...]
    skipped: dict[str, str]
    """Optional data sets that were left out, with the reason."""
    notes: tuple[str, ...] = ()
    """What could not be checked."""
    to_write: Path | None = None
    """The baseline that `keep_baseline` writes; None: there is none to write."""
    old: Baseline | None = None
    """The baseline so far."""

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.passed]

    def raise_if_failed(self) -> None:
        """Turn failed checks into the exit code 1.

        Raises:
            CheckFailed: If there is one.
        """
        if self.failed:
            raise CheckFailed(
                f"{len(self.failed)} of {len(self.checks)} checks of suite {self.suite.name} failed.",
                "Mend what got worse; if it is meant, lower the threshold or use --update-baseline.",
            )

    def keep_baseline(self) -> Path | None:
        """Write what was measured as the new baseline, if that was asked for, and return its path.

        Raises:
            ConfigError: If the place cannot be written to.
        """
        if self.to_write is not None:
            write_baseline(self.to_write, self.suite, self.measured, self.old)
        return self.to_write

    def to_json(self) -> dict[str, Any]:
        return {
            "suite": self.suite.name,
            "passed": not self.failed,
            "checks": [{**asdict(check), "message": check.line} for check in self.checks],
            "skipped": [{"dataset": name, "reason": reason} for name, reason in self.skipped.items()],
            "notes": list(self.notes),
            "datasets": [item.report for item in self.measured],
        }


def run_suite(
    suite: Suite,
    root: Path,
    settings: Settings,
    *,
    update_baseline: bool = False,
    bar: Bar = no_bar,
) -> SuiteResult:
    """Measure every run on every data set, and check what the suite asks.

    Args:
        suite: What to do.
        root: Folder that its paths are relative to.
        settings: Settings in force.
        update_baseline: Do not compare with the baseline; `SuiteResult.keep_baseline` writes the new one.
        bar: Shows progress: embedding and questions of each data set.

    Raises:
        DatasetError: If a data set is missing that is not optional, or the baseline does not fit.
        ConfigError: If a check is about no question, or the baseline cannot be read or written.
        UsageError: If a baseline shall be written and the suite names none.
    """
    file = root / suite.baseline if suite.baseline is not None else None
    if update_baseline and file is None:
        raise UsageError(f"Suite {suite.name} names no baseline.", "Add `baseline: FILE.json` to it.")
    # What is wrong with the files is found out before minutes are spent on measuring.
    if update_baseline and file is not None:
        check_file(file, "Check `baseline` of the suite.")
    old = _read_baseline(file, must=not update_baseline) if file is not None else None
    present, skipped = split_missing(suite.datasets, root)
    measured = []
    for ref in suite.datasets:
        if ref.label in present:
            measured.append(_measure(ref.load(root, ref.split), suite.runs, settings, bar))
    checks: list[Check] = []
    notes: list[str] = []
    for item in measured:
        checks += _checks(suite, item, None if update_baseline else old, notes)
    return SuiteResult(
        suite, tuple(measured), tuple(checks), skipped, tuple(notes), file if update_baseline else None, old
    )


def _measure(dataset: Dataset, runs: Sequence[str], settings: Settings, bar: Bar) -> Measured:
    with bar(f"Embedding {dataset.name}") as progress:
        index = open_dataset(dataset, settings, progress)
    try:
        with bar(f"Questions of {dataset.name}") as tick:
            found = evaluate(dataset, index, runs, tick=tick)
        report = report_json(dataset, index, found, rows=True)
        return Measured(dataset, index.model.name, tuple(found), report)
    finally:
        index.close()


def _checks(suite: Suite, item: Measured, baseline: Baseline | None, notes: list[str]) -> list[Check]:
    runs = {run.name: run for run in item.runs}
    name = item.dataset.name
    checks = [check_threshold(t, runs[t.run]) for t in suite.thresholds if t.dataset == name]
    family: list[PairedValues] = []
    for rule in suite.not_worse:
        if rule.dataset in {None, name}:
            family += not_worse(rule, name, runs)
    if baseline is not None:
        family += _regressions(item, baseline, notes)
    return [*checks, *check_family(family)]


def _regressions(item: Measured, baseline: Baseline, notes: list[str]) -> list[PairedValues]:
    name = item.dataset.name
    old = baseline.datasets.get(name)
    if old is None:
        notes.append(f"the baseline does not have {name}: no comparison")
        return []
    if old.embedding_model != item.embedding_model:
        raise DatasetError(
            f"The baseline of {name} was measured with {old.embedding_model}, not with {item.embedding_model}.",
            "Set RAGKIT_EMBEDDING_MODEL to that model, or use --update-baseline.",
        )
    found = regressions(name, item.runs, item.dataset.questions, old)
    compared = {comparison.run for comparison in found}
    notes += [f"the baseline of {name} does not have run {r.name}" for r in item.runs if r.name not in compared]
    return found


def _read_baseline(path: Path, *, must: bool) -> Baseline | None:
    if not must and not path.exists():
        return None
    try:
        return Baseline.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise ConfigError(f"Baseline {path} cannot be read: {exc.strerror}.", _UPDATE) from exc
    except ValidationError as exc:
        if not must:
            return None
        raise ConfigError(f"{path} is no baseline: {where_and_why(exc)}.", _UPDATE) from exc


def write_baseline(path: Path, suite: Suite, measured: Sequence[Measured], old: Baseline | None) -> None:
    """Write what was measured as the new baseline.

    Args:
        path: File to write.
        suite: Its data sets are kept in the file, no others.
        measured: What was measured now.
        old: The baseline so far: a data set that is not there today keeps what was measured when it was.

    Raises:
        ConfigError: If the place cannot be written to.
    """
    from ragkit import __version__

    kept = {ref.label: old.datasets[ref.label] for ref in suite.datasets if old and ref.label in old.datasets}
    fresh = {
        item.dataset.name: baseline_set(item.embedding_model, item.runs, item.dataset.questions) for item in measured
    }
    data = Baseline(ragkit=__version__, datasets=kept | fresh).model_dump(mode="json")
    text = json.dumps({**data, "datasets": {}}, ensure_ascii=False, sort_keys=True)
    # One line a question, so that a diff shows which ones changed.
    sets = []
    for name, values in sorted(data["datasets"].items()):
        rows = ",\n".join(
            f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(row, sort_keys=True)}"
            for key, row in sorted(values.pop("questions").items())
        )
        head = json.dumps(values, ensure_ascii=False, sort_keys=True)[:-1]
        sets.append(f'{json.dumps(name)}: {head}, "questions": {{\n{rows}\n}}}}')
    text = text.replace('"datasets": {}', '"datasets": {\n' + ",\n".join(sets) + "\n}") + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, text)
    except OSError as exc:
        raise ConfigError(f"Cannot write {path}: {exc.strerror}.", "Check `baseline` of the suite.") from exc
