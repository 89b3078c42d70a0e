"""``ragkit eval tools``: calls, right tools and success, with a scripted model; a run that was broken off goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ragkit import Agent, Index, load_settings
from ragkit.evaluation.row_store import RowStore
from ragkit.evaluation.tool_tasks import ToolTask
from ragkit.evaluation.tools import evaluate_tools, tools_json
from ragkit.testing import HashingEmbedder, ScriptedChatModel


def act(tool: str, **arguments: object) -> str:
    return json.dumps({"thought": "", "action": {"tool": tool, "arguments": arguments}})


GIVE_UP = json.dumps({"thought": "", "action": {"tool": "give_up", "reason": "-"}})
TASKS = [
    ToolTask.model_validate(row)
    for row in (
        {"id": "sum", "kind": "arithmetic", "language": "en", "question": "What is 6 * 7?", "expect": ["calculate"],
         "calls": 1, "check": {"numbers": [42]}},
        {"id": "trap", "kind": "trap", "language": "en", "question": "What is 5 * 5?", "forbid": ["calculate"],
         "calls": 0, "check": {"numbers": [26]}},
    )
]  # fmt: skip


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", {"a.md": "# Memory\n\nWeights take 14 GB.\n"})
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def test_calls_tools_and_success_are_counted(index: Index, tmp_path: Path) -> None:
    scripts = {
        "sum": [act("calculate", expression="6 * 7"), GIVE_UP],
        "trap": [act("calculate", expression="5 * 5"), GIVE_UP],
    }
    asked: list[str] = []

    def agent(task: ToolTask) -> Agent:
        asked.append(task.id)
        model = ScriptedChatModel(replies=list(scripts[task.id]))
        return Agent.load("interview", index=index, model=model, settings=load_settings(tool_calling="json"))

    rows = evaluate_tools(TASKS, agent, store=RowStore(tmp_path / "rows.jsonl"))
    assert [(row.right_tools, row.success) for row in rows] == [(True, True), (False, False)]
    assert [call["tool"] for call in rows[0].calls] == ["calculate"]  # nothing to look for in the notes
    assert [call["by_model"] for call in rows[0].calls] == [True]
    assert rows[1].faults == ["26 is missing"]
    report = tools_json(agent(TASKS[0]), rows, tmp_path / "rows.jsonl")
    assert report["metrics"]["success"] == 0.5 and report["metrics"]["valid_calls"] == 1
    assert report["counts"]["valid_calls"] == 2 and report["by_kind"]["trap"]["metrics"]["right_tools"] == 0
    scripts |= {"sum": [], "trap": []}  # whoever asks the model again fails
    again = evaluate_tools(TASKS, agent, store=RowStore(tmp_path / "rows.jsonl"))
    assert again == rows
