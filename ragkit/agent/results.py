"""What tools said, word for word, where that was asked for and the model made no sentence of it that holds."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import Final

from langchain_core.messages import BaseMessage, ToolMessage

from ragkit.agent.approval import REFUSED
from ragkit.agent.requests import asked_for
from ragkit.agent.spotlight import Spotlight
from ragkit.agent.turn import TurnState
from ragkit.citations.support import numbers_in
from ragkit.text.language import answer_language
from ragkit.text.sanitize import one_line
from ragkit.text.tokens import query_terms

_LABELS: Final = {
    "calculate": {"zh": "计算结果：", "en": "Computed:"},
    "list_notes": {"zh": "笔记：", "en": "Notes:"},
}
_REMEMBERED: Final = {"zh": "已记住：{}", "en": "Remembered: {}"}
_KNOWN: Final = {"zh": "已经记得：{}", "en": "Known already: {}"}
_REFUSED: Final = {"zh": "没有记住（没有得到你的同意）：{}", "en": "Not remembered, for you did not agree: {}"}
_NOT_KEPT: Final = {"zh": "没能记住：{}", "en": "It could not be remembered: {}"}
_KEPT: Final = (("Remembered", _REMEMBERED), ("That is known", _KNOWN), (REFUSED, _REFUSED))
"""How an observation of ``remember`` begins, and what is said of it."""
_HEAD: Final = re.compile(r"\[\d+\] tool:")
"""The line by which the model names a result as a source; without the passage its number would mean nothing."""
_UNIT: Final = re.compile(
    r"(?<=[\d%])\s*(?:[KMGTP]i?B|bytes?|bits?|FLOPs?|tokens?|percent|dollars?|hours?|seconds?|ms|字节|比特|秒|小时|元|块钱?|个|次|倍|万|亿)(?![A-Za-z])",
    re.IGNORECASE,
)
DIRECT: Final = "ragkit_direct"
"""Key in ``additional_kwargs`` of a final message: what a tool returned, which is the answer."""
_LINE: Final = 300
_LINES: Final = 61
_ROUNDED: Final = 0.01
"""How far a result in words may be from the one that was computed, relative to it."""


_SAYING: Final = re.compile(
    r"计算|结果|答案|等于|大约|约|因此|所以|也就是|得到|总共|一共|分别|其中|是|为|得|共|和|即|了|的|则"
    r"|\b(?:the|results?|is|are|equals?|equal|to|about|approximately|roughly|answers?|so|and|of|calculation|which|gives?|it|that)\b",
    re.IGNORECASE,
)
_SIGNS: Final = re.compile(r"[\d.,()+\-*/^%×÷=≈\s]+")


def says_a_result(turn: TurnState, sentence: str) -> bool:
    """Whether a sentence says what the calculator found and nothing else: no passage is its source."""
    numbers = numbers_in(sentence)
    given = {n for s in turn.steps if s.tool == "calculate" for n in numbers_in(str(s.arguments.get("expression", "")))}
    if not any(turn.computed(number) for number in numbers):
        return False
    if any(number not in given and not turn.computed(number) for number in numbers):
        return False
    return not query_terms(_SIGNS.sub(" ", _SAYING.sub(" ", _UNIT.sub(" ", sentence))))


def tool_results(turn: TurnState, said: str | None = None) -> str:
    """The results of the calculator, the list of notes and the memory, as far as the question asks for them.

    Args:
        turn: Holds the question and the calls.
        said: An answer; what it says of them is left out. None: nothing was said.

    Returns:
        Lines in the language of the question; empty if it asks for none of them, or none was called with success.
    """
    asked, language = asked_for(turn.question), answer_language(turn.question)
    parts: list[str] = []
    for tool, label in _LABELS.items():
        found = [s.observation for s in turn.steps if s.tool == tool and not s.failed]
        if said is not None:
            found = [text for text in found if tool == "calculate" and not _says(said, text)]
        if found and tool in asked:
            parts.append(label[language])
            lines = [line for text in found for line in text.splitlines()[:_LINES] if line and not _HEAD.match(line)]
            parts += [f"- {one_line(line, _LINE)}" for line in lines]
    for step in turn.steps:
        if step.tool == "remember" and step.tool in asked and str(step.arguments.get("text", "")) not in (said or ""):
            words = next((words for sign, words in _KEPT if step.observation.startswith(sign)), _NOT_KEPT)
            parts.append(words[language].format(one_line(str(step.arguments.get("text", "")), _LINE)))
    return "\n".join(parts)


def direct_result(messages: Sequence[BaseMessage], direct: Collection[str], spotlight: Spotlight) -> str:
    """What the last calls returned, where all of them are calls of tools whose result is the answer; else empty.

    Args:
        messages: The conversation so far.
        direct: Names of such tools.
        spotlight: Has marked what they returned.
    """
    last: list[BaseMessage] = []
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            break
        if message.name not in direct or message.status == "error":
            return ""
        last.insert(0, message)
    texts = (spotlight.plain(message.text) for message in last)
    return "\n\n".join(re.sub(rf"\A{_HEAD.pattern}[^\n]*\n", "", text) for text in texts)


def _says(said: str, calculation: str) -> bool:
    """Whether a text holds the result of a calculation, be it rounded."""
    try:
        result = float(calculation.rpartition("=")[2])
        numbers = [float(number.rstrip("%").replace(",", "")) for number in numbers_in(said)]
    except ValueError:
        return False
    return any(math.isclose(number, result, rel_tol=_ROUNDED, abs_tol=1e-9) for number in numbers)
