"""The tasks for tools: a file that is checked, and answers that are held against it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ragkit.agent.answer import Answer
from ragkit.agent.spec import load_agent
from ragkit.errors import DatasetError
from ragkit.evaluation.tool_tasks import Check, load_tasks

SHIPPED = Path(__file__).resolve().parents[2] / "evals" / "tool-use"


def said(text: str, **facts: Any) -> Answer:
    given: dict[str, Any] = {
        "citations": (), "abstained": False, "steps": (), "stop_reason": "answered", "question": "?", "standalone": "?",
        "model": "m", "embedding_model": "e", "usage": {}, "seconds": 0.0,
    }  # fmt: skip
    return Answer(text=text, **{**given, **facts})


def test_the_unseen_tasks_are_others() -> None:
    tasks = load_tasks(SHIPPED / "unseen.jsonl")
    assert len(tasks) == 32
    assert not {task.question for task in tasks} & {task.question for task in load_tasks(SHIPPED)}
    notes = SHIPPED.parents[1] / "corpora" / "llm-interview"
    assert all((notes / name).is_file() for task in tasks for name in task.check.cites)


def test_the_shipped_tasks_cover_what_they_are_for() -> None:
    tasks = load_tasks(SHIPPED)
    assert len(tasks) >= 60
    assert {task.calls for task in tasks} == {0, 1, 2, 3} and {task.language for task in tasks} == {"zh", "en"}
    assert min(Counter(task.kind for task in tasks).values()) >= 4
    known = set(load_agent(SHIPPED / "agent.md").header.tools)
    assert {tool for task in tasks for tool in (*task.expect, *task.forbid)} <= known
    notes = SHIPPED.parents[1] / "corpora" / "llm-interview"
    assert all((notes / name).is_file() for task in tasks for name in task.check.cites)


@pytest.mark.parametrize(
    ("check", "text", "right"),
    [
        (Check(numbers=(1128,)), "等于 1,128。", True),
        (Check(numbers=(1128,)), "等于 1129 左右，不是 112.8。", True),  # within half a per cent
        (Check(numbers=(1128,)), "等于 11280。", False),
        (Check(numbers=(112,)), "5 * 112 = 560", False),  # what was computed with is no result
        (Check(numbers=(32768, 19683)), "- 2**15 = 32768\n- 3**9 = 19683", True),
        (Check(numbers=(560, 5)), "5 * 112 = 560，一共 5 个。", True),
        (Check(numbers=(3,)), "It says so [3].", False),  # a marker is no number of the answer
        (Check(any_number=(46.7, 467)), "467 亿", True),
        (Check(all=("倒数|reciprocal",)), "The Reciprocal rank", True),
        (Check(cites=("a.md",)), "yes", False),
        (Check(abstains=True), "yes", False),
    ],
)
def test_an_answer_is_held_against_its_check(check: Check, text: str, right: bool) -> None:
    assert (not check.faults(said(text))) is right


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"id": "a"}', "kind"),
        ('{"id":"a","kind":"read","language":"zh","question":"?","calls":1,"check":{}}', "nothing is checked"),
        ('{"id":"a","kind":"read","language":"zh","question":"?","calls":9,"check":{"abstains":true}}', "calls"),
        (
            '{"id":"a","kind":"read","language":"zh","question":"?","calls":1,"typo":1,"check":{"abstains":true}}',
            "typo",
        ),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=rf"tasks\.jsonl:1: .*{told}"):
        load_tasks(file)
