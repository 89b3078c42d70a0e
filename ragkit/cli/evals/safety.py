"""``ragkit eval safety``: how much harm the filter detects, and how often it cries wolf."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ragkit.cli.common import emit_json, note, path_given, progress_bar, say, state, stdout
from ragkit.cli.evals.report import check_places, write_both
from ragkit.text.sanitize import one_line, printable

if TYPE_CHECKING:
    from ragkit.evaluation.safety import SafetyRun

_RATES = ("detection", "false_alarms", "precision")


def run(
    dataset: Annotated[
        Path, typer.Argument(help="Labelled texts: questions.jsonl, or the folder that holds it.", parser=path_given)
    ] = Path("evals/safety"),
    errors: Annotated[
        bool, typer.Option("--errors", help="Also list what was missed and what was a false alarm.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write the report with every text to this file.", parser=path_given),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", help="Write one self-contained HTML page with every error.", parser=path_given
        ),
    ] = None,
) -> None:
    """Detection and false alarms of the safety filter, with 95 % intervals."""
    from ragkit.evaluation.safety import evaluate_safety, filters, safety_report
    from ragkit.models.embeddings import resolve_embedding
    from ragkit.safety.examples import load_examples

    check_places(out=out, html=html)
    settings = state.settings()
    dataset = dataset.expanduser()
    examples = load_examples(dataset)
    model = resolve_embedding(
        settings.embedding_model, settings.ensure_home(), api_key=settings.api_key, base_url=settings.base_url
    )
    with progress_bar("Texts") as tick:
        runs = evaluate_safety(examples, filters(settings, model), tick=tick)
    name = (dataset if dataset.is_dir() else dataset.parent).resolve().name
    report = safety_report(name, examples, model.name, runs)
    if state.json:
        emit_json(report)
    else:
        _show(report, runs, errors)
    write_both(report, "safety", out, html)


def _show(report: dict[str, Any], runs: Sequence[SafetyRun], errors: bool) -> None:
    note(f"{report['harmful']} harmful and {report['harmless']} harmless texts, {report['embedding_model']}")
    table = Table(title=printable(str(report["dataset"])))
    table.add_column("run")
    for column in ("detection", "false alarms", "precision", "ms/text"):
        table.add_column(column, justify="right")
    for item in report["runs"]:
        table.add_row(item["name"], *(_cell(item[rate]) for rate in _RATES), f"{item['seconds_per_text'] * 1000:.1f}")
    stdout.print(table)
    for key in ("language", "subset", "category"):
        _groups(key, report["runs"])
    if errors:
        for done in runs:
            for row in (row for row in done.rows if not row.correct):
                kind = "missed" if row.example.harmful else "false alarm"
                say(f"{done.name}: {kind} {row.example.id} {one_line(row.example.text, 100)}  [{row.verdict.reason}]")


def _groups(key: str, runs: list[dict[str, Any]]) -> None:
    table = Table(title=f"by {key}")
    for column in ("run", key, "texts", "detection", "false alarms"):
        table.add_column(column, justify="left" if column in {"run", key} else "right")
    for item in runs:
        for group, values in item[f"by_{key}"].items():
            cells = [_cell(values[rate]) for rate in ("detection", "false_alarms")]
            table.add_row(item["name"], printable(group), str(values["texts"]), *cells)
    stdout.print(table)


def _cell(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return "-"
    low, high = rate["ci95"]
    return f"{rate['value']:.3f} ({low:.3f}-{high:.3f})"
