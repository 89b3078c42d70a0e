"""From the rows of an answers run to its report: means with 95 % intervals, in all and by group."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import ragkit
from ragkit.agent.runtime import Agent
from ragkit.evaluation.answers import AnswerRow
from ragkit.evaluation.citations import TermJudge
from ragkit.evaluation.risk import risk_coverage
from ragkit.evaluation.stats import bootstrap_ci95
from ragkit.evaluation.text_metrics import TextMetrics
from ragkit.retrieval.answerable import fit_for

METRICS: Final[dict[str, str]] = {
    "citation_recall": "share of the sentences that their cited passages support (ALCE)",
    "citation_precision": "share of the citations that support or are needed; 0 for an answer without any (ALCE)",
    "quote_recall": "share of the sentences that their quoted spans alone support",
    "quote_fidelity": "share of the citations whose quote is that slice of its file, exactly; must be 1",
    "cites_gold": "share of the answerable questions with a cited span that holds a gold quote",
    "gold_retrieved": "share of the needs of a question that a retrieved passage meets",
    "gold_span_recall": "share of the needs whose gold quote a cited span holds",
    "gold_span_precision": "share of the cited spans that hold a gold quote",
    "gold_chunk_recall": "share of the needs that a cited passage meets",
    "gold_chunk_precision": "share of the cited passages that overlap a gold quote",
    "rouge_l": "F1 of the longest common subsequence with the reference",
    "bleu": "smoothed sentence BLEU, mean over the questions",
    "corpus_bleu": "BLEU of all answers as one text; abstentions count as empty",
    "bert_score": "rescaled F1 of greedy vector matching",
    "judged": "mean grade by the judge: right 1, partly 0.5, wrong 0",
    "judged_right": "share that the judge calls right",
    "abstained": "share of abstentions",
    "abstention_precision": "share of the abstentions that are on unanswerable questions",
    "abstention_recall": "share of the unanswerable questions with an abstention",
    "abstention_f1": "harmonic mean of the two",
    "tool_call_validity": "share of the model's tool calls whose tool and arguments are allowed",
    "failed": "share of the questions on which the model came to no answer",
    "steps": "tool calls a question",
    "prompt_tokens": "tokens read a question",
    "completion_tokens": "tokens written a question",
    "seconds": "seconds a question",
}
"""What each metric says, a share being the mean over the questions of theirs.

Text metrics and gold count answerable questions only; an abstention there scores 0.
"""

COSTS: Final = ("steps", "prompt_tokens", "completion_tokens", "seconds")
"""Metrics that are counts or durations, no shares."""

CorpusBleu = Callable[[Sequence[str], Sequence[str]], float]


def aggregate(rows: Sequence[AnswerRow], corpus_bleu: CorpusBleu) -> dict[str, dict[str, Any]]:
    """Means over rows.

    Args:
        rows: At least one.
        corpus_bleu: BLEU of answers and references, 0..1.

    Returns:
        ``metrics`` (mean by name), ``ci95`` (low and high by name) and ``counts`` (how many values
        each mean is of). A value is one question's, for ``tool_call_validity`` one call's; shares of
        sentences and citations are taken within a question first, as ALCE does. Intervals are those
        of `ragkit.evaluation.stats.bootstrap_ci95`: Wilson's score interval where all values are 0
        or 1, the bias-corrected and accelerated bootstrap for other values in 0..1, a widened
        percentile bootstrap for steps, tokens and seconds. ``corpus_bleu`` and ``abstention_f1``,
        which are no means, have none. A metric without a value is left out.
    """
    values = {name: found for name in METRICS if (found := _values(name, rows))}
    metrics = {name: sum(found) / len(found) for name, found in values.items()}
    counts = {name: len(found) for name, found in values.items()}
    ci95 = {name: list(_interval(name, found)) for name, found in values.items()}
    scored = [row for row in rows if row.scores.get("bleu") is not None]
    if scored:
        metrics["corpus_bleu"] = corpus_bleu([row.plain for row in scored], [row.reference for row in scored])
        counts["corpus_bleu"] = len(scored)
    precision, recall = metrics.get("abstention_precision"), metrics.get("abstention_recall")
    if recall is not None:
        # Without any abstention precision has no value, and nothing was rightly declined.
        total = (precision or 0.0) + recall
        metrics["abstention_f1"] = 2 * (precision or 0.0) * recall / total if total else 0.0
        counts["abstention_f1"] = counts["abstention_recall"]
    return {
        part: {name: found[name] for name in METRICS if name in found}
        for part, found in (("metrics", metrics), ("ci95", ci95), ("counts", counts))
    }


def _interval(name: str, values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of a mean."""
    if name not in COSTS:
        return bootstrap_ci95(values)
    # One step a question, or no token, looks like a share of 1 or 0, whose interval ends there; moved out of
    # 0..1 it is what it is. The bootstrap of a mean moves with its values.
    low, high = bootstrap_ci95([value + 2 for value in values])
    return low - 2, high - 2


def _values(name: str, rows: Sequence[AnswerRow]) -> list[float]:
    if name == "abstention_precision":
        return [float(not row.answerable) for row in rows if row.abstained]
    if name == "abstention_recall":
        return [float(row.abstained) for row in rows if not row.answerable]
    if name == "tool_call_validity":
        return [float(call["valid"]) for row in rows for call in row.tool_calls if call["by_model"]]
    if name == "judged_right":
        return [float(row.grade == "right") for row in rows if row.grade is not None]
    return [float(value) for row in rows if (value := row.scores.get(name)) is not None]


def answers_json(
    dataset: str,
    agent: Agent,
    rows: Sequence[AnswerRow],
    metrics: TextMetrics,
    *,
    support_judge: str = TermJudge.name,
    judge: Mapping[str, Any] | None = None,
    store: Path | None = None,
) -> dict[str, Any]:
    """The ``--json`` contract of ``ragkit eval answers``.

    Args:
        dataset: Its name.
        agent: Was asked.
        rows: At least one.
        metrics: Compared answer and reference.
        support_judge: Name of the judge behind citation recall and precision: ``term`` for the
            comparison of terms, else a chat model's.
        judge: Name of the judge of correctness and its agreement with labels; None if there was none.
        store: File that keeps the rows.
    """
    bleu = metrics.lexical.corpus_bleu
    return {
        "dataset": dataset,
        "ragkit": ragkit.__version__,
        "questions": len(rows),
        "agent": agent.spec.header.name,
        "model": agent.chat.name,
        "embedding_model": agent.index.model.name,
        "index": agent.index.manifest,
        **aggregate(rows, bleu),
        "by_type": _grouped(rows, lambda row: row.type, bleu),
        "by_language": _grouped(rows, lambda row: row.language, bleu),
        "risk_coverage": risk_coverage(rows, fit_for(agent.index.model.name).threshold),
        "text_metrics": metrics.describe(),
        "support_judge": support_judge,
        "judge": dict(judge) if judge else None,
        "rows_file": str(store) if store else None,
        # Through JSON and back: a row holds what its file holds, tuples as lists.
        "per_question": json.loads(json.dumps([row.to_json() for row in rows], default=str)),
    }


def _grouped(rows: Sequence[AnswerRow], key: Callable[[AnswerRow], str], bleu: CorpusBleu) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[AnswerRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return {name: {"questions": len(group), **aggregate(group, bleu)} for name, group in sorted(groups.items())}
