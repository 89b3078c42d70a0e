"""``ragkit eval answers``: ask an agent the questions of a data set and measure its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.table import Table

from ragkit.cli.common import emit_json, note, path_given, progress_bar, say, state, stdout
from ragkit.cli.evals.judge import LABELS_FILE
from ragkit.cli.evals.judges import JudgeModels, agreement_facts
from ragkit.cli.evals.report import check_places, write_both
from ragkit.text.sanitize import printable

if TYPE_CHECKING:
    from ragkit.api import Index
    from ragkit.evaluation.citations import SupportJudge

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
    dataset: Annotated[
        Path, typer.Argument(help="questions.jsonl or its folder, BEIR folder, SQuAD JSON.", parser=path_given)
    ],
    agent: Annotated[str | None, typer.Option(help="Name or file of the agent.")] = None,
    model: Annotated[str | None, typer.Option(help="Chat model, e.g. local, openai:NAME@URL, extractive.")] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only N questions, each type and language in its share.")
    ] = None,
    split: Annotated[Literal["dev", "test", "all"], typer.Option(help="Part of the data set.")] = "all",
    only: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only questions of this type, e.g. unanswerable; may be repeated."),
    ] = None,
    judge: Annotated[bool, typer.Option("--judge", help="Also let a chat model grade each answer.")] = False,
    judge_model: Annotated[
        str | None, typer.Option(metavar="M", help="Chat model that grades; default: the one that answers.")
    ] = None,
    labels: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Graded answers that the judge's agreement is reported with.", parser=path_given
        ),
    ] = LABELS_FILE,
    support_judge: Annotated[
        str,
        typer.Option(
            metavar="term|MODEL",
            help="Decides whether passages support a sentence: comparison of terms, or a chat model, e.g. local.",
        ),
    ] = "term",
    rows: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Answers as they finish; a run broken off goes on from it.", parser=path_given
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write the report with every answer to this file.", parser=path_given),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", help="Write one self-contained HTML page with every answer.", parser=path_given
        ),
    ] = None,
) -> None:
    """Citations, correctness, abstention, tool calls and cost of an agent's answers, with 95 % intervals."""
    from ragkit.agent.runtime import Agent
    from ragkit.agent.spec import load_agent
    from ragkit.api import Index
    from ragkit.evaluation.answer_report import answers_json
    from ragkit.evaluation.answers import evaluate_answers, open_metrics
    from ragkit.evaluation.datasets import load_dataset, select
    from ragkit.evaluation.judge import AnswerJudge
    from ragkit.evaluation.retrieval import open_dataset
    from ragkit.evaluation.row_store import RowStore
    from ragkit.models.chat import resolve_chat

    check_places(out=out, html=html)
    settings = state.settings(chat_model=model, agent=agent)
    data = select(load_dataset(dataset, settings.notes), split, limit, only or ())
    questions = data.questions
    spec = load_agent(settings.agent, settings.agents_dir)
    store = RowStore(rows or settings.ensure_home() / "evals" / f"answers-{data.name}.jsonl")
    with progress_bar("Preparing the chat model (MB)", unit=1_000_000) as report:
        answering = model or spec.header.model or settings.chat_model
        chat = resolve_chat(answering, settings, report)
        models = JudgeModels(settings, answering, chat)
        grader = AnswerJudge(*models.open(judge_model or answering, "--judge-model")) if judge or judge_model else None
        support, support_name = _support(support_judge, models)
        if not chat.extractive:
            chat.model()
    # Before the long part: a file of labels that cannot be read must not cost it.
    facts = agreement_facts(settings, grader, labels) if grader else None
    if settings.index is not None:
        index = Index.open(index_dir=settings.index, settings=settings)
    else:
        with progress_bar("Embedding") as report:
            index = open_dataset(data, settings, report)
    metrics = open_metrics(index)
    asked = Agent(spec, index, chat)
    with progress_bar("Questions") as tick:
        measured = evaluate_answers(
            questions, asked, metrics, support_judge=support(index), judge=grader, store=store, tick=tick
        )
    result = answers_json(
        data.name, asked, measured, metrics, support_judge=support_name, judge=facts, store=store.path
    )
    note(f"answers are kept in {store.path}; delete it to ask again")
    if state.json:
        emit_json(result)
    else:
        _show(result)
    write_both(result, "answers", out, html)


def _support(name: str, models: JudgeModels) -> tuple[Callable[[Index], SupportJudge], str]:
    """The judge of support, made when the index is there, and its name."""
    from ragkit.evaluation.citations import ModelJudge, TermJudge

    if name == TermJudge.name:
        return lambda index: TermJudge(index.idf), name
    model, called = models.open(name, "--support-judge, or take term")
    return lambda index: ModelJudge(model, called), called


def _show(result: Mapping[str, Any]) -> None:
    from ragkit.evaluation.answer_report import METRICS

    judges = f"support judged by {result['support_judge']}"
    if result["judge"]:
        judges += f", answers by {result['judge']['model']}"
    note(f"{result['questions']} questions, {result['model']}, {result['embedding_model']}; {judges}")
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
