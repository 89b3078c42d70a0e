"""Hit rates of one or several runs over a data set, with everything a later comparison needs."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ragkit.api import Index, index_settings
from ragkit.errors import DatasetError, EndpointError, ModelError
from ragkit.evaluation.gold import check_gold, gold_places, grades_of, ranks_of
from ragkit.evaluation.metrics import COMPARED, METRICS, mean_metrics, ranking_metrics
from ragkit.evaluation.paired import compare_all
from ragkit.evaluation.questions import Dataset, Question, answerable
from ragkit.evaluation.runs import RunSpec, parse_run
from ragkit.evaluation.stats import bootstrap_ci95
from ragkit.index.writer import Progress
from ragkit.models.embeddings import EmbeddingModel
from ragkit.retrieval.rewrite import StructuredModel
from ragkit.settings import Settings
from ragkit.values import Hit

DEPTH: Final = 100
"""Hits that are asked for, so that recall@100 means something."""
SHOWN: Final = 5
"""Passages of each question that a report keeps."""
Opener = Callable[[Path | None], Index]


@dataclass(frozen=True)
class Passage:
    """A passage as a report keeps it."""

    document: str
    start_line: int
    end_line: int
    heading: tuple[str, ...]
    text: str
    score: float


@dataclass(frozen=True)
class Row:
    """One question in one run."""

    id: str
    text: str
    type: str
    language: str
    ranks: tuple[int | None, ...]
    metrics: dict[str, float]
    seconds: float
    passages: tuple[Passage, ...] = ()
    ranking: tuple[tuple[str, float], ...] = ()
    """Every hit as (name, score): the document's in BEIR sets, else the chunk's."""
    need_all: bool = True
    """False: any of several relevant documents answers the question (BEIR)."""
    gold: tuple[str, ...] = ()
    """Documents that hold gold."""

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        del data["ranking"]
        return data


@dataclass(frozen=True)
class Run:
    """One way to search over the whole data set."""

    name: str
    rows: tuple[Row, ...]
    left_out: int = 0
    """Transforms and rerankings that failed and were left out: the run is then partly its bare mode."""

    @property
    def metrics(self) -> dict[str, float]:
        return mean_metrics([row.metrics for row in self.rows])

    @property
    def seconds_per_query(self) -> float:
        return float(np.mean([row.seconds for row in self.rows]))

    def values(self, metric: str) -> list[float]:
        """One metric of every question, in their order."""
        return [row.metrics[metric] for row in self.rows]

    def to_json(self, *, rows: bool = False) -> dict[str, Any]:
        """Metrics, intervals and groups; with `rows` every question and its best passages too."""
        seconds = [row.seconds for row in self.rows]
        data = {
            "name": self.name,
            "questions": len(self.rows),
            "left_out": self.left_out,
            "metrics": self.metrics,
            "ci95": {name: list(bootstrap_ci95(self.values(name))) for name in METRICS},
            "by_type": self._grouped("type"),
            "by_language": self._grouped("language"),
            "seconds_per_query": self.seconds_per_query,
            "seconds_p50": float(np.median(seconds)),
            "seconds_p95": float(np.percentile(seconds, 95)),
        }
        return {**data, "rows": [row.to_json() for row in self.rows]} if rows else data

    def _grouped(self, key: str) -> dict[str, dict[str, Any]]:
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(getattr(row, key), []).append(row)
        return {
            name: {
                "questions": len(rows),
                **mean_metrics([row.metrics for row in rows]),
                "ci95": {metric: list(bootstrap_ci95([r.metrics[metric] for r in rows])) for metric in COMPARED},
            }
            for name, rows in sorted(groups.items())
        }


def open_dataset(
    dataset: Dataset,
    settings: Settings,
    progress: Progress | None = None,
    *,
    embedding: EmbeddingModel | None = None,
) -> Index:
    """The index of a data set's corpus, built below ``$RAGKIT_HOME`` unless it is there.

    Settings that decide the contents of an index have a folder of their own each.

    Args:
        dataset: Brings its corpus along or names its notes.
        settings: Of this measurement.
        progress: Told about embedding.
        embedding: Model in place of that of the settings, such as one that caches; it gets folders of its own
            and never touches the index that other commands use.

    Raises:
        DatasetError: If the set names no corpus.
    """
    # Replies kept from an earlier run would hide what a transform costs; `--cache` asks for that.
    settings = settings.model_copy(update={"transform_cache": False})
    if dataset.notes is not None:
        folder = None
        if embedding is not None or index_settings(settings) != index_settings(Settings.model_construct()):
            folder = _folder(dataset, settings, str(dataset.notes.resolve()), embedding)
        return Index.open(dataset.notes, folder, embedding=embedding, settings=settings, progress=progress)
    if not dataset.documents:
        raise DatasetError(f"Data set {dataset.name} has no corpus.", "Name its notes with --notes DIR.")
    folder = _folder(dataset, settings, "".join(d.path + d.content_hash for d in dataset.documents), embedding)
    return Index.from_documents(dataset.documents, folder, embedding=embedding, settings=settings, progress=progress)


def _folder(dataset: Dataset, settings: Settings, identity: str, embedding: EmbeddingModel | None) -> Path:
    deciding = json.dumps(asdict(index_settings(settings)), sort_keys=True)
    model = settings.embedding_model if embedding is None else embedding.identity.fingerprint
    digest = hashlib.sha256(f"{identity}\n{deciding}\n{model}".encode(errors="surrogatepass"))
    return settings.ensure_home() / "indexes" / f"eval-{dataset.name}-{digest.hexdigest()[:10]}"


def evaluate(
    dataset: Dataset,
    index: Index,
    names: Sequence[str],
    *,
    tick: Callable[[int, int], None] | None = None,
    open_with: Opener | None = None,
    depth: int = DEPTH,
) -> list[Run]:
    """Run every way to search over the answerable questions of a data set.

    Args:
        dataset: Questions with gold.
        index: Index of its corpus.
        names: Runs, see `ragkit.evaluation.runs`.
        tick: Called with (questions done, questions in all).
        open_with: Opens the corpus under another settings file, for runs that name one.
        depth: Hits that are asked for. Each leg proposes at least so many, whatever ``candidates`` says;
            metrics at a greater depth are too low then.

    Raises:
        DatasetError: If no question has gold, gold points to text that is not there, or a run is unknown.
        EndpointError: If the endpoint of a model refuses or is not there. A search goes on without the transform
            then; a measurement would pass it off as the run. A reply that cannot be used is counted instead.
    """
    questions = answerable(dataset).questions
    specs = [parse_run(name) for name in names]
    for spec in specs:
        if spec.config is None:  # before the first run is measured, not after
            _check_chat(spec, index)
    runs = []
    for number, spec in enumerate(specs):
        searched = index
        if spec.config is not None:
            if open_with is None:
                raise DatasetError(f"Run {spec.name!r} names a settings file.", "Only the command line takes those.")
            searched = open_with(spec.config)
        if not dataset.by_document:
            check_gold(questions, searched)
        _check_chat(spec, searched)
        if number == 0 or spec.config is not None:
            # The first query loads the model; that is no part of its latency.
            search(searched, questions[0], replace(spec, transforms=frozenset()), 1)
        found = []
        with _counting_failures() as failures, _endpoint_of(searched, spec) as endpoint:
            for done, question in enumerate(questions, start=1):
                began = time.perf_counter()
                # Several chunks of one document may stand before the next document.
                hits = search(searched, question, spec, 3 * depth if dataset.by_document else depth)
                found.append((question, hits, time.perf_counter() - began))
                if endpoint.error is not None:
                    raise endpoint.error
                if tick is not None:
                    tick(number * len(questions) + done, len(specs) * len(questions))
        runs.append(Run(spec.name, _rows(found, dataset, searched), failures.count))
    return runs


def _check_chat(spec: RunSpec, index: Index) -> None:
    if spec.needs_chat and not index.has_chat:
        raise DatasetError(
            f"Run {spec.name!r} needs a chat model.",
            "Set chat_model in ragkit.toml or RAGKIT_CHAT_MODEL, or leave the transform out.",
        )


class _Failures(logging.Handler):
    """Counts the warnings by which query transforms and rerankers say that they were left out."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


@contextmanager
def _counting_failures() -> Iterator[_Failures]:
    counter = _Failures()
    loggers = [logging.getLogger(name) for name in ("ragkit.retrieval.planner", "ragkit.retrieval.rerank")]
    for logger in loggers:
        logger.addHandler(counter)
    try:
        yield counter
    finally:
        for logger in loggers:
            logger.removeHandler(counter)


class _Endpoint:
    """A chat model that remembers the first failure of its endpoint."""

    def __init__(self, model: StructuredModel | None) -> None:
        self._model = model
        self.error: EndpointError | None = None

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        if self._model is None or self.error is not None:
            raise self.error or ModelError("There is no chat model.", "Set chat_model.")
        try:
            return self._model.complete_json(system, user, schema, max_tokens)
        except EndpointError as exc:
            self.error = exc
            raise


@contextmanager
def _endpoint_of(index: Index, spec: RunSpec) -> Iterator[_Endpoint]:
    """The chat model of an index under watch, if the run asks it anything."""
    asks = spec.needs_chat or ("rerank" in spec.transforms and index.settings.rerank_model == "chat")
    if not asks or not index.has_chat:
        yield _Endpoint(None)
        return
    model = index.chat
    index.chat = watched = _Endpoint(model)
    try:
        yield watched
    finally:
        index.chat = model


def search(index: Index, question: Question, spec: RunSpec, k: int) -> list[Hit]:
    """The `k` best hits for a question, searched the way that `spec` says."""
    return index.search(
        question.text,
        k=k,
        mode=spec.mode,
        rewrite=spec.policy("rewrite"),
        translate=spec.policy("translate"),
        hyde=spec.policy("hyde"),
        rerank="rerank" in spec.transforms,
        history=() if "alone" in spec.transforms else question.history,
    )


def _rows(found: Sequence[tuple[Question, list[Hit], float]], dataset: Dataset, index: Index) -> tuple[Row, ...]:
    ranks = [ranks_of(question, hits, gold_places(question, index), dataset.by_document) for question, hits, _ in found]
    grades = [grades_of(question, dataset.by_document) for question, _, _ in found]
    metrics = ranking_metrics(ranks, need_all=not dataset.by_document, grades=grades)
    return tuple(
        Row(
            question.id,
            question.text,
            question.type,
            question.language,
            ranks[i],
            metrics[i],
            seconds,
            tuple(
                Passage(h.document, h.start_line, h.end_line, h.heading, h.text[:600], h.score) for h in hits[:SHOWN]
            ),
            _ranking(hits, dataset.by_document),
            not dataset.by_document,
            tuple(dict.fromkeys(gold.document for gold in question.gold)),
        )
        for i, (question, hits, seconds) in enumerate(found)
    )


def _ranking(hits: Sequence[Hit], by_document: bool) -> tuple[tuple[str, float], ...]:
    best: dict[str, float] = {}
    for hit in hits:
        best.setdefault(hit.document if by_document else f"{hit.document}#{hit.start}-{hit.end}", hit.score)
    return tuple(best.items())


def report_json(dataset: Dataset, index: Index, runs: Sequence[Run], *, rows: bool = False) -> dict[str, Any]:
    """The ``--json`` contract of ``ragkit eval retrieval``; with `rows` the report that `eval compare` reads."""
    from ragkit import __version__

    return {
        "dataset": dataset.name,
        "questions": len(runs[0].rows),
        "embedding_model": index.model.name,
        "index": index.manifest,
        "ragkit": __version__,
        "settings": index.settings.model_dump(mode="json", exclude={"openai_api_key", "home", "index", "notes"}),
        "runs": [run.to_json(rows=rows) for run in runs],
        "comparisons": [{**asdict(item), "ci95": list(item.ci95)} for item in compare_all(runs)],
    }
