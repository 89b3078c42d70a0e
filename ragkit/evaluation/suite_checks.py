"""What a suite asks of its runs: thresholds, no run worse than its parts, no regression against a baseline.

Pure functions over measured rows. A comparison fails only if the run is significantly worse: a
paired randomisation test, corrected after Holm, below `ALPHA`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ragkit.errors import ConfigError, DatasetError
from ragkit.evaluation.datasets import Question
from ragkit.evaluation.metrics import COMPARED
from ragkit.evaluation.plans import Strict
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


class BaselineRow(Strict):
    """A question as it was measured."""

    digest: str
    """Of its text, history and gold: a changed question is another one."""
    values: dict[str, tuple[float, ...]]
    """By run: the values of `BaselineSet.metrics`."""


class BaselineSet(Strict):
    """A data set as it was measured."""

    embedding_model: str
    metrics: tuple[str, ...]
    questions: dict[str, BaselineRow]


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


def check_not_worse(rule: NotWorse, dataset: str, runs: Mapping[str, Run]) -> list[Check]:
    """The run against each of the others in each metric; Holm's correction is over all of them."""
    pairs = [(other, metric) for other in rule.than for metric in rule.metrics]
    values = [(runs[other].values(metric), runs[rule.run].values(metric)) for other, metric in pairs]
    judged = _judge(values)
    return [
        Check("not worse", dataset, rule.run, metric, passed, f"{_numbers(difference, p)} against {other}", p)
        for (other, metric), (passed, difference, p) in zip(pairs, judged, strict=True)
    ]


def check_regression(
    dataset: str, runs: Sequence[Run], asked: Sequence[Question], baseline: BaselineSet
) -> list[Check]:
    """Each run against itself in the baseline, over the questions that did not change since.

    Holm's correction is over runs and metrics of the data set.

    Raises:
        DatasetError: If baseline and data set share no question.
    """
    digests = {question.id: digest(question) for question in asked}
    pairs: list[tuple[Run, str]] = []
    values: list[tuple[list[float], list[float]]] = []
    counts: list[int] = []
    for run in runs:
        rows: list[tuple[Row, tuple[float, ...]]] = []
        for row in run.rows:
            old = baseline.questions.get(row.id)
            if old is not None and old.digest == digests[row.id] and run.name in old.values:
                rows.append((row, old.values[run.name]))
        if not rows and any(run.name in old.values for old in baseline.questions.values()):
            raise DatasetError(f"The baseline has no question in common with {dataset}.", "Use --update-baseline.")
        for at, metric in enumerate(baseline.metrics if rows else ()):
            pairs.append((run, metric))
            values.append(([old[at] for _, old in rows], [round(row.metrics[metric], _DIGITS) for row, _ in rows]))
            counts.append(len(rows))
    return [
        Check(
            "regression", dataset, run.name, metric, passed,
            f"{_numbers(difference, p)} against the baseline ({count} questions)", p,
        )
        for (run, metric), count, (passed, difference, p) in zip(pairs, counts, _judge(values), strict=True)
    ]  # fmt: skip


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
    gold = [[gold.document, gold.quote, gold.group] for gold in question.gold]
    history = [[turn.question, turn.answer] for turn in question.history]
    text = json.dumps([question.text, history, gold])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:8]


def _judge(values: Sequence[tuple[list[float], list[float]]]) -> list[tuple[bool, float, float]]:
    """Of each pair (before, now): whether it is not significantly worse, the difference, the corrected p-value."""
    corrected = holm([randomisation_test(before, now) for before, now in values])
    out = []
    for (before, now), p in zip(values, corrected, strict=True):
        difference = float(np.mean(now) - np.mean(before))
        out.append((not (difference < 0 and p < ALPHA), difference, p))
    return out


def _numbers(difference: float, p: float) -> str:
    return f"{difference:+.3f} (p corrected = {p:.4f})"
