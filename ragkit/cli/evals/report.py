"""``ragkit eval report``, and ``--html`` and ``--out`` of the commands that measure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ragkit.cli.common import emit_json, note, state
from ragkit.errors import ConfigError
from ragkit.index.fsops import write_json_atomically


def run(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.json...", help="Reports of `eval retrieval --out`.")],
    html: Annotated[Path, typer.Option("--html", help="The page to write.")],
) -> None:
    """One self-contained HTML page, with plots, of one or several saved reports."""
    from ragkit.evaluation.html.data import read_reports

    reports = [report for file in files for report in read_reports(file)]
    write_html(html, reports)
    if state.json:
        emit_json({"html": str(html), "datasets": [report["dataset"] for report in reports]})


def write_html(path: Path, reports: Sequence[Mapping[str, Any]]) -> None:
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
