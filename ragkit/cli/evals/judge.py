"""``ragkit eval judge``: how far a chat model that grades answers agrees with a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from ragkit.cli.common import emit_json, note, path_given, progress_bar, say, state, stdout
from ragkit.cli.evals.report import check_places, write_report
from ragkit.errors import UsageError
from ragkit.text.sanitize import one_line

LABELS_FILE: Final = Path("evals/judge/labels.jsonl")
"""Graded answers of the repository."""


def run(
    labels: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Graded answers: id, language, question, reference, answer, label.", parser=path_given
        ),
    ] = LABELS_FILE,
    model: Annotated[str | None, typer.Option(help="Chat model that grades, e.g. local, openai:NAME@URL.")] = None,
    rows: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Grades as they come; a run broken off goes on from it.", parser=path_given),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Write the report to this file.", parser=path_given)
    ] = None,
) -> None:
    """Accuracy and Cohen's kappa of a judge against graded answers."""
    from ragkit.evaluation.judge import LABELS, AnswerJudge, agreement, keep_agreement, load_labels
    from ragkit.evaluation.row_store import RowStore
    from ragkit.models.chat import resolve_chat

    check_places(out=out)
    settings = state.settings(chat_model=model)
    graded = load_labels(labels)
    store = RowStore(rows or settings.ensure_home() / "evals" / "judge-grades.jsonl")
    with progress_bar("Preparing the chat model (MB)", unit=1_000_000) as report:
        chat = resolve_chat(settings.chat_model, settings, report)
        structured = chat.structured()
        if structured is None:
            raise UsageError(f"{chat.name} cannot grade answers.", "Name a chat model with --model.")
        chat.model()
    with progress_bar("Answers") as tick:
        found = agreement(AnswerJudge(structured, chat.name), graded, tick, store)
    keep_agreement(settings.ensure_home(), found)
    if out is not None:
        write_report(out, found.to_json())
    if state.json:
        emit_json(found.to_json())
        return
    note(f"{found.count} graded answers, {found.judge}")
    say(f"accuracy {found.accuracy:.3f}, kappa {found.kappa:.3f}, weighted kappa {found.kappa_linear:.3f}")
    table = Table(title="person's label by judge's label")
    table.add_column("")
    for label in LABELS:
        table.add_column(label, justify="right")
    for label in LABELS:
        table.add_row(label, *(str(found.confusion[label][given]) for given in LABELS))
    stdout.print(table)
    for language, accuracy in found.by_language.items():
        say(f"{language}: accuracy {accuracy:.3f}")
    for item in found.disagreements:
        say(f"{item['id']}: {item['label']}, judged {item['judge']}: {one_line(item['reason'], 100)}", style="dim")
    if not found.trusted:
        say("Below substantial agreement (kappa 0.6): read its grades with care.", style="yellow")
