"""How a small local model answers: from a short sheet of numbered lines, naming lines before it writes.

A 1.5B model that has to answer within the transcript of its tool calls repeats headings and loses the question. Given
the lines nearest to the question and nothing else, and made to name those that answer it first, it does much better
in half of the time (``docs/strategies.md``). What it writes is split into sentences; each gets the passage of the line
it is taken from as its source, and is checked like any other.

Evidence before the answer is the order of Menick et al. 2022, "Teaching language models to support answers with
verified quotes" (arXiv:2203.11147).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from ragkit.agent.reply_parsing import first_fault, partial_object, reply_object, unescape_latex
from ragkit.text.sentences import sentence_spans
from ragkit.text.tokens import tokenize

Idf = Callable[[str], float]
Sentences = list[tuple[str, list[int]]]
"""Sentences with the numbers of the passages they are taken from."""
_FORM: Final = (
    'Reply with one JSON object {"lines": [numbers of the one to three lines that answer the question], "answer": the '
    "answer in one to three sentences, with nothing that these lines do not say}. "
    'If no line answers it: {"lines": [], "answer": ""}.'
)
_MOST: Final = 3
_ANSWER_CHARS: Final = 400
_NUMBER: Final = re.compile(r"(?:^\d{1,2}|[:：]\s*1)\.\Z")
_NAMED: Final = 0.25
"""Share of a sentence's terms that a line which the model named is ahead of others."""


def rules(system: str) -> SystemMessage:
    """What every prompt of an agent begins with, whatever is asked: its system prompt and the form of a reply."""
    return SystemMessage(f"{system}\n\n{_FORM}".lstrip())


@dataclass(frozen=True)
class Line:
    """One line of a sheet.

    Args:
        passage: Number of the passage it stands in.
        text: Without line breaks, safe to show to a model.
    """

    passage: int
    text: str


@dataclass(frozen=True)
class Sheet:
    """What is answered from.

    Args:
        question: With the language to answer in.
        blocks: Where lines come from, and the lines, block by block; all lines are numbered through from 1.
        wrap: Puts what comes from notes between the marks of the question, see `ragkit.agent.spotlight`.
        idf: Inverse document frequency of an analysed term.
        foreign: Whether it is answered in the language of its lines, which is not that of the question; such an
            answer is not shown before it is translated.
    """

    question: str
    blocks: tuple[tuple[str, tuple[Line, ...]], ...]
    wrap: Callable[[str], str]
    idf: Idf
    foreign: bool = False

    @cached_property
    def lines(self) -> list[Line]:
        """All lines in their order."""
        return [line for _, lines in self.blocks for line in lines]

    @cached_property
    def _terms(self) -> list[set[str]]:
        return [set(tokenize(line.text)) for line in self.lines]

    def messages(self, system: str) -> list[BaseMessage]:
        """The prompt: `rules`, then the lines and the question."""
        shown: list[str] = []
        number = 0
        for heading, lines in self.blocks:
            shown.append(heading)
            for line in lines:
                number += 1
                shown.append(f"{number}: {line.text}")
        material = self.wrap("\n".join(shown))
        return [rules(system), HumanMessage(f"{material}\n\n{self.question}")]

    def schema(self) -> dict[str, Any]:
        """JSON schema of the reply."""
        numbers = {"type": "array", "items": {"enum": list(range(1, len(self.lines) + 1))}, "maxItems": _MOST}
        return {
            "type": "object",
            "properties": {"lines": numbers, "answer": {"type": "string", "maxLength": _ANSWER_CHARS}},
            "required": ["lines", "answer"],
            "additionalProperties": False,
        }

    def read(self, text: str) -> Sentences:
        """The sentences of a reply, empty if it says that no line answers. One that was cut off keeps those it ended.

        Raises:
            ValueError: Says in at most 400 characters what is wrong and where, for the model to read.
        """
        try:
            reply = reply_object(text)
        except ValueError:
            reply = partial_object(text[text.find("{") :])
            reply["answer"] = "\n".join(_whole_sentences(str(reply.get("answer", "")))[:-1])
            if not reply["answer"]:
                raise
        if fault := first_fault(reply, self.schema(), "reply"):
            raise ValueError(fault)
        return self._with_sources(reply) if reply["lines"] else []

    def written(self, text: str) -> Sentences:
        """What can be shown of a reply that is still being written; the last sentence has no source yet."""
        if self.foreign or '"answer"' not in text:
            return []
        reply = partial_object(text[text.find("{") :])
        if not isinstance(reply.get("answer"), str) or not isinstance(reply.get("lines"), list):
            return []
        sentences = self._with_sources(reply)
        return [*sentences[:-1], (sentences[-1][0], [])] if sentences else []

    def _with_sources(self, reply: dict[str, Any]) -> Sentences:
        answer = unescape_latex(reply["answer"])
        if len(reply["answer"]) >= _ANSWER_CHARS - 1 and len(whole := _whole_sentences(answer)) > 1:
            # It was cut at its longest, within a sentence.
            answer = answer[: answer.rfind(whole[-1])].rstrip()
        return [(sentence, self._sources(sentence, reply["lines"])) for sentence in _whole_sentences(answer)]

    def _sources(self, sentence: str, named: Sequence[int]) -> list[int]:
        """The passage of the line that a sentence is taken from: it holds most of its terms, or the model named it."""
        terms = set(tokenize(sentence))
        whole = sum(map(self.idf, terms)) or 1.0

        def nearness(at: int) -> float:
            held = sum(map(self.idf, terms & self._terms[at])) / whole
            return held + (_NAMED if at + 1 in named else 0.0)

        return [self.lines[max(range(len(self.lines)), key=nearness)].passage] if self.lines else []


def _whole_sentences(text: str) -> list[str]:
    """Sentences up to a full stop: what a semicolon parts shares its source, the number of an item is none itself."""
    whole: list[str] = []
    end = 0
    for start, stop in sentence_spans(text):
        if whole and (whole[-1].endswith((";", "；")) or _NUMBER.search(whole[-1])):
            whole[-1] += text[end:stop]
        else:
            whole.append(text[start:stop])
        end = stop
    return whole
