"""Hit rates over the three forms of question sets, on an index with known ranks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ragkit.api import Index
from ragkit.errors import DatasetError, EndpointError
from ragkit.evaluation.datasets import load_dataset
from ragkit.evaluation.metrics import COMPARED, METRICS
from ragkit.evaluation.retrieval import Run, compare, evaluate, open_dataset, report_json
from ragkit.retrieval.retriever import MODES
from ragkit.settings import Settings, load_settings
from ragkit.testing import HashingEmbedder

NOTES = {
    "lstm.md": "# LSTM\n\nLSTM 用三个门控制记忆，遗忘门决定丢弃什么。\n",
    "gru.md": "# GRU\n\nGRU 只有两个门，参数比 LSTM 少。\n",
    "lora.md": "# LoRA\n\nLoRA trains two low-rank matrices and freezes the rest.\n",
    "cake.md": "# 蛋糕\n\n戚风蛋糕要用低筋面粉，烤箱预热到一百五十度。\n",
}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    # open_dataset takes the model by its name; here that name is the fake's.
    monkeypatch.setattr("ragkit.opening.resolve_embedding", lambda spec, home, **kwargs: _wrapped(spec))
    return load_settings()


def _wrapped(spec: Any) -> Any:
    from ragkit.models.embeddings import WrappedEmbedder

    return WrappedEmbedder(HashingEmbedder() if isinstance(spec, str) else spec)


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder())


def questions(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    defaults = {"language": "zh", "type": "lexical"}
    file = tmp_path / "set" / "questions.jsonl"
    file.parent.mkdir(exist_ok=True)
    lines = [json.dumps({"id": f"q{i}", **defaults, **row}, ensure_ascii=False) for i, row in enumerate(rows)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def run(tmp_path: Path, index: Index, *rows: dict[str, Any], modes: tuple[str, ...] = ("sparse",)) -> list[Run]:
    return evaluate(load_dataset(questions(tmp_path, *rows), notes=tmp_path), index, modes)


GATE = {"question": "遗忘门决定什么？", "gold": [{"file": "lstm.md", "quote": "遗忘门决定丢弃什么"}]}
FEWER = {"question": "LSTM 的门", "gold": [{"file": "gru.md", "quote": "参数比 LSTM 少"}]}
NOWHERE = {"question": "zebra", "gold": [{"file": "lora.md", "quote": "low-rank"}]}
CAKE = {
    "question": "低筋面粉",
    "type": "paraphrase",
    "language": "en",
    "gold": [{"file": "cake.md", "quote": "低筋面粉"}],
}


def test_hit_rates_are_counts_over_the_number_of_questions(tmp_path: Path, index: Index) -> None:
    [result] = run(tmp_path, index, GATE, FEWER, NOWHERE, CAKE)
    assert [row.ranks for row in result.rows] == [(1,), (2,), (None,), (1,)]
    assert result.metrics["hit@1"] == 2 / 4
    assert result.metrics["hit@3"] == 3 / 4
    assert result.metrics["mrr@10"] == pytest.approx((1 / 1 + 1 / 2 + 0 + 1 / 1) / 4)


def test_a_multi_hop_question_is_answered_where_its_last_group_is_met(tmp_path: Path, index: Index) -> None:
    gold = [{"file": "lstm.md", "quote": "三个门", "group": "a"}, {"file": "gru.md", "quote": "两个门", "group": "b"}]
    [result] = run(tmp_path, index, {"question": "LSTM 的门和 GRU 的门", "gold": gold})
    [row] = result.rows
    assert sorted(rank for rank in row.ranks if rank) == [1, 2]
    assert (row.metrics["hit@1"], row.metrics["hit@3"], row.metrics["recall@100"]) == (0, 1, 2 / 2)


def test_gold_of_one_group_are_alternatives(tmp_path: Path, index: Index) -> None:
    gold = [{"file": "cake.md", "quote": "戚风蛋糕"}, {"file": "lstm.md", "quote": "三个门"}]
    [result] = run(tmp_path, index, {"question": "LSTM 用三个门控制记忆", "gold": gold})
    assert result.rows[0].ranks == (1,)


def test_every_place_where_a_quote_stands_counts(tmp_path: Path, index: Index) -> None:
    gold = [{"file": "lstm.md", "quote": "LSTM"}]
    [result] = run(tmp_path, index, {"question": "遗忘门", "gold": gold})
    assert result.rows[0].ranks == (1,)


def test_a_question_without_gold_is_not_asked(tmp_path: Path, index: Index) -> None:
    [result] = run(tmp_path, index, GATE, {"question": "量子计算？", "gold": []})
    assert [row.id for row in result.rows] == ["q0"]


def test_a_quote_that_is_not_in_its_file_is_an_error_that_names_both(tmp_path: Path, index: Index) -> None:
    wrong = {"question": "x", "gold": [{"file": "lstm.md", "quote": "四个门"}]}
    with pytest.raises(DatasetError, match=r"q1.*lstm\.md.*verbatim"):
        run(tmp_path, index, GATE, wrong)


def test_a_quote_of_a_file_that_is_not_indexed_is_an_error(tmp_path: Path, index: Index) -> None:
    with pytest.raises(DatasetError, match=r"gone\.md"):
        run(tmp_path, index, {"question": "x", "gold": [{"file": "gone.md", "quote": "x"}]})


@pytest.mark.parametrize("name", ["fuzzy", "hybrid+magic", ""])
def test_an_unknown_run_is_refused_with_those_that_are_known(tmp_path: Path, index: Index, name: str) -> None:
    with pytest.raises(DatasetError, match=r"hybrid, dense, sparse.*\+rewrite"):
        run(tmp_path, index, GATE, modes=(name,))


def test_a_set_of_unanswerable_questions_is_refused(tmp_path: Path, index: Index) -> None:
    with pytest.raises(DatasetError, match="no question with gold"):
        run(tmp_path, index, {"question": "x", "gold": []})


def test_progress_counts_questions_over_all_runs(tmp_path: Path, index: Index) -> None:
    told: list[tuple[int, int]] = []
    dataset = load_dataset(questions(tmp_path, GATE, CAKE), notes=tmp_path)
    evaluate(dataset, index, MODES, tick=lambda *at: told.append(at))
    assert told == [(number, 6) for number in range(1, 7)]


def test_a_comparison_is_the_second_run_minus_the_first(tmp_path: Path, index: Index) -> None:
    [good] = run(tmp_path, index, GATE, CAKE)
    [bad] = run(tmp_path, index, FEWER, NOWHERE)
    assert compare(good, bad).difference == pytest.approx((1 / 2 + 0) / 2 - (1 + 1) / 2)
    assert compare(good, good).p_value == 1.0


def test_the_report_has_the_fields_of_the_contract(tmp_path: Path, index: Index) -> None:
    dataset = load_dataset(questions(tmp_path, GATE, FEWER, CAKE), notes=tmp_path)
    report = report_json(dataset, index, evaluate(dataset, index, MODES))
    assert json.loads(json.dumps(report)) == report
    assert (report["dataset"], report["questions"], report["embedding_model"]) == ("set", 3, "hashing")
    assert [item["name"] for item in report["runs"]] == list(MODES)
    first = report["runs"][0]
    assert set(first["metrics"]) == set(first["ci95"]) == set(METRICS)
    assert all(low <= first["metrics"][name] <= high for name, (low, high) in first["ci95"].items())
    assert {kind: rows["questions"] for kind, rows in first["by_type"].items()} == {"lexical": 2, "paraphrase": 1}
    assert {kind: rows["questions"] for kind, rows in first["by_language"].items()} == {"en": 1, "zh": 2}
    compared = [("hybrid", "dense"), ("hybrid", "sparse")]
    for metric in COMPARED:
        assert [(c["a"], c["b"]) for c in report["comparisons"] if c["metric"] == metric] == compared


def test_a_beir_folder_is_indexed_and_ranked_by_document(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    # d1 has several chunks that hold the term; as documents they are one, so d2 stands at rank 2.
    long = "\n\n".join(f"## 节{i}\n\n梯度下降第{i}部分，" + "一段足够长的正文，写满这一块。" * 10 for i in range(4))
    corpus = [
        {"_id": "d1", "title": "", "text": long},
        {"_id": "d2", "title": "Adam", "text": "也提到一次梯度。" + "别的内容。" * 20},
    ]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)), encoding="utf-8")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "梯度下降"}', encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td2\t1\n", encoding="utf-8")
    dataset = load_dataset(folder)
    index = open_dataset(dataset, settings)
    assert len(index) > len(dataset.documents)
    [result] = evaluate(dataset, index, ["sparse"])
    assert result.rows[0].ranks == (2,)
    assert result.metrics["mrr@10"] == 1 / 2


def test_the_index_of_a_data_set_is_kept_for_the_next_time(tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / "squad.json"
    context = "LSTM 由 Hochreiter 和 Schmidhuber 于 1997 年提出。"
    qas = [{"id": "a", "question": "谁提出了 LSTM？", "answers": [{"text": "Hochreiter", "answer_start": 7}]}]
    data = {
        "data": [{"title": "LSTM", "paragraphs": [{"context": context, "qas": qas}, {"context": "别的。", "qas": []}]}]
    }
    file.write_text(json.dumps(data), encoding="utf-8")
    dataset = load_dataset(file)
    for embedded in (2, 0):
        index = open_dataset(dataset, settings)
        assert index.report is not None
        assert index.report.embedded_chunks == embedded
        [result] = evaluate(dataset, index, ["hybrid"])
        assert result.metrics["hit@1"] == 1.0


def test_a_ragkit_set_is_asked_of_its_notes(tmp_path: Path, index: Index, settings: Settings) -> None:
    dataset = load_dataset(questions(tmp_path, GATE), notes=tmp_path / "notes")
    opened = open_dataset(dataset, settings)
    assert set(opened.documents()) == set(NOTES)
    assert evaluate(dataset, opened, ["hybrid"])[0].metrics["hit@1"] == 1.0


def test_a_follow_up_is_searched_with_its_conversation_unless_it_is_to_stand_alone(
    tmp_path: Path, index: Index
) -> None:
    asked = {
        "question": "那它冻结什么？",
        "type": "follow-up",
        "history": [{"question": "LoRA trains which matrices?", "answer": "Two low-rank ones."}],
        "gold": [{"file": "lora.md", "quote": "freezes the rest"}],
    }
    together, alone = run(tmp_path, index, asked, modes=("sparse", "sparse+alone"))
    assert together.rows[0].ranks == (1,)
    assert alone.rows[0].ranks == (None,)


def test_a_transform_that_fails_is_counted_not_passed_off_as_a_run(tmp_path: Path, index: Index) -> None:
    class Failing:
        def complete_json(self, *_: Any, **__: Any) -> dict[str, Any]:
            raise EndpointError("no answer", "")

    index.chat = Failing()
    plain, transformed = run(tmp_path, index, GATE, CAKE, modes=("sparse", "sparse+hyde"))
    assert (plain.left_out, transformed.left_out) == (0, 2)
    assert transformed.to_json()["left_out"] == 2
