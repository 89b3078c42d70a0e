"""Whatever stands in a file that evals read: one clear line that names the file, never a bare exception."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ragkit.errors import ConfigError, DatasetError
from ragkit.evaluation.datasets import load_dataset
from ragkit.evaluation.drafts import read_drafts
from ragkit.evaluation.judge import load_labels
from ragkit.evaluation.plans import read_plan
from ragkit.evaluation.report_file import read_reports
from ragkit.evaluation.suite import Suite, run_suite
from ragkit.evaluation.sweep_space import Sweep
from ragkit.evaluation.trec import read_qrels, read_run
from ragkit.settings import load_settings

DEEP = "[" * 100_000
OWN: dict[str, Any] = {
    "id": "q", "question": "什么？", "language": "zh", "type": "lexical", "gold": [{"file": "a.md", "quote": "x"}],
}  # fmt: skip
LABEL = {"id": "1", "language": "zh", "question": "问", "reference": "参考", "answer": "答", "label": "right"}
DRAFT = {"id": "1", "chunk": "c", "file": "a.md", "status": "open", "question": "?", "quote": "x", "heading": []}


def own(path: Path) -> object:
    return load_dataset(path.rename(path.with_suffix(".jsonl")), path.parent)


def squad(path: Path) -> object:
    return load_dataset(path.rename(path.with_suffix(".json")))


def beir(name: str) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        folder = path.parent / "set"
        (folder / "qrels").mkdir(parents=True)
        (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "x"}', encoding="utf-8")
        (folder / "queries.jsonl").write_text('{"_id": "q", "text": "x"}', encoding="utf-8")
        (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n", encoding="utf-8")
        path.replace(folder / name)
        return load_dataset(folder)

    return read


def baseline(path: Path) -> object:
    suite = Suite(name="s", datasets=[{"path": "d"}], runs=["sparse"], baseline=path.name)  # type: ignore[arg-type,list-item]
    return run_suite(suite, path.parent, load_settings())


def suite(path: Path) -> object:
    return read_plan(path, Suite)


def sweep(path: Path) -> object:
    return read_plan(path, Sweep)


def own_with(**changed: Any) -> str:
    return json.dumps({**OWN, **changed})


def squad_with(qa: Any = None, **paragraph: Any) -> str:
    asked = {"id": "a", "question": "Who?", "answers": [{"text": "x", "answer_start": 0}], **(qa or {})}
    return json.dumps({"data": [{"title": "t", "paragraphs": [{"context": "x", "qas": [asked], **paragraph}]}]})


def judged(row: str) -> str:
    return f"query-id\tcorpus-id\tscore\n{row}\n"


CASES: dict[str, tuple[Callable[[Path], object], str | bytes, str]] = {
    # Our own form
    "own: quote is a number": (own, own_with(gold=[{"file": "a", "quote": 7}]), r":1: gold\.0\.quote: .*string"),
    "own: file is null": (own, own_with(gold=[{"file": None, "quote": "x"}]), r":1: gold\.0\.file: .*string"),
    "own: file is empty": (own, own_with(gold=[{"file": "", "quote": "x"}]), r":1: gold\.0\.file"),
    "own: gold of texts": (own, own_with(gold=["a.md"]), r":1: gold\.0"),
    "own: gold is a text": (own, own_with(gold="a.md"), r":1: gold"),
    "own: group is a list": (own, own_with(gold=[{"file": "a", "quote": "x", "group": []}]), r"gold\.0\.group"),
    "own: id is a list": (own, own_with(id=[1]), r":1: id: .*string"),
    "own: id is true": (own, own_with(id=True), r":1: id: .*string"),
    "own: id is empty": (own, own_with(id=""), r":1: id"),
    "own: question is null": (own, own_with(question=None), r":1: question: .*string"),
    "own: question is blank": (own, own_with(question=" \n"), r":1: question"),
    "own: history of texts": (own, own_with(history=["before"]), r":1: history\.0"),
    "own: history without answer": (own, own_with(history=[{"question": "x"}]), r":1: history\.0\.answer: Field"),
    "own: unknown split": (own, own_with(split="train"), r":1: split: .*'dev' or 'test'"),
    "own: second line cut": (own, own_with() + "\n{", r":2: no JSON"),
    "own: not UTF-8": (own, "\u95ee".encode("gb18030"), "not UTF-8"),
    "own: deep": (own, DEEP, r":1: no JSON: nested too deeply"),
    # SQuAD
    "squad: context is a number": (squad, squad_with(context=5), r"data\.0\.paragraphs\.0\.context: .*string"),
    "squad: qas is null": (squad, squad_with(qas=None), r"data\.0\.paragraphs\.0\.qas"),
    "squad: answer is a text": (squad, squad_with({"answers": ["x"]}), r"qas\.0\.answers\.0"),
    "squad: answer without text": (squad, squad_with({"answers": [{"answer_start": 0}]}), r"answers\.0\.text: Field"),
    "squad: start is a text": (squad, squad_with({"answers": [{"text": "x", "answer_start": "0"}]}), r"answer_start"),
    "squad: start is a fraction": (squad, squad_with({"answers": [{"text": "x", "answer_start": 0.5}]}), r"answer_start"),
    "squad: is_impossible is a text": (squad, squad_with({"is_impossible": "no"}), r"is_impossible: .*boolean"),
    "squad: no id": (squad, squad_with({"id": None}), r"qas\.0\.id: .*string"),
    "squad: id twice": (
        squad, squad_with(qas=[{"id": "a", "question": "?", "answers": []}] * 2), "id 'a' stands twice",
    ),
    "squad: no question": (squad, '{"data": []}', "no question"),
    "squad: data of numbers": (squad, '{"data": [1]}', r"data\.0"),
    "squad: deep": (squad, DEEP, "no SQuAD file"),
    "squad: not UTF-8": (squad, b"\xff\xfe{", "no SQuAD file"),
    # BEIR
    "qrels: a word as score": (beir("qrels/test.tsv"), judged("q\td\tyes"), r"test\.tsv:2: no judgement.*'yes'"),
    "qrels: a fraction as score": (beir("qrels/test.tsv"), judged("q\td\t0.5"), r"test\.tsv:2"),
    "qrels: no score": (beir("qrels/dev.tsv"), judged("q2\td\t1\nq2\td"), r"dev\.tsv:3"),
    "qrels: not UTF-8": (beir("qrels/test.tsv"), b"query-id\t\xff\n", r"test\.tsv"),
    "qrels: of other queries": (beir("qrels/test.tsv"), judged("other\td\t1"), r"No query of .*queries\.jsonl"),
    "corpus: text is a list": (beir("corpus.jsonl"), '{"_id": "d", "text": ["x"]}', r"corpus\.jsonl:1: text"),
    "corpus: title is a number": (beir("corpus.jsonl"), '{"_id": "d", "title": 7, "text": "x"}', r"jsonl:1: title"),
    "corpus: id is null": (beir("corpus.jsonl"), '{"_id": null, "text": "x"}', r"corpus\.jsonl:1: _id"),
    "queries: text is null": (beir("queries.jsonl"), '{"_id": "q", "text": null}', r"queries\.jsonl:1: text"),
    "queries: text is blank": (beir("queries.jsonl"), '{"_id": "q", "text": ""}', r"queries\.jsonl:1: text"),
    # TREC
    "trec: relevance is a word": (read_qrels, "q 0 d high\n", "no TREC qrels"),
    "trec: relevance is a fraction": (read_qrels, "q 0 d 0.5\n", "no TREC qrels"),
    "trec: too few columns": (read_qrels, "q d 1\n", "no TREC qrels"),
    "trec: score is a word": (read_run, "q Q0 d 1 best run\n", "no TREC run"),
    "trec: not UTF-8": (read_run, b"\xff\xfe\x00", "no TREC run"),
    # Labels of the judge
    "labels: not UTF-8": (load_labels, json.dumps(LABEL).encode("utf-16"), "not UTF-8"),
    "labels: id is a list": (load_labels, json.dumps({**LABEL, "id": ["1"]}), r":1: not a graded answer"),
    "labels: answer is null": (load_labels, json.dumps({**LABEL, "answer": None}), r":1: not a graded answer"),
    "labels: label is a list": (load_labels, json.dumps({**LABEL, "label": ["right"]}), r":1: not a graded answer"),
    "labels: a list": (load_labels, "[]", r":1: not a graded answer"),
    "labels: deep": (load_labels, DEEP, r":1: not a graded answer"),
    # Drafts of questions
    "drafts: heading is a number": (read_drafts, json.dumps({**DRAFT, "heading": 7}), r":1: "),
    "drafts: status is a list": (read_drafts, json.dumps({**DRAFT, "status": ["open"]}), r":1: "),
    "drafts: no object": (read_drafts, "7", r":1: not a JSON object"),
    # Reports and baselines
    "report: a number": (read_reports, "7", "no report"),
    "report: runs is a text": (read_reports, '{"runs": "x"}', "no report"),
    "report: not UTF-8": (read_reports, b"\xff", "no report"),
    "baseline: a list": (baseline, "[]", "no baseline"),
    "baseline: not UTF-8": (baseline, b"\xff\xfe", "no baseline"),
    "baseline: sets is a list": (baseline, '{"ragkit": "1", "datasets": []}', "no baseline: datasets"),
    "baseline: deep": (baseline, DEEP, "no baseline"),
    # Plans
    "suite: a list": (suite, "- a\n", "key: value"),
    "suite: data set is a text": (suite, "name: s\nruns: [sparse]\ndatasets: [x]\n", r"datasets\.0"),
    "suite: run is a number": (suite, "name: s\nruns: [7]\ndatasets: [{path: x}]\n", r"runs\.0"),
    "suite: limit is 0": (suite, "name: s\nruns: [sparse]\ndatasets: [{path: x, limit: 0}]\n", r"limit"),
    "suite: floor is not finite": (
        suite,
        "name: s\nruns: [sparse]\ndatasets: [{path: x}]\n"
        "thresholds: [{dataset: x, run: sparse, metric: hit@5, min: .nan}]\n",
        r"thresholds\.0\.min",
    ),
    "suite: unclosed": (suite, "name: [s\n", "not valid YAML"),
    "suite: deep": (suite, DEEP, "YAML|deep"),
    "suite: not UTF-8": (suite, b"\xff\xfe\x00", "cannot be read"),
    "sweep: space is a list": (sweep, "datasets: [{path: x}]\nspace: [1]\n", "space"),
    "sweep: values is a number": (sweep, "datasets: [{path: x}]\nspace: {bm25_k1: 3}\n", r"space\.bm25_k1"),
    "sweep: key is a number": (sweep, "datasets: [{path: x}]\nspace: {3: [1]}\n", "space"),
    "sweep: value of another kind": (sweep, "datasets: [{path: x}]\nspace: {candidates: [many]}\n", "candidates"),
}  # fmt: skip


@pytest.mark.parametrize(("read", "content", "said"), CASES.values(), ids=CASES.keys())
def test_a_malformed_file_is_one_line_that_names_it(
    tmp_path: Path, read: Callable[[Path], object], content: str | bytes, said: str
) -> None:
    path = tmp_path / "file.x"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    with pytest.raises((DatasetError, ConfigError), match=said) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    assert len(message) < 600


READERS = [own, squad, read_qrels, read_run, load_labels, read_drafts, read_reports, baseline, suite, sweep]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"null", b"{}", b"\xef\xbb\xbf"], ids=repr)
def test_a_file_of_nothing_is_refused_by_every_reader(
    tmp_path: Path, read: Callable[[Path], object], content: bytes
) -> None:
    path = tmp_path / "file.x"
    path.write_bytes(content)
    if read is read_drafts and not content.strip(b"\xef\xbb\xbf"):
        assert read_drafts(path) == []
        return
    with pytest.raises((DatasetError, ConfigError)):
        read(path)


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_a_folder_is_refused_by_every_reader(tmp_path: Path, read: Callable[[Path], object]) -> None:
    (tmp_path / "file.x").mkdir()
    with pytest.raises((DatasetError, ConfigError)):
        read(tmp_path / "file.x")
