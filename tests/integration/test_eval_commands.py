"""``ragkit eval``: the commands over a small index, and the search stages that they measure."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ragkit.api import Index
from ragkit.cli.evals import app
from ragkit.cli.evals.tables import headline_table
from ragkit.cli.main import _run as run_main
from ragkit.cli.main import app as whole_app
from ragkit.errors import EndpointError, RagkitError, UsageError
from ragkit.evaluation.datasets import load_dataset
from ragkit.evaluation.metrics import METRICS
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
    monkeypatch.setattr("ragkit.index.model_choice.resolve_embedding", lambda spec, home, **kwargs: wrapped)
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
    same = invoke("compare", a, f"{b}:sparse")
    assert "4 same" in same and "setting" not in same
    invoke("compare", a, f"{b}:dense")
    other = json.loads(a.read_text())
    other["settings"]["candidates"] = "e\x1b[31mighty"
    b.with_name("c.json").write_text(json.dumps(other))
    assert 'setting candidates: 50 in A, "e\\u001b[31mighty" in B' in invoke("compare", a, b.with_name("c.json"))
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
    for wrong in (("--split", "train"), ("--limit", "0")):
        result = CliRunner().invoke(whole_app, ["eval", "retrieval", str(dataset), *wrong])
        assert result.exit_code == 2 and wrong[0] in result.output


@pytest.mark.parametrize("command", ["retrieval", "answers"])
def test_a_limit_below_1_is_wrong_usage_everywhere(dataset: Path, command: str) -> None:
    result = CliRunner().invoke(whole_app, ["eval", command, str(dataset), "--limit", "0"])
    assert result.exit_code == 2 and "--limit" in result.output


@pytest.fixture
def two_sets(dataset: Path, tmp_path: Path) -> Path:
    other = write_set(tmp_path / "other")
    file = other / "questions.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace("low-rank matrices", "LSTM GRU"), encoding="utf-8")
    report = tmp_path / "two.json"
    invoke("retrieval", dataset, other, "--mode", "hybrid", "--mode", "dense", "--out", report)
    return report


def test_a_report_of_two_data_sets_is_compared_set_by_set(two_sets: Path, dataset: Path) -> None:
    assert "several data sets: set, other" in invoke("compare", two_sets, f"{two_sets}:dense", fails=RagkitError)
    assert "4 same" in invoke("compare", f"{two_sets}:other", f"{two_sets}:other:hybrid")
    said = invoke("compare", f"{two_sets}:set", f"{two_sets}:other", fails=RagkitError)
    assert "Question 问 3 of" in said and "'low-rank matrices'" in said and "'LSTM GRU'" in said
    assert "FILE[:DATASET][:RUN]" in CliRunner().invoke(app, ["compare", "--help"], env={"COLUMNS": "200"}).output


def test_failures_takes_the_data_set_that_is_named_and_says_which_runs_to_add(two_sets: Path) -> None:
    assert "several data sets: set, other" in invoke("failures", two_sets, fails=RagkitError)
    assert "no data set 'x'" in invoke("failures", two_sets, "--dataset", "x", fails=RagkitError)
    result = CliRunner().invoke(
        whole_app, ["--json", "eval", "failures", str(two_sets), "--dataset", "other", "--at", "1"]
    )
    found = json.loads(result.stdout)
    assert (found["dataset"], found["run"], found["missing_runs"]) == ("other", "hybrid", ["sparse"])
    assert found["failures"] and {item["cause"] for item in found["failures"]} == {"unknown"}
    shown = " ".join(invoke("failures", two_sets, "--dataset", "other", "--at", 1).split())
    assert "measure with --mode sparse too" in shown


PLACES = {"--out": "r.json", "--html": "r.html", "--trec": "trec"}


@pytest.mark.parametrize("option", PLACES)
def test_a_place_that_cannot_be_written_is_said_before_anything_is_measured(
    dataset: Path, tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragkit.evaluation.retrieval.evaluate", lambda *_, **__: pytest.fail("measured"))
    (tmp_path / "file").write_text("x", encoding="utf-8")
    wrong = [tmp_path / "file" / PLACES[option]]
    wrong.append(tmp_path if option != "--trec" else tmp_path / "file")
    for place in wrong:
        assert f"{option}." in invoke("retrieval", dataset, "--mode", "sparse", option, place, fails=RagkitError)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "x"


@pytest.mark.parametrize(
    ("option", "writer"),
    [
        ("--out", "ragkit.cli.evals.report.write_json_atomically"),
        ("--html", "ragkit.index.fsops.write_text_atomically"),
        ("--trec", "ragkit.evaluation.trec.write_lines"),
    ],
)
def test_the_table_is_shown_and_the_other_files_written_even_if_a_file_cannot_be(
    dataset: Path, tmp_path: Path, option: str, writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, full)
    places = {name: tmp_path / "out" / file for name, file in PLACES.items()}
    arguments = [str(part) for pair in places.items() for part in pair]
    result = CliRunner().invoke(whole_app, ["eval", "retrieval", str(dataset), "--mode", "sparse", *arguments])
    assert isinstance(result.exception, RagkitError)
    assert "No space left" in str(result.exception) and option in str(result.exception)
    assert "mrr@10" in result.output
    written = {name for name, place in places.items() if place.is_file() or (place.is_dir() and any(place.iterdir()))}
    assert written == set(PLACES) - {option}


@pytest.mark.parametrize("command", [("run",), ("sweep",)])
def test_a_folder_in_place_of_a_file_is_refused_in_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    said = invoke(*command, tmp_path, fails=RagkitError)
    assert "cannot be read: Is a directory" in said and "\n" not in said
    assert "it is a folder" in invoke(*command, tmp_path / "x.yaml", "--out", tmp_path, fails=RagkitError)


def test_a_folder_of_pairs_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(whole_app, ["train", "embedding", "--pairs", str(tmp_path)])
    assert result.exit_code == 2 and "--pairs" in result.output
    (tmp_path / "model").touch()
    result = CliRunner().invoke(whole_app, ["train", "embedding", "--out", str(tmp_path / "model")])
    assert result.exit_code == 2 and "--out" in result.output


def test_a_broken_second_data_set_is_said_before_the_first_is_measured(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragkit.evaluation.retrieval.evaluate", lambda *_, **__: pytest.fail("measured"))
    assert "not found" in invoke("retrieval", dataset, tmp_path / "gone", fails=RagkitError)


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
    index.chat, model = scripted({"translation": "低筋面粉 烤箱"})
    found = index.search("Which flour for the oven?", k=1, mode="sparse", translate=True)
    assert found[0].document == "cake.md"
    assert index.plan("Which flour for the oven?", translate=True).queries[0].text == "Which flour for the oven?"
    assert len(model.calls) == 1  # the second time its reply was kept
    assert index.search("Which flour for the oven?", mode="sparse") == []


def test_translation_that_fails_leaves_the_question(index: Index) -> None:
    index.chat, _ = scripted(EndpointError("gone"))
    assert index.search("low-rank matrices", k=1, translate=True)[0].document == "lora.md"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bogus", None, "Unknown run 'bogus'"),
        ("absent.toml:hybrid", None, "no settings file absent.toml"),
        ("typo.toml:sparse", "chunk_sise = 3", "'chunk_sise'"),
    ],
)
def test_a_wrong_run_is_said_before_the_notes_are_embedded(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str | None, said: str
) -> None:
    monkeypatch.setattr("ragkit.evaluation.retrieval.open_dataset", lambda *_, **__: pytest.fail("embedded"))
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "typo.toml").write_text(text, encoding="utf-8")
    assert said in invoke("retrieval", dataset, "--mode", "sparse", "--mode", name, fails=RagkitError)


def test_a_run_without_its_chat_model_is_said_before_any_is_measured(
    dataset: Path, notes: Path, tmp_path: Path
) -> None:
    settings = load_settings(chat_model="extractive")
    index = Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=settings)
    ticks: list[int] = []
    with pytest.raises(RagkitError, match=r"sparse\+hyde' needs a chat model\. .*RAGKIT_CHAT_MODEL"):
        evaluate(
            load_dataset(dataset, notes), index, ["sparse", "sparse+hyde"], tick=lambda done, _: ticks.append(done)
        )
    assert ticks == []


def test_questions_without_gold_are_counted_as_left_out(dataset: Path) -> None:
    file = dataset / "questions.jsonl"
    nowhere = {"id": "n", "question": "火星", "language": "zh", "type": "unanswerable", "gold": [], "split": "test"}
    file.write_text(f"{file.read_text(encoding='utf-8')}\n{json.dumps(nowhere)}", encoding="utf-8")
    result = CliRunner().invoke(whole_app, ["eval", "retrieval", str(dataset), "--mode", "sparse"])
    assert "set: 1 question without gold left out" in result.stderr and "\n4 questions, " in result.stderr
    result = CliRunner().invoke(whole_app, ["eval", "retrieval", str(dataset), "--mode", "sparse", "--split", "dev"])
    assert "without gold" not in result.stderr


def test_a_split_without_questions_names_the_way_out(dataset: Path) -> None:
    file = dataset / "questions.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('"dev"', '"test"'), encoding="utf-8")
    said = invoke("retrieval", dataset, "--mode", "sparse", "--split", "dev", fails=RagkitError)
    assert "no question in split 'dev'" in said and "All 4 are in the other one: the note decides" in said


def test_a_gold_file_that_is_not_there_is_another_error_than_a_wrong_quote(dataset: Path) -> None:
    file = dataset / "questions.jsonl"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("cake.md", "pie.md"), encoding="utf-8")
    said = invoke("retrieval", dataset, "--mode", "sparse", fails=RagkitError)
    assert "Question 问 2: there is no pie.md among the notes." in said and "--notes DIR" in said
    file.write_text(text.replace("cake.md", "lora.md"), encoding="utf-8")
    assert "its gold quote is not in lora.md" in invoke("retrieval", dataset, "--mode", "sparse", fails=RagkitError)


@pytest.mark.parametrize("length", [6, 16, 30, 80])
def test_every_metric_is_readable_at_80_columns(length: int) -> None:
    metrics = dict.fromkeys(METRICS, 0.5)
    shown = Console(width=80, file=io.StringIO())
    shown.print(headline_table([("n" * length, metrics)], title="[b]t[/b]", more={"ms": ["1234"]}))
    assert isinstance(shown.file, io.StringIO)
    text = shown.file.getvalue()
    for heading in ("hit@1", "hit@5", "mrr@10", "ndcg@10", "recall@10", "prec@5", "ms", "1234"):
        assert heading in text
    assert text.count("n") >= length and "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_failures_without_a_failure_are_one_line(dataset: Path, tmp_path: Path) -> None:
    file = dataset / "questions.jsonl"
    file.write_text(file.read_text(encoding="utf-8").splitlines()[0], encoding="utf-8")
    invoke("retrieval", dataset, "--mode", "sparse", "--out", tmp_path / "r.json")
    assert invoke("failures", tmp_path / "r.json").strip() == "set: sparse misses no question at 5."


def test_ctrl_c_is_said_and_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(spec: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ragkit.evaluation.report_file.one_run", interrupt)
    assert run_main(["eval", "compare", "a.json", "b.json"]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_long_questions_are_cut_in_what_is_shown_and_whole_in_json(dataset: Path, tmp_path: Path) -> None:
    file = dataset / "questions.jsonl"
    long = "zebra " * 3000
    file.write_text(file.read_text(encoding="utf-8").replace("low-rank matrices", long + "\\nx"), encoding="utf-8")
    report = tmp_path / "r.json"
    invoke("retrieval", dataset, "--mode", "sparse", "--mode", "dense", "--out", report)
    for command in (("failures", report, "--at", 1), ("compare", report, f"{report}:dense", "--at", 1)):
        assert 0 < invoke(*command).count("zebra") < 100
    assert invoke("failures", report, "--at", 1).count(" x  (") == 0
    result = CliRunner().invoke(whole_app, ["--json", "eval", "failures", str(report), "--at", "1"])
    assert long + "\nx" in {item["text"] for item in json.loads(result.stdout)["failures"]}


def test_trec_files_that_are_none_are_refused_and_missing_queries_told(tmp_path: Path) -> None:
    qrels, run, empty = tmp_path / "qrels.txt", tmp_path / "bm25.run.gz", tmp_path / "empty.run"
    qrels.write_text("\ufeffa 0 d1 1\nb 0 d2 1\n", encoding="utf-8")
    run.write_bytes(gzip.compress(b"a Q0 d1 1 2.5 x\n"))
    empty.write_text("", encoding="utf-8")
    result = CliRunner().invoke(whole_app, ["--json", "eval", "trec", str(qrels), str(run)])
    found = json.loads(result.stdout)["runs"]
    assert [(item["name"], item["metrics"]["hit@1"]) for item in found] == [("bm25", 0.5)]
    assert "bm25: 1 of 2 judged queries have no ranking and count as 0" in result.stderr
    assert "empty.run is no TREC run file: it is empty." in invoke("trec", qrels, empty, fails=RagkitError)
    assert "too many or too few columns" in invoke("trec", qrels, qrels, fails=RagkitError)
    assert "qrels file: Is a directory." in invoke("trec", tmp_path, run, fails=RagkitError)


def test_a_comparison_fits_80_columns(two_sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Console(width=80, file=io.StringIO(), soft_wrap=True)
    monkeypatch.setattr("ragkit.cli.evals.compare.stdout", shown)
    invoke("compare", f"{two_sets}:set", f"{two_sets}:other:dense".replace("other", "set"), "--at", 1)
    assert isinstance(shown.file, io.StringIO)
    lines = shown.file.getvalue().splitlines()
    first, last = (next(i for i, line in enumerate(lines) if name in line) for name in ("hit@1 ", "precision@5"))
    assert last - first == len(METRICS) - 1, "a line each"
    assert max(map(len, lines)) <= 80


def test_every_command_has_its_help() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    for name in ("retrieval", "compare", "trec", "failures", "make-questions", "review-questions"):
        assert name in shown
