"""Question sets in their three forms, and what is wrong with a broken one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ragkit.errors import DatasetError
from ragkit.evaluation.datasets import Gold, answerable, load_dataset


def jsonl(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return path


def beir(folder: Path) -> Path:
    jsonl(
        folder / "corpus.jsonl",
        {"_id": "d1", "title": "梯度", "text": "梯度下降。"},
        {"_id": "d2", "title": "", "text": "Attention."},
        {"_id": "d3", "text": "No title."},
    )
    jsonl(
        folder / "queries.jsonl",
        {"_id": "q1", "text": "什么是梯度下降？"},
        {"_id": "q2", "text": "What is attention?"},
        {"_id": "q3", "text": "not judged"},
    )
    qrels = folder / "qrels" / "test.tsv"
    qrels.parent.mkdir()
    qrels.write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td2\t2\nq2\td3\t1\n", encoding="utf-8")
    return folder


def squad(path: Path) -> Path:
    data = {
        "data": [
            {
                "title": "神经网络",
                "paragraphs": [
                    {
                        "context": "LSTM 由 Hochreiter 于 1997 年提出。",
                        "qas": [
                            {
                                "id": "a",
                                "question": "谁提出了 LSTM？",
                                "answers": [{"text": "Hochreiter", "answer_start": 7}] * 2,
                            },
                            {"id": "b", "question": "When?", "answers": []},
                        ],
                    }
                ],
            }
        ]
    }
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8-sig")
    return path


OWN: dict[str, Any] = {
    "id": "q1",
    "question": "什么是梯度？",
    "language": "zh",
    "type": "lexical",
    "gold": [{"file": "a.md", "quote": "梯度是", "group": 1}, {"file": "b.md", "quote": "偏导"}],
    "reference_answer": "向量",
}


def test_a_beir_folder_is_read(tmp_path: Path) -> None:
    dataset = load_dataset(beir(tmp_path / "set"))
    assert (dataset.name, dataset.by_document) == ("set", True)
    assert {d.path: d.text for d in dataset.documents} == {
        "d1": "# 梯度\n\n梯度下降。",
        "d2": "Attention.",
        "d3": "No title.",
    }
    assert [(q.id, q.language) for q in dataset.questions] == [("q1", "zh"), ("q2", "en")]


def test_a_judgement_of_0_is_no_gold(tmp_path: Path) -> None:
    questions = {q.id: q for q in load_dataset(beir(tmp_path)).questions}
    assert questions["q1"].gold == (Gold("d1"),)
    assert questions["q2"].gold == (Gold("d2", grade=2), Gold("d3", grade=1))


def test_a_query_without_a_judgement_is_left_out(tmp_path: Path) -> None:
    assert "q3" not in {question.id for question in load_dataset(beir(tmp_path)).questions}


def test_a_squad_file_is_read(tmp_path: Path) -> None:
    dataset = load_dataset(squad(tmp_path / "dev.json"))
    assert (dataset.name, dataset.by_document) == ("dev", False)
    assert [d.text for d in dataset.documents] == ["# 神经网络\n\nLSTM 由 Hochreiter 于 1997 年提出。"]
    path = dataset.documents[0].path
    start = len("# 神经网络\n\nLSTM 由 ")
    assert [(q.id, q.gold) for q in dataset.questions] == [
        ("a", (Gold(path, "Hochreiter", start=start),)), ("b", (Gold(path),)),
    ]  # fmt: skip
    assert [q.reference_answer for q in dataset.questions] == ["Hochreiter", ""]


def squad_of(path: Path, context: str, *questions: dict[str, Any]) -> Path:
    qas = [{"id": f"s{i}", "question": "Who?", **question} for i, question in enumerate(questions)]
    data = {"data": [{"title": "T", "paragraphs": [{"context": context, "qas": qas}]}]}
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return path


def test_an_impossible_question_of_squad_2_has_no_gold(tmp_path: Path) -> None:
    plausible = {"plausible_answers": [{"text": "Ada", "answer_start": 0}], "answers": [], "is_impossible": True}
    file = squad_of(tmp_path / "x.json", "Ada.", plausible, {"answers": [{"text": "Ada"}], "is_impossible": False})
    dataset = load_dataset(file)
    assert [(q.type, bool(q.gold)) for q in dataset.questions] == [("unanswerable", False), ("question", True)]
    assert [q.id for q in answerable(dataset).questions] == ["s1"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_answer_start_decides_which_occurrence_is_gold(tmp_path: Path, newline: str) -> None:
    context = f"Ada met Bob.{newline}{newline}Later Bob left."
    at = context.rindex("Bob")
    dataset = load_dataset(squad_of(tmp_path / "x.json", context, {"answers": [{"text": "Bob", "answer_start": at}]}))
    [gold] = dataset.questions[0].gold
    text = dataset.documents[0].text
    assert gold.start == text.rindex("Bob") > text.index("Bob")


@pytest.mark.parametrize("start", [-1, 3, 400])
def test_a_wrong_answer_start_is_said_and_every_occurrence_counts(
    tmp_path: Path, start: int, caplog: pytest.LogCaptureFixture
) -> None:
    file = squad_of(tmp_path / "x.json", "Bob, Bob.", {"answers": [{"text": "Bob", "answer_start": start}]})
    assert load_dataset(file).questions[0].gold[0].start is None
    assert "1 answers do not stand at their answer_start (the first: question s0)" in caplog.text


def test_the_answers_of_a_squad_question_keep_their_order(tmp_path: Path) -> None:
    answers = [{"text": text, "answer_start": "a b c d e f".index(text)} for text in "fbdbac"]
    [question] = load_dataset(squad_of(tmp_path / "x.json", "a b c d e f", {"answers": answers})).questions
    assert [gold.quote for gold in question.gold] == list("fbdac")
    assert question.reference_answer == "f"


def test_dev_and_test_judgements_are_both_read_and_train_is_not(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set")
    head = "query-id\tcorpus-id\tscore\n"
    (folder / "qrels" / "test.tsv").write_text(f"{head}q2\td2\t3\n", encoding="utf-8")
    (folder / "qrels" / "dev.tsv").write_text(f"{head}q1\td1\t1\n", encoding="utf-8")
    (folder / "qrels" / "train.tsv").write_text(f"{head}q3\td1\t1\n", encoding="utf-8")
    questions = load_dataset(folder).questions
    assert [(q.id, q.split, q.gold) for q in questions] == [
        ("q1", "dev", (Gold("d1"),)), ("q2", "test", (Gold("d2", grade=3),)),
    ]  # fmt: skip
    (folder / "qrels" / "test.tsv").unlink()
    assert [q.id for q in load_dataset(folder).questions] == ["q1"]
    (folder / "qrels" / "test.tsv").write_text(f"{head}q1\td2\t3\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"Query 'q1' is in .*dev\.tsv and in .*test\.tsv"):
        load_dataset(folder)


def test_a_ragkit_set_is_read(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "mine" / "questions.jsonl", OWN)
    dataset = load_dataset(file, notes=tmp_path)
    [question] = dataset.questions
    assert question.gold == (Gold("a.md", "梯度是", "1"), Gold("b.md", "偏导", ""))
    assert (question.type, question.reference_answer, dataset.notes) == ("lexical", "向量", tmp_path)
    assert load_dataset(file.parent, notes=tmp_path) == dataset


def test_a_set_is_called_after_its_folder_however_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"id": "1", "question": "q", "language": "en", "type": "lexical", "gold": []}
    jsonl(tmp_path / "mine" / "qs.jsonl", row)
    beir(tmp_path / "mine" / "beir")
    monkeypatch.chdir(tmp_path / "mine")
    for path in (Path("qs.jsonl"), Path("./qs.jsonl"), Path("beir/../qs.jsonl"), Path("../mine/qs.jsonl")):
        assert load_dataset(path, tmp_path).name == "mine"
    monkeypatch.chdir(tmp_path / "mine" / "beir" / "qrels")
    assert load_dataset(Path(".."), tmp_path).name == "beir"
    assert load_dataset(Path("../../qs.jsonl"), tmp_path).name == "mine"


def test_a_question_with_empty_gold_is_one_that_has_no_answer(tmp_path: Path) -> None:
    dataset = load_dataset(jsonl(tmp_path / "q.jsonl", {**OWN, "gold": []}), notes=tmp_path)
    assert dataset.questions[0].gold == ()


def test_the_shipped_set_finds_the_shipped_notes(repository: Path) -> None:
    dataset = load_dataset(repository / "evals" / "llm-interview")
    assert dataset.notes == repository / "corpora" / "llm-interview"


BROKEN_OWN = {
    "no json": ("not json", "questions.jsonl"),
    "no object": ("[1]", "questions.jsonl:1: not a JSON object"),
    "missing key": (
        json.dumps({k: v for k, v in OWN.items() if k != "type"}),
        "questions.jsonl:1: type: Field required",
    ),
    "gold without a file": (
        json.dumps({**OWN, "gold": [{"quote": "x"}]}),
        r"questions.jsonl:1: gold\.0\.file: Field required",
    ),
    "gold is null": (json.dumps({**OWN, "gold": None}), "questions.jsonl:1"),
    "id twice": (json.dumps(OWN) + "\n\n" + json.dumps(OWN), "questions.jsonl:3: id 'q1' stands twice"),
    "empty": ("\n", "no question"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN_OWN.values(), ids=BROKEN_OWN.keys())
def test_a_broken_ragkit_set_is_refused_by_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "questions.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        load_dataset(tmp_path, notes=tmp_path)


BROKEN_BEIR = {
    "no qrels": ("qrels/test.tsv", None, r"test\.tsv"),
    "qrels without header": (
        "qrels/test.tsv",
        "q1\td1\t1\nq2\td2\t1\n",
        r"test\.tsv:2: no judgement: there is no column 'query-id', or tabs do not part the columns\. It needs the columns",
    ),
    "score is no number": (
        "qrels/test.tsv",
        "query-id\tcorpus-id\tscore\nq1\td1\t1.5\n",
        r"test\.tsv:2: no judgement: the score is '1\.5', which is no whole number\.",
    ),
    "line breaks off": (
        "qrels/test.tsv",
        "query-id\tcorpus-id\tscore\nq1\td1\n",
        r"test\.tsv:2: no judgement: the line ends before its score\.",
    ),
    "a field without end": ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\t" + "d" * 200_000, r"field larger than"),
    "qrels are a folder": ("qrels/test.tsv", "", r"test\.tsv:1: no judgement: Is a directory\."),
    "document without id": ("corpus.jsonl", '{"text": "x"}', r"corpus\.jsonl:1: _id: Field required"),
    "document without text": ("corpus.jsonl", '{"_id": "d1"}', r"corpus\.jsonl:1: text: Field required"),
    "document twice": (
        "corpus.jsonl",
        '{"_id": "d", "text": "x"}\n{"_id": "d", "text": "y"}',
        r"corpus\.jsonl:2: _id 'd'",
    ),
    "query without text": ("queries.jsonl", '{"_id": "q1"}', r"queries\.jsonl:1: text: Field required"),
    "no queries": ("queries.jsonl", None, r"queries\.jsonl"),
}


@pytest.mark.parametrize(("name", "text", "message"), BROKEN_BEIR.values(), ids=BROKEN_BEIR.keys())
def test_a_broken_beir_folder_is_refused_by_file(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    folder = beir(tmp_path / "set")
    if not text:
        (folder / name).unlink()
    if text == "":
        (folder / name).mkdir()
    elif text:
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        load_dataset(folder)


def test_judgements_of_what_is_not_there_are_said_in_a_line_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = beir(tmp_path / "set")
    load_dataset(folder)
    assert caplog.messages == []
    with (folder / "qrels" / "test.tsv").open("a", encoding="utf-8") as file:
        file.write("q1\tgone-2\t1\nq1\tgone-1\t2\nq2\tirrelevant\t0\nq8\td1\t1\n")
    questions = load_dataset(folder).questions
    assert caplog.messages == [
        f"{folder / 'queries.jsonl'} lacks 1 judged queries that qrels/ names (such as 'q8')",
        f"{folder / 'corpus.jsonl'} lacks 2 relevant documents that qrels/ names (such as 'gone-1')",
    ]
    # They count as not found, as everywhere in the field.
    assert {gold.document for gold in questions[0].gold} == {"d1", "gone-1", "gone-2"}


@pytest.mark.parametrize("text", ["", "[]", '{"data": [{}]}', '{"data": [{"paragraphs": [{"context": "x"}]}]}'])
def test_a_file_that_is_no_squad_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"x\.json is no SQuAD file"):
        load_dataset(tmp_path / "x.json")


def test_a_missing_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not found"):
        load_dataset(tmp_path / "nowhere")


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"neither corpus\.jsonl nor questions\.jsonl"):
        load_dataset(tmp_path)


def test_a_set_without_notes_asks_for_them(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="--notes"):
        load_dataset(jsonl(tmp_path / "mine" / "questions.jsonl", OWN))
