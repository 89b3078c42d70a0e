"""Question sets in three forms: BEIR folder, SQuAD JSON, and ragkit's own JSONL.

Gold in ragkit's form is a file and a verbatim quote, never a chunk id, so that changing the
chunker does not invalidate a question set.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from ragkit.content import content_dir
from ragkit.errors import DatasetError, UsageError
from ragkit.ingest.loader import make_document
from ragkit.retrieval.rewrite import Turn
from ragkit.text.language import answer_language
from ragkit.values import Document

Split = Literal["dev", "test"]
SPLITS: Final = ("dev", "test", "all")


@dataclass(frozen=True)
class Gold:
    """A place that answers a question. Entries of one group are alternatives."""

    document: str
    quote: str = ""
    """Empty: any chunk of the document counts."""
    group: str = ""


@dataclass(frozen=True)
class Question:
    """One question of a set."""

    id: str
    text: str
    language: str
    type: str
    gold: tuple[Gold, ...]
    reference_answer: str = ""
    history: tuple[Turn, ...] = ()
    """Earlier turns that a follow-up leans on."""
    split: Split = "dev"
    """``test`` is for reporting only; see `split_of`."""


@dataclass(frozen=True)
class Dataset:
    """A question set and what it is asked of."""

    name: str
    questions: tuple[Question, ...]
    documents: tuple[Document, ...] = ()
    """The corpus, where the set brings it along; else see `notes`."""
    notes: Path | None = None
    by_document: bool = False
    """Rankings are of documents (BEIR), not of chunks."""
    metadata: dict[str, str] = field(default_factory=dict)


def split_of(identity: str, golds: Sequence[Gold]) -> Split:
    """Dev or test, by note: what is tuned on dev has never seen a note that test asks about.

    Two documents in five are test documents, decided by a hash of their path; a question is a test
    question if any of its gold stands in one. Questions without gold are decided by their id.
    """

    def held_out(name: str) -> bool:
        return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[0] % 5 < 2

    documents = {gold.document for gold in golds} or {identity}
    return "test" if any(map(held_out, documents)) else "dev"


def select(dataset: Dataset, split: str = "all", limit: int | None = None) -> Dataset:
    """The data set with the questions of one split only, or with an even sample of them.

    Args:
        dataset: Any data set.
        split: ``dev``, ``test`` or ``all``.
        limit: At most so many questions, every type in its share; None takes all.

    Raises:
        DatasetError: If the split is unknown or holds no question.
    """
    if split not in SPLITS:
        raise DatasetError(f"Unknown split {split!r}.", f"Allowed: {', '.join(SPLITS)}.")
    questions = [q for q in dataset.questions if split in ("all", q.split)]
    if not questions:
        raise DatasetError(f"Data set {dataset.name} has no question in split {split!r}.", "")
    if limit is not None:
        questions = stratified(questions, limit)
    return replace(dataset, questions=tuple(questions))


def stratified(questions: Sequence[Question], limit: int) -> list[Question]:
    """Exactly `limit` questions (all, if there are no more), spread evenly over each type; no chance in it.

    Every type gets its share by largest remainder, and at least one question while there are
    enough places. The order is that of `questions`.

    Raises:
        UsageError: If the limit is below 1.
    """
    if limit < 1:
        raise UsageError(f"--limit {limit} leaves no question.", "It must be at least 1.")
    if limit >= len(questions):
        return list(questions)
    places: dict[str, list[int]] = {}
    for at, question in enumerate(questions):
        places.setdefault(question.type, []).append(at)
    exact = {kind: limit * len(at) / len(questions) for kind, at in places.items()}
    share = {kind: int(value) for kind, value in exact.items()}
    # A type below one place comes first, then the largest remainder.
    for kind in sorted(places, key=lambda k: (share[k] > 0, share[k] - exact[k]))[: limit - sum(share.values())]:
        share[kind] += 1
    for kind in [kind for kind in places if not share[kind]]:
        richest = max(share, key=lambda k: share[k])
        if share[richest] > 1:
            share[richest] -= 1
            share[kind] = 1
    picked = [at[(2 * n + 1) * len(at) // (2 * share[kind])] for kind, at in places.items() for n in range(share[kind])]
    return [questions[at] for at in sorted(picked)]


def load_dataset(path: Path, notes: Path | None = None) -> Dataset:
    """Read a data set; its form is told by what `path` is.

    Args:
        path: BEIR folder, SQuAD ``.json`` or ragkit ``.jsonl`` (or the folder that holds
            ``questions.jsonl``).
        notes: Notes of a ragkit set; None takes the shipped corpus of the same name.

    Raises:
        DatasetError: If it is missing or malformed; names file and line.
    """
    path = path.expanduser()
    if not path.exists():
        raise DatasetError(f"Data set not found: {path}", "Give a BEIR folder, a SQuAD JSON file or a questions.jsonl.")
    if path.is_dir():
        if (path / "corpus.jsonl").is_file():
            return _beir(path)
        if (path / "questions.jsonl").is_file():
            return _own(path / "questions.jsonl", notes)
        raise DatasetError(f"{path} holds neither corpus.jsonl nor questions.jsonl.", "See the README on data sets.")
    return _own(path, notes) if path.suffix == ".jsonl" else _squad(path)


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file, each with its line number from 1; empty lines are passed over.

    Raises:
        DatasetError: If the file cannot be read, or a line is no JSON object.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    value = json.loads(line)
                    if not isinstance(value, dict):
                        raise DatasetError(f"{path}:{number}: not a JSON object.", "")
                    yield number, value
    except (OSError, ValueError) as exc:
        raise DatasetError(f"{path} cannot be read: {exc}.", "It must be UTF-8 with one JSON object a line.") from exc


def _identified(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a BEIR file by their ``_id``, each of which must be there once and have a ``text``."""
    seen: set[str] = set()
    for number, row in json_lines(path):
        identity = str(row.get("_id", ""))
        if not identity or "text" not in row:
            raise DatasetError(f"{path}:{number}: _id or text is missing.", "Each line needs _id and text.")
        if identity in seen:
            raise DatasetError(f"{path}:{number}: _id {identity!r} stands twice.", "Ids must be unique.")
        seen.add(identity)
        yield identity, row


def _beir(path: Path) -> Dataset:
    documents = []
    for identity, row in _identified(path / "corpus.jsonl"):
        title, text = str(row.get("title") or ""), str(row.get("text") or "")
        documents.append(make_document(identity, f"# {title}\n\n{text}" if title else text))
    judged: dict[str, list[Gold]] = {}
    qrels = path / "qrels" / "test.tsv"
    try:
        with qrels.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if int(row["score"]) > 0:
                    judged.setdefault(row["query-id"], []).append(Gold(row["corpus-id"]))
    except (OSError, KeyError, ValueError, TypeError) as exc:
        raise DatasetError(
            f"{qrels} cannot be read: {exc!r}.", "It needs the columns query-id, corpus-id, score."
        ) from exc
    questions = [
        Question(
            identity,
            str(row["text"]),
            answer_language(str(row["text"])),
            "question",
            tuple(judged[identity]),
            split=split_of(identity, judged[identity]),
        )
        for identity, row in _identified(path / "queries.jsonl")
        if identity in judged
    ]
    return Dataset(path.name, tuple(questions), tuple(documents), by_document=True)


def _squad(path: Path) -> Dataset:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))["data"]
        documents, questions = [], []
        for a, article in enumerate(data):
            for p, paragraph in enumerate(article["paragraphs"]):
                name = f"a{a:03d}p{p:03d}"
                title = article.get("title") or ""
                text = paragraph["context"].replace("\r\n", "\n")
                documents.append(make_document(name, f"# {title}\n\n{text}" if title else text))
                for qa in paragraph["qas"]:
                    golds = tuple({Gold(name, answer["text"]) for answer in qa.get("answers") or []}) or (Gold(name),)
                    questions.append(
                        Question(
                            str(qa["id"]),
                            qa["question"],
                            answer_language(qa["question"]),
                            "question",
                            golds,
                            split=split_of(str(qa["id"]), golds),
                        )
                    )
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DatasetError(f"{path} is no SQuAD file: {exc!r}.", "It needs data[].paragraphs[].qas[].") from exc
    return Dataset(path.stem, tuple(questions), tuple(documents))


def _own(path: Path, notes: Path | None) -> Dataset:
    questions: list[Question] = []
    seen: set[str] = set()
    for number, row in json_lines(path):
        try:
            golds = tuple(Gold(g["file"], g["quote"], str(g.get("group", ""))) for g in row["gold"])
            question = Question(
                str(row["id"]),
                str(row["question"]),
                str(row["language"]),
                str(row["type"]),
                golds,
                str(row.get("reference_answer", "")),
                tuple(Turn(str(t["question"]), str(t["answer"])) for t in row.get("history", ())),
                _split(row, golds),
            )
        except (KeyError, TypeError) as exc:
            raise DatasetError(
                f"{path}:{number}: missing or wrong key {exc}.",
                "Keys: id, question, language, type, gold: [{file, quote}], reference_answer.",
            ) from exc
        if question.id in seen:
            raise DatasetError(f"{path}:{number}: id {question.id!r} stands twice.", "Ids must be unique.")
        seen.add(question.id)
        questions.append(question)
    if not questions:
        raise DatasetError(f"{path} holds no question.", "")
    return Dataset(path.parent.name, tuple(questions), notes=notes or _notes_of(path))


def _split(row: dict[str, Any], golds: Sequence[Gold]) -> Split:
    named = row.get("split")
    if named is None:
        return split_of(str(row["id"]), golds)
    if named not in ("dev", "test"):
        raise TypeError(f"split: {named!r}")
    return "test" if named == "test" else "dev"


def _notes_of(path: Path) -> Path:
    folder = content_dir("corpora") / path.parent.name
    if not folder.is_dir():
        raise DatasetError(f"There are no notes for {path}.", "Name them with --notes DIR.")
    return folder
