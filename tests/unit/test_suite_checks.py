"""Thresholds, not_worse rules and regressions, on synthetic rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ragkit.errors import CheckFailed, ConfigError, DatasetError, UsageError
from ragkit.evaluation.datasets import Dataset, Gold, Question
from ragkit.evaluation.metrics import COMPARED, METRICS
from ragkit.evaluation.retrieval import Row, Run
from ragkit.evaluation.suite import Baseline, Measured, Suite, SuiteResult, run_suite, write_baseline
from ragkit.evaluation.suite_checks import (
    BaselineSet,
    Check,
    NotWorse,
    Threshold,
    baseline_set,
    check_family,
    check_threshold,
    digest,
    not_worse,
    regressions,
)
from ragkit.settings import load_settings

ASKED = [Question(f"q{i}", f"问题 {i}", "zh", "lexical", (Gold("a.md", "x"),)) for i in range(40)]


def run_of(name: str, values: list[float], kinds: list[str] | None = None) -> Run:
    """A run whose every metric has these values."""
    kinds = kinds or ["lexical"] * len(values)
    return Run(
        name,
        tuple(
            Row(f"q{i}", "", kind, "zh" if i % 2 else "en", (1,), dict.fromkeys(METRICS, value), 0.0)
            for i, (value, kind) in enumerate(zip(values, kinds, strict=True))
        ),
    )


def check_not_worse(rule: NotWorse, dataset: str, runs: dict[str, Run]) -> list[Check]:
    return check_family(not_worse(rule, dataset, runs))


def check_regression(dataset: str, runs: list[Run], asked: list[Question], baseline: BaselineSet) -> list[Check]:
    return check_family(regressions(dataset, runs, asked, baseline))


def suite(**fields: Any) -> Suite:
    return Suite(**{"name": "s", "datasets": [{"path": "sets/d"}], "runs": ["hybrid", "dense"], **fields})


@pytest.mark.parametrize(("floor", "passed"), [(0.5, True), (0.51, False)])
def test_a_threshold_is_a_floor_under_the_mean(floor: float, passed: bool) -> None:
    check = check_threshold(Threshold(dataset="d", run="hybrid", metric="hit@5", min=floor), run_of("hybrid", [1, 0]))
    assert check.passed is passed
    assert check.line == f"threshold: d hybrid hit@5 0.500 {'>=' if passed else '<'} {floor:.3f} (2 questions)"


def test_a_threshold_may_be_about_one_type_and_language() -> None:
    run = run_of("hybrid", [1, 0, 0.25, 0.5], ["a", "a", "b", "b"])
    by_type = Threshold(dataset="d", run="hybrid", metric="hit@5", min=0.4, type="b")
    assert not check_threshold(by_type, run).passed
    both = Threshold(dataset="d", run="hybrid", metric="hit@5", min=0.4, type="b", language="zh")
    assert check_threshold(both, run).passed
    assert "(b zh, 1 questions)" in check_threshold(both, run).line


def test_a_threshold_about_no_question_is_an_error_and_not_a_pass() -> None:
    with pytest.raises(ConfigError, match="no question of 'gone'"):
        check_threshold(Threshold(dataset="d", run="x", metric="hit@5", min=0, type="gone"), run_of("x", [1]))


@pytest.mark.parametrize(
    ("hybrid", "passed"),
    [([0.5] * 40, True), ([1.0] * 40, True), ([0.0] * 40, False), ([0.0] + [0.5] * 39, True)],
    ids=["equal", "better", "much worse", "worse by chance"],
)
def test_only_what_is_significantly_worse_than_its_half_fails(hybrid: list[float], passed: bool) -> None:
    runs = {run.name: run for run in (run_of("hybrid", hybrid), run_of("dense", [0.5] * 40))}
    checks = check_not_worse(NotWorse(run="hybrid", than=("dense",)), "d", runs)
    assert [(check.metric, check.passed) for check in checks] == [(metric, passed) for metric in COMPARED]
    assert all("against dense" in check.line for check in checks)


@pytest.mark.parametrize(
    ("margin", "passed", "words"),
    [(None, True, "-0.125 (p"), (0.1, False, "-0.125, below -0.100 (p"), (0.125, True, "-0.125, not below -0.125 (p")],
)
def test_a_margin_fails_what_few_questions_do_not_make_significant(
    margin: float | None, passed: bool, words: str
) -> None:
    runs = {run.name: run for run in (run_of("hybrid", [1.0, 0.5, 1.0, 1.0]), run_of("dense", [1.0] * 4))}
    rule = NotWorse(run="hybrid", than=("dense",), metrics=("mrr@10",), margin=margin)
    [check] = check_not_worse(rule, "d", runs)
    assert check.passed is passed
    assert words in check.line


def test_a_margin_excuses_nothing_that_is_significant() -> None:
    runs = {run.name: run for run in (run_of("hybrid", [0.4] * 40), run_of("dense", [0.5] * 40))}
    rule = NotWorse(run="hybrid", than=("dense",), metrics=("mrr@10",), margin=0.5)
    assert [check.passed for check in check_not_worse(rule, "d", runs)] == [False]


def test_the_p_values_of_a_rule_are_corrected_for_their_number() -> None:
    # Six questions of six got worse: p = 2/64 alone, which four tests bring above .05.
    runs = {name: run_of(name, values) for name, values in {"hybrid": [0.0] * 6, "dense": [1.0] * 6, "sparse": [1.0] * 6}.items()}  # fmt: skip
    alone = check_not_worse(NotWorse(run="hybrid", than=("dense",), metrics=("hit@5",)), "d", runs)
    four = check_not_worse(NotWorse(run="hybrid", than=("dense", "sparse")), "d", runs)
    assert [check.passed for check in alone] == [False]
    assert [check.passed for check in four] == [True] * 4
    assert four[0].p_corrected == pytest.approx(4 * (alone[0].p_corrected or 0))


def test_the_rules_and_the_baseline_of_a_data_set_are_one_family() -> None:
    runs = {name: run_of(name, values) for name, values in {"hybrid": [0.0] * 6, "dense": [1.0] * 6}.items()}
    pairs = not_worse(NotWorse(run="hybrid", than=("dense",), metrics=("hit@5",)), "d", runs)
    base = baseline_set("m", [run_of("hybrid", [1.0] * 6)], ASKED)
    whole = check_family([*pairs, *regressions("d", [runs["hybrid"]], ASKED, base)])
    [alone] = check_family(pairs)
    # p = 1/64 each: three tests make .047 of it, one leaves it as it is.
    assert [check.kind for check in whole] == ["not worse", "regression", "regression"]
    assert [check.p_corrected for check in whole] == pytest.approx([3 * (alone.p_corrected or 0)] * 3)


def test_a_run_that_fell_behind_the_baseline_fails_and_an_equal_one_does_not() -> None:
    third = 1 / 3
    before = [run_of("hybrid", [third] * 40), run_of("dense", [0.5] * 40)]
    baseline = baseline_set("m", before, ASKED)
    assert all(check.passed and check.p_corrected == 1 for check in check_regression("d", before, ASKED, baseline))
    now = [run_of("hybrid", [0.0] * 12 + [third] * 28), run_of("dense", [1.0] * 40)]
    checks = check_regression("d", now, ASKED, baseline)
    assert [(check.run, check.metric, check.passed) for check in checks] == [
        ("hybrid", "hit@5", False), ("hybrid", "mrr@10", False), ("dense", "hit@5", True), ("dense", "mrr@10", True),
    ]  # fmt: skip
    assert "-0.100" in checks[0].line


def test_a_changed_question_is_another_question() -> None:
    baseline = baseline_set("m", [run_of("hybrid", [1.0] * 40)], ASKED)
    changed = [Question(q.id, q.text + "?", q.language, q.type, q.gold) if i < 30 else q for i, q in enumerate(ASKED)]
    now = [run_of("hybrid", [0.0] * 30 + [1.0] * 10)]
    checks = check_regression("d", now, changed, baseline)
    assert [check.passed for check in checks] == [True, True]
    assert "(10 questions)" in checks[0].line


def test_a_baseline_of_other_questions_is_an_error() -> None:
    baseline = baseline_set("m", [run_of("hybrid", [1.0] * 40)], ASKED)
    others = [Question(q.id, "anders", q.language, q.type, q.gold) for q in ASKED]
    with pytest.raises(DatasetError, match=r"no question in common.*--update-baseline"):
        check_regression("d", [run_of("hybrid", [0.0] * 40)], others, baseline)


def test_a_run_that_the_baseline_does_not_have_is_not_compared() -> None:
    baseline = baseline_set("m", [run_of("hybrid", [1.0] * 40)], ASKED)
    assert check_regression("d", [run_of("sparse", [0.0] * 40)], ASKED, baseline) == []


def test_the_digest_follows_text_gold_and_history() -> None:
    from ragkit.retrieval.rewrite import Turn

    [question] = ASKED[:1]
    same = Question(question.id, question.text, "en", "other", question.gold, "reference", (), "test")
    others = [
        Question("q0", "x", "zh", "lexical", question.gold),
        Question("q0", question.text, "zh", "lexical", (Gold("b.md", "x"),)),
        Question("q0", question.text, "zh", "lexical", question.gold, history=(Turn("a", "b"),)),
        Question("q0", question.text, "zh", "lexical", (Gold("a.md", "x", start=3),)),
        Question("q0", question.text, "zh", "lexical", (Gold("a.md", "x", grade=2),)),
    ]
    assert digest(same) == digest(question)
    assert len({digest(q) for q in (question, *others)}) == 6


def measured(name: str, *runs: Run) -> Measured:
    return Measured(Dataset(name, tuple(ASKED)), "hashing", runs, {})


def test_a_baseline_is_written_one_question_a_line_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "new" / "baseline.json"
    plan = suite(datasets=[{"path": "d"}, {"path": "e", "optional": True}])
    write_baseline(file, plan, [measured("d", run_of("hybrid", [1.0, 1 / 3]))], None)
    text = file.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith('"q')] == [
        f'"q{i}": {{"digest": "{digest(ASKED[i])}", "values": {{"hybrid": [{value}, {value}]}}}}{comma}'
        for i, value, comma in ((0, 1.0, ","), (1, 0.333333, ""))
    ]
    assert set(json.loads(text)["datasets"]["d"]) == {"embedding_model", "metrics", "questions"}
    old = Baseline.model_validate_json(text)
    # What could not be measured this time stays as it was.
    write_baseline(file, plan, [measured("e", run_of("hybrid", [0.0]))], old)
    assert set(Baseline.model_validate_json(file.read_bytes()).datasets) == {"d", "e"}


def test_failed_checks_end_in_exit_code_1() -> None:
    bad = check_threshold(Threshold(dataset="d", run="hybrid", metric="hit@5", min=1), run_of("hybrid", [0.0]))
    good = check_threshold(Threshold(dataset="d", run="hybrid", metric="hit@5", min=0), run_of("hybrid", [0.0]))
    SuiteResult(suite(), (), (good,), {}).raise_if_failed()
    with pytest.raises(CheckFailed, match="1 of 2 checks of suite s failed") as caught:
        SuiteResult(suite(), (), (good, bad), {}).raise_if_failed()
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"thresholds": [{"dataset": "x", "run": "hybrid", "metric": "hit@5", "min": 0.5}]}, "names data set 'x'.*has d"),
        ({"thresholds": [{"dataset": "d", "run": "sparse", "metric": "hit@5", "min": 0.5}]}, "names run 'sparse'"),
        ({"thresholds": [{"dataset": "d", "run": "dense", "metric": "hit@6", "min": 0.5}]}, "unknown metric 'hit@6'"),
        ({"thresholds": [{"dataset": "d", "run": "dense", "metric": "hit@5", "min": 70}]}, "less than or equal to 1"),
        ({"thresholds": [{"dataset": "d", "run": "dense", "metric": "hit@5", "max": 1}]}, "max"),
        ({"not_worse": [{"run": "hybrid", "than": ["dense", "sparse"]}]}, "names run 'sparse'"),
        ({"not_worse": [{"run": "hybrid", "than": []}]}, "than"),
        ({"runs": []}, "runs"),
        ({"runs": ["hybrid", "hybrid"]}, "'hybrid' stands twice"),
        ({"runs": ["magic"]}, "Unknown run 'magic'"),
        ({"datasets": [{"path": "a/d"}, {"path": "b/d"}]}, "'d' stands twice"),
        ({"datasets": [{"path": "a", "split": "train"}]}, "split"),
        ({"datasets": [{"path": "a", "name": "a/b"}]}, "name"),
        ({"treshold": []}, "treshold"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_in_a_suite_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){message}"):
        suite(**fields)


def test_data_sets_are_called_after_their_folder_or_file() -> None:
    paths = ["evals/llm/questions.jsonl", "evals/llm/part-f.jsonl", "dev/cmrc", "x/squad.json"]
    plan = suite(datasets=[*({"path": path} for path in paths), {"path": "dev/other", "name": "mine"}])
    assert [ref.label for ref in plan.datasets] == ["llm", "part-f", "cmrc", "squad", "mine"]


def test_a_missing_data_set_is_an_error_unless_it_is_optional(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Data set d: .*sets/d is not there.*optional: true"):
        run_suite(suite(), tmp_path, load_settings())
    with pytest.raises(DatasetError, match=r"None of the data sets is there"):
        run_suite(suite(datasets=[{"path": "sets/d", "optional": True}]), tmp_path, load_settings())


def test_a_suite_without_a_baseline_cannot_update_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no baseline"):
        run_suite(suite(), tmp_path, load_settings(), update_baseline=True)


def stored(**changed: Any) -> str:
    whole = json.loads(baseline_set("m", [run_of("hybrid", [1.0])], ASKED).model_dump_json())
    return json.dumps({"ragkit": "1", "datasets": {"d": {**whole, **changed}}})


def values(*numbers: float) -> dict[str, Any]:
    return {"q0": {"digest": "0", "values": {"hybrid": numbers}}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (stored(metrics=["hit@5", "hit@6"]), r"datasets\.d\.metrics\.1: unknown metric 'hit@6'"),
        (stored(metrics=["hit@5"], questions=values(1)), r"datasets\.d: metric mrr@10 is missing"),
        (stored(metrics=["hit@5", "mrr@10", "hit@5"]), r"'hit@5' stands twice"),
        (stored(questions=values(1.0)), r"question 'q0' has 1 values of run 'hybrid', not 2"),
        (stored(questions=values(1.0, 1.5)), r"less than or equal to 1"),
        (stored(questions=values(1.0, 1.0)).replace("1.0", "NaN"), r"finite"),
        (stored(questions=[]), r"datasets\.d\.questions"),
        (stored(more=1), r"datasets\.d\.more"),
    ],
)  # fmt: skip
def test_a_baseline_with_wrong_metrics_or_values_is_refused_by_its_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "base.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"base\.json is no baseline: .*{said}") as caught:
        run_suite(suite(baseline="base.json"), tmp_path, load_settings())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "{}", "not json", '{"format": 2, "ragkit": "1", "datasets": {}}'])
def test_a_baseline_that_is_none_is_refused_before_anything_is_measured(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "base.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"base\.json.*--update-baseline"):
        run_suite(suite(baseline="base.json"), tmp_path, load_settings())
