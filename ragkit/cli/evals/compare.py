"""``ragkit eval compare`` and ``ragkit eval trec``: reports and TREC files against each other."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ragkit.cli.common import emit_json, note, path_given, say, state, stdout
from ragkit.cli.evals.tables import headline_table
from ragkit.text.sanitize import one_line, printable

if TYPE_CHECKING:
    from ragkit.evaluation.compare import Difference, Moved
    from ragkit.evaluation.report_file import PassageData


_SPEC_HELP = (
    "A run of a report of `eval retrieval --out` or `eval run --out`: FILE[:DATASET][:RUN]. Without RUN the first "
    "one; DATASET is needed where the report has several. All three may hold colons."
)


_TEXT = 240
"""Characters of a question that are shown; --json gives all."""


def run(
    a: Annotated[str, typer.Argument(metavar="A", help=_SPEC_HELP)],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare with it, named in the same way.")],
    at: Annotated[
        int, typer.Option("--at", min=1, max=100, help="A question counts as answered down to this rank.")
    ] = 5,
    show: Annotated[int, typer.Option("--show", min=0, help="Questions to show with their passages.")] = 10,
) -> None:
    """What changed from A to B, question by question: fixed, broken, moved, with the passages side by side."""
    from ragkit.evaluation.compare import compare_runs, differing_settings
    from ragkit.evaluation.report_file import one_run

    before, after = one_run(a), one_run(b)
    difference = compare_runs(before[:2], after[:2], at)
    settings = differing_settings(before.settings, after.settings)
    if state.json:
        emit_json(difference.to_json() | {"settings": {name: list(values) for name, values in settings.items()}})
        return
    _show_metrics(difference)
    for name, (old, new) in settings.items():
        say(f"setting {one_line(name)}: {_value(old)} in A, {_value(new)} in B", style="yellow")
    counts = ", ".join(f"{count} {change}" for change, count in difference.counts().items())
    say(f"at rank {at}: {counts}")
    for missing, label in ((difference.only_a, difference.a), (difference.only_b, difference.b)):
        if missing:
            say(f"{len(missing)} questions are in {label} only and left out", style="yellow")
    changed = [item for item in difference.questions if item.change != "same"]
    for item in changed[:show]:
        _show_question(item)
    if len(changed) > show:
        say(f"{len(changed) - show} more; --show {len(changed)} or --json gives all", style="dim")


def trec(
    qrels: Annotated[Path, typer.Argument(help="TREC qrels file.", parser=path_given)],
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="TREC run files.", parser=path_given)],
) -> None:
    """Metrics of TREC run files, made by ragkit or by any other system."""
    from ragkit.evaluation.trec import read_qrels, read_run, trec_metrics

    judged = read_qrels(qrels)
    names = [Path(path.name.removesuffix(".gz")).stem for path in runs]
    found = {path: read_run(path) for path in runs}
    results = [(name, trec_metrics(judged, found[path])) for name, path in zip(names, runs, strict=True)]
    for name, path in zip(names, runs, strict=True):
        absent = sum(query not in found[path] for query in judged)
        if absent:
            note(f"{name}: {absent} of {len(judged)} judged queries have no ranking and count as 0", style="yellow")
    if state.json:
        emit_json({"qrels": str(qrels), "runs": [{"name": name, "metrics": metrics} for name, metrics in results]})
        return
    stdout.print(headline_table(results))


def failures(
    report: Annotated[
        Path, typer.Argument(help="Report of `eval retrieval --out` or `eval run --out`.", parser=path_given)
    ],
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Which data set, where the report has several.")
    ] = None,
    at: Annotated[int, typer.Option("--at", min=1, max=100, help="A question counts as missed below this rank.")] = 5,
    show: Annotated[int, typer.Option("--show", min=0, help="Missed questions to list.")] = 10,
) -> None:
    """Why the first run misses questions: at which stage the gold got lost, by question type."""
    from ragkit.evaluation.failures import CAUSES, causes_by_type, find_failures, missing_legs
    from ragkit.evaluation.report_file import one_report

    data = one_report(report, dataset)
    first = data.runs[0]
    missed = find_failures(data, at)
    absent = missing_legs(data)
    by_type = causes_by_type(missed)
    if state.json:
        emit_json(
            {
                "dataset": data.dataset, "run": first.name, "at": at, "missing_runs": absent, "by_type": by_type,
                "failures": [asdict(item) for item in missed],
            }
        )  # fmt: skip
        return
    if not missed:
        say(f"{data.dataset}: {first.name} misses no question at {at}.")
        return
    totals = Counter(row.type for row in first.rows)
    shown = [cause for cause in CAUSES if cause != "unknown" or absent]
    table = Table(
        "type", "questions", "missed", *shown,
        title=f"{printable(data.dataset)}: missed at {at} by {printable(first.name)}",
    )  # fmt: skip
    for kind, counts in by_type.items():
        table.add_row(
            printable(kind), str(totals[kind]), str(sum(counts.values())), *(str(counts[cause]) for cause in shown)
        )
    stdout.print(table)
    for cause in shown:
        say(f"{cause}: {CAUSES[cause]}", style="dim")
    if absent:
        added = " ".join(f"--mode {name}" for name in absent)
        say(f"The report lacks {', '.join(absent)}, so causes are unknown; measure with {added} too.", style="yellow")
    for item in missed[:show]:
        ranks = ", ".join(f"{name} {rank or '-'}" for name, rank in item.ranks.items())
        say(f"{one_line(item.id)} [{one_line(item.type)}] {one_line(item.text, _TEXT)}  ({item.cause}; {ranks})")


def _value(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), _TEXT)


def _show_metrics(difference: Difference) -> None:
    table = Table("metric", "A", "B", "B - A", "95 %", "p", "p (Holm)")
    for name, row in difference.metrics.items():
        tests = [f"{row[key]:.4f}" if key in row else "" for key in ("p_value", "p_corrected")]
        table.add_row(
            name,
            f"{row['a']:.3f}",
            f"{row['b']:.3f}",
            f"{row['difference']:+.3f}",
            f"{row['ci95'][0]:+.3f} to {row['ci95'][1]:+.3f}",
            *tests,
        )
    say(f"A: {difference.a}\nB: {difference.b}")
    stdout.print(table)


def _show_question(item: Moved) -> None:
    say()
    table = Table(
        title=f"{item.change}: {one_line(item.text, _TEXT)} ({one_line(item.id)}, {one_line(item.type)})",
        title_justify="left",
        expand=True,
    )
    table.add_column(f"A: rank {item.a.rank or '-'}", ratio=1)
    table.add_column(f"B: rank {item.b.rank or '-'}", ratio=1)
    for i in range(max(len(item.a.passages), len(item.b.passages))):
        table.add_row(_passage(item.a.passages, i), _passage(item.b.passages, i))
    stdout.print(table)


def _passage(passages: tuple[PassageData, ...], i: int) -> str:
    if i >= len(passages):
        return ""
    found = passages[i]
    return printable(f"{found.document}:{found.start_line} {one_line(found.text, 90)}")
