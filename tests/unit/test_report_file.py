"""Saved reports: which run a spec means, and what is wrong with a file that is none."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ragkit.errors import DatasetError
from ragkit.evaluation.metrics import question_metrics
from ragkit.evaluation.report_file import labels_of, one_report, one_run, read_reports
from ragkit.evaluation.retrieval import Passage, Row, Run


def report(dataset: str, **runs: int) -> dict[str, Any]:
    """A report of one question; the rank of each run."""
    made = []
    for name, rank in runs.items():
        row = Row(
            "q0", "?", "lexical", "zh", (rank,), question_metrics([rank]), 0.1, (Passage("d.md", 1, 1, (), "x", 1.0),)
        )
        made.append(Run(name, (row,)).to_json(rows=True))
    return {
        "dataset": dataset, "questions": 1, "embedding_model": "m", "ragkit": "1",
        "index": {"chunks": 1, "documents": 1}, "runs": made,
    }  # fmt: skip


def write(path: Path, *reports: dict[str, Any]) -> Path:
    # As `eval retrieval --out` does: the first one stands at the top as well.
    whole = reports[0] if len(reports) == 1 else {**reports[0], "datasets": list(reports)}
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


@pytest.fixture
def single(tmp_path: Path) -> Path:
    return write(tmp_path / "r.json", report("notes", **{"hybrid": 1, "small.toml:dense": 3}))


@pytest.fixture
def several(tmp_path: Path) -> Path:
    runs = {"hybrid": 1, "a:b.toml:dense": 2}
    sets = [report("notes", **runs), report("x:y", **{k: v + 2 for k, v in runs.items()}), report("notes", hybrid=9)]
    return write(tmp_path / "all.json", *sets)


def rank(spec: str) -> tuple[str, int | None]:
    label, run, _ = one_run(spec)
    return label, run.rows[0].ranks[0]


@pytest.mark.parametrize(
    ("rest", "label", "place"),
    [
        ("", "r:hybrid", 1),
        (":hybrid", "r:hybrid", 1),
        (":notes", "r:hybrid", 1),
        (":notes:hybrid", "r:hybrid", 1),
        # A run under other settings has a colon in its own name.
        (":small.toml:dense", "r:small.toml:dense", 3),
        (":notes:small.toml:dense", "r:small.toml:dense", 3),
    ],
)
def test_a_run_of_a_report_with_one_data_set(single: Path, rest: str, label: str, place: int) -> None:
    assert rank(f"{single}{rest}") == (label, place)


@pytest.mark.parametrize(
    ("rest", "label", "place"),
    [
        ("notes", "all:notes:hybrid", 1),
        ("notes:a:b.toml:dense", "all:notes:a:b.toml:dense", 2),
        ("x:y", "all:x:y:hybrid", 3),
        ("x:y:hybrid", "all:x:y:hybrid", 3),
        ("x:y:a:b.toml:dense", "all:x:y:a:b.toml:dense", 4),
        ("notes-2", "all:notes-2:hybrid", 9),
    ],
)
def test_a_run_of_a_report_with_several_data_sets(several: Path, rest: str, label: str, place: int) -> None:
    assert rank(f"{several}:{rest}") == (label, place)


@pytest.mark.parametrize("rest", ["", ":hybrid", ":gone"])
def test_several_data_sets_and_none_named_is_an_error_that_lists_them(several: Path, rest: str) -> None:
    with pytest.raises(DatasetError, match=r"several data sets: notes, x:y, notes-2\. Name one: .*:DATASET:RUN"):
        one_run(f"{several}{rest}")
    with pytest.raises(DatasetError, match=r"several data sets: notes, x:y, notes-2\. Name one with --dataset"):
        one_report(several)


def test_a_run_that_is_not_there_names_those_that_are(single: Path, several: Path) -> None:
    with pytest.raises(DatasetError, match=r"no run 'sparse'.*hybrid, small\.toml:dense"):
        one_run(f"{single}:sparse")
    with pytest.raises(DatasetError, match=r"data set x:y has no run 'sparse'.*hybrid, a:b\.toml:dense"):
        one_run(f"{several}:x:y:sparse")


def test_a_spec_that_may_mean_two_runs_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "r.json", report("dense", hybrid=1, dense=2))
    with pytest.raises(DatasetError, match=r"may mean several runs\. Write .*:dense:hybrid or .*:dense:dense"):
        one_run(f"{file}:dense")
    assert rank(f"{file}:dense:dense") == ("r:dense", 2)


def test_a_file_with_colons_in_its_name_is_found(single: Path) -> None:
    other = single.rename(single.with_name("a:b.json"))
    assert rank(str(other)) == ("a:b:hybrid", 1)
    assert rank(f"{other}:notes:small.toml:dense") == ("a:b:small.toml:dense", 3)


def test_a_data_set_is_taken_by_its_name(several: Path, single: Path) -> None:
    assert one_report(several, "x:y").runs[0].rows[0].ranks == (3,)
    assert one_report(several, "notes-2").runs[0].rows[0].ranks == (9,)
    assert one_report(single).dataset == "notes"
    assert labels_of(read_reports(several)) == ["notes", "x:y", "notes-2"]
    with pytest.raises(DatasetError, match=r"no data set 'gone'\. It has: notes, x:y, notes-2"):
        one_report(several, "gone")


BROKEN = {
    "no json": "nothing",
    "a list": "[]",
    "nothing in it": "{}",
    "no set": '{"datasets": []}',
    "empty": '{"runs": []}',
    "runs of strings": '{"runs": ["name"]}',
    "no name": '{"runs": [{"rows": []}]}',
    "rows of numbers": '{"runs": [{"name": "a", "rows": [1]}]}',
    "deep": "[" * 100_000,
    "not UTF-8": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_is_no_report_is_refused_in_one_line(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / "x.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatasetError, match=r"x\.json is no report: .*--out") as caught:
        one_run(str(tmp_path / "x.json"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["id", "text", "type", "language", "ranks", "need_all", "gold", "metrics", "passages"])
def test_a_row_that_lacks_something_is_named_by_its_place(tmp_path: Path, key: str) -> None:
    data = report("notes", hybrid=1)
    del data["runs"][0]["rows"][0][key]
    with pytest.raises(DatasetError, match=rf"x\.json is no report: runs\.0\.rows\.0\.{key}: Field required"):
        read_reports(write(tmp_path / "x.json", data))
    with pytest.raises(DatasetError, match=rf"x\.json: data set 2 is no report: runs\.0\.rows\.0\.{key}"):
        read_reports(write(tmp_path / "x.json", report("notes", hybrid=1), data))


def test_a_metric_that_is_missing_or_no_share_and_names_that_stand_twice(tmp_path: Path) -> None:
    whole = report("notes", hybrid=1)
    for value, said in ((None, "no hit@3"), (1.5, "less than or equal to 1"), ("x", "valid number")):
        data = copy.deepcopy(whole)
        metrics = data["runs"][0]["rows"][0]["metrics"]
        metrics.pop("hit@3") if value is None else metrics.update({"hit@3": value})
        with pytest.raises(DatasetError, match=rf"runs\.0\.rows\.0\.metrics.*{said}"):
            read_reports(write(tmp_path / "x.json", data))
    twice = copy.deepcopy(whole)
    twice["runs"][0]["rows"] *= 2
    with pytest.raises(DatasetError, match="question 'q0' stands twice in run hybrid"):
        read_reports(write(tmp_path / "x.json", twice))
    twice = copy.deepcopy(whole)
    twice["runs"] *= 2
    with pytest.raises(DatasetError, match="run 'hybrid' stands twice"):
        read_reports(write(tmp_path / "x.json", twice))


def test_a_missing_report_and_one_without_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.json is no report"):
        one_run(str(tmp_path / "gone.json"))
    (tmp_path / "slim.json").write_text('{"runs": [{"name": "a"}]}', encoding="utf-8")
    with pytest.raises(DatasetError, match="keeps no questions"):
        one_run(str(tmp_path / "slim.json"))
