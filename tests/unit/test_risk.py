"""Risk and coverage: the curve is what its definition says, and the page draws it."""

from __future__ import annotations

from typing import Any

import pytest

from ragkit.evaluation.answers import AnswerRow
from ragkit.evaluation.html.risk import risk_curve
from ragkit.evaluation.risk import risk_coverage


def row(score: float | None, answerable: bool) -> AnswerRow:
    facts: dict[str, Any] = dict.fromkeys(("id", "question", "type", "language", "reference", "answer", "plain"), "")
    return AnswerRow(**facts, answerable=answerable, abstained=False, stop_reason="", scores={"evidence": score})


ROWS = [row(0.9, True), row(0.8, True), row(0.6, False), row(0.4, True), row(0.2, False), row(None, False)]


def test_the_curve_by_hand() -> None:
    found = risk_coverage(ROWS, threshold=0.5)
    assert found is not None
    assert [p["coverage"] for p in found["points"]] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [p["risk"] for p in found["points"]] == pytest.approx([0, 0, 1 / 3, 1 / 4, 2 / 5])
    assert found["aurc"] == pytest.approx(0.2 * (1 / 3 + 1 / 4 + 2 / 5))
    assert found["base_risk"] == pytest.approx(2 / 5)
    at = found["at"]
    assert (at["coverage"], at["declined"]) == (0.6, 0.5) and at["false_declined"] == pytest.approx(1 / 3)


def test_equal_scores_are_one_point_that_weighs_as_many() -> None:
    found = risk_coverage([row(0.5, True), row(0.5, False), row(0.5, True)])
    assert found is not None and len(found["points"]) == 1
    assert found["aurc"] == pytest.approx(1 / 3) and found["at"] is None


@pytest.mark.parametrize("rows", [[], [row(0.5, True)], [row(0.5, False)], [row(None, True), row(0.5, False)]])
def test_one_kind_of_question_has_no_curve(rows: list[AnswerRow]) -> None:
    assert risk_coverage(rows) is None


def test_the_figure_says_its_numbers() -> None:
    found = risk_coverage(ROWS, threshold=0.5)
    assert found is not None
    drawn = str(risk_curve(found, "risk"))
    assert drawn.startswith("<svg") and "Area 0.197" in drawn and "0.333 at the threshold" in drawn
