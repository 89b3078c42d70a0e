"""The quizmaster: asks, waits for the reply as the next turn, grades it with citations, goes on.

The question that waits is kept in the session, so a conversation can be left and resumed in between.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ragkit.agent.answer import Citation, Thought
from ragkit.agent.compose import ABSTENTION, Composed
from ragkit.agent.quiz import Asked, Graded, ask, choose, grade, passage_of, points_of
from ragkit.agent.turn import TurnState
from ragkit.agent.workflows.task import Outcome, Task
from ragkit.citations.support import best_span
from ragkit.models.chat import StructuredChat
from ragkit.text.language import answer_language
from ragkit.text.sanitize import one_line
from ragkit.values import Hit

KEY: Final = "quiz"
_STOP: Final = re.compile(
    r"^(?:/?stop|quit|exit|end|enough|结束|停止?|不(?:玩|答|考)了|到此为止|退出)[。.!！]*$", re.IGNORECASE
)
_SKIP: Final = re.compile(
    r"^(?:skip|next(?: one| question)?|pass|i (?:don'?t|do not) know|no idea"
    r"|跳过|下一[题个道]|过|不知道|不会|不清楚|我不知道)[。.!！]*$",
    re.IGNORECASE,
)
_TOPIC: Final = re.compile(
    r"^(?:please\s+)?(?:quiz|ask|test|examine|interview)\s+me(?:\s+(?:a\s+question\s+)?(?:on|about))?[\s:,]*"
    r"|^(?:start|begin|go|开始|来吧)\b"
    r"|^(?:请)?(?:来)?(?:考一?考我|考考我|考我|面试我|问我|出(?:一?道|个|几道)?题|提问)(?:一下)?(?:关于|有关)?[：:，,\s]*|^关于",
    re.IGNORECASE,
)
_MARK: Final = re.compile(r"^(?:[-*+]|\d{1,2}[.)、])\s+")
_TAIL: Final = re.compile(r"(?:的(?:问题|题目?|知识|面试题)|方面)?[吧呀啊。.!！?？]*$")
_SAY: Final[dict[str, dict[str, str]]] = {
    "zh": {
        "right": "答得好，说到了 {made}/{all} 个要点（{score:.0%}）。",
        "partly": "答对了一部分，说到了 {made}/{all} 个要点（{score:.0%}）。",
        "wrong": "没有说到要点（0/{all}）。",
        "made": "说到了：",
        "missed": "还应说到：",
        "unfounded": "这些话在这段笔记里没有依据：",
        "skipped": "答案在这里：",
        "next": "下一题：{}",
        "over": "这个话题没有更多的题目了。",
        "sum": "共答 {n} 题，平均得分 {mean:.0%}。",
        "none": "还没有答过题。",
        "gone": "出题的笔记已经变了，换一题。",
    },
    "en": {
        "right": "Well answered: {made} of {all} points ({score:.0%}).",
        "partly": "Partly right: {made} of {all} points ({score:.0%}).",
        "wrong": "None of the {all} points was made.",
        "made": "You said:",
        "missed": "Still missing:",
        "unfounded": "This part of the notes does not support:",
        "skipped": "Here is the answer:",
        "next": "Next question: {}",
        "over": "There are no more questions on this topic.",
        "sum": "{n} answered, mean score {mean:.0%}.",
        "none": "Nothing was answered yet.",
        "gone": "The note of that question has changed; here is another one.",
    },
}


@dataclass
class _Quiz:
    """What the session keeps of a quiz."""

    asked: Asked | None = None
    seen: list[tuple[str, int]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> _Quiz:
        """From the session; whatever is malformed there begins anew."""
        try:
            asked = Asked(**given["asked"]) if given.get("asked") else None
            seen = [(str(document), int(line)) for document, line in given.get("seen", ())]
            return cls(asked, seen, [float(score) for score in given.get("scores", ())])
        except (TypeError, ValueError, KeyError):
            return cls()

    def to_json(self) -> dict[str, Any]:
        return {
            "asked": self.asked.to_json() if self.asked else None,
            "seen": [list(place) for place in self.seen],
            "scores": self.scores,
        }


class _Reply:
    """The text of a turn, with the citations it makes on the way."""

    def __init__(self, turn: TurnState) -> None:
        self._turn = turn
        self.lines: list[str] = []
        self.citations: list[Citation] = []
        self._said: dict[int, list[str]] = {}

    def say(self, text: str) -> None:
        self.lines.append(text)

    def quote(self, hit: Hit, points: tuple[str, ...]) -> None:
        """Points of a passage, word for word, with its number."""
        for number, _, _ in self._turn.add([hit]):
            self.lines.extend(f"- {_MARK.sub('', one_line(point, 400))} [{number}]" for point in points)
            earlier = self._said.setdefault(number, [])
            earlier.extend(points)
            self.citations = [c for c in self.citations if c.marker != number]
            self.citations.append(_cited(self._turn, number, hit, earlier))


def quiz(task: Task) -> Outcome:
    """One turn of a quiz: a topic gets a question, a reply gets its grade and the next question."""
    state = _Quiz.read(task.state.get(KEY, {}))
    turn = task.turn()
    reply = _Reply(turn)
    chat = task.parts.chat.structured(turn.budget.spend)
    text = task.question
    match = _TOPIC.match(text)
    asked = state.asked
    if asked is None or match:
        topic = _TAIL.sub("", text[match.end() :] if match else text).strip()
        language = answer_language(text)
        if state.asked is None and _STOP.match(text):
            reply.say(_summary(state, language))
            return _outcome(task, reply, turn, state)
        found = _ask_next(task, state, topic, language, chat)
        if found is None:
            return Outcome(Composed(ABSTENTION[language], (), (), 0, abstained=True), turn, text, state=task.state)
        reply.say(found)
        return _outcome(task, reply, turn, state)
    say = _SAY[asked.language]
    if _STOP.match(text):
        state.asked = None
        reply.say(_summary(state, asked.language))
        return _outcome(task, reply, turn, state)
    place = passage_of(turn.index, asked)
    if place is None:
        reply.say(say["gone"])
    elif _SKIP.match(text):
        state.scores.append(0.0)
        reply.say(say["skipped"])
        reply.quote(place[0], tuple(points_of(place[1].text)))
    else:
        task.emit(Thought("对照笔记评分…" if asked.language == "zh" else "grading the reply against the notes…"))
        graded = grade(turn.index, asked, *place, text, chat)
        state.scores.append(graded.score)
        tell(reply, place[0], graded, asked.language)
    following = _ask_next(task, state, asked.topic, asked.language, chat)
    if following is None:
        state.asked = None
        reply.say(f"\n{say['over']} {_summary(state, asked.language)}")
    else:
        reply.say("\n" + say["next"].format(following))
    return _outcome(task, reply, turn, state)


def tell(reply: _Reply, hit: Hit, graded: Graded, language: str) -> None:
    """A grade in words: what was said, what is missing, what has no basis."""
    say = _SAY[language]
    count = {"made": len(graded.made), "all": len(graded.made) + len(graded.missed), "score": graded.score}
    reply.say(say[graded.grade].format(**count))
    for points, label in ((graded.made, "made"), (graded.missed, "missed")):
        if points:
            reply.say(say[label])
            reply.quote(hit, points)
    if graded.unfounded:
        reply.say(say["unfounded"])
        reply.lines.extend(f"- {sentence}" for sentence in graded.unfounded)


def _ask_next(task: Task, state: _Quiz, topic: str, language: str, chat: StructuredChat | None) -> str | None:
    found = choose(task.parts.index, topic, state.seen)
    if found is None:
        return None
    hit, part = found
    task.emit(Thought("从笔记里出一道题…" if language == "zh" else "making a question from the notes…"))
    state.asked = ask(hit, part, topic, language, chat)
    state.seen.append((hit.document, part.line))
    return state.asked.question


def _summary(state: _Quiz, language: str) -> str:
    scores = state.scores
    if not scores:
        return _SAY[language]["none"]
    return _SAY[language]["sum"].format(n=len(scores), mean=sum(scores) / len(scores))


def _outcome(task: Task, reply: _Reply, turn: TurnState, state: _Quiz) -> Outcome:
    composed = Composed("\n".join(reply.lines), tuple(reply.citations), (), 0, abstained=False)
    return Outcome(composed, turn, task.question, state={**task.state, KEY: state.to_json()})


def _cited(turn: TurnState, number: int, hit: Hit, points: list[str]) -> Citation:
    span = best_span(points, hit.chunk, turn.index.idf)
    return Citation(
        marker=number,
        document=hit.document,
        heading=hit.heading,
        start_line=span.start_line,
        end_line=span.end_line,
        start=span.start,
        end=span.end,
        quote=span.quote,
        verdict="supported",
        page=turn.index.page(hit.document, span.start) if hit.page is not None else None,
    )
