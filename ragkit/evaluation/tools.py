"""Let an agent do tasks that take its tools, and measure how it calls them and what comes of it.

Each task begins a conversation of its own; what is said in ``before`` is said in earlier ones of the same
user. Rows are kept as they come, see `ragkit.evaluation.row_store`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import ragkit
from ragkit.agent.answer import Answer
from ragkit.agent.runtime import Agent
from ragkit.agent.sessions import Session
from ragkit.errors import EndpointError, ModelError
from ragkit.evaluation.answer_keys import row_key, run_facts
from ragkit.evaluation.row_store import RowStore
from ragkit.evaluation.stats import bootstrap_ci95
from ragkit.evaluation.tool_calls import Schemas, calls_of, tool_schemas
from ragkit.evaluation.tool_tasks import ToolTask

METRICS: Final[dict[str, str]] = {
    "valid_calls": "share of the model's tool calls whose tool and arguments are allowed",
    "right_tools": "share of the tasks with every tool that it takes, and none that it must not use",
    "success": "share of the tasks with a right answer",
    "failed": "share of the tasks on which the model came to no answer at all",
    "steps": "tool calls a task, the first search too",
    "prompt_tokens": "tokens read a task",
    "completion_tokens": "tokens written a task",
    "seconds": "seconds a task",
}
COSTS: Final = ("steps", "prompt_tokens", "completion_tokens", "seconds")


@dataclass(frozen=True, kw_only=True)
class ToolRow:
    """One task, what the agent did, and what was wrong with it."""

    id: str
    kind: str
    language: str
    question: str
    answer: str
    abstained: bool
    stop_reason: str
    right_tools: bool
    success: bool
    faults: list[str]
    """Why it is no success; empty if it is one."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    error: str = ""
    """Why there is no answer."""


def evaluate_tools(
    tasks: Sequence[ToolTask],
    open_agent: Callable[[ToolTask], Agent],
    *,
    store: RowStore | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> list[ToolRow]:
    """Give every task to an agent of its own.

    Args:
        tasks: Each with its check.
        open_agent: Makes the agent of a task; what it remembers of a user belongs to this task only.
        store: Rows of an earlier run; those with an error are done again.
        tick: Called with (tasks done, tasks in all).

    Raises:
        EndpointError: If the chat model's endpoint fails; the rows so far are kept.
        ModelError: If the chat model cannot be loaded.
    """
    store, rows = store or RowStore(), []
    facts: dict[str, Any] = {}
    for done, task in enumerate(tasks, start=1):
        agent = open_agent(task)
        # Quotes that stand in for a model must not be counted as its answers.
        agent.quote_when_down = False
        # The same for every task, and it reads the whole corpus.
        facts = facts or run_facts(agent)
        key = row_key(facts, task.model_dump(mode="json"))
        kept = store.get(key)
        if kept is None or kept["error"]:
            row = _do(task, agent)
            store.put(key, asdict(row))
        else:
            row = ToolRow(**kept)
        rows.append(row)
        if tick is not None:
            tick(done, len(tasks))
    return rows


def _do(task: ToolTask, agent: Agent) -> ToolRow:
    facts: dict[str, Any] = {"id": task.id, "kind": task.kind, "language": task.language, "question": task.question}
    schemas = tool_schemas(agent)
    try:
        for said in task.before:
            agent.ask(said)
            agent.session = Session()
        answer = agent.ask(task.question)
    except EndpointError:
        # Every other task would meet the same dead endpoint.
        raise
    except ModelError as exc:
        return ToolRow(
            **facts, answer="", abstained=False, stop_reason="error", right_tools=False, success=False,
            faults=["no answer"], error=exc.message,
        )  # fmt: skip
    return _row(task, answer, schemas, facts)


def _row(task: ToolTask, answer: Answer, schemas: Schemas, facts: Mapping[str, Any]) -> ToolRow:
    calls = calls_of(answer, schemas)
    used = {call.tool for call in calls}
    faults = task.check.faults(answer)
    return ToolRow(
        **facts,
        answer=answer.text,
        abstained=answer.abstained,
        stop_reason=answer.stop_reason,
        right_tools=set(task.expect) <= used and not set(task.forbid) & used,
        success=not faults,
        faults=faults,
        calls=[asdict(call) for call in calls],
        steps=len(answer.steps),
        prompt_tokens=answer.usage.get("prompt_tokens", 0),
        completion_tokens=answer.usage.get("completion_tokens", 0),
        seconds=answer.seconds,
    )


def tools_json(agent: Agent, rows: Sequence[ToolRow], store: Path | None = None) -> dict[str, Any]:
    """The ``--json`` contract of ``ragkit eval tools``.

    Args:
        agent: Did the tasks.
        rows: At least one.
        store: File that keeps them.
    """
    return {
        "ragkit": ragkit.__version__,
        "tasks": len(rows),
        "agent": agent.spec.header.name,
        "model": agent.chat.name,
        "protocol": agent.chat.tool_calling,
        "embedding_model": agent.index.model.name,
        **_aggregate(rows),
        "by_kind": _grouped(rows, lambda row: row.kind),
        "by_language": _grouped(rows, lambda row: row.language),
        "rows_file": str(store) if store else None,
        "per_task": json.loads(json.dumps([asdict(row) for row in rows], default=str)),
    }


def _aggregate(rows: Sequence[ToolRow]) -> dict[str, Any]:
    """Means by name, their 95 % intervals (`ragkit.evaluation.stats.bootstrap_ci95`) and how many values each is of."""
    done = [row for row in rows if not row.error]
    values: dict[str, list[float]] = {
        "valid_calls": [float(call["valid"]) for row in rows for call in row.calls if call["by_model"]],
        "right_tools": [float(row.right_tools) for row in rows],
        "success": [float(row.success) for row in rows],
        "failed": [float(bool(row.error)) for row in rows],
        **{name: [float(getattr(row, name)) for row in done] for name in COSTS},
    }
    found = {name: numbers for name, numbers in values.items() if numbers}
    return {
        "metrics": {name: sum(numbers) / len(numbers) for name, numbers in found.items()},
        "ci95": {name: list(bootstrap_ci95(numbers)) for name, numbers in found.items() if name not in COSTS},
        "counts": {name: len(numbers) for name, numbers in found.items()},
    }


def _grouped(rows: Sequence[ToolRow], key: Callable[[ToolRow], str]) -> dict[str, Any]:
    groups: dict[str, list[ToolRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return {name: {"tasks": len(group), **_aggregate(group)} for name, group in groups.items()}
