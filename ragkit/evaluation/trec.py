"""TREC run and qrels files, for other tools and from them.

Columns of a run: query, ``Q0``, passage, rank, score, run name; of qrels: query, 0, passage,
relevance. Names are percent-encoded, because the format separates by white space.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote

import ir_measures
import numpy as np

from ragkit.api import Index
from ragkit.errors import DatasetError
from ragkit.evaluation.gold import gold_places, grades_of, overlaps
from ragkit.evaluation.metrics import mean_metrics, ranking_metrics
from ragkit.evaluation.questions import Dataset
from ragkit.evaluation.retrieval import Run

Qrels = dict[str, dict[str, int]]
_SAFE = "/#._-"


def relevant_passages(dataset: Dataset, index: Index) -> Qrels:
    """For each answerable question the passages that hold gold, by the names that runs use.

    Documents (BEIR) with their grade; chunks all with 1, which is the grade of every quote.
    """
    judged: Qrels = {}
    for question in dataset.questions:
        if not question.gold:
            continue
        if dataset.by_document:
            documents = dict.fromkeys(gold.document for gold in question.gold)
            judged[question.id] = dict(zip(documents, grades_of(question, True), strict=True))
            continue
        names = judged.setdefault(question.id, {})
        for _, span in gold_places(question, index):
            for chunk in index.chunks(span[0]):
                if overlaps(chunk, span):
                    names[f"{chunk.document}#{chunk.start}-{chunk.end}"] = 1
    return judged


def write_trec(folder: Path, judged: Qrels, runs: Sequence[Run]) -> list[Path]:
    """Write ``qrels.txt`` and one ``NAME.run`` for each run, and return their paths.

    Raises:
        DatasetError: If the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [folder / "qrels.txt"]
        write_lines(written[0], _qrels_lines(judged))
        for run in runs:
            written.append(folder / f"{quote(run.name, safe='+._-')}.run")
            write_lines(written[-1], _run_lines(run))
    except OSError as exc:
        raise DatasetError(f"Cannot write to {folder}: {exc.strerror}.", "Choose another folder with --trec.") from exc
    return written


def _qrels_lines(judged: Qrels) -> Iterator[str]:
    for query, names in judged.items():
        for name, value in names.items():
            yield f"{_word(query)} 0 {_word(name)} {value}\n"


def _run_lines(run: Run) -> Iterator[str]:
    for row in run.rows:
        scores = _falling([score for _, score in row.ranking])
        for rank, ((name, _), score) in enumerate(zip(row.ranking, scores, strict=True), start=1):
            yield f"{_word(row.id)} Q0 {_word(name)} {rank} {score:.9g} {_word(run.name)}\n"


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file line by line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(lines)


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8-sig") if path.suffix == ".gz" else path.open(encoding="utf-8-sig")


def read_qrels(path: Path) -> Qrels:
    """Judgements of a qrels file: relevance by passage by query.

    Raises:
        DatasetError: If it cannot be read.
    """
    judged: Qrels = {}
    try:
        with _opened(path) as file:
            for item in ir_measures.read_trec_qrels(file):
                judged.setdefault(unquote(item.query_id), {})[unquote(item.doc_id)] = int(item.relevance)
        if not any(value > 0 for names in judged.values() for value in names.values()):
            raise ValueError("no passage is judged relevant")
    except (OSError, EOFError, ValueError) as exc:
        raise DatasetError(
            f"{path} is no TREC qrels file: {_why(exc)}.", "Columns: query 0 passage relevance."
        ) from exc
    return judged


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Scores of a run file: score by passage by query.

    Raises:
        DatasetError: If it cannot be read.
    """
    scores: dict[str, dict[str, float]] = {}
    try:
        with _opened(path) as file:
            for item in ir_measures.read_trec_run(file):
                if not math.isfinite(item.score):
                    raise ValueError(f"the score {item.score} of {item.doc_id} gives no order")
                scores.setdefault(unquote(item.query_id), {})[unquote(item.doc_id)] = float(item.score)
        if not scores:
            raise ValueError("it is empty")
    except (OSError, EOFError, ValueError) as exc:
        raise DatasetError(
            f"{path} is no TREC run file: {_why(exc)}.", "Columns: query Q0 passage rank score run."
        ) from exc
    return scores


def _why(exc: Exception) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    if "values to unpack" in str(exc):
        return "a line has too many or too few columns"
    return str(exc)


def trec_metrics(judged: Qrels, scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Metrics of a run over judged queries, any relevant passage counting; unanswered queries count as 0.

    A relevance above 1 is more gain in nDCG; to the other metrics every relevance from 1 is the same.
    """
    ranks: list[list[int | None]] = []
    grades: list[list[int]] = []
    for query, names in judged.items():
        relevant = [name for name, value in names.items() if value > 0]
        if not relevant:
            continue
        found = scores.get(query, {})
        # trec_eval breaks ties by name, descending; so do we.
        order = sorted(found, key=lambda name: (found[name], name), reverse=True)
        place = {name: rank for rank, name in enumerate(order, start=1)}
        ranks.append([place.get(name) for name in relevant])
        grades.append([names[name] for name in relevant])
    return mean_metrics(ranking_metrics(ranks, need_all=False, grades=grades))


def _falling(scores: Sequence[float]) -> list[float]:
    """`scores` with each one below the one before it: readers of run files order by score, never by rank.

    Equal scores stand in the order of the search, and a reranker moves hits without touching their
    scores. Steps are those of single precision, in which trec_eval reads.
    """
    out: list[float] = []
    for score in scores:
        value = np.float32(score)
        if out and value >= np.float32(out[-1]):
            value = np.nextafter(np.float32(out[-1]), np.float32(-np.inf))
        out.append(float(value))
    return out


def _word(name: str) -> str:
    return quote(name, safe=_SAFE)
