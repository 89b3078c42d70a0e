"""The risk/coverage curve of a report of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from ragkit.evaluation.html.plots import framed
from ragkit.evaluation.html.svg import FAINT, run_colour, to_svg


def risk_curve(found: Mapping[str, Any], prefix: str) -> Markup:
    """Risk by coverage, with the point of the threshold in use and the risk of answering everything.

    Args:
        found: As `ragkit.evaluation.risk.risk_coverage` gives it.
        prefix: Start of every id in the figure, unique on the page.
    """
    points, at = found["points"], found["at"]
    with framed(3.2, 0.6) as (figure, axes):
        axes.plot(
            [item["coverage"] for item in points], [item["risk"] for item in points], color=run_colour(0), linewidth=2
        )
        axes.axhline(found["base_risk"], color=FAINT, linestyle=":", linewidth=1.2)
        said = f"Area {found['aurc']:.3f}; {found['base_risk']:.3f} when everything is answered"
        if at:
            axes.plot([at["coverage"]], [at["risk"]], marker="o", color=run_colour(0), markersize=7, clip_on=False)
            said += f"; {at['risk']:.3f} at the threshold in use, which answers {at['coverage']:.3f}"
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("share of the questions answered")
        axes.set_ylabel("of these unanswerable")
        return to_svg(figure, prefix, "Risk by coverage", f"{said}.")
