"""The table of runs and their headline metrics that several commands show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.table import Table

from ragkit.text.sanitize import printable

_TIGHT = 14
"""From this length of a name on, the table of all metrics is wider than 80 columns with blanks around each cell."""


def headline_table(
    runs: Iterable[tuple[str, Mapping[str, float]]],
    *,
    title: str = "",
    more: Mapping[str, Iterable[str]] | None = None,
) -> Table:
    """One line a run; a long name is folded, a metric's name never cut.

    Args:
        runs: Name and metrics of each.
        title: Above the table.
        more: Cells of further columns by their heading, in the order of `runs`.
    """
    from ragkit.evaluation.metrics import HEADLINE

    rows = [(printable(name), metrics) for name, metrics in runs]
    tight = max((len(name) for name, _ in rows), default=0) >= _TIGHT
    table = Table(title=printable(title) if title else None, padding=(0, 0 if tight else 1))
    table.add_column("run", overflow="fold")
    for name in (*HEADLINE, *(more or {})):
        heading = name.replace("precision@", "prec@")
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    further = list(zip(*(more or {}).values(), strict=True)) or [()] * len(rows)
    for (name, metrics), cells in zip(rows, further, strict=True):
        table.add_row(name, *(f"{metrics[metric]:.3f}" for metric in HEADLINE), *cells)
    return table
