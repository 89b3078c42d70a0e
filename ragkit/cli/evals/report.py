"""``ragkit eval report``, and ``--html`` of the commands that measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragkit.cli.common import emit_json, note, state

if TYPE_CHECKING:
    from ragkit.evaluation.report_file import ReportData


def run(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.json...", help="Reports of `eval retrieval --out`.")],
    html: Annotated[Path, typer.Option("--html", help="The page to write.")],
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
