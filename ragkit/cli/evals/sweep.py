"""``ragkit eval sweep``: settings tried on the dev split, the best of them reported on the test split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ragkit.cli.common import emit_json, note, path_given, progress_bar, say, state, stdout
from ragkit.cli.evals.report import check_places, write_report
from ragkit.cli.evals.run import check_no_corpus
from ragkit.text.sanitize import printable

if TYPE_CHECKING:
    from ragkit.evaluation.sweep import SweepResult, Trial

_SHOWN = 10


def run(
    file: Annotated[
        Path, typer.Argument(metavar="SWEEP.yaml", help="Data sets, and values by setting.", parser=path_given)
    ],
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Points to try; default: the file's.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the report with all trials to this file.", parser=path_given)
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows",
            metavar="FILE",
            help="Trials as they finish; a sweep broken off goes on from it.",
            parser=path_given,
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what an earlier sweep measured.")] = False,
) -> None:
    """Grid or random search over settings; broken off, it goes on where it stood. Vectors are cached."""
    from ragkit.evaluation.cached_models import CachedModels
    from ragkit.evaluation.plans import read_plan, root_of
    from ragkit.evaluation.row_store import RowStore
    from ragkit.evaluation.sweep import run_sweep
    from ragkit.evaluation.sweep_space import Sweep

    check_no_corpus()
    check_places(out=out)
    home = state.settings().ensure_home()
    plan = read_plan(file, Sweep)
    log = RowStore(rows or home / "sweeps" / f"{file.stem}.jsonl")
    models = CachedModels(home)
    result = run_sweep(
        plan, root_of(file), state.settings, models, log,
        trials=trials, fresh=fresh, told=_teller(plan.metric), bar=progress_bar,
    )  # fmt: skip
    report = {"sweep": str(file), "log": str(log.path), "texts_embedded": models.computed, **result.to_json()}
    if state.json:
        emit_json(report)
    else:
        _show(result)
        note(f"{models.computed} texts embedded; trials are kept in {log.path}")
    if out is not None:
        write_report(out, report)


def _teller(metric: str) -> Any:
    def told(done: int, total: int, trial: Trial) -> None:
        known = " (known)" if trial.known else ""
        note(f"trial {done}/{total}: {metric} {trial.means[metric]:.3f}  {_changes(trial)}{known}")

    return told


def _changes(trial: Trial) -> str:
    return ", ".join(f"{name} {value}" for name, value in trial.changes.items()) or "default"


def _show(result: SweepResult) -> None:
    metric = result.sweep.metric
    table = Table(title=f"the best of {len(result.trials)} trials on dev")
    table.add_column("")
    others = [name for name in result.default.values if name != metric]
    for name in (metric, "95 %", *others):
        table.add_column(name, justify="right")
    table.add_column("changes")
    for rank, trial in enumerate(result.trials[:_SHOWN], start=1):
        low, high = trial.to_json()["ci95"][metric]
        cells = [f"{trial.means[name]:.3f}" for name in others]
        table.add_row(
            str(rank), f"{trial.means[metric]:.3f}", f"{low:.3f}-{high:.3f}", *cells, printable(_changes(trial))
        )
    stdout.print(table)
    for name, reason in result.skipped.items():
        say(f"skipped {name}: {reason}", style="yellow")
    for label, trial in (("default", result.default), ("best of dev", result.best)):
        low, high = trial.to_json()["ci95"][metric]
        say(f"test, {label}: {metric} {trial.means[metric]:.3f} ({low:.3f} to {high:.3f})")
    found = result.comparison
    if result.best.changes:
        low, high = found.ci95
        say(f"difference on test: {found.difference:+.3f} ({low:+.3f} to {high:+.3f}), p = {found.p_value:.4f}")
    say(result.verdict, style="bold")
    if result.better:
        say("\nragkit.toml:\n")
        say(result.toml)
    elif result.best.changes:
        say("The best trial would be, as lines of a ragkit.toml:\n", style="dim")
        say(result.toml, style="dim")
