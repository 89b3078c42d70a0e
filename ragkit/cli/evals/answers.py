"""``ragkit eval answers``: ask an agent the questions of a data set and measure its answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.table import Table

from ragkit.cli.common import emit_json, note, progress_bar, say, state, stdout
from ragkit.errors import UsageError
from ragkit.text.sanitize import printable

if TYPE_CHECKING:
    from ragkit.evaluation.judge import AnswerJudge
    from ragkit.settings import Settings

_BRIEF: Final = {
    "cites_gold": "gold",
    "citation_recall": "recall",
    "rouge_l": "rouge",
    "bleu": "bleu",
    "bert_score": "bert",
    "judged": "judge",
    "abstained": "abst.",
    "seconds": "s",
}
"""Columns of the tables by group: 80 characters have room for short names only."""
_WIDE: Final = 140


def run(
    dataset: Annotated[Path, typer.Argument(help="questions.jsonl or its folder, BEIR folder, SQuAD JSON.")],
    agent: Annotated[str | None, typer.Option(help="Name or file of the agent.")] = None,
    model: Annotated[str | None, typer.Option(help="Chat model, e.g. local, openai:NAME@URL, extractive.")] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only N questions, each type in its share.")
    ] = None,
    split: Annotated[Literal["dev", "test", "all"], typer.Option(help="Part of the data set.")] = "all",
    judge: Annotated[bool, typer.Option("--judge", help="Also let a chat model grade each answer.")] = False,
    judge_model: Annotated[
        str | None, typer.Option(metavar="M", help="Chat model that grades; default: the one that answers.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rows as they finish; a run broken off goes on from it.")
    ] = None,
) -> None:
    """Citations, correctness, abstention, tool calls and cost of an agent's answers, with 95 % intervals."""
    from ragkit.agent.runtime import Agent
    from ragkit.agent.spec import load_agent
    from ragkit.api import Index
    from ragkit.evaluation.answer_report import answers_json
    from ragkit.evaluation.answers import evaluate_answers, open_metrics
    from ragkit.evaluation.datasets import load_dataset, select
    from ragkit.evaluation.retrieval import open_dataset
    from ragkit.evaluation.row_store import RowStore
    from ragkit.models.chat import resolve_chat

    settings = state.settings(chat_model=model, agent=agent)
    data = select(load_dataset(dataset, settings.notes), split, limit)
    questions = data.questions
    spec = load_agent(settings.agent)
    store = RowStore(out or settings.ensure_home() / "evals" / f"answers-{data.name}.jsonl")
    with progress_bar("Preparing the chat model (MB)", unit=1_000_000) as report:
        chat = resolve_chat(model or spec.header.model or settings.chat_model, settings, report)
        grader = _judge(judge_model or chat.name, judge_model, chat, settings) if judge or judge_model else None
        if not chat.extractive:
            chat.model()
    if settings.index is not None:
        index = Index.open(index_dir=settings.index, settings=settings)
    else:
        with progress_bar("Embedding") as report:
            index = open_dataset(data, settings, report)
    metrics = open_metrics(index)
    asked = Agent(spec, index, chat)
    with progress_bar("Questions") as tick:
        rows = evaluate_answers(questions, asked, metrics, judge=grader, store=store, tick=tick)
    facts = _agreement(settings, grader) if grader else None
    result = answers_json(data.name, asked, rows, metrics, judge=facts, store=store.path)
    note(f"rows are kept in {store.path}; delete it to ask again")
    if state.json:
        emit_json(result)
    else:
        _show(result)


def _judge(name: str, judge_model: str | None, chat: Any, settings: Settings) -> AnswerJudge:
    from ragkit.evaluation.judge import AnswerJudge
    from ragkit.models.chat import resolve_chat

    other = resolve_chat(judge_model, settings) if judge_model else chat
    structured = other.structured()
    if structured is None:
        raise UsageError(f"{name} cannot grade answers.", "Name a chat model with --judge-model, or drop --judge.")
    other.model()
    return AnswerJudge(structured, other.name)


def _agreement(settings: Settings, judge: AnswerJudge) -> dict[str, Any]:
    from ragkit.evaluation.judge import kept_agreement

    found = kept_agreement(settings.home, judge.name)
    if found is None:
        note(f"how far {judge.name} agrees with people is not known here: ragkit eval judge", style="yellow")
    elif not found["trusted"]:
        note(
            f"{judge.name} agrees poorly with the labels (kappa {found['kappa']:.2f}); its grades say little",
            style="yellow",
        )
    return {"model": judge.name, "agreement": found}


def _show(result: Mapping[str, Any]) -> None:
    from ragkit.evaluation.answer_report import METRICS

    note(f"{result['questions']} questions, {result['model']}, {result['embedding_model']}")
    table = Table(title=printable(str(result["dataset"])))
    wide = stdout.width >= _WIDE
    for column in ("metric", "mean", "95 % interval", "n", *(["what it is"] if wide else [])):
        table.add_column(column, justify="left" if column in {"metric", "what it is"} else "right")
    for name, value in result["metrics"].items():
        low_high = result["ci95"].get(name)
        interval = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else ""
        cells = [name, f"{value:.3f}", interval, str(result["counts"][name])]
        table.add_row(*cells, *([METRICS[name]] if wide else []))
    stdout.print(table)
    for key in ("by_type", "by_language"):
        groups = Table(title=key.replace("_", " "))
        names = [name for name in _BRIEF if name in result["metrics"]]
        for column in ("group", "n", *(_BRIEF[name] for name in names)):
            groups.add_column(column, justify="left" if column == "group" else "right", no_wrap=column == "group")
        for group, found in result[key].items():
            cells = [f"{found['metrics'][name]:.3f}" if name in found["metrics"] else "" for name in names]
            groups.add_row(printable(group), str(found["questions"]), *cells)
        stdout.print(groups)
    if (fidelity := result["metrics"].get("quote_fidelity", 1.0)) < 1:
        say(f"{1 - fidelity:.1%} of the quotes are not what their file says", style="red")
