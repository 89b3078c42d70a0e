"""Hit rates of one or several retrieval modes over a data set."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ragkit.api import Index
from ragkit.errors import DatasetError
from ragkit.evaluation.datasets import Dataset, Question
from ragkit.evaluation.gold import check_gold, gold_places, overlaps
from ragkit.evaluation.metrics import METRICS, bootstrap_ci95, mean_metrics, question_metrics, randomisation_test
from ragkit.index.writer import Progress
from ragkit.retrieval.retriever import MODES, check_mode
from ragkit.settings import Settings
from ragkit.values import Hit

DEPTH: Final = 100
_COMPARED: Final = "mrr@10"


@dataclass(frozen=True)
class Row:
    """One question in one run."""

    id: str
    type: str
    language: str
    ranks: tuple[int | None, ...]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Run:
    """One mode over the whole data set."""

    name: str
    rows: tuple[Row, ...]
    seconds_per_query: float

    @property
    def metrics(self) -> dict[str, float]:
        return mean_metrics([row.metrics for row in self.rows])

    def to_json(self) -> dict[str, Any]:
        values = {name: [row.metrics[name] for row in self.rows] for name in METRICS}
        return {
            "name": self.name,
            "questions": len(self.rows),
            "metrics": self.metrics,
            "ci95": {name: list(bootstrap_ci95(values[name])) for name in METRICS},
            "by_type": self._grouped("type"),
            "by_language": self._grouped("language"),
            "seconds_per_query": self.seconds_per_query,
        }

    def _grouped(self, key: str) -> dict[str, dict[str, float]]:
        groups: dict[str, list[dict[str, float]]] = {}
        for row in self.rows:
            groups.setdefault(getattr(row, key), []).append(row.metrics)
        return {name: {"questions": len(rows), **mean_metrics(rows)} for name, rows in sorted(groups.items())}


@dataclass(frozen=True)
class Comparison:
    """Difference of two runs in one metric, with the p-value of a paired randomisation test."""

    a: str
    b: str
    metric: str
    difference: float
    p_value: float


def open_dataset(dataset: Dataset, settings: Settings, progress: Progress | None = None) -> Index:
    """The index of a data set's corpus, built below ``$RAGKIT_HOME`` unless it is there.

    Raises:
        DatasetError: If the set names no corpus.
    """
    if dataset.notes is not None:
        return Index.open(dataset.notes, settings=settings, progress=progress)
    if not dataset.documents:
        raise DatasetError(f"Data set {dataset.name} has no corpus.", "Name its notes with --notes DIR.")
    digest = hashlib.sha256("".join(d.path + d.content_hash for d in dataset.documents).encode()).hexdigest()[:10]
    folder = settings.ensure_home() / "indexes" / f"eval-{dataset.name}-{digest}"
    return Index.from_documents(dataset.documents, folder, settings=settings, progress=progress)


def evaluate(
    dataset: Dataset,
    index: Index,
    modes: Sequence[str],
    *,
    tick: Callable[[int, int], None] | None = None,
) -> list[Run]:
    """Run every mode over the answerable questions of a data set.

    Args:
        dataset: Questions with gold.
        index: Index of its corpus.
        modes: Run names: a mode, optionally with ``+rewrite`` and ``+hyde``.
        tick: Called with (questions done, questions in all).

    Raises:
        DatasetError: If no question has gold, or gold points to text that is not there.
    """
    questions = [question for question in dataset.questions if question.gold]
    if not questions:
        raise DatasetError(f"Data set {dataset.name} has no question with gold.", "")
    if not dataset.by_document:
        check_gold(questions, index)
    runs = []
    for number, name in enumerate(modes):
        mode, *extras = name.split("+")
        if mode not in MODES or set(extras) - {"rewrite", "hyde"}:
            raise DatasetError(f"Unknown run {name!r}.", f"Allowed: {', '.join(MODES)}, each with +rewrite and +hyde.")
        if extras and not index.has_chat:
            raise DatasetError(f"Run {name!r} needs a chat model.", "Set one, or leave the transform out.")
        rows, spent = [], 0.0
        for done, question in enumerate(questions, start=1):
            began = time.monotonic()
            hits = _search(index, question, mode, dataset, rewrite="rewrite" in extras, hyde="hyde" in extras)
            spent += time.monotonic() - began
            ranks = _ranks(question, hits, dataset, index)
            rows.append(
                Row(
                    question.id,
                    question.type,
                    question.language,
                    ranks,
                    question_metrics(ranks, need_all=not dataset.by_document),
                )
            )
            if tick is not None:
                tick(number * len(questions) + done, len(modes) * len(questions))
        runs.append(Run(name, tuple(rows), spent / len(questions)))
    return runs


def compare(a: Run, b: Run, metric: str = _COMPARED) -> Comparison:
    """How run `b` differs from run `a`."""
    values_a = [row.metrics[metric] for row in a.rows]
    values_b = [row.metrics[metric] for row in b.rows]
    return Comparison(
        a.name, b.name, metric, b.metrics[metric] - a.metrics[metric], randomisation_test(values_a, values_b)
    )


def _search(index: Index, question: Question, mode: str, dataset: Dataset, rewrite: bool, hyde: bool) -> list[Hit]:
    # Several chunks of one document may stand before the next document.
    k = 3 * DEPTH if dataset.by_document else DEPTH
    return index.search(question.text, k=k, mode=check_mode(mode), rewrite=rewrite, hyde=hyde)


def _ranks(question: Question, hits: Sequence[Hit], dataset: Dataset, index: Index) -> tuple[int | None, ...]:
    if dataset.by_document:
        order = list(dict.fromkeys(hit.document for hit in hits))
        ranks = {document: rank for rank, document in enumerate(order, start=1)}
        return tuple(ranks.get(document) for document in dict.fromkeys(g.document for g in question.gold))
    places = gold_places(question, index)
    met: list[int | None] = []
    for group in dict.fromkeys(g.group for g in question.gold):
        spans = [span for g, span in places if g == group]
        met.append(next((h.rank for h in hits if any(overlaps(h, span) for span in spans)), None))
    return tuple(met)


def report_json(dataset: Dataset, index: Index, runs: Sequence[Run]) -> dict[str, Any]:
    """The ``--json`` contract of ``ragkit eval retrieval``."""
    compared = [compare(runs[0], run) for run in runs[1:]]
    return {
        "dataset": dataset.name,
        "questions": len(runs[0].rows),
        "embedding_model": index.model.name,
        "index": index.manifest,
        "runs": [run.to_json() for run in runs],
        "comparisons": [asdict(item) for item in compared],
    }
