"""What a suite asks of its runs: thresholds, no run worse than its parts, no regression against a baseline.

Pure functions over measured rows. A comparison fails if the run is significantly worse: a
paired randomisation test below `ALPHA`, corrected after Holm over all comparisons of its data set
(one family, see `ragkit.evaluation.stats`); a rule with a margin fails beyond that in any case.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from ragkit.errors import ConfigError, DatasetError
from ragkit.evaluation.metrics import COMPARED
from ragkit.evaluation.plans import Strict, check_metric, check_unique
from ragkit.evaluation.questions import Gold, Question
from ragkit.evaluation.retrieval import Row, Run
from ragkit.evaluation.stats import ALPHA, holm, randomisation_test

_DIGITS = 6
"""Decimals of a baseline; 1/3 must not differ from itself because of the way it was written down."""


class Threshold(Strict):
    """A floor under a metric."""

    dataset: str
    run: str
    metric: str
    min: float = Field(ge=0, le=1)
    type: str | None = None
    """Only questions of this type."""
    language: str | None = None
    """Only questions in this language."""


class NotWorse(Strict):
    """A run that must not be worse than others, such as hybrid search against its halves."""

    run: str
    than: tuple[str, ...] = Field(min_length=1)
    metrics: tuple[str, ...] = Field(default=COMPARED, min_length=1)
    dataset: str | None = None
    """None: on every data set."""
    margin: float | None = Field(default=None, ge=0, le=1)
    """What a mean may fall behind: below that the check fails, significant or not, which few questions hardly make
    any difference. None: only what is significant fails."""


class BaselineRow(Strict):
    """A question as it was measured."""

    digest: str
    """Of its text, history and gold: a changed question is another one."""
    values: dict[str, tuple[Annotated[FiniteFloat, Field(ge=0, le=1)], ...]]
    """By run: the values of `BaselineSet.metrics`."""


class BaselineSet(Strict):
    """A data set as it was measured."""

    embedding_model: str
    metrics: tuple[Annotated[str, AfterValidator(check_metric)], ...]
    questions: dict[str, BaselineRow]

    @model_validator(mode="after")
    def _whole(self) -> BaselineSet:
        check_unique(self.metrics, "metric")
        if missing := [metric for metric in COMPARED if metric not in self.metrics]:
            raise ValueError(f"metric {missing[0]} is missing")
        for name, row in self.questions.items():
            for run, values in row.values.items():
                if len(values) != len(self.metrics):
                    raise ValueError(
                        f"question {name!r} has {len(values)} values of run {run!r}, not {len(self.metrics)}"
                    )
        return self


@dataclass(frozen=True)
class Check:
    """One thing that was asked, and whether it holds."""

    kind: Literal["threshold", "not worse", "regression"]
    dataset: str
    run: str
    metric: str
    passed: bool
    detail: str
    """Numbers, for the reader."""
    p_corrected: float | None = None

    @property
    def line(self) -> str:
        """The check in one line."""
        return f"{self.kind}: {self.dataset} {self.run} {self.metric} {self.detail}"


def check_threshold(threshold: Threshold, run: Run) -> Check:
    """Whether the mean over the questions that the threshold is about reaches it.

    Raises:
        ConfigError: If it is about no question at all.
    """
    rows = [
        row for row in run.rows if threshold.type in {None, row.type} and threshold.language in {None, row.language}
    ]
    about = " ".join(filter(None, (threshold.type, threshold.language)))
    if not rows:
        raise ConfigError(
            f"Data set {threshold.dataset} has no question of {about!r}.", "Correct type or language of the threshold."
        )
    value = float(np.mean([row.metrics[threshold.metric] for row in rows]))
    passed = value >= threshold.min - 1e-9
    of = f" ({about}, {len(rows)} questions)" if about else f" ({len(rows)} questions)"
    detail = f"{value:.3f} {'>=' if passed else '<'} {threshold.min:.3f}{of}"
    return Check("threshold", threshold.dataset, run.name, threshold.metric, passed, detail)


@dataclass(frozen=True)
class PairedValues:
    """A run that must not be significantly worse than something else."""

    kind: Literal["not worse", "regression"]
    dataset: str
    run: str
    metric: str
    before: list[float]
    """What it is compared with, question by question."""
    now: list[float]
    against: str
    """What that is, in words."""
    margin: float | None = None
    """See `NotWorse.margin`."""


def check_family(comparisons: Sequence[PairedValues]) -> list[Check]:
    """Whether the runs hold; the comparisons are all those of one data set, over which Holm's correction is made."""
    corrected = holm([randomisation_test(item.before, item.now) for item in comparisons])
    checks = []
    for item, p in zip(comparisons, corrected, strict=True):
        difference = float(np.mean(item.now) - np.mean(item.before))
        beyond = item.margin is not None and difference < -item.margin - 1e-9
        passed = not beyond and not (difference < 0 and p < ALPHA)
        bound = "" if item.margin is None else f", {'below' if beyond else 'not below'} {-item.margin:+.3f}"
        detail = f"{difference:+.3f}{bound} (p corrected = {p:.4f}) against {item.against}"
        checks.append(Check(item.kind, item.dataset, item.run, item.metric, passed, detail, p))
    return checks


def not_worse(rule: NotWorse, dataset: str, runs: Mapping[str, Run]) -> list[PairedValues]:
    """The run against each of the others in each metric."""
    return [
        PairedValues(
            "not worse",
            dataset,
            rule.run,
            metric,
            runs[other].values(metric),
            runs[rule.run].values(metric),
            other,
            rule.margin,
        )
        for other in rule.than
        for metric in rule.metrics
    ]


def regressions(
    dataset: str, runs: Sequence[Run], asked: Sequence[Question], baseline: BaselineSet
) -> list[PairedValues]:
    """Each run against itself in the baseline, over the questions that did not change since.

    Raises:
        DatasetError: If baseline and data set share no question.
    """
    digests = {question.id: digest(question) for question in asked}
    found = []
    for run in runs:
        rows: list[tuple[Row, tuple[float, ...]]] = []
        for row in run.rows:
            old = baseline.questions.get(row.id)
            if old is not None and old.digest == digests[row.id] and run.name in old.values:
                rows.append((row, old.values[run.name]))
        if not rows and any(run.name in old.values for old in baseline.questions.values()):
            raise DatasetError(f"The baseline has no question in common with {dataset}.", "Use --update-baseline.")
        for at, metric in enumerate(baseline.metrics if rows else ()):
            before = [old[at] for _, old in rows]
            now = [round(row.metrics[metric], _DIGITS) for row, _ in rows]
            against = f"the baseline ({len(rows)} questions)"
            found.append(PairedValues("regression", dataset, run.name, metric, before, now, against))
    return found


def baseline_set(model: str, runs: Sequence[Run], asked: Sequence[Question]) -> BaselineSet:
    """The part of a baseline about one data set."""
    digests = {question.id: digest(question) for question in asked}
    questions: dict[str, dict[str, Any]] = {}
    for run in runs:
        for row in run.rows:
            entry = questions.setdefault(row.id, {"digest": digests[row.id], "values": {}})
            entry["values"][run.name] = tuple(round(row.metrics[metric], _DIGITS) for metric in COMPARED)
    rows = {name: BaselineRow(**entry) for name, entry in questions.items()}
    return BaselineSet(embedding_model=model, metrics=COMPARED, questions=rows)


def digest(question: Question) -> str:
    """Eight hex digits of what a question asks and what counts as its answer."""
    # What is as usual is left out, so that a baseline stays valid where nothing is special.
    gold = [
        [item.document, item.quote, item.group, *([] if item == _usual(item) else [item.start, item.grade])]
        for item in question.gold
    ]
    history = [[turn.question, turn.answer] for turn in question.history]
    text = json.dumps([question.text, history, gold])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:8]


def _usual(gold: Gold) -> Gold:
    return Gold(gold.document, gold.quote, gold.group)
