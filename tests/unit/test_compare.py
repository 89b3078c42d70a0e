"""Two reports question by question, and the names of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ragkit.errors import DatasetError
from ragkit.evaluation.compare import compare_runs, read_report, read_report_run
from ragkit.evaluation.datasets import Dataset, Gold, Question, select, split_of
from ragkit.evaluation.metrics import question_metrics
from ragkit.evaluation.runs import parse_run


def rows(*ranks: int | list[int | None] | None, start: int = 0) -> list[dict[str, Any]]:
    out = []
    for number, rank in enumerate(ranks, start=start):
        needs = rank if isinstance(rank, list) else [rank]
        out.append(
            {
                "id": f"q{number}", "text": "?", "type": "lexical", "language": "zh", "ranks": needs, "need_all": True,
                "metrics": question_metrics(needs), "passages": [{"document": "d.md", "start_line": 1, "text": "x"}],
            }
        )  # fmt: skip
    return out


def run(*ranks: int | list[int | None] | None, start: int = 0) -> dict[str, Any]:
    return {"name": "hybrid", "rows": rows(*ranks, start=start)}


def test_every_question_is_fixed_broken_moved_or_the_same() -> None:
    before = run(1, 9, 1, 4, None, 7, None, [1, None])
    after = run(9, 1, 4, 1, 7, None, None, [1, 2])
    found = compare_runs(("A", before), ("B", after), at=5)
    assert {item.id: item.change for item in found.questions} == {
        "q0": "broken", "q1": "fixed", "q2": "moved down", "q3": "moved up",
        "q4": "moved up", "q5": "moved down", "q6": "same", "q7": "fixed",
    }  # fmt: skip
    assert found.questions[0].change == "broken"
    assert found.counts() == {"broken": 1, "fixed": 2, "moved down": 2, "moved up": 2, "same": 1}
    assert [
        item.id for item in compare_runs(("A", before), ("B", after), at=10).questions if item.change == "fixed"
    ] == [
        "q4",
        "q7",
    ]


def test_the_metrics_are_b_minus_a_over_the_shared_questions() -> None:
    found = compare_runs(("A", run(2, 2, 2, 2)), ("B", run(1, 1, start=2)))
    assert found.metrics["mrr@10"]["difference"] == pytest.approx(1 - 1 / 2)
    assert (found.only_a, found.only_b) == (("q0", "q1"), ())
    assert set(found.metrics["hit@5"]) == {"a", "b", "difference", "ci95", "p_value", "p_corrected"}
    assert json.loads(json.dumps(found.to_json()))["counts"]["moved up"] == 2


def test_runs_without_a_shared_question_are_refused() -> None:
    with pytest.raises(DatasetError, match="share no question"):
        compare_runs(("A", run(1)), ("B", run(1, start=5)))


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "r.json"
    other = {"name": "small.toml:dense", "rows": rows(3)}
    path.write_text(json.dumps({"runs": [run(1), other]}), encoding="utf-8")
    return path


def test_a_run_is_named_after_its_file(report: Path) -> None:
    assert read_report_run(str(report))[0] == "r:hybrid"
    assert read_report_run(f"{report}:hybrid")[1]["rows"][0]["ranks"] == [1]
    # A run under other settings has a colon in its own name.
    assert read_report_run(f"{report}:small.toml:dense")[1]["rows"][0]["ranks"] == [3]


def test_a_file_with_a_colon_in_its_name_is_found(report: Path) -> None:
    other = report.rename(report.with_name("a:b.json"))
    assert read_report_run(str(other))[0] == "a:b:hybrid"
    assert read_report_run(f"{other}:small.toml:dense")[0] == "a:b:small.toml:dense"


def test_a_run_that_is_not_there_names_those_that_are(report: Path) -> None:
    with pytest.raises(DatasetError, match=r"no run 'sparse'.*hybrid, small\.toml:dense"):
        read_report_run(f"{report}:sparse")


BROKEN = {
    "no json": "nothing",
    "a list": "[]",
    "no runs": "{}",
    "empty": '{"runs": []}',
    "runs of strings": '{"runs": ["name"]}',
    "no name": '{"runs": [{}]}',
    "rows of numbers": '{"runs": [{"name": "a", "rows": [1]}]}',
    "row without ranks": json.dumps({"runs": [{"name": "a", "rows": [{**rows(1)[0], "metrics": {}}]}]}),
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_is_no_report_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"x\.json is no report: .*--out") as caught:
        read_report(tmp_path / "x.json")
    assert "\n" not in str(caught.value)


def test_a_missing_report_and_one_without_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.json is no report"):
        read_report_run(str(tmp_path / "gone.json"))
    (tmp_path / "slim.json").write_text('{"runs": [{"name": "a"}]}', encoding="utf-8")
    with pytest.raises(DatasetError, match="keeps no questions"):
        read_report_run(str(tmp_path / "slim.json"))


def test_runs_are_parsed(tmp_path: Path) -> None:
    settings = tmp_path / "small.toml"
    settings.write_text("", encoding="utf-8")
    spec = parse_run(f"{settings}:dense+hyde+rerank")
    assert (spec.mode, spec.transforms, spec.config, spec.needs_chat) == ("dense", {"hyde", "rerank"}, settings, True)
    assert parse_run(str(settings)).mode == "hybrid"
    assert not parse_run("sparse+rerank").needs_chat
    for wrong in ("", "fuzzy", "hybrid+", "hybrid+magic", ":hybrid", "gone.toml:dense", "gone.toml", "hybrid:dense"):
        with pytest.raises(DatasetError, match="Allowed"):
            parse_run(wrong)


def dataset(**counts: int) -> Dataset:
    found = []
    for kind, count in counts.items():
        for i in range(count):
            gold = (Gold(f"note{i % 20}.md", "q"),)
            found.append(Question(f"{kind}{i}", "?", "zh", kind, gold, split=split_of(f"{kind}{i}", gold)))
    return Dataset("d", tuple(found))


def test_the_splits_part_the_set_and_the_notes() -> None:
    whole = dataset(lexical=100, typo=50)
    dev, test = (select(whole, name).questions for name in ("dev", "test"))
    assert sorted(q.id for q in (*dev, *test)) == sorted(q.id for q in whole.questions)
    assert not {g.document for q in dev for g in q.gold} & {g.document for q in test for g in q.gold}
    assert select(whole, "dev") == select(whole, "dev")


def test_a_question_with_one_gold_in_a_test_note_is_a_test_question() -> None:
    names = [f"n{i}.md" for i in range(200)]
    held = [name for name in names if split_of("x", [Gold(name)]) == "test"]
    assert 0.3 < len(held) / len(names) < 0.5
    open_one = next(name for name in names if name not in held)
    assert split_of("x", [Gold(open_one), Gold(held[0])]) == split_of("y", [Gold(held[0]), Gold(open_one)]) == "test"
    assert {split_of(f"id{i}", []) for i in range(20)} == {"dev", "test"}


def test_a_sample_keeps_the_shares_of_types_and_is_the_same_twice() -> None:
    whole = dataset(lexical=100, paraphrase=60, typo=40)
    sample = select(whole, limit=50)
    kinds = [q.type for q in sample.questions]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"lexical": 25, "paraphrase": 15, "typo": 10}
    assert sample == select(whole, limit=50)
    assert {q.type for q in select(whole, limit=3).questions} == {"lexical", "paraphrase", "typo"}
    assert select(whole, limit=10_000).questions == whole.questions


def test_an_unknown_or_empty_split_is_refused() -> None:
    with pytest.raises(DatasetError, match="dev, test, all"):
        select(dataset(a=3), "train")
    with pytest.raises(DatasetError, match="no question in split"):
        select(Dataset("d", tuple(q for q in dataset(a=40).questions if q.split == "dev")), "test")
