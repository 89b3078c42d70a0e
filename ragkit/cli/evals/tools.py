"""``ragkit eval tools``: let an agent do tasks that take its tools."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.table import Table

from ragkit.cli.common import emit_json, note, open_index, path_given, progress_bar, say, state, stdout
from ragkit.cli.evals.report import check_places, write_report
from ragkit.text.sanitize import one_line, printable

if TYPE_CHECKING:
    from ragkit.agent.approval import Approval
    from ragkit.evaluation.tool_tasks import ToolTask

TASKS: Final = Path("evals/tool-use")
_FEW: Final = 10


def run(
    tasks: Annotated[Path, typer.Argument(help="tasks.jsonl or its folder.", parser=path_given)] = TASKS,
    agent: Annotated[
        str | None, typer.Option(help="Name or file of the agent; default: agent.md beside the tasks.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Chat model, e.g. local, openai:NAME@URL.")] = None,
    protocol: Annotated[
        Literal["json", "native", "auto"], typer.Option(help="How tools are called: by JSON replies or natively.")
    ] = "auto",
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only N tasks, each kind in its share.")] = None,
    rows: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Tasks as they finish; a run broken off goes on from it.", parser=path_given),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write the report with every task to this file.", parser=path_given),
    ] = None,
) -> None:
    """Valid calls, right tools, task success, steps, tokens and seconds of an agent with its tools."""
    from ragkit.agent.runtime import Agent
    from ragkit.agent.spec import load_agent
    from ragkit.evaluation.row_store import RowStore
    from ragkit.evaluation.tool_tasks import load_tasks
    from ragkit.evaluation.tools import evaluate_tools, tools_json
    from ragkit.memory.long_term import Memory
    from ragkit.models.chat import resolve_chat

    check_places(out=out)
    found = load_tasks(tasks)
    beside = (tasks if tasks.is_dir() else tasks.parent) / "agent.md"
    named = agent or (str(beside) if beside.is_file() else None)
    forced: dict[str, Any] = {} if protocol == "auto" else {"tool_calling": protocol}
    settings = state.settings(chat_model=model, agent=named, **forced)
    spec = load_agent(settings.agent, settings.agents_dir)
    store = RowStore(rows or settings.ensure_home() / "evals" / "tools.jsonl")
    chosen = evenly(found, limit)
    with progress_bar("Preparing the chat model (MB)", unit=1_000_000) as report:
        chat = resolve_chat(model or spec.header.model or settings.chat_model, settings, report)
        if not chat.extractive:
            chat.model()
    index = open_index(settings)

    with tempfile.TemporaryDirectory(prefix="ragkit-tools-") as folder, progress_bar("Tasks") as tick:

        def open_agent(task: ToolTask) -> Agent:
            # A user of its own for each task: what is remembered is the task's, never of whoever measures.
            place = Path(folder) / hashlib.sha256(task.id.encode()).hexdigest()[:16]
            memory = Memory(place, embedding=index.model, settings=settings)
            return Agent(spec, index, chat, settings=settings, memory=memory, approve=_only_remember)

        done = evaluate_tools(chosen, open_agent, store=store, tick=tick)
        result = tools_json(open_agent(chosen[0]), done, store.path)
    note(f"rows are kept in {store.path}; delete it to do the tasks again")
    if state.json:
        emit_json(result)
    else:
        _show(result)
    if out is not None:
        write_report(out, result)


def _only_remember(asked: Approval) -> bool:
    """A yes to what stays within the task's own memory."""
    return asked.tool == "remember"


def evenly(tasks: list[ToolTask], limit: int | None) -> list[ToolTask]:
    """At most `limit` tasks in their order, one kind after the other in turn."""
    if limit is None or limit >= len(tasks):
        return tasks
    turn: dict[str, int] = {}
    ranked = []
    for at, task in enumerate(tasks):
        turn[task.kind] = turn.get(task.kind, 0) + 1
        ranked.append((turn[task.kind], at))
    return [tasks[at] for at in sorted(at for _, at in sorted(ranked)[:limit])]


def _show(result: Mapping[str, Any]) -> None:
    from ragkit.evaluation.tools import METRICS

    note(f"{result['tasks']} tasks, {result['model']} with {result['protocol']} tool calls")
    table = Table(title="Tool use")
    for column in ("metric", "mean", "95 % interval", "n", "what it is"):
        table.add_column(column, justify="left" if column in {"metric", "what it is"} else "right")
    for name, value in result["metrics"].items():
        low_high = result["ci95"].get(name)
        interval = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else ""
        table.add_row(name, f"{value:.3f}", interval, str(result["counts"][name]), METRICS[name])
    stdout.print(table)
    groups = Table(title="by kind")
    names = ("valid_calls", "right_tools", "success", "steps", "seconds")
    for column in ("kind", "n", *names):
        groups.add_column(column, justify="left" if column == "kind" else "right")
    for kind, found in result["by_kind"].items():
        cells = [f"{found['metrics'][name]:.2f}" if name in found["metrics"] else "" for name in names]
        groups.add_row(printable(kind), str(found["tasks"]), *cells)
    stdout.print(groups)
    wrong = [row for row in result["per_task"] if not row["success"]]
    for row in wrong[:_FEW]:
        say(f"{row['id']}: {one_line('; '.join(row['faults']), 160)}", style="yellow")
    if len(wrong) > _FEW:
        note(f"… and {len(wrong) - _FEW} more; --out has all")
