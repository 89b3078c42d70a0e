"""Question sets in three forms: BEIR folder, SQuAD JSON, and ragkit's own JSONL.

What a file says is checked by pydantic, so that a wrong value is one line that names its place.
"""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from ragkit.content import content_dir
from ragkit.errors import DatasetError
from ragkit.evaluation.questions import (
    SPLITS,
    Dataset,
    Gold,
    Question,
    Split,
    answerable,
    select,
    split_of,
    stratified,
)
from ragkit.ingest.loader import make_document
from ragkit.retrieval.rewrite import Turn
from ragkit.text.language import answer_language
from ragkit.values import Document

__all__ = [
    "SPLITS", "Dataset", "Gold", "Question", "Split", "answerable", "json_lines", "load_dataset", "select",
    "split_of", "stratified", "where_and_why",
]  # fmt: skip

log = logging.getLogger(__name__)
_BEIR_SPLITS: Final[tuple[Split, ...]] = ("dev", "test")
"""Judgements that are read; those of ``train.tsv`` are for training."""
_JUDGED: Final = ("query-id", "corpus-id", "score")
"""Columns of a file of judgements."""


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
        DatasetError: If the file cannot be read, or a line is no JSON object; names the line.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    value = json.loads(line)
                    if not isinstance(value, dict):
                        raise DatasetError(f"{path}:{number}: not a JSON object.", "")
                    yield number, value
    except UnicodeDecodeError as exc:  # found when a block is read, before its lines are counted
        raise DatasetError(f"{path} is not UTF-8: {exc.reason}.", "Save it as UTF-8.") from exc
    except (ValueError, RecursionError) as exc:
        reason = exc if isinstance(exc, ValueError) else "nested too deeply"
        raise DatasetError(f"{path}:{number}: no JSON: {reason}.", "Each line must be one JSON object.") from exc
    except OSError as exc:
        raise DatasetError(f"{path} cannot be read: {exc.strerror}.", "It must be a JSONL file.") from exc


class _Part(BaseModel):
    """A part of a file; keys that are not named here are the file's own business."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _written(value: Any) -> Any:
    """A number as it is written: ids and groups may be numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_Name = Annotated[StrictStr, BeforeValidator(_written)]
_Id = Annotated[_Name, Field(min_length=1)]
_Asked = Annotated[StrictStr, Field(pattern=r"\S")]
_Optional = Annotated[StrictStr, BeforeValidator(lambda value: "" if value is None else value)]
_Many = BeforeValidator(lambda value: () if value is None else value)
Form = TypeVar("Form", bound=_Part)


def where_and_why(exc: ValidationError) -> str:
    """The first problem of a file in one line: its place, and what is wrong there."""
    first = exc.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{place}: {reason}" if place else reason


def _read(form: type[Form], row: dict[str, Any], where: str, remedy: str) -> Form:
    try:
        return form.model_validate(row)
    except ValidationError as exc:
        raise DatasetError(f"{where}: {where_and_why(exc)}.", remedy) from exc


# BEIR


class _BeirText(_Part):
    id: _Id = Field(alias="_id")
    title: _Optional = ""
    text: _Optional


class _BeirQuery(_BeirText):
    text: _Asked


def _identified(path: Path, form: type[_BeirText]) -> Iterator[_BeirText]:
    """The lines of a BEIR file, each ``_id`` of which must be there once."""
    seen: set[str] = set()
    for number, row in json_lines(path):
        item = _read(form, row, f"{path}:{number}", "Each line needs _id and text.")
        if item.id in seen:
            raise DatasetError(f"{path}:{number}: _id {item.id!r} stands twice.", "Ids must be unique.")
        seen.add(item.id)
        yield item


def _beir(path: Path) -> Dataset:
    documents = [
        make_document(item.id, f"# {item.title}\n\n{item.text}" if item.title else item.text)
        for item in _identified(path / "corpus.jsonl", _BeirText)
    ]
    judged: dict[str, tuple[Split, dict[str, int]]] = {}
    files = {split: path / "qrels" / f"{split}.tsv" for split in _BEIR_SPLITS}
    present = {split: file for split, file in files.items() if file.exists()}
    if not present:
        raise DatasetError(
            f"There is neither {files['dev']} nor {files['test']}.", "A BEIR folder needs judgements: qrels/test.tsv."
        )
    for split, file in present.items():
        for query, grades in _judgements(file).items():
            if query in judged:
                raise DatasetError(f"Query {query!r} is in {files['dev']} and in {file}.", "Leave it in one of them.")
            judged[query] = split, grades
    questions = [
        Question(
            item.id,
            item.text,
            answer_language(item.text),
            "question",
            tuple(Gold(document, grade=grade) for document, grade in judged[item.id][1].items()),
            split=judged[item.id][0],
        )
        for item in _identified(path / "queries.jsonl", _BeirQuery)
        if item.id in judged
    ]
    if not questions:
        raise DatasetError(f"No query of {path / 'queries.jsonl'} is judged.", "The ids in qrels/ must be those of it.")
    _warn_of_absent(judged.keys() - {question.id for question in questions}, "judged queries", path / "queries.jsonl")
    wanted = {gold.document for question in questions for gold in question.gold}
    _warn_of_absent(wanted - {document.path for document in documents}, "relevant documents", path / "corpus.jsonl")
    return Dataset(_name_of(path), tuple(questions), tuple(documents), by_document=True)


def _name_of(folder: Path) -> str:
    """What the folder is called, however it is named from the working folder (``.``, ``..``)."""
    return Path(os.path.abspath(folder)).name


def _warn_of_absent(names: set[str], what: str, file: Path) -> None:
    """Say what judgements name and a file does not hold: a part of a collection is measured, or ids do not fit."""
    if names:
        log.warning("%s lacks %d %s that qrels/ names (such as %r)", file, len(names), what, min(names))


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    """By query the grades (from 1) of its relevant documents."""
    judged: dict[str, dict[str, int]] = {}
    number = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            for row in reader:
                number = reader.line_num
                query, document, score = (_column(row, name) for name in _JUDGED)
                if (grade := _whole_number(score)) > 0:
                    judged.setdefault(query, {})[document] = grade
    except (OSError, ValueError, csv.Error) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise DatasetError(
            f"{path}:{number}: no judgement: {reason}.", f"It needs the columns {', '.join(_JUDGED)} (a whole number)."
        ) from exc
    return judged


def _column(row: dict[str, str | None], name: str) -> str:
    if name not in row:
        raise ValueError(f"there is no column {name!r}, or tabs do not part the columns")
    value = row[name]
    if value is None:
        raise ValueError(f"the line ends before its {name}")
    return value


def _whole_number(score: str) -> int:
    try:
        return int(score)
    except ValueError:
        raise ValueError(f"the score is {score!r}, which is no whole number") from None


# SQuAD


class _SquadAnswer(_Part):
    text: StrictStr
    answer_start: StrictInt | None = None


class _SquadQuestion(_Part):
    id: _Id
    question: _Asked
    answers: Annotated[tuple[_SquadAnswer, ...], _Many] = ()
    is_impossible: StrictBool = False


class _SquadParagraph(_Part):
    context: StrictStr
    qas: tuple[_SquadQuestion, ...]


class _SquadArticle(_Part):
    title: _Optional = ""
    paragraphs: tuple[_SquadParagraph, ...]


class _SquadFile(_Part):
    data: tuple[_SquadArticle, ...]


def _squad(path: Path) -> Dataset:
    remedy = "It needs data[].paragraphs[].qas[]."
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as exc:
        raise DatasetError(f"{path} is no SQuAD file: {exc}.", remedy) from exc
    documents: list[Document] = []
    questions: dict[str, Question] = {}
    misplaced: list[str] = []
    for a, article in enumerate(_read(_SquadFile, data, f"{path} is no SQuAD file", remedy).data):
        for p, paragraph in enumerate(article.paragraphs):
            name = f"a{a:03d}p{p:03d}"
            head = f"# {article.title}\n\n" if article.title else ""
            documents.append(make_document(name, head + paragraph.context))
            for qa in paragraph.qas:
                if qa.id in questions:
                    raise DatasetError(f"{path}: question id {qa.id!r} stands twice.", "Ids must be unique.")
                golds = _squad_gold(qa, documents[-1], head, paragraph.context, misplaced)
                questions[qa.id] = Question(
                    qa.id, qa.question, answer_language(qa.question), "question" if golds else "unanswerable", golds,
                    reference_answer=qa.answers[0].text if golds and qa.answers else "",
                    split=split_of(qa.id, golds),
                )  # fmt: skip
    if misplaced:
        log.warning(
            "%s: %d answers do not stand at their answer_start (the first: question %s); every occurrence counts",
            path, len(misplaced), misplaced[0],
        )  # fmt: skip
    if not questions:
        raise DatasetError(f"{path} holds no question.", remedy)
    return Dataset(path.stem, tuple(questions.values()), tuple(documents))


def _squad_gold(
    asked: _SquadQuestion, document: Document, head: str, context: str, misplaced: list[str]
) -> tuple[Gold, ...]:
    if asked.is_impossible:
        return ()
    golds: dict[Gold, None] = {}
    for answer in asked.answers:
        text, at = answer.text, answer.answer_start
        start = None
        if at is not None:
            if at >= 0 and text and context.startswith(text, at):
                # The document has single newlines, so what stands behind one may have moved.
                start = len(_newlines(head + context[:at]))
            else:
                misplaced.append(asked.id)
        golds[Gold(document.path, text, start=start)] = None
    return tuple(golds) or (Gold(document.path),)


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


# Our own


class _OwnGold(_Part):
    file: StrictStr = Field(min_length=1)
    quote: StrictStr
    group: _Name = ""


class _OwnTurn(_Part):
    question: StrictStr
    answer: StrictStr


class _OwnQuestion(_Part):
    id: _Id
    question: _Asked
    language: StrictStr
    type: StrictStr
    gold: tuple[_OwnGold, ...]
    reference_answer: _Optional = ""
    history: Annotated[tuple[_OwnTurn, ...], _Many] = ()
    split: Split | None = None


def _own(path: Path, notes: Path | None) -> Dataset:
    questions: dict[str, Question] = {}
    for number, row in json_lines(path):
        keys = "Keys: id, question, language, type, gold: [{file, quote}], reference_answer."
        item = _read(_OwnQuestion, row, f"{path}:{number}", keys)
        golds = tuple(Gold(gold.file, gold.quote, gold.group) for gold in item.gold)
        if item.id in questions:
            raise DatasetError(f"{path}:{number}: id {item.id!r} stands twice.", "Ids must be unique.")
        questions[item.id] = Question(
            item.id, item.question, item.language, item.type, golds, item.reference_answer,
            tuple(Turn(turn.question, turn.answer) for turn in item.history),
            item.split or split_of(item.id, golds),
        )  # fmt: skip
    if not questions:
        raise DatasetError(f"{path} holds no question.", "")
    return Dataset(_name_of(path.parent), tuple(questions.values()), notes=notes or _notes_of(path))


def _notes_of(path: Path) -> Path:
    folder = content_dir("corpora") / _name_of(path.parent)
    if not folder.is_dir():
        raise DatasetError(f"There are no notes for {path}.", "Name them with --notes DIR.")
    return folder
