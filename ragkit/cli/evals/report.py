"""``ragkit eval report``, and ``--html`` and ``--out`` of the commands that measure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ragkit.cli.common import emit_json, note, path_given, state
from ragkit.errors import ConfigError, RagkitError
from ragkit.index.fsops import write_json_atomically

if TYPE_CHECKING:
    from ragkit.evaluation.report_file import ReportData


def run(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE.json...", help="Reports of `eval retrieval --out`.", parser=path_given)
    ],
    html: Annotated[Path, typer.Option("--html", help="The page to write.", parser=path_given)],
) -> None:
    """One self-contained HTML page, with plots, of one or several saved reports."""
    from ragkit.evaluation.html import require_libraries
    from ragkit.evaluation.places import check_file
    from ragkit.evaluation.report_file import read_reports

    require_libraries()
    check_file(html, "Choose another place with --html.")
    reports = [report for file in files for report in read_reports(file)]
    write_html(html, reports)
    if state.json:
        emit_json({"html": str(html), "datasets": [report.dataset for report in reports]})


def write_html(path: Path, reports: Sequence[Mapping[str, Any] | ReportData]) -> None:
    """Write the page and say so."""
    from ragkit.evaluation.html import write_page

    write_page(path, reports)
    note(f"wrote {path}")


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write what ``--out`` names.

    Raises:
        ConfigError: If the place cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomically(path, json.loads(json.dumps(report)))
    except OSError as exc:
        raise ConfigError(f"Cannot write {path}: {exc.strerror}.", "Choose another place with --out.") from exc
    note(f"wrote {path}")


def check_places(*, out: Path | None = None, html: Path | None = None, trec: Path | None = None) -> None:
    """Find out before anything is measured whether its files can be written.

    Raises:
        ConfigError: If one cannot, or a library of the page is missing.
    """
    from ragkit.evaluation.html import require_libraries
    from ragkit.evaluation.places import check_file, check_folder

    if html is not None:
        require_libraries()
        check_file(html, "Choose another place with --html.")
    if out is not None:
        check_file(out, "Choose another place with --out.")
    if trec is not None:
        check_folder(trec, "Choose another folder with --trec.")


def write_all(writes: Iterable[Callable[[], object]]) -> None:
    """Write every file that can be written.

    Raises:
        RagkitError: What the first one that failed said; the others are written all the same.
    """
    failed: list[RagkitError] = []
    for write in writes:
        try:
            write()
        except RagkitError as exc:
            failed.append(exc)
    for other in failed[1:]:
        note(str(other), style="red")
    if failed:
        raise failed[0]


def write_both(
    report: Mapping[str, Any], kind: Literal["answers", "safety"], out: Path | None, html: Path | None
) -> None:
    """Write the report of ``eval answers`` or ``eval safety`` and its page, each whatever becomes of the other."""

    def page(path: Path) -> None:
        from ragkit.evaluation.html.measures import write_answers_page, write_safety_page

        (write_answers_page if kind == "answers" else write_safety_page)(path, report)
        note(f"wrote {path}")

    writes: list[Callable[[], object]] = []
    if out is not None:
        writes.append(partial(write_report, out, report))
    if html is not None:
        writes.append(partial(page, html))
    write_all(writes)
