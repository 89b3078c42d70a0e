"""How much harm a filter detects, and how often it cries wolf, on labelled texts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import ragkit
from ragkit.errors import DatasetError
from ragkit.evaluation.stats import wilson_ci95
from ragkit.models.embeddings import EmbeddingModel
from ragkit.safety.classifier import SafetyClassifier
from ragkit.safety.examples import Example
from ragkit.safety.filter import SafetyFilter, SafetyVerdict
from ragkit.safety.moderation import ModerationEndpoint
from ragkit.settings import Settings

RUNS: Final = ("rules", "classifier", "both")
"""Runs that need no network; ``moderation`` joins them if an endpoint is configured."""
_GROUPS: Final = ("language", "direction", "category", "subset")


@dataclass(frozen=True)
class Rate:
    """`hits` of `total`."""

    hits: int
    total: int

    @property
    def value(self) -> float | None:
        """The share (0..1); None if nothing was counted."""
        return self.hits / self.total if self.total else None

    @property
    def ci95(self) -> tuple[float, float] | None:
        return wilson_ci95(self.hits, self.total) if self.total else None

    def to_json(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "ci95": list(self.ci95) if self.ci95 else None,
            "count": self.hits,
            "total": self.total,
        }


@dataclass(frozen=True)
class SafetyRow:
    """One text in one run."""

    example: Example
    verdict: SafetyVerdict
    seconds: float

    @property
    def correct(self) -> bool:
        return self.verdict.flagged == self.example.harmful

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.example.id,
            "text": self.example.text,
            "direction": self.example.direction,
            "label": "harmful" if self.example.harmful else "harmless",
            "category": self.example.category,
            "language": self.example.language,
            "subset": self.example.subset,
            **asdict(self.verdict),
            "correct": self.correct,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class SafetyRun:
    """One filter over all texts."""

    name: str
    rows: tuple[SafetyRow, ...]

    def to_json(self) -> dict[str, Any]:
        groups = {f"by_{key}": self._grouped(key) for key in _GROUPS}
        return {
            "name": self.name,
            **rates_json(self.rows),
            "category_correct": self._named().to_json(),
            **groups,
            "seconds_per_text": math.fsum(row.seconds for row in self.rows) / len(self.rows),
            "rows": [row.to_json() for row in self.rows],
        }

    def _named(self) -> Rate:
        found = [row for row in self.rows if row.example.harmful and row.verdict.flagged]
        return Rate(sum(row.example.category in row.verdict.categories for row in found), len(found))

    def _grouped(self, key: str) -> dict[str, dict[str, Any]]:
        groups: dict[str, list[SafetyRow]] = {}
        for row in self.rows:
            groups.setdefault(getattr(row.example, key), []).append(row)
        return {name: rates_json(rows) for name, rows in sorted(groups.items())}


def rates(rows: Sequence[SafetyRow]) -> dict[str, Rate]:
    """``detection`` (of harmful), ``false_alarms`` (of harmless), ``precision`` (harmful of flagged)."""
    harmful = [row for row in rows if row.example.harmful]
    flagged = [row for row in rows if row.verdict.flagged]
    detected = sum(row.verdict.flagged for row in harmful)
    return {
        "detection": Rate(detected, len(harmful)),
        "false_alarms": Rate(len(flagged) - detected, len(rows) - len(harmful)),
        "precision": Rate(detected, len(flagged)),
    }


def rates_json(rows: Sequence[SafetyRow]) -> dict[str, Any]:
    """`rates` with their intervals, and how many texts they are of."""
    return {"texts": len(rows), **{name: rate.to_json() for name, rate in rates(rows).items()}}


def filters(settings: Settings, model: EmbeddingModel) -> dict[str, SafetyFilter]:
    """The filters that are measured, by the name of their run.

    Raises:
        ModelError: If a moderation model is set, but neither key nor address.
    """
    classifier = SafetyClassifier(model, settings.home)
    runs = {
        "rules": SafetyFilter(),
        "classifier": SafetyFilter(rules=False, classifier=classifier),
        "both": SafetyFilter(classifier=classifier),
    }
    if settings.moderation_model:
        endpoint = ModerationEndpoint(settings.moderation_model, settings)
        # Alone, without a fallback: the run shall measure the endpoint, and "both" is there to compare with.
        runs["moderation"] = SafetyFilter(rules=False, moderation=endpoint)
        runs["rules+moderation"] = SafetyFilter(moderation=endpoint)
    return runs


def evaluate_safety(
    examples: Sequence[Example],
    measured: Mapping[str, SafetyFilter],
    *,
    tick: Callable[[int, int], None] | None = None,
) -> list[SafetyRun]:
    """Run every filter over all texts.

    Args:
        examples: Labelled texts.
        measured: Filters by the name of their run.
        tick: Called with (texts done, texts in all).

    Raises:
        DatasetError: If harmful or harmless texts are missing, so that a rate would be of nothing.
    """
    if len({example.harmful for example in examples}) != 2:
        raise DatasetError("The data set needs harmful and harmless texts.", "Label some of each.")
    runs = []
    for number, (name, safety) in enumerate(measured.items()):
        # Loading and training are no cost of a text.
        safety.check("warm-up")
        rows = []
        for done, example in enumerate(examples, start=1):
            began = time.perf_counter()
            verdict = safety.check(example.text, example.direction)
            rows.append(SafetyRow(example, verdict, time.perf_counter() - began))
            if tick is not None:
                tick(number * len(examples) + done, len(measured) * len(examples))
        runs.append(SafetyRun(name, tuple(rows)))
    return runs


def safety_report(dataset: str, examples: Sequence[Example], model: str, runs: Sequence[SafetyRun]) -> dict[str, Any]:
    """The ``--json`` contract of ``ragkit eval safety``."""
    harmful = sum(example.harmful for example in examples)
    return {
        "dataset": dataset,
        "ragkit": ragkit.__version__,
        "texts": len(examples),
        "harmful": harmful,
        "harmless": len(examples) - harmful,
        "embedding_model": model,
        "runs": [run.to_json() for run in runs],
    }
