"""Ask an agent the questions of a set and measure every answer.

Each question has a conversation of its own, begun with the question's history. Answers are kept as
they come; a run with the same questions, agent, models and notes takes them up again. What judges
say of an answer is no part of what is kept: another judge never asks the agent again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from jsonschema import Draft202012Validator

from ragkit.agent.finish import NOTICES
from ragkit.agent.runtime import Agent
from ragkit.agent.sessions import Session
from ragkit.api import Index
from ragkit.citations.markers import parse_answer
from ragkit.errors import EndpointError, ModelError
from ragkit.evaluation.answer_keys import question_key, run_facts
from ragkit.evaluation.citations import (
    SentenceVerdict,
    SupportJudge,
    TermJudge,
    citation_precision,
    citation_recall,
    cited_sentences,
    gold_scores,
    judge_sentences,
    quote_fidelity,
)
from ragkit.evaluation.datasets import Question
from ragkit.evaluation.gold import check_gold, gold_places
from ragkit.evaluation.judge import VALUE, AnswerJudge, Grade
from ragkit.evaluation.row_store import RowStore
from ragkit.evaluation.text_metrics import NOTHING, TextMetrics, as_dict, unrelated_sentences
from ragkit.evaluation.tool_calls import calls_of, tool_schemas
from ragkit.text.sentences import split_sentences

log = logging.getLogger(__name__)

Score = float | None


@dataclass(frozen=True, kw_only=True)
class AnswerRow:
    """One question, its answer, and what was measured of it."""

    id: str
    question: str
    type: str
    language: str
    answerable: bool
    reference: str
    answer: str
    """As the user sees it."""
    plain: str
    """Without notice and markers: what the text metrics read."""
    passages: dict[str, str] = field(default_factory=dict)
    """Text of the passages that the answer cites, by marker: what its sentences are judged against."""
    abstained: bool
    stop_reason: str
    scores: dict[str, Score]
    """By metric; None where it does not apply, see `ragkit.evaluation.answer_report.METRICS`."""
    citations: list[dict[str, Any]] = field(default_factory=list)
    sentences: list[dict[str, Any]] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    translations: list[dict[str, str]] = field(default_factory=list)
    """Sentences of `answer` that were translated, each with its ``original``."""
    grade: str | None = None
    grade_reason: str = ""
    error: str = ""
    """Why there is no answer: the model could not be brought to one."""

    def to_json(self) -> dict[str, Any]:
        """The row as it is kept and reported."""
        return asdict(self)


def evaluate_answers(
    questions: Sequence[Question],
    agent: Agent,
    metrics: TextMetrics,
    *,
    support_judge: SupportJudge | None = None,
    judge: AnswerJudge | None = None,
    store: RowStore | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> list[AnswerRow]:
    """Ask every question in a conversation of its own.

    Args:
        questions: With their gold; those without gold are unanswerable.
        agent: Is asked without its memory; its own conversation is left as it was.
        metrics: Compare answer and reference.
        support_judge: Decides whether passages support a sentence; None takes `TermJudge`.
        judge: Grades answers against the reference; None leaves that out.
        store: Answers of an earlier run; those with an error are asked again. Judges are asked
            every time, see `ragkit.models.cache` for a model that is asked the same thing once.
        tick: Called with (questions done, questions in all).

    Raises:
        DatasetError: If a gold quote is not in its file.
        EndpointError: If the chat model's endpoint fails; the rows so far are kept.
        ModelError: If the chat model cannot be loaded.
    """
    check_gold([q for q in questions if any(gold.quote for gold in q.gold)], agent.index)
    store = store or RowStore()
    support = support_judge or TermJudge(agent.index.idf)
    facts = run_facts(agent)
    schemas = tool_schemas(agent)
    if not agent.chat.extractive:
        agent.chat.model()
    own, quoted, memory, rows = agent.session, agent.quote_when_down, agent.memory, []
    # Quotes that stand in for a model must not be counted as its answers, nor what is remembered of whoever measures.
    agent.quote_when_down, agent.memory = False, None
    try:
        for done, question in enumerate(questions, start=1):
            key = question_key(facts, question)
            kept = store.get(key)
            if kept is None or kept["error"]:
                row = _ask(question, agent, metrics, schemas)
                store.put(key, row.to_json())
            else:
                row = AnswerRow(**kept)
            rows.append(row if row.error else _judged(row, question, support, judge))
            if tick is not None:
                tick(done, len(questions))
    finally:
        agent.session, agent.quote_when_down, agent.memory = own, quoted, memory
    return rows


def open_metrics(index: Index) -> TextMetrics:
    """Text metrics with the index's embedding model, their baseline from sentences of its notes.

    Raises:
        ModelError: If the extra ``eval`` is missing, or the notes have fewer than three sentences.
    """
    texts = [document.text for path in sorted(index.documents()) if (document := index.document(path)) is not None]
    return TextMetrics(index.model, unrelated_sentences([s for text in texts for s in split_sentences(text)]))


def answer_body(text: str) -> str:
    """The text of an answer without the notice that what follows are quotes."""
    for notice in NOTICES:
        text = text.removeprefix(notice)
    return text.strip()


def plain_text(body: str) -> str:
    """An answer without markers and list marks."""
    return "\n".join(re.sub(r"^\s*[-*+]\s+", "", sentence.text) for sentence in parse_answer(body))


def _ask(
    question: Question,
    agent: Agent,
    metrics: TextMetrics,
    schemas: dict[str, Draft202012Validator],
) -> AnswerRow:
    """The row of a question without what judges say, which is `_judged`."""
    agent.session = Session.seeded(question.history)
    facts: dict[str, Any] = {
        "id": question.id,
        "question": question.text,
        "type": question.type,
        "language": question.language,
        "answerable": bool(question.gold),
        "reference": question.reference_answer,
    }
    try:
        answer = agent.ask(question.text)
    except EndpointError:
        # Every other question would meet the same dead endpoint.
        raise
    except ModelError as exc:
        failed: dict[str, Score] = {"abstained": 0.0, "failed": 1.0, **_text_scores(question, "", metrics)}
        if question.gold:
            # No answer cites nothing: left out of the mean, failures would raise it.
            failed |= {"cites_gold": 0.0, "gold_span_recall": 0.0, "gold_chunk_recall": 0.0}
        return AnswerRow(
            **facts, answer="", plain="", abstained=False, stop_reason="error", scores=failed, error=exc.message
        )
    body = answer_body(answer.text)
    plain = "" if answer.abstained else plain_text(body)
    cited = {n for _, markers in cited_sentences(body) for n in markers}
    gold = gold_scores(gold_places(question, agent.index), answer.citations, answer.passages)
    calls = calls_of(answer, schemas)
    scores: dict[str, Score] = {
        "abstained": float(answer.abstained),
        "evidence": answer.evidence.score if answer.evidence else None,
        "retrieval": answer.evidence.retrieval if answer.evidence else None,
        "failed": 0.0,
        "quote_fidelity": quote_fidelity(answer.citations, agent.index),
        "cites_gold": None if gold.span_recall is None else float(gold.span_recall > 0),
        **{f"gold_{name}": value for name, value in asdict(gold).items()},
        **_text_scores(question, plain, metrics),
        "steps": float(len(answer.steps)),
        "prompt_tokens": float(answer.usage.get("prompt_tokens", 0)),
        "completion_tokens": float(answer.usage.get("completion_tokens", 0)),
        "seconds": answer.seconds,
    }
    return AnswerRow(
        **facts,
        answer=answer.text,
        plain=plain,
        passages={str(n): hit.chunk.search_text for n, hit in enumerate(answer.passages, start=1) if n in cited},
        abstained=answer.abstained,
        stop_reason=answer.stop_reason,
        scores=scores,
        citations=[{**asdict(citation), "heading": list(citation.heading)} for citation in answer.citations],
        tool_calls=[asdict(call) for call in calls],
        removed=[item.sentence for item in answer.removed],
        translations=[asdict(item) for item in answer.translations],
    )


def _judged(row: AnswerRow, question: Question, support: SupportJudge, judge: AnswerJudge | None) -> AnswerRow:
    """`row` with the verdicts on its sentences and its grade."""
    sentences = _verdicts(row, support)
    grade = _grade(question, row.plain, judge)
    scores: dict[str, Score] = {
        "citation_recall": citation_recall(sentences),
        "citation_precision": citation_precision(sentences),
        "quote_recall": sum(s.by_quotes for s in sentences) / len(sentences) if sentences else None,
        "judged": VALUE[grade.label] if grade else None,
    }
    return replace(
        row,
        scores=row.scores | scores,
        sentences=[{**asdict(s), "markers": list(s.markers), "precise": list(s.precise)} for s in sentences],
        grade=grade.label if grade else None,
        grade_reason=grade.reason if grade else "",
    )


def _verdicts(row: AnswerRow, support: SupportJudge) -> list[SentenceVerdict]:
    """Verdicts on the statements of an answer; an abstention states nothing."""
    if row.abstained:
        return []
    shown = answer_body(row.answer)
    if not getattr(support, "crosses", True):
        # The longest first: a short one may stand in it.
        for item in sorted(row.translations, key=lambda item: -len(item["sentence"])):
            shown = shown.replace(item["sentence"], item["original"])
    passages = {int(marker): text for marker, text in row.passages.items()}
    quotes = {citation["marker"]: citation["quote"] for citation in row.citations}
    try:
        return judge_sentences(cited_sentences(shown), passages, support, quotes)
    except EndpointError:
        raise
    except ModelError as exc:
        # One reply that cannot be used must not cost a long run.
        log.warning("citations of question %s are not judged: %s", row.id, exc)
        return []


def _text_scores(question: Question, plain: str, metrics: TextMetrics) -> dict[str, Score]:
    """An abstention on an answerable question says nothing and scores 0; no reference, no score."""
    if not question.gold or not question.reference_answer:
        return dict.fromkeys(as_dict(NOTHING))
    return dict(as_dict(metrics.score(plain, question.reference_answer)))


def _grade(question: Question, plain: str, judge: AnswerJudge | None) -> Grade | None:
    if judge is None or not question.gold or not question.reference_answer:
        return None
    if not plain:
        return Grade("wrong", "no answer")
    try:
        return judge.grade(question.text, question.reference_answer, plain)
    except EndpointError:
        raise
    except ModelError as exc:
        # One reply the judge could not bring into form must not cost the answers of a long run.
        log.warning("question %s is not graded: %s", question.id, exc)
        return None
