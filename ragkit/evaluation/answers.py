"""Ask an agent the questions of a set and measure every answer.

Each question has a conversation of its own, begun with the question's history. Rows are kept as
they finish; a run with the same questions, agent, models and index takes them up again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from jsonschema import Draft202012Validator

import ragkit
from ragkit.agent.answer import Answer
from ragkit.agent.extractive import NOTICE
from ragkit.agent.middleware.turn_control import FIRST_THOUGHT
from ragkit.agent.runtime import Agent
from ragkit.agent.sessions import Session
from ragkit.agent.tools import TOOLS
from ragkit.agent.turn import TurnState
from ragkit.api import Index
from ragkit.citations.markers import parse_answer
from ragkit.errors import EndpointError, ModelError
from ragkit.evaluation.citations import (
    SupportJudge,
    TermJudge,
    citation_precision,
    citation_recall,
    gold_scores,
    judge_answer,
    quote_fidelity,
)
from ragkit.evaluation.datasets import Question
from ragkit.evaluation.gold import check_gold, gold_places
from ragkit.evaluation.judge import VALUE, AnswerJudge, Grade
from ragkit.evaluation.row_store import RowStore
from ragkit.evaluation.text_metrics import NOTHING, TextMetrics, as_dict, unrelated_sentences
from ragkit.text.sentences import split_sentences

log = logging.getLogger(__name__)

FORMAT: Final = 1
"""Raised with any change of what a row holds or how it is computed."""
Score = float | None


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One tool call of a turn."""

    tool: str
    arguments: dict[str, Any]
    valid: bool
    """The tool is one the agent has, and the arguments satisfy its schema."""
    by_model: bool
    """False for the first search, which the framework makes."""
    seconds: float


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
    abstained: bool
    stop_reason: str
    scores: dict[str, Score]
    """By metric; None where it does not apply, see `ragkit.evaluation.answer_report.METRICS`."""
    citations: list[dict[str, Any]] = field(default_factory=list)
    sentences: list[dict[str, Any]] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
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
        agent: Is asked; its own conversation is left as it was.
        metrics: Compare answer and reference.
        support_judge: Decides whether passages support a sentence; None takes `TermJudge`.
        judge: Grades answers against the reference; None leaves that out.
        store: Rows of an earlier run; rows with an error are asked again.
        tick: Called with (questions done, questions in all).

    Raises:
        DatasetError: If a gold quote is not in its file.
        EndpointError: If the chat model's endpoint fails; the rows so far are kept.
        ModelError: If the chat model cannot be loaded.
    """
    check_gold([q for q in questions if any(gold.quote for gold in q.gold)], agent.index)
    store = store or RowStore()
    support = support_judge or TermJudge(agent.index.idf)
    facts = run_facts(agent, type(support).__name__, judge.name if judge else "")
    schemas = _schemas(agent)
    if not agent.chat.extractive:
        agent.chat.model()
    own, rows = agent.session, []
    try:
        for done, question in enumerate(questions, start=1):
            key = question_key(facts, question)
            kept = store.get(key)
            if kept is None or kept["error"]:
                row = _ask(question, agent, metrics, support, judge, schemas)
                store.put(key, row.to_json())
            else:
                row = AnswerRow(**kept)
            rows.append(row)
            if tick is not None:
                tick(done, len(questions))
    finally:
        agent.session = own
    return rows


def run_facts(agent: Agent, support: str, judge: str) -> dict[str, Any]:
    """What an answer depends on besides its question; equal facts, equal rows."""
    spec = agent.spec
    return {
        "format": FORMAT,
        "ragkit": ragkit.__version__,
        "agent": [spec.header.model_dump(mode="json"), spec.prompt],
        "model": agent.chat.name,
        "tool_calling": agent.chat.tool_calling,
        "embedding": agent.index.model.identity.fingerprint,
        "generation": agent.index.manifest["generation"],
        # Anything that decides what is retrieved or said; keys and places of files do not.
        "settings": agent.index.settings.model_dump(
            mode="json", exclude={"openai_api_key", "home", "index", "notes", "chat_model", "agent", "embedding_model"}
        ),
        "support": support,
        "judge": judge,
    }


def question_key(facts: dict[str, Any], question: Question) -> str:
    """Fingerprint of one question in one run; any change of the question changes it."""
    text = json.dumps([facts, asdict(question)], ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]


def open_metrics(index: Index) -> TextMetrics:
    """Text metrics with the index's embedding model, their baseline from sentences of its notes.

    Raises:
        ModelError: If the extra ``eval`` is missing, or the notes have fewer than three sentences.
    """
    texts = [document.text for path in sorted(index.documents()) if (document := index.document(path)) is not None]
    return TextMetrics(index.model, unrelated_sentences([s for text in texts for s in split_sentences(text)]))


def answer_body(answer: Answer) -> str:
    """The text of an answer without the notice that no language model is configured."""
    text = answer.text
    for notice in NOTICE.values():
        text = text.removeprefix(notice)
    return text.strip()


def plain_text(body: str) -> str:
    """An answer without markers and list marks."""
    return "\n".join(re.sub(r"^\s*[-*+]\s+", "", sentence.text) for sentence in parse_answer(body))


def _ask(
    question: Question,
    agent: Agent,
    metrics: TextMetrics,
    support: SupportJudge,
    judge: AnswerJudge | None,
    schemas: dict[str, Draft202012Validator],
) -> AnswerRow:
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
    body = answer_body(answer)
    plain = "" if answer.abstained else plain_text(body)
    sentences = judge_answer(answer, body, support)
    gold = gold_scores(gold_places(question, agent.index), answer.citations, answer.passages)
    calls = [_call(step, first, schemas) for first, step in _numbered(answer)]
    grade = _grade(question, plain, judge)
    scores: dict[str, Score] = {
        "abstained": float(answer.abstained),
        "failed": 0.0,
        "citation_recall": citation_recall(sentences),
        "citation_precision": citation_precision(sentences),
        "quote_recall": sum(s.by_quotes for s in sentences) / len(sentences) if sentences else None,
        "quote_fidelity": quote_fidelity(answer.citations, agent.index),
        "cites_gold": None if gold.span_recall is None else float(gold.span_recall > 0),
        **{f"gold_{name}": value for name, value in asdict(gold).items()},
        **_text_scores(question, plain, metrics),
        "judged": VALUE[grade.label] if grade else None,
        "steps": float(len(answer.steps)),
        "prompt_tokens": float(answer.usage.get("prompt_tokens", 0)),
        "completion_tokens": float(answer.usage.get("completion_tokens", 0)),
        "seconds": answer.seconds,
    }
    return AnswerRow(
        **facts,
        answer=answer.text,
        plain=plain,
        abstained=answer.abstained,
        stop_reason=answer.stop_reason,
        scores=scores,
        citations=[{**asdict(citation), "heading": list(citation.heading)} for citation in answer.citations],
        sentences=[{**asdict(s), "markers": list(s.markers), "precise": list(s.precise)} for s in sentences],
        tool_calls=[asdict(call) for call in calls],
        removed=[item.sentence for item in answer.removed],
        grade=grade.label if grade else None,
        grade_reason=grade.reason if grade else "",
    )


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


def _numbered(answer: Answer) -> list[tuple[bool, Any]]:
    """Steps, and for each whether it is the framework's own first search."""
    return [(n == 0 and step.thought in FIRST_THOUGHT.values(), step) for n, step in enumerate(answer.steps)]


def _call(step: Any, first: bool, schemas: dict[str, Draft202012Validator]) -> ToolCall:
    schema = schemas.get(step.tool)
    # What was kept of a call may hold values that JSON cannot; the schema is one of JSON.
    arguments = json.loads(json.dumps(step.arguments, default=str))
    valid = schema is not None and schema.is_valid(arguments)
    return ToolCall(tool=step.tool, arguments=arguments, valid=valid, by_model=not first, seconds=step.seconds)


def _schemas(agent: Agent) -> dict[str, Draft202012Validator]:
    """Argument schemas of the tools the agent has."""
    turn = TurnState(
        index=agent.index, question="", standalone="", queries=(), passages_per_search=1, max_steps=1, max_passages=1
    )
    tools = {name: TOOLS[name](turn) for name in agent.spec.header.tools}
    return {name: Draft202012Validator(tool.get_input_jsonschema()) for name, tool in tools.items()}
