"""Risk and coverage of answering: what is left when the least sure questions are declined.

Sorted by the score of an answer (`ragkit.agent.answer.Evidence`), each threshold answers a share of the questions,
the coverage, and of those a share that the notes do not answer, the risk (El-Yaniv & Wiener 2010, JMLR 11,
"On the foundations of noise-free selective classification"). Whether an answer is right in other ways is no part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ragkit.evaluation.answers import AnswerRow


def risk_coverage(rows: Sequence[AnswerRow], threshold: float | None = None) -> dict[str, Any] | None:
    """The curve of a run.

    Args:
        rows: Their scores must say ``evidence``; those that do not, such as failed ones, take no part.
        threshold: The one in use, whose point is told apart.

    Returns:
        ``points``, from the highest threshold to the lowest: ``threshold``, ``coverage``, ``risk``, ``declined``
        (share of the unanswerable questions below it) and ``false_declined`` (of the answerable ones), all 0..1;
        ``aurc``, the mean risk over all coverages (0 is best); ``base_risk`` without declining; ``at``, the point of
        the threshold in use. None without questions of both kinds.
    """
    scored = [(score, row.answerable) for row in rows if (score := row.scores.get("evidence")) is not None]
    answerable = sum(held for _, held in scored)
    unanswerable = len(scored) - answerable
    if not answerable or not unanswerable:
        return None

    def point(at: float) -> dict[str, float]:
        answered = [held for score, held in scored if score >= at]
        wrong = answered.count(False)
        return {
            "threshold": at,
            "coverage": len(answered) / len(scored),
            "risk": wrong / len(answered) if answered else 0.0,
            "declined": 1 - wrong / unanswerable,
            "false_declined": 1 - (len(answered) - wrong) / answerable,
        }

    points = [point(at) for at in sorted({score for score, _ in scored}, reverse=True)]
    # Between two thresholds the coverage jumps by the questions of equal score; they weigh as many.
    steps = [0.0, *(item["coverage"] for item in points)]
    area = sum(item["risk"] * (item["coverage"] - before) for item, before in zip(points, steps, strict=False))
    return {
        "points": points,
        "aurc": area,
        "base_risk": unanswerable / len(scored),
        "at": None if threshold is None else point(threshold),
    }
