"""The figures of a report, each drawn 360 units wide so that its text is readable on a phone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib
from cycler import cycler
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from rich.text import Text

from ragkit.evaluation.html.svg import FAINT, GRID, INK, RUN_COLOURS, run_colour, to_svg
from ragkit.evaluation.report_file import ReportData, RunData
from ragkit.text.sanitize import one_line

DEPTHS: Final = (1, 2, 3, 5, 10, 20, 50, 100)
"""Where the curve has ticks; it is drawn for every rank between."""
_WIDTH: Final = 5.0  # inches of 72 units
_NAME_WIDTH: Final = 30  # columns
_DASHES: Final = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)))
_MARKERS: Final = "osD^vPX*"
_STYLE: Final = {
    "svg.fonttype": "none", "svg.hashsalt": "ragkit", "text.parse_math": False, "font.size": 11,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": FAINT, "xtick.color": FAINT, "ytick.color": FAINT,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.spines.top": False, "axes.spines.right": False,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "axes.prop_cycle": cycler(color=[INK]), "axes.grid": True,
    "grid.color": GRID, "grid.linewidth": 0.8, "axes.axisbelow": True,
}  # fmt: skip


def plots(report: ReportData, prefix: str) -> list[Markup]:
    """The figures of one data set: hit@k curves, bars of hit@5 and mrr@10, quality against latency.

    Args:
        report: A checked report.
        prefix: Start of every id in the figures, unique on the page.
    """
    return [
        _hit_curve(report.runs, f"{prefix}-curve"),
        _bars(report.runs, "hit@5", f"{prefix}-hit"),
        _bars(report.runs, "mrr@10", f"{prefix}-mrr"),
        _latency(report.runs, f"{prefix}-latency"),
    ]


def short_name(name: str) -> str:
    """The end of a run's name, which tells runs apart, in at most 30 terminal columns."""
    flat = one_line(name, 1000)
    backwards = Text(flat[::-1])
    backwards.truncate(_NAME_WIDTH, overflow="ellipsis")
    tail = backwards.plain[::-1]
    if tail != flat:  # half of a wide character becomes a space
        tail = "…" + tail[1:].lstrip()
    # Two code points that no XML may hold, and that no note needs.
    return tail.translate({0xFFFE: "\ufffd", 0xFFFF: "\ufffd"})


def hit_at(run: RunData, depth: int) -> float:
    """Share of the questions that are answered down to rank `depth`."""
    return sum(row.answered is not None and row.answered <= depth for row in run.rows) / len(run.rows)


@contextmanager
def framed(height: float, bottom: float, *, left: float = 0.13) -> Iterator[tuple[Figure, Axes]]:
    """A figure of this height (inches) whose axes end `bottom` inches above its lower edge."""
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(_WIDTH, height), dpi=72)
        yield figure, figure.add_axes((left, bottom / height, 0.97 - left, 1 - (bottom + 0.12) / height))


def _hit_curve(runs: Sequence[RunData], prefix: str) -> Markup:
    depths = range(1, DEPTHS[-1] + 1)
    marked = [DEPTHS.index(depth) for depth in (1, 3, 5, 10)]
    with framed(*_with_legend(runs)) as (figure, axes):
        for number, run in enumerate(runs):
            axes.plot(depths, [hit_at(run, depth) for depth in depths], **_line(number), linewidth=2)
            axes.plot(
                [DEPTHS[i] for i in marked],
                [hit_at(run, DEPTHS[i]) for i in marked],
                linestyle="none",
                **_marker(number),
                markersize=5,
                clip_on=False,
                zorder=3,
            )
        axes.set_xscale("log")
        axes.set_xlim(1, DEPTHS[-1])
        axes.set_ylim(0, 1)
        _ticks(axes, DEPTHS, str)
        axes.set_xlabel("passages looked at (k)")
        _legend(figure, [(number, run.name, "") for number, run in enumerate(runs)], lines=True)
        said = "; ".join(
            f"{short_name(run.name)} " + ", ".join(f"{hit_at(run, depth):.3f} at {depth}" for depth in (1, 5, 10, 100))
            for run in runs
        )
        return to_svg(figure, prefix, "Hit rate by number of passages looked at", f"{said}.")


def _bars(runs: Sequence[RunData], metric: str, prefix: str) -> Markup:
    with framed(0.75 + 0.55 * len(runs), 0.5, left=0.03) as (figure, axes):
        said = []
        for number, run in enumerate(runs):
            value, (low, high) = run.metrics[metric], run.ci95[metric]
            # Rounding may put a bound a hair on the wrong side of its mean.
            spread = [[max(0.0, value - low)], [max(0.0, high - value)]]
            axes.barh(number, value, height=0.36, color=run_colour(number), alpha=0.75)
            axes.errorbar(value, number, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.4, capsize=4)
            if number:
                # The first run, beside every other bar; it must not run through the figures above them.
                axes.plot(
                    [runs[0].metrics[metric]] * 2, [number - 0.24, number + 0.24], color=INK, linestyle=(0, (2, 1))
                )
            axes.text(0.005, number - 0.28, short_name(run.name), va="bottom")
            text = f"{value:.3f} ({low:.3f} to {high:.3f})"
            axes.text(0.995, number - 0.28, text, va="bottom", ha="right")
            said.append(f"{short_name(run.name)} {text}")
        axes.set_xlim(0, 1)
        axes.set_ylim(len(runs) - 0.65, -0.85)
        axes.yaxis.set_major_locator(NullLocator())
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(metric)
        return to_svg(figure, prefix, f"{metric} of every run with 95 % intervals", f"{'; '.join(said)}.")


def _latency(runs: Sequence[RunData], prefix: str) -> Markup:
    with framed(*_with_legend(runs)) as (figure, axes):
        entries = []
        for number, run in enumerate(runs):
            value, (low, high) = run.metrics["hit@5"], run.ci95["hit@5"]
            middle, slow = _milliseconds(run.seconds_p50), _milliseconds(run.seconds_p95)
            axes.errorbar(
                middle,
                value,
                xerr=[[0.0], [max(0.0, slow - middle)]],
                yerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
                **_marker(number),
                markersize=8,
                clip_on=False,  # half of a marker at 1.0 would be cut off
                zorder=3,
                elinewidth=1.2,
                capsize=3,
            )
            entries.append((number, run.name, f": {value:.3f}, {time_text(run.seconds_p50)}"))
        axes.set_xscale("log")
        low = min(_milliseconds(run.seconds_p50) for run in runs) / 1.5
        high = max(low * 6, 1.3 * max(_milliseconds(max(run.seconds_p50, run.seconds_p95)) for run in runs))
        _ticks(axes, _log_ticks(low, high), lambda ms: time_text(ms / 1000))
        axes.set_xlim(low, high)
        axes.set_ylim(max(0.0, min(r.ci95["hit@5"][0] for r in runs) - 0.05), 1)
        axes.set_xlabel("median time for a question; whisker: 95th percentile")
        _legend(figure, entries, lines=False)
        said = "; ".join(f"{short_name(name)}{tail} median" for _, name, tail in entries)
        return to_svg(figure, prefix, "hit@5 against time for a question", f"{said}.")


def time_text(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1000:.3g} ms"


def _log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`: as many steps to a decade as leave room for their labels."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    # A label is centred on its tick: at the very end of the axis half of it would be cut off.
    last = high / (high / low) ** 0.05
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= last]
        if len(ticks) <= most:
            break
    return ticks


def _milliseconds(seconds: float) -> float:
    # A logarithmic axis has no zero; no clock measures less than a microsecond.
    return max(seconds, 1e-6) * 1000


def _with_legend(runs: Sequence[RunData]) -> tuple[float, float]:
    """Height of a figure and of what is below its axes, in inches."""
    below = 0.62 + 0.24 * len(runs)
    return 2.9 + below, below


def _line(number: int) -> dict[str, Any]:
    return {"color": run_colour(number), "linestyle": _DASHES[number % len(_DASHES)]}


def _marker(number: int) -> dict[str, Any]:
    # Past the last colour the markers move on, so that no two of the first 64 runs look the same.
    marker = _MARKERS[(number + number // RUN_COLOURS) % len(_MARKERS)]
    return {"color": run_colour(number), "marker": marker}


def _ticks(axes: Axes, places: Sequence[float], label: Callable[[float], str]) -> None:
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))


def _legend(figure: Figure, entries: Sequence[tuple[int, str, str]], *, lines: bool) -> None:
    """One line below the axes for each (run number, name, what else to say)."""
    height = figure.get_figheight()
    for place, (number, name, tail) in enumerate(reversed(entries)):
        y = (0.14 + 0.24 * place) / height
        style = _line(number) if lines else {"color": run_colour(number), "linestyle": "none"}
        figure.add_artist(
            Line2D(
                [0.03, 0.075, 0.12], [y] * 3, **{**_marker(number), **style}, markevery=[1], markersize=6, linewidth=2
            )
        )
        figure.text(0.15, y, short_name(name) + tail, va="center_baseline")
