"""``ragkit eval``: the commands over a small index, and the search stages that they measure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragkit.api import Index
from ragkit.cli.evals import app
from ragkit.cli.main import app as whole_app
from ragkit.errors import EndpointError, RagkitError, UsageError
from ragkit.evaluation.datasets import load_dataset
from ragkit.evaluation.retrieval import evaluate
from ragkit.evaluation.trec import read_qrels, read_run, relevant_passages, trec_metrics, write_trec
from ragkit.models.chat import StructuredChat, wrap_chat
from ragkit.models.embeddings import WrappedEmbedder
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder, ScriptedChatModel

NOTES = {
    "lstm 笔记.md": "# LSTM\n\nLSTM 用三个门控制记忆，遗忘门决定丢弃什么。\n",
    "gru.md": "# GRU\n\nGRU 只有两个门，参数比 LSTM 少。\n",
    "lora.md": "# LoRA\n\nLoRA trains two low-rank matrices and freezes the rest.\n",
    "cake.md": "# 蛋糕\n\n戚风蛋糕要用低筋面粉，烤箱预热到一百五十度。\n",
}
QUESTIONS = [
    ("遗忘门决定什么？", "lexical", "lstm 笔记.md", "遗忘门决定丢弃什么"),
    ("LSTM 的门", "lexical", "gru.md", "参数比 LSTM 少"),
    ("低筋面粉", "typo", "cake.md", "低筋面粉"),
    ("low-rank matrices", "typo", "lora.md", "low-rank"),
]


@pytest.fixture
def notes(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Path:
    return make_notes(tmp_path / "notes", NOTES)


@pytest.fixture
def index(tmp_path: Path, notes: Path) -> Index:
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder())


@pytest.fixture
def dataset(tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    wrapped = WrappedEmbedder(HashingEmbedder())
    monkeypatch.setattr("ragkit.opening.resolve_embedding", lambda spec, home, **kwargs: wrapped)
    monkeypatch.setenv("RAGKIT_NOTES", str(notes))
    return write_set(tmp_path / "set")


def write_set(folder: Path) -> Path:
    folder.mkdir()
    rows = [
        {"id": f"问 {i}", "question": text, "language": "zh", "type": kind, "gold": [{"file": file, "quote": quote}],
         "split": "test" if i == 3 else "dev"}
        for i, (text, kind, file, quote) in enumerate(QUESTIONS)
    ]  # fmt: skip
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def invoke(*arguments: object, fails: type[RagkitError] | None = None) -> str:
    result = CliRunner().invoke(whole_app, ["eval", *map(str, arguments)])
    if fails is not None:
        assert isinstance(result.exception, fails), result.output
        return str(result.exception)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.stdout


def scripted(*replies: Any) -> tuple[StructuredChat, ScriptedChatModel]:
    script = [reply if isinstance(reply, BaseException) else json.dumps(reply) for reply in replies]
    model = ScriptedChatModel(replies=script)
    return StructuredChat(wrap_chat(model, load_settings())), model


def test_a_report_is_written_and_compared(dataset: Path, tmp_path: Path) -> None:
    a, b = tmp_path / "a.json", tmp_path / "deep" / "b.json"
    shown = invoke("retrieval", dataset, "--mode", "sparse", "--out", a)
    assert "sparse" in shown and "mrr@10" in shown
    invoke("retrieval", dataset, "--mode", "sparse", "--mode", "dense", "--out", b)
    assert len(json.loads(a.read_text())["runs"][0]["rows"]) == 4
    assert "4 same" in invoke("compare", a, f"{b}:sparse")
    invoke("compare", a, f"{b}:dense")
    assert "no run 'hybrid'" in invoke("compare", a, f"{b}:hybrid", fails=RagkitError)
    assert "missed" in invoke("failures", b, "--at", 1)


def test_json_leaves_the_rows_out_and_is_whole(dataset: Path) -> None:
    result = CliRunner().invoke(whole_app, ["--json", "eval", "retrieval", str(dataset), "--mode", "sparse"])
    report = json.loads(result.stdout)
    assert (report["questions"], "rows" in report["runs"][0]) == (4, False)


def test_splits_and_samples(dataset: Path, tmp_path: Path) -> None:
    counts = {}
    for options in (("--split", "dev"), ("--split", "test"), ("--limit", "2")):
        invoke("retrieval", dataset, "--mode", "sparse", *options, "--out", tmp_path / "r.json")
        counts[options[1]] = json.loads((tmp_path / "r.json").read_text())["questions"]
    assert counts == {"dev": 3, "test": 1, "2": 2}
    assert "dev, test, all" in invoke("retrieval", dataset, "--split", "train", fails=RagkitError)


def test_trec_files_of_two_data_sets_of_one_name_do_not_meet(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = write_set(tmp_path / "other" / "set")
    out, report = tmp_path / "trec", tmp_path / "r.json"
    invoke("retrieval", dataset, other, "--mode", "sparse", "--trec", out, "--out", report)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "set-2/qrels.txt", "set-2/sparse.run", "set/qrels.txt", "set/sparse.run",
    ]  # fmt: skip
    assert [item["dataset"] for item in json.loads(report.read_text())["datasets"]] == ["set", "set"]
    assert "sparse" in invoke("trec", out / "set" / "qrels.txt", out / "set" / "sparse.run")
    assert "no TREC run" in invoke("trec", out / "set" / "qrels.txt", report, fails=RagkitError)


def test_an_exported_run_has_the_metrics_of_the_report(
    dataset: Path, notes: Path, index: Index, tmp_path: Path
) -> None:
    data = load_dataset(dataset, notes)
    runs = evaluate(data, index, ["hybrid", "dense", "sparse"])
    judged = relevant_passages(data, index)
    assert all(len(names) == 1 for names in judged.values())
    paths = write_trec(tmp_path / "trec", judged, runs)
    for run, path in zip(runs, paths[1:], strict=True):
        assert trec_metrics(read_qrels(paths[0]), read_run(path)) == pytest.approx(run.metrics)


def test_a_reranked_run_is_exported_in_its_own_order(dataset: Path, notes: Path, index: Index, tmp_path: Path) -> None:
    data = load_dataset(dataset, notes)
    index.chat, _ = scripted(*[{"ranking": [2]}] * 4)
    [run] = evaluate(data, index, ["sparse+rerank"])
    [qrels, path] = write_trec(tmp_path / "trec", relevant_passages(data, index), [run])
    assert trec_metrics(read_qrels(qrels), read_run(path)) == pytest.approx(run.metrics)


def test_reranking_moves_hits_and_loses_none(index: Index) -> None:
    plain = index.search("LSTM 的门", k=4, mode="sparse")
    index.chat, model = scripted({"ranking": [2, 1]})
    found = index.search("LSTM 的门", k=4, mode="sparse", rerank=True)
    assert [hit.chunk.id for hit in found[:2]] == [hit.chunk.id for hit in plain[1::-1]]
    assert {hit.chunk.id for hit in found} == {hit.chunk.id for hit in plain}
    assert [hit.rank for hit in found] == list(range(1, len(found) + 1))
    assert len(model.calls) == 1


def test_a_reranker_that_fails_leaves_the_search_as_it_was(index: Index) -> None:
    index.chat, _ = scripted(EndpointError("gone"))
    assert index.search("LSTM 的门", rerank=True) == index.search("LSTM 的门")


@pytest.mark.parametrize("k", [0, -1])
@pytest.mark.parametrize("rerank", [True, False])
def test_a_k_below_1_is_refused(index: Index, k: int, rerank: bool) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        index.search("x", k=k, rerank=rerank)


def test_translation_brings_what_the_question_alone_does_not(index: Index) -> None:
    assert index.language == "zh"
    index.chat, model = scripted({"translation": "低筋面粉 烤箱"}, {"translation": "低筋面粉 烤箱"})
    found = index.search("Which flour for the oven?", k=1, mode="sparse", translate=True)
    assert found[0].document == "cake.md"
    assert index.plan("Which flour for the oven?", translate=True).queries[0].text == "Which flour for the oven?"
    assert len(model.calls) == 2
    assert index.search("Which flour for the oven?", mode="sparse") == []


def test_translation_that_fails_leaves_the_question(index: Index) -> None:
    index.chat, _ = scripted(EndpointError("gone"))
    assert index.search("low-rank matrices", k=1, translate=True)[0].document == "lora.md"


def test_every_command_has_its_help() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    for name in ("retrieval", "compare", "trec", "failures", "make-questions", "review-questions"):
        assert name in shown
