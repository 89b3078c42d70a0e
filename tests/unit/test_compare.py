"""Two reports question by question, and the names of runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragkit.errors import DatasetError
from ragkit.evaluation.compare import compare_runs, differing_settings
from ragkit.evaluation.datasets import Dataset, Gold, Question, select, split_of
from ragkit.evaluation.metrics import COMPARED, question_metrics
from ragkit.evaluation.report_file import RunData
from ragkit.evaluation.retrieval import Passage, Row, Run
from ragkit.evaluation.runs import parse_run
from ragkit.evaluation.stats import holm


def run(*ranks: int | list[int | None] | None, start: int = 0, text: str = "?") -> RunData:
    needs = [rank if isinstance(rank, list) else [rank] for rank in ranks]
    shown = (Passage("d.md", 1, 1, (), "x", 1.0),)
    rows = tuple(
        Row(f"q{n}", text, "lexical", "zh", tuple(row), question_metrics(row), 0.1, shown, gold=("d.md",))
        for n, row in enumerate(needs, start=start)
    )
    return RunData.model_validate(json.loads(json.dumps(Run("hybrid", rows).to_json(rows=True))))


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


def test_a_question_that_asks_something_else_under_the_same_id_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"Question q1 of A is 'old', of B 'new'.*same questions") as caught:
        compare_runs(("A", run(1, 2, start=1, text="old")), ("B", run(1, 2, text="new")))
    assert "\n" not in str(caught.value)


def test_the_tests_of_a_comparison_are_one_family_over_the_compared_metrics() -> None:
    found = compare_runs(("A", run(*[9] * 8, *[1] * 30)), ("B", run(*[1] * 38)))
    tested = {name: row for name, row in found.metrics.items() if "p_value" in row}
    assert set(tested) == set(COMPARED)
    corrected = holm([row["p_value"] for row in tested.values()])
    assert [row["p_corrected"] for row in tested.values()] == corrected
    # The smaller of two p-values counts twice.
    assert min(corrected) == pytest.approx(2 * min(row["p_value"] for row in tested.values()))


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
    assert {q.type for q in select(whole, types=["typo", "lexical"]).questions} == {"lexical", "typo"}
    assert {q.split for q in select(whole, "dev", types=["typo"]).questions} == {"dev"}
    with pytest.raises(DatasetError, match="no question of type 'typos'"):
        select(whole, types=["typos"])


def test_an_unknown_or_empty_split_is_refused() -> None:
    with pytest.raises(DatasetError, match="dev, test, all"):
        select(dataset(a=3), "train")
    with pytest.raises(DatasetError, match="no question in split"):
        select(Dataset("d", tuple(q for q in dataset(a=40).questions if q.split == "dev")), "test")


def test_settings_that_two_reports_do_not_share_are_listed() -> None:
    before = {"candidates": 50, "hyde": "never", "gone": 1, "none": None}
    after = {"candidates": 80, "hyde": "never", "temperature": 0.02}
    assert differing_settings(before, after) == {"candidates": (50, 80), "gone": (1, None), "temperature": (None, 0.02)}
    assert differing_settings({}, after) == differing_settings(after, {}) == {}
