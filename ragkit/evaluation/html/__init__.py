"""Reports of ``eval retrieval`` as one page that needs nothing but itself.

Everything a report says about notes (passages, questions, names) is foreign text: it is shown, never interpreted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ragkit.errors import ConfigError
from ragkit.evaluation.report_file import ReportData, parse_report

_NEEDED = ("matplotlib", "jinja2")


def require_libraries() -> None:
    """Say at once, before anything is measured, if a page could not be made.

    Raises:
        ConfigError: If a library of the extra ``eval`` is missing.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(
            f"The HTML report needs {' and '.join(missing)}.", 'Install what is missing: pip install "ragkit[eval]".'
        )


def write_page(path: Path, reports: Sequence[Mapping[str, Any] | ReportData]) -> None:
    """Write reports as one self-contained HTML page, in one step.

    Args:
        path: The page; its folder is made if need be, an older page is replaced.
        reports: One or more, each of one data set, as ``report_json(rows=True)`` gives it or read from a file.

    Raises:
        ConfigError: If a library of the extra ``eval`` is missing, or the file cannot be written.
        DatasetError: If a report is malformed or keeps no questions.
    """
    require_libraries()
    from ragkit.evaluation.html.page import render_page
    from ragkit.index.fsops import write_text_atomically

    checked = [item if isinstance(item, ReportData) else parse_report(item, "The report") for item in reports]
    text = render_page(checked)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, text)
    except OSError as exc:
        raise ConfigError(f"Cannot write {path}: {exc.strerror}.", "Choose another place with --html.") from exc
