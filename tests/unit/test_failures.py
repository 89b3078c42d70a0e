"""The cause of a miss is the stage at which the gold got lost."""

from __future__ import annotations

from typing import Any

import pytest

from ragkit.errors import DatasetError
from ragkit.evaluation.failures import CAUSES, causes_by_type, find_failures


def report(*ranks: tuple[int | None, int | None, int | None], shown: str = "other.md") -> dict[str, Any]:
    names = ("hybrid", "dense", "sparse")
    return {
        "runs": [
            {
                "name": name,
                "rows": [
                    {
                        "id": f"q{i}", "text": "?", "type": "lexical", "language": "zh", "ranks": [row[at]],
                        "need_all": True, "gold": ["gold.md"], "passages": [{"document": shown}],
                    }
                    for i, row in enumerate(ranks)
                ],
            }
            for at, name in enumerate(names)
        ]
    }  # fmt: skip


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
    assert failure.ranks == dict(zip(("hybrid", "dense", "sparse"), ranks, strict=True))


def test_what_stands_at_the_cut_is_no_failure() -> None:
    assert [f.id for f in find_failures(report((5, 9, 9), (6, 9, 9)))] == ["q1"]


def test_a_multi_hop_question_is_missed_while_one_need_is_open() -> None:
    data = report((1, 1, 1))
    for run in data["runs"]:
        run["rows"][0]["ranks"] = [1, None]
    [failure] = find_failures(data)
    assert failure.ranks["hybrid"] is None


def test_causes_are_counted_by_type() -> None:
    counts = causes_by_type(find_failures(report((9, 2, None), (9, 9, 9), (1, 1, 1))))
    assert counts == {"lexical": {**dict.fromkeys(CAUSES, 0), "lost in fusion": 1, "ranked too low": 1}}


def test_a_report_without_questions_is_refused() -> None:
    with pytest.raises(DatasetError, match="--out"):
        find_failures({"runs": [{"name": "hybrid"}]})
