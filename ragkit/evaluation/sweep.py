"""Search for better settings: trials on the dev split, the best one against the default on the test split.

Each trial is written to a log as soon as it is measured, so that a sweep that was broken off goes
on where it stood. Vectors and replies of the chat model are cached on disk: a trial embeds only
texts that no earlier one had.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from ragkit.errors import DatasetError, EndpointError
from ragkit.evaluation.cached_models import CachedModels
from ragkit.evaluation.datasets import Dataset, Question
from ragkit.evaluation.metrics import COMPARED
from ragkit.evaluation.paired import Comparison, compare_values
from ragkit.evaluation.plans import Bar, no_bar, split_missing
from ragkit.evaluation.retrieval import DEPTH, evaluate, open_dataset
from ragkit.evaluation.row_store import RowStore
from ragkit.evaluation.runs import parse_run
from ragkit.evaluation.stats import ALPHA, bootstrap_ci95
from ragkit.evaluation.sweep_space import DEFAULT_RUN, RUN, SWEPT, Sweep, changes_of
from ragkit.ingest.loader import scan
from ragkit.settings import Settings

_SHALLOW: Final = 10
"""Hits that a trial asks for where the metric does not need more: a search for more would overrule ``candidates``."""
_MODELS: Final = frozenset({"embedding_model", "chat_model"})
SettingsMaker = Callable[..., Settings]
"""`ragkit.settings.load_settings`, or what wraps it: settings with these values on top."""


@dataclass(frozen=True)
class Trial:
    """One point, measured on one split of all data sets."""

    changes: dict[str, Any]
    """What it changes of the settings in force, and the run unless that is the default one."""
    values: dict[str, tuple[float, ...]] = field(repr=False)
    """By metric: the value of every question, the data sets one after another."""
    known: bool = False
    """Everything was taken from the log of an earlier sweep."""

    @property
    def means(self) -> dict[str, float]:
        """Each metric over all questions; every question counts the same."""
        return {metric: float(np.mean(values)) for metric, values in self.values.items()}

    def to_json(self) -> dict[str, Any]:
        return {
            "changes": self.changes,
            "run": self.changes.get(RUN, DEFAULT_RUN),
            "metrics": self.means,
            "ci95": {metric: list(bootstrap_ci95(values)) for metric, values in self.values.items()},
        }


@dataclass(frozen=True)
class SweepResult:
    """Trials on dev, best first, and the best one against the default on test."""

    sweep: Sweep
    trials: tuple[Trial, ...]
    default: Trial
    """The settings in force on test."""
    best: Trial
    """The best trial of dev on test; `default` itself if none was better."""
    skipped: dict[str, str]

    @cached_property
    def comparison(self) -> Comparison:
        """Best against default on test, in the metric of the sweep: one test, so its p-value needs no correction."""
        a, b = self.default.values[self.sweep.metric], self.best.values[self.sweep.metric]
        return compare_values(("default", a), ("best", b), self.sweep.metric)

    @property
    def better(self) -> bool:
        """Whether the best trial of dev beats the default on test beyond chance."""
        return self.comparison.difference > 0 and self.comparison.p_corrected < ALPHA

    @property
    def verdict(self) -> str:
        """What to do, in one sentence."""
        if not self.best.changes:
            return "Keep the default: no trial is better on dev."
        found = f"{self.comparison.metric} {self.comparison.difference:+.3f} on test, p = {self.comparison.p_value:.4f}"
        if self.better:
            return f"Take the best trial: it is significantly better than the default ({found})."
        return f"Keep the default: the best trial of dev is not significantly better ({found})."

    @property
    def toml(self) -> str:
        """The best trial as lines of a ragkit.toml."""
        lines = [
            f"{name} = {json.dumps(value, ensure_ascii=False)}"
            for name, value in self.best.changes.items()
            if name != RUN
        ]
        if RUN in self.best.changes:
            lines.append(f"# searched as {self.best.changes[RUN]}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "datasets": [ref.label for ref in self.sweep.datasets if ref.label not in self.skipped],
            "skipped": [{"dataset": name, "reason": reason} for name, reason in self.skipped.items()],
            "metric": self.sweep.metric,
            "search": self.sweep.search,
            "seed": self.sweep.seed,
            "points": self.sweep.size,
            "dev_questions": len(self.trials[0].values[self.sweep.metric]),
            "test_questions": len(self.default.values[self.sweep.metric]),
            "trials": [trial.to_json() for trial in self.trials],
            "test": {"default": self.default.to_json(), "best": self.best.to_json()},
            "comparison": {**asdict(self.comparison), "ci95": list(self.comparison.ci95)},
            "better": self.better,
            "verdict": self.verdict,
            "ragkit_toml": self.toml,
        }


def run_sweep(
    sweep: Sweep,
    root: Path,
    make: SettingsMaker,
    models: CachedModels,
    log: RowStore,
    *,
    trials: int | None = None,
    fresh: bool = False,
    told: Callable[[int, int, Trial], None] | None = None,
    bar: Bar = no_bar,
) -> SweepResult:
    """Measure every point on dev, then the best one and the default on test.

    Args:
        sweep: What to try.
        root: Folder that the paths of its data sets are relative to.
        make: Makes the settings of a trial; without arguments those in force.
        models: Models with their caches.
        log: Where trials are kept; those that it holds are not measured again.
        trials: Number of points in place of the file's.
        fresh: Measure again what the log holds.
        told: Called after each trial with (trials done, trials in all, the trial).
        bar: Shows progress of embedding.

    Raises:
        DatasetError: If a data set is missing, has no question of a split, or a chat model is needed and not there.
        EndpointError: If a model's endpoint failed in the middle; the trials before it are kept.
    """
    base = make()
    present, skipped = split_missing(sweep.datasets, root)
    refs = [ref for ref in sweep.datasets if ref.label in present]
    splits = {split: [ref.load(root, split) for ref in refs] for split in (sweep.split, "test")}
    # The settings in force always take part, so that the best trial is never worse on dev.
    changes = _distinct([{}, *(changes_of(point, base) for point in sweep.points(trials))])
    _check_chat(changes, make, models)
    bench = _Bench(sweep, make, models, log, fresh, bar)
    done: list[Trial] = []
    for change in changes:
        done.append(bench.measure(change, splits[sweep.split]))
        if told is not None:
            told(len(done), len(changes), done[-1])
    done.sort(key=lambda trial: (-round(trial.means[sweep.metric], 9), len(trial.changes)))
    default = bench.measure({}, splits["test"])
    best = bench.measure(done[0].changes, splits["test"]) if done[0].changes else default
    return SweepResult(sweep, tuple(done), default, best, skipped)


@dataclass(frozen=True)
class _Bench:
    """Measures trials, or takes them from the log."""

    sweep: Sweep
    make: SettingsMaker
    models: CachedModels
    log: RowStore
    fresh: bool
    bar: Bar

    @property
    def depth(self) -> int:
        return DEPTH if self.sweep.metric.endswith("@100") else _SHALLOW

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*COMPARED, self.sweep.metric)))

    def measure(self, changes: dict[str, Any], datasets: Sequence[Dataset]) -> Trial:
        settings = self.make(**{name: value for name, value in changes.items() if name != RUN})
        run = str(changes.get(RUN, DEFAULT_RUN))
        values: dict[str, list[float]] = {metric: [] for metric in self.metrics}
        known = True
        for dataset in datasets:
            key = self._key(settings, run, dataset)
            row = None if self.fresh else self.log.get(key)
            if row is None or set(row.get("values", ())) != set(self.metrics):
                known = False
                row = {"dataset": dataset.name, "changes": changes, "values": self._values(settings, run, dataset)}
                self.log.put(key, row)
            for metric in self.metrics:
                values[metric].extend(row["values"][metric])
        return Trial(changes, {metric: tuple(found) for metric, found in values.items()}, known)

    def _values(self, settings: Settings, run: str, dataset: Dataset) -> dict[str, list[float]]:
        with self.bar(f"Embedding {dataset.name}") as progress:
            index = open_dataset(dataset, settings, progress, embedding=self.models.embedding(settings))
        try:
            chat = self.models.chat(settings) if parse_run(run).transforms else None
            index.chat = chat
            [result] = evaluate(dataset, index, [run], depth=self.depth)
            return {metric: result.values(metric) for metric in self.metrics}
        except EndpointError as exc:
            raise EndpointError(
                f"Run {run!r} is a void trial: {exc.message}",
                f"{exc.remedy} Then start the sweep again; it goes on where it stood.".strip(),
            ) from exc
        finally:
            index.close()

    def _key(self, settings: Settings, run: str, dataset: Dataset) -> str:
        """What decides the outcome of a trial on a data set."""
        from ragkit import __version__

        deciding = {
            # Models by what they are, not by what the settings call them: "auto" may be another one tomorrow.
            "settings": {name: getattr(settings, name) for name in SWEPT if name not in _MODELS},
            "run": run,
            "chat": self.models.chat_identity(settings) if parse_run(run).transforms else "",
            "questions": [_identity(question) for question in dataset.questions],
            "corpus": _corpus(dataset),
            "model": self.models.embedding(settings).identity.fingerprint,
            "depth": self.depth,
            "ragkit": __version__,
        }
        text = json.dumps(deciding, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _distinct(changes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each set of changes once: a value that equals the one in force is no change."""
    return list({json.dumps(change, sort_keys=True, default=str): change for change in changes}.values())


def _check_chat(changes: Sequence[dict[str, Any]], make: SettingsMaker, models: CachedModels) -> None:
    """Find out before the first trial, not in the middle of the night."""
    for change in changes:
        run = str(change.get(RUN, DEFAULT_RUN))
        settings = make(**{name: value for name, value in change.items() if name != RUN})
        asks = parse_run(run).needs_chat or ("rerank" in parse_run(run).transforms and settings.rerank_model == "chat")
        if asks and models.chat(settings) is None:
            raise DatasetError(f"Run {run!r} of the sweep needs a chat model.", "Set chat_model, or leave the run out.")


def _identity(question: Question) -> list[Any]:
    return [question.id, question.text, [asdict(g) for g in question.gold], [asdict(t) for t in question.history]]


def _corpus(dataset: Dataset) -> str:
    """A hash of the texts that are searched."""
    digest = hashlib.sha256()
    if dataset.notes is not None:
        for source in scan([dataset.notes])[0]:
            with suppress(OSError):  # what cannot be read is not indexed either
                digest.update(f"{source.path}\0{hashlib.sha256(source.file.read_bytes()).hexdigest()}\n".encode())
    for document in dataset.documents:
        digest.update(f"{document.path}\0{document.content_hash}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
