"""The researcher: a broad goal becomes a plan, each part an answer with citations, and all of it a report.

Plan-and-execute in the manner of AutoGPT, kept short so that a small model does not wander: the goal is
split once, each part is answered by the ordinary loop with its checks, one look at what is missing adds at
most two parts, and the report is put together from what was checked. A model only words the plan, the
missing parts and the summary; the summary is checked against the passages once more.

Without a chat model the parts are the sections of the notes that the goal finds, and the report quotes them.

Paper: Wang et al. 2023, "Plan-and-Solve Prompting".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from ragkit.agent.answer import Citation, CitationFound, Event, Thought, Token
from ragkit.agent.budget import Stop
from ragkit.agent.compose import Composed, abstention, compose
from ragkit.agent.extractive import NOTICE
from ragkit.agent.plan import Plan, PlanItem, State
from ragkit.agent.renumber import with_numbers
from ragkit.agent.turn import TurnState
from ragkit.agent.workflows.task import Outcome, Task
from ragkit.citations.support import content_terms
from ragkit.errors import ModelError
from ragkit.models.chat import StructuredChat
from ragkit.text.language import Language, answer_language
from ragkit.text.sanitize import one_line
from ragkit.text.tokens import fold, query_terms

_ADDED: Final = 2
_ALIKE: Final = 0.6
"""Share of common terms from which two parts ask the same."""
_HEADINGS: Final = 12
_PART_CHARS: Final = 160
_SHOWN_CHARS: Final = 300
_PARTED: Final = re.compile(r"[?？]\s*|[;；\n]+|(?<=[。!！])|(?:^|\s)(?:\d{1,2}[.)、]|[-*•])\s+")
_SPLIT: Final[dict[Language, str]] = {
    "zh": "把研究目标拆成 2 到 {n} 个子问题，每个都能单独在笔记里查到答案：写出它问的对象，互不重复，用中文，一句话。",
    "en": "Split the goal into 2 to {n} sub-questions, each of which can be looked up in the notes on its own: "
    "it names what it asks about, repeats no other, and is one sentence in English.",
}
_MISSING: Final[dict[Language, str]] = {
    "zh": "下面是研究目标和已经得到的答案。为达到目标还缺哪些子问题？最多 {n} 个，用中文；不缺就给空列表。",
    "en": "Below are a goal and the answers so far. Which sub-questions must still be answered to reach it? "
    "At most {n}, in English; an empty list if none.",
}
_SUMMARISE: Final[dict[Language, str]] = {
    "zh": "根据下面的答案，用中文写 2 到 3 句话直接回答研究目标。"
    "只用这些答案里的内容，每句话列出所依据的方括号里的编号。",
    "en": "From the answers below write 2 to 3 sentences in English that answer the goal directly. "
    "Use only what they say; each sentence lists the numbers in square brackets it rests on.",
}
_WORDS: Final[dict[Language, dict[str, str]]] = {
    "zh": {
        "plan": "把目标拆成子问题…", "check": "检查还缺什么…", "sum": "写报告…",
        "top": "概述", "gaps": "笔记里没有", "unreached": "没有来得及查",
    },
    "en": {
        "plan": "splitting the goal into parts…", "check": "checking what is missing…", "sum": "writing the report…",
        "top": "Summary", "gaps": "Not in the notes", "unreached": "Not looked up",
    },
}  # fmt: skip


class _Board:
    """The plan while it is worked on; tells whoever listens about each change."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.items: list[PlanItem] = []

    def add(self, parts: Sequence[str]) -> None:
        self.items.extend(PlanItem(part) for part in parts)
        self._task.emit(Plan(tuple(self.items)))

    def set(self, at: int, state: State) -> None:
        self.items[at] = replace(self.items[at], state=state)
        self._task.emit(Plan(tuple(self.items)))


class _Report:
    """What was found so far: texts by part, passages and citations of all of them."""

    def __init__(self, turn: TurnState) -> None:
        self.turn = turn
        self.texts: dict[int, str] = {}
        self.citations: dict[int, Citation] = {}
        self.removed: list[Any] = []
        self.warnings: dict[str, None] = {}
        """What a user must know of the parts, in order, each once."""

    def take(self, at: int, found: Outcome, *, quoted: bool) -> bool:
        """Take over the answer of a part; returns whether there is one."""
        turn, inner = self.turn, found.turn
        turn.steps.extend(inner.steps)
        turn.usage.update(inner.usage)
        self.removed.extend(found.composed.removed)
        self.warnings.update(dict.fromkeys(found.warnings))
        turn.memory_trouble = turn.memory_trouble or inner.memory_trouble
        if inner.cuts:
            turn.cuts, turn.window = inner.cuts, inner.window
        if found.composed.abstained:
            return False
        numbers: dict[int, int] = {}
        for citation in found.composed.citations:
            for number, _, _ in turn.add([inner.passages[citation.marker - 1]]):
                numbers[citation.marker] = number
                self.cite(replace(citation, marker=number))
        text = found.composed.text
        if quoted:
            text = text.removeprefix(NOTICE["zh"]).removeprefix(NOTICE["en"]).lstrip("\n")
        self.texts[at] = with_numbers(text, numbers)
        return True

    def cite(self, citation: Citation) -> None:
        """Keep a citation; one of a passage that is cited already makes its quote reach over both places."""
        known = self.citations.get(citation.marker)
        if known is not None:
            chunk = self.turn.passages[citation.marker - 1].chunk
            start, end = min(known.start, citation.start), max(known.end, citation.end)
            quote = chunk.text[start - chunk.start : end - chunk.start]
            line = chunk.start_line + chunk.text.count("\n", 0, start - chunk.start)
            weaker = known if known.verdict != "supported" else citation
            citation = replace(
                weaker, start=start, end=end, quote=quote, start_line=line, end_line=line + quote.count("\n")
            )
        self.citations[citation.marker] = citation


def research(task: Task) -> Outcome:
    """Answer a broad goal by a report."""
    goal, language = task.question, answer_language(task.question)
    say = _WORDS[language]
    turn = task.turn()
    chat = task.parts.chat.structured(turn.budget.spend)
    turn.max_passages = 10_000  # what a part cites was counted there
    board, report = _Board(task), _Report(turn)
    task.emit(Thought(say["plan"]))
    board.add(task.once("parts", lambda: parts_of(task, goal, language, chat)))
    _work(task, board, report, 0)
    if not task.cancelled.is_set() and report.texts:
        task.emit(Thought(say["check"]))
        before = len(board.items)
        if more := task.once("missing parts", lambda: _missing(goal, language, board, report, chat)):
            board.add(more)
            _work(task, board, report, before)
    plan = tuple(board.items)
    if not report.texts or task.cancelled.is_set():
        # Where a budget ended the search, nothing is known of what the notes hold.
        text = "\n\n".join([turn.stop.says(goal), *_left_open(language, plan)]) if turn.stop else abstention(turn)
        composed = Composed(text, (), tuple(report.removed), 0, abstained=True)
        return Outcome(composed, turn, goal, plan=plan, warnings=tuple(report.warnings))
    summary = ""
    if chat is not None and len(report.texts) > 1:
        task.emit(Thought(say["sum"]))
        summary = _summary(goal, language, report, chat)
    text = _written(language, summary, plan, report, [] if chat else [NOTICE[language]])
    citations = tuple(report.citations[marker] for marker in sorted(report.citations))
    composed = Composed(text, citations, tuple(report.removed), 0, abstained=False)
    return Outcome(composed, turn, goal, plan=plan, warnings=tuple(report.warnings))


def _work(task: Task, board: _Board, report: _Report, first: int) -> None:
    """Answer the parts of the plan from `first` on, one after the other."""

    def tell(event: Event) -> None:
        # What a part says is no text of the answer yet.
        if not isinstance(event, Token | CitationFound):
            task.emit(event)

    for at in range(first, len(board.items)):
        if task.cancelled.is_set():
            return
        board.set(at, "working")
        found = task.answered(board.items[at].text, tell)
        if not task.cancelled.is_set():
            taken = report.take(at, found, quoted=task.parts.chat.extractive)
            stop = None if taken else _cut_off(found.turn)
            report.turn.stop = report.turn.stop or stop
            board.set(at, "done" if taken else "unreached" if stop else "missing")


def _cut_off(part: TurnState) -> Stop | None:
    """The budget that ended a part before it was known whether the notes answer it."""
    return part.stop or (None if part.passages else part.budget.out_of_steps())


def parts_of(task: Task, goal: str, language: Language, chat: StructuredChat | None) -> list[str]:
    """The parts of a goal: by the chat model, else what its punctuation parts, else the sections it finds."""
    wanted = task.parts.spec.header.sub_questions
    hits = task.parts.index.search(goal, k=_HEADINGS, rewrite=False, hyde=False)
    headings = list(dict.fromkeys(one_line(" / ".join(hit.heading[-2:]), 100) for hit in hits if hit.heading))
    if chat is not None and wanted > 1:
        listed = "\n".join(f"- {heading}" for heading in headings)
        given = _asked(chat, _SPLIT[language].format(n=wanted), f"{goal}\n\n{listed}", "questions", 2, wanted)
        if parts := distinct(given, ()):
            return parts[:wanted]
    said = [part.strip(" 。.!！") for part in _PARTED.split(goal)]
    said = [part for part in said if len(content_terms(part)) > 1]
    if len(said) > 1:
        return distinct(said, ())[:wanted]
    near = [one_line(" / ".join(hit.heading[-2:]), 100) for hit in hits if hit.heading and hit.coverage > 0]
    return distinct(list(dict.fromkeys(near)), ())[:wanted] or [goal]


def _missing(goal: str, language: Language, board: _Board, report: _Report, chat: StructuredChat | None) -> list[str]:
    """Parts that the goal needs and the plan lacks; without a model what was not found, in the goal's words."""
    known = [item.text for item in board.items]
    if chat is None:
        again = [f"{goal} {item.text}" for item in board.items if item.state == "missing"]
        return again[:_ADDED]
    found = "\n".join(
        f"- {item.text}: {one_line(report.texts.get(at, '-'), _SHOWN_CHARS)}" for at, item in enumerate(board.items)
    )
    given = _asked(chat, _MISSING[language].format(n=_ADDED), f"{goal}\n\n{found}", "questions", 0, _ADDED)
    return distinct(given, known)[:_ADDED]


def _asked(chat: StructuredChat, system: str, user: str, key: str, least: int, most: int) -> list[str]:
    """A list of questions by the chat model; empty if it has none to give."""
    item = {"type": "string", "minLength": 4, "maxLength": _PART_CHARS}
    items = {"type": "array", "items": item, "minItems": least, "maxItems": most}
    schema = {"type": "object", "properties": {key: items}, "required": [key], "additionalProperties": False}
    try:
        given = chat.complete_json(system, user, schema, 60 * most + 20).get(key)
    except ModelError:
        return []
    return [one_line(str(part)) for part in given] if isinstance(given, list) else []


def distinct(parts: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those of `parts` that ask something that neither `known` nor an earlier part asks."""
    kept: list[str] = []
    for part in parts:
        terms = set(query_terms(part))
        others = [set(query_terms(other)) for other in (*known, *kept)]
        if terms and all(len(terms & other) < _ALIKE * len(terms | other) for other in others):
            kept.append(part)
    return kept


def _summary(goal: str, language: Language, report: _Report, chat: StructuredChat) -> str:
    """Some sentences over all parts, checked against the passages; empty if nothing of them holds."""
    numbers = sorted(report.citations)
    sentence = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "minLength": 4, "maxLength": 400},
            "sources": {"type": "array", "items": {"enum": numbers}, "minItems": 1, "maxItems": 3},
        },
        "required": ["text", "sources"],
        "additionalProperties": False,
    }
    items = {"type": "array", "items": sentence, "minItems": 1, "maxItems": 3}
    schema = {
        "type": "object",
        "properties": {"sentences": items},
        "required": ["sentences"],
        "additionalProperties": False,
    }
    found = "\n\n".join(report.texts.values())
    try:
        given = chat.complete_json(_SUMMARISE[language], f"{goal}\n\n{found}", schema, 360).get("sentences")
        sentences = [(str(each["text"]), [int(n) for n in each["sources"]]) for each in given or ()]
    except (ModelError, TypeError, KeyError, ValueError):
        return ""
    composed = compose(report.turn, "", sentences)
    report.removed.extend(composed.removed)
    if composed.abstained:
        return ""
    for citation in composed.citations:
        report.cite(citation)
    return composed.text


def _written(language: Language, summary: str, plan: Sequence[PlanItem], report: _Report, lines: list[str]) -> str:
    words = _WORDS[language]
    sections = ["\n".join(lines)] if lines else []
    if summary:
        sections.append(f"## {words['top']}\n\n{summary}")
    # A part that was tried again in other words has one section, under its first name.
    sections.extend(f"## {plan[at].text}\n\n{text}" for at, text in report.texts.items())
    return "\n\n".join(sections + _left_open(language, plan))


def _left_open(language: Language, plan: Sequence[PlanItem]) -> list[str]:
    """Sections that list what has no answer: what the notes lack, and what was not looked up."""
    sections = []
    for state, title in (("missing", "gaps"), ("unreached", "unreached")):
        items = [item.text for at, item in enumerate(plan) if item.state == state and not _later(plan, at)]
        if items:
            sections.append("\n".join([f"## {_WORDS[language][title]}", "", *(f"- {item}" for item in items)]))
    return sections


def _later(plan: Sequence[PlanItem], at: int) -> bool:
    """Whether a part was found, or is listed as missing, under a later name that contains this one."""
    return any(fold(plan[at].text) in fold(item.text) for item in plan[at + 1 :])
