"""``ragkit eval run``: a suite, which exits with 1 if one of its checks fails."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragkit.cli.common import emit_json, note, path_given, progress_bar, say, state, stderr, stdout
from ragkit.cli.evals.report import check_places, write_all, write_report
from ragkit.cli.evals.retrieval import say_left_out, without_rows
from ragkit.cli.evals.tables import headline_table
from ragkit.errors import UsageError
from ragkit.text.sanitize import one_line, printable

if TYPE_CHECKING:
    from ragkit.evaluation.suite import SuiteResult


def run(
    suite: Annotated[Path, typer.Argument(help="Suite file, such as evals/suites/ci.yaml.", parser=path_given)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the full report to this file.", parser=path_given)
    ] = None,
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Write the suite's baseline instead of comparing with it.")
    ] = False,
) -> None:
    """Measure a suite and check its thresholds, its not_worse rules and its baseline; exit code 1 if one fails."""
    from ragkit.evaluation.plans import read_plan, root_of
    from ragkit.evaluation.suite import Suite, run_suite

    check_no_corpus()
    check_places(out=out)
    plan = read_plan(suite, Suite)
    result = run_suite(plan, root_of(suite), state.settings(), update_baseline=update_baseline, bar=progress_bar)
    report = result.to_json()
    if state.json:
        emit_json({**report, "datasets": [without_rows(item) for item in report["datasets"]]})
    else:
        _show(result)
    for check in result.failed:
        # Whatever -q or --json silence, what failed is said, one line each.
        stderr.print(printable(f"failed: {one_line(check.line, 300)}"), style="red")
    writes: list[Callable[[], object]] = [partial(_keep_baseline, result)]
    if out is not None:
        writes.append(partial(write_report, out, report))
    write_all(writes)
    result.raise_if_failed()


def _keep_baseline(result: SuiteResult) -> None:
    path = result.keep_baseline()
    if path is not None:
        note(f"wrote {path}")


def check_no_corpus() -> None:
    """Refuse global options that would be ignored.

    Raises:
        UsageError: If ``--index`` or ``--notes`` is given.
    """
    if state.index is not None or state.notes is not None:
        raise UsageError("--index and --notes have no meaning here.", "The file names its data sets and their notes.")


def _show(result: SuiteResult) -> None:
    for item in result.measured:
        title = f"{item.dataset.name}: {len(item.runs[0].rows)} questions"
        stdout.print(headline_table([(measured.name, measured.metrics) for measured in item.runs], title=title))
        for measured in item.runs:
            say_left_out(measured.name, measured.left_out)
    for name, reason in result.skipped.items():
        say(f"skipped {name}: {reason}", style="yellow")
    for text in result.notes:
        note(text)
    for check in result.checks:
        if check.passed:
            say(f"passed: {check.line}", style="dim")
    say(f"{len(result.checks) - len(result.failed)} of {len(result.checks)} checks passed")
