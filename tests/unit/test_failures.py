"""The cause of a miss is the stage at which the gold got lost."""

from __future__ import annotations

import json

import pytest

from ragkit.evaluation.failures import CAUSES, causes_by_type, find_failures, missing_legs
from ragkit.evaluation.metrics import question_metrics
from ragkit.evaluation.report_file import ReportData, parse_report
from ragkit.evaluation.retrieval import Passage, Row, Run

NAMES = ("hybrid", "dense", "sparse")


def report(
    *ranks: tuple[int | None, ...], shown: str = "other.md", names: tuple[str, ...] = NAMES, needs: int = 1
) -> ReportData:
    """Runs of these names; the rank of a question in each. Of several needs all but the first stay open."""
    passages = (Passage(shown, 1, 1, (), "x", 1.0),)
    runs = []
    for at, name in enumerate(names):
        met = [(row[at], *[None] * (needs - 1)) for row in ranks]
        rows = tuple(
            Row(f"q{i}", "?", "lexical", "zh", row, question_metrics(row), 0.1, passages, gold=("gold.md",))
            for i, row in enumerate(met)
        )
        runs.append(Run(name, rows).to_json(rows=True))
    data = {
        "dataset": "d", "questions": len(ranks), "embedding_model": "m", "ragkit": "1",
        "index": {"chunks": 1, "documents": 1}, "runs": runs,
    }  # fmt: skip
    return parse_report(json.loads(json.dumps(data)), "it")


@pytest.mark.parametrize(
    ("ranks", "shown", "cause"),
    [
        ((9, 2, None), "other.md", "lost in fusion"),
        ((9, 12, 40), "other.md", "ranked too low"),
        ((None, None, None), "gold.md", "right note, wrong passage"),
        ((None, None, None), "other.md", "not proposed"),
    ],
)
def test_the_cause_of_a_miss(ranks: tuple[int | None, int | None, int | None], shown: str, cause: str) -> None:
    [failure] = find_failures(report(ranks, shown=shown))
    assert failure.cause == cause
    assert failure.ranks == dict(zip(NAMES, ranks, strict=True))
    assert missing_legs(report(ranks)) == ()


def test_what_stands_at_the_cut_is_no_failure() -> None:
    assert [f.id for f in find_failures(report((5, 9, 9), (6, 9, 9)))] == ["q1"]


def test_a_multi_hop_question_is_missed_while_one_need_is_open() -> None:
    [failure] = find_failures(report((1, 1, 1), needs=2))
    assert failure.ranks["hybrid"] is None


def test_causes_are_counted_by_type() -> None:
    counts = causes_by_type(find_failures(report((9, 2, None), (9, 9, 9), (1, 1, 1))))
    assert counts == {"lexical": {**dict.fromkeys(CAUSES, 0), "lost in fusion": 1, "ranked too low": 1}}


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        (("hybrid", "dense"), ("sparse",)),
        (("hybrid", "dense+hyde", "sparse+rewrite"), ("dense", "sparse")),
        (("hybrid", "small.toml:dense", "small.toml:sparse"), ("dense", "sparse")),
        (("small.toml:hybrid+hyde", "dense", "sparse"), ("small.toml:dense", "small.toml:sparse")),
        (("small.toml", "dense"), ("small.toml:dense", "small.toml:sparse")),
        (("dense+hyde", "sparse"), ("dense",)),
    ],
)
def test_only_the_bare_legs_tell_a_cause(names: tuple[str, ...], absent: tuple[str, ...]) -> None:
    data = report((9, *[1] * (len(names) - 1)), names=names)
    assert missing_legs(data) == absent
    [failure] = find_failures(data)
    assert failure.cause == "unknown"


def test_a_run_that_is_a_leg_itself_needs_no_other() -> None:
    data = report((9, 1), (None, 1), names=("dense", "hybrid"))
    assert missing_legs(data) == ()
    assert [failure.cause for failure in find_failures(data)] == ["ranked too low", "not proposed"]


def test_runs_under_one_settings_file_are_legs_of_each_other() -> None:
    data = report((9, 2, None), names=("a:b.toml:hybrid", "a:b.toml:dense", "a:b.toml:sparse"))
    assert find_failures(data)[0].cause == "lost in fusion"
