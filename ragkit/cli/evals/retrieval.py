"""``ragkit eval retrieval``: hit rates of retrieval modes on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ragkit.cli.common import emit_json, note, progress_bar, say, state, stdout
from ragkit.text.sanitize import printable


def run(
    dataset: Annotated[Path, typer.Argument(help="BEIR folder, SQuAD JSON, or questions.jsonl.")],
    mode: Annotated[
        list[str] | None, typer.Option("--mode", help="hybrid, dense, sparse, with +rewrite, +hyde; repeatable.")
    ] = None,
    compare: Annotated[
        list[str] | None, typer.Option("--compare", help="Another run to compare with the first; repeatable.")
    ] = None,
    by_type: Annotated[bool, typer.Option("--by-type", help="Also a table by question type and language.")] = False,
) -> None:
    """Hit rate, MRR and nDCG of each retrieval mode, with 95 % intervals."""
    from ragkit.evaluation.datasets import load_dataset
    from ragkit.evaluation.metrics import METRICS
    from ragkit.evaluation.retrieval import evaluate, open_dataset, report_json

    settings = state.settings()
    data = load_dataset(dataset, settings.notes)
    modes = list(dict.fromkeys([*(mode or ([] if compare else ["hybrid", "dense", "sparse"])), *(compare or [])]))
    if settings.index is not None:
        from ragkit.api import Index

        index = Index.open(index_dir=settings.index, settings=settings)
    else:
        with progress_bar("Embedding") as report:
            index = open_dataset(data, settings, report)
    with progress_bar("Questions") as tick:
        runs = evaluate(data, index, modes, tick=tick)
    result = report_json(data, index, runs)
    if state.json:
        emit_json(result)
        return
    note(f"{result['questions']} questions, {len(index)} chunks, {result['embedding_model']}")
    table = Table(title=printable(data.name))
    table.add_column("run")
    for name in METRICS:
        table.add_column(name, justify="right")
    table.add_column("ms/query", justify="right")
    for run in result["runs"]:
        cells = [f"{run['metrics'][name]:.3f}" for name in METRICS]
        table.add_row(run["name"], *cells, f"{run['seconds_per_query'] * 1000:.0f}")
    stdout.print(table)
    for run in result["runs"]:
        low, high = run["ci95"]["mrr@10"]
        say(f"{run['name']}: mrr@10 {run['metrics']['mrr@10']:.3f}, 95 % interval {low:.3f} to {high:.3f}", style="dim")
    for item in result["comparisons"]:
        say(f"{item['b']} against {item['a']}: {item['metric']} {item['difference']:+.3f} (p = {item['p_value']:.4f})")
    if by_type:
        _groups(result["runs"])


def _groups(runs: list[dict[str, object]]) -> None:
    for key in ("by_type", "by_language"):
        table = Table(title=key.replace("_", " "))
        for column in ("run", "group", "questions", "hit@1", "hit@5", "mrr@10"):
            table.add_column(column, justify="left" if column in {"run", "group"} else "right")
        for run in runs:
            groups = run[key]
            assert isinstance(groups, dict)
            for name, values in groups.items():
                cells = [f"{values[metric]:.3f}" for metric in ("hit@1", "hit@5", "mrr@10")]
                table.add_row(str(run["name"]), printable(name), str(values["questions"]), *cells)
        stdout.print(table)
