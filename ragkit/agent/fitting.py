"""A conversation shortened until it fits, what helps least given up first.

Old tool results are shortened, then earlier turns of the conversation leave, then old calls with
their results; the newest result is shortened last. The system prompt stays whole. Calls and their
results stay together. Every cut is marked where it was made, and told to the user.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from ragkit.agent.json_protocol import HIDDEN_THOUGHT, THOUGHT
from ragkit.errors import ModelError
from ragkit.text.language import answer_language

_SHORT: Final = 300
"""Characters that are left of an old tool result."""
_LEAST: Final = 200
"""Characters that are left of the newest one in any case."""
_ARGUMENT: Final = 200
"""Characters that are left of an argument of a call."""
_FRAME: Final = re.compile(r"(<data \w+>[^\n]*\n)(.*)(\n</data \w+>)", re.DOTALL)
"""See `ragkit.agent.spotlight`."""


@dataclass(frozen=True)
class Cuts:
    """What was left out of a prompt."""

    results: int = 0
    """Tool results that were shortened."""
    calls: int = 0
    """Earlier calls that left with their results."""
    turns: int = 0
    """Earlier messages of the conversation that left."""
    question: int = 0
    """Characters taken out of the question."""

    def __bool__(self) -> bool:
        return bool(self.results or self.calls or self.turns or self.question)

    def says(self, question: str, limit: int) -> str:
        """One line for the user, in the language of the question."""
        language = answer_language(question)
        parts = [
            form.format(count)
            for count, form in zip((self.results, self.calls, self.turns, self.question), _PARTS[language], strict=True)
            if count
        ]
        return _SAYS[language].format(limit=limit, parts=_AND[language].join(parts))


_SAYS: Final = {
    "zh": "为放入模型的上下文窗口（{limit:,} 词元），{parts}。",
    "en": "To fit the model's context window ({limit:,} tokens), {parts}.",
}
_AND: Final = {"zh": "，", "en": ", "}
_PARTS: Final = {
    "zh": (
        "缩短了 {} 条工具结果",
        "略去了 {} 次较早的工具调用",
        "略去了 {} 条较早的对话",
        "从问题中间删去了 {} 个字符",
    ),
    "en": (
        "tool results were shortened: {}",
        "earlier tool calls were left out: {}",
        "earlier messages were left out: {}",
        "characters were taken out of the question: {}",
    ),
}


TEXT_BLOCKS: Final = {"text", "tool_use", "tool_call", "reasoning", "thinking"}


def message_text(message: BaseMessage) -> str:
    """Everything of a message that is sent as text: its content, its calls and the thought behind them."""
    content = message.content
    text = content if isinstance(content, str) else json.dumps(_without_pictures(content), ensure_ascii=False)
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = [{"name": call["name"], "arguments": call["args"]} for call in message.tool_calls]
        text += json.dumps(calls, ensure_ascii=False, default=str) + "".join(
            str(message.additional_kwargs.get(kind, "")) for kind in (THOUGHT, HIDDEN_THOUGHT)
        )
    return text


def _without_pictures(content: list[Any]) -> list[Any]:
    return [block for block in content if not isinstance(block, dict) or block.get("type") in TEXT_BLOCKS]


def fit(
    messages: Sequence[BaseMessage], room: int, size: Callable[[BaseMessage], int]
) -> tuple[list[BaseMessage], Cuts]:
    """Shorten a conversation until it fits.

    Args:
        messages: All but the system prompt; the last human message is the question.
        room: Tokens there are for them.
        size: Tokens of a message.

    Raises:
        ModelError: If not even the question fits, cut to a few hundred characters.
    """
    fitter = _Fitter(messages, room, size)
    for step in (
        fitter.shorten_old_results,
        fitter.drop_history,
        fitter.drop_old_calls,
        fitter.halve_question,
        fitter.shorten_newest_calls,
        fitter.shorten_newest_results,
        fitter.empty_newest_calls,
        fitter.shorten_question,
    ):
        if fitter.total <= room:
            break
        step()
    if fitter.total > room:
        raise ModelError(
            f"The question does not fit the model's context window beside the system prompt ({room:,} tokens left).",
            "Raise context_tokens (a local model) or endpoint_context_tokens, or shorten the agent file.",
        )
    return fitter.messages, fitter.cuts()


class _Fitter:
    """A conversation on its way to fit."""

    def __init__(self, messages: Sequence[BaseMessage], room: int, size: Callable[[BaseMessage], int]) -> None:
        self.messages = list(messages)
        self._room = room
        self._size = size
        self._sizes = [size(message) for message in self.messages]
        self.total = sum(self._sizes)
        self._calls = self._turns = self._cut_question = 0
        self._asked = ""
        """The question before its middle was cut."""
        self._whole: dict[str, BaseMessage] = {}
        """Results that were shortened, as they were, by the identity of their call."""

    def cuts(self) -> Cuts:
        present = {message.tool_call_id for message in self.messages if isinstance(message, ToolMessage)}
        return Cuts(len(self._whole.keys() & present), self._calls, self._turns, self._cut_question)

    def shorten_old_results(self) -> None:
        for at in self._results()[0]:
            if self.total <= self._room:
                return
            self._shorten(at, _SHORT)

    def drop_history(self) -> None:
        while self.total > self._room and self._question() > 0:
            # A call and its results are one.
            end = self._unit_end(0, self._question())
            self._turns += end
            self._drop(0, end)

    def drop_old_calls(self) -> None:
        while self.total > self._room:
            first, newest = self._question() + 1, self._newest_call()
            if first >= newest:
                break
            end = self._unit_end(first, newest)
            self._calls += 1
            self._drop(first, end)
        if self._calls:
            at = max(self._question(), 0)
            note = f"(Earlier tool calls and their results left out to fit: {self._calls}.)"
            self._replace(at, _with_text(self.messages[at], f"{self.messages[at].text}\n{note}"))

    def shorten_newest_calls(self) -> None:
        self._shorten_calls(_ARGUMENT)

    def shorten_newest_results(self) -> None:
        newest = self._results()[1]
        for keep in (_SHORT, 0):
            for at in newest[:-1]:
                if self.total > self._room:
                    self._shorten(at, keep)
        if newest and self.total > self._room:
            self._shorten_to(newest[-1], self._sizes[newest[-1]] - (self.total - self._room))

    def halve_question(self) -> None:
        """A question longer than half of the room leaves the other half to what was found for it."""
        at = self._question()
        if at >= 0 and self._results()[1]:
            half = max(self._room // 2, self._sizes[at] - (self.total - self._room))
            self._cut_middle(at, half)

    def shorten_question(self) -> None:
        at = self._question()
        if at >= 0:
            self._cut_middle(at, self._sizes[at] - (self.total - self._room))

    def _cut_middle(self, at: int, tokens: int) -> None:
        text = self._asked = self._asked or self.messages[at].text
        keep = len(text) - self._cut_question
        while keep > _LEAST and self._sizes[at] > tokens:
            keep = max(int(keep * min(0.9, max(tokens, 1) / self._sizes[at])), _LEAST)
            cut = len(text) - keep
            middle = f" …({cut} characters cut)… "
            self._replace(at, _with_text(self.messages[at], text[: keep // 2] + middle + text[len(text) - keep // 2 :]))
            self._cut_question = cut

    def empty_newest_calls(self) -> None:
        self._shorten_calls(0)

    def _shorten_calls(self, keep: int) -> None:
        at = self._newest_call()
        message = self.messages[at] if at >= 0 else None
        if isinstance(message, AIMessage):
            self._replace(at, _with_short_arguments(message, keep))

    def _shorten(self, at: int, keep: int) -> None:
        """Leave so many characters of a result."""
        message = self.messages[at]
        assert isinstance(message, ToolMessage)
        if len(message_text(message)) > keep:
            whole = self._whole.setdefault(message.tool_call_id, message)
            self._replace(at, _with_text(whole, _shortened(whole.text, keep)))

    def _shorten_to(self, at: int, tokens: int) -> None:
        keep = len(self.messages[at].text)
        while self.total > self._room and keep > _LEAST:
            keep = max(int(keep * min(0.9, max(tokens, 1) / self._sizes[at])), _LEAST)
            self._shorten(at, keep)

    def _replace(self, at: int, message: BaseMessage) -> None:
        self.messages[at] = message
        self.total -= self._sizes[at]
        self._sizes[at] = self._size(message)
        self.total += self._sizes[at]

    def _drop(self, start: int, end: int) -> None:
        self.total -= sum(self._sizes[start:end])
        del self.messages[start:end]
        del self._sizes[start:end]

    def _question(self) -> int:
        """Where the question stands: the last human message, -1 without any."""
        return next(
            (i for i in range(len(self.messages) - 1, -1, -1) if isinstance(self.messages[i], HumanMessage)), -1
        )

    def _newest_call(self) -> int:
        """Where the last reply with tool calls stands, -1 without any."""
        return next(
            (
                i
                for i in range(len(self.messages) - 1, -1, -1)
                if isinstance(message := self.messages[i], AIMessage) and message.tool_calls
            ),
            -1,
        )

    def _results(self) -> tuple[list[int], list[int]]:
        """Where older and where the newest tool results stand."""
        newest = self._newest_call()
        found = [i for i, message in enumerate(self.messages) if isinstance(message, ToolMessage)]
        return [i for i in found if i < newest], [i for i in found if i > newest]

    def _unit_end(self, start: int, end: int) -> int:
        """Behind the message at `start` and, if it is a call, behind its results."""
        at = start + 1
        while at < end and isinstance(self.messages[at], ToolMessage):
            at += 1
        return at


def _shortened(text: str, keep: int) -> str:
    """The start of a tool result with a mark, inside the frame that sets it off."""
    if frame := _FRAME.fullmatch(text):
        return f"{frame[1]}{_shortened(frame[2], keep)}{frame[3]}"
    return f"{text[:keep]} …({max(len(text) - keep, 0)} characters cut to fit)"


def _with_text(message: BaseMessage, text: str) -> BaseMessage:
    return message.model_copy(update={"content": text})


def _with_short_arguments(message: AIMessage, keep: int) -> AIMessage:
    """A reply whose calls have arguments of at most so many characters each; with 0, none at all."""
    calls = [
        {**call, "args": {name: _short_argument(value, keep) for name, value in call["args"].items() if keep}}
        for call in message.tool_calls
    ]
    extra = {key: value for key, value in message.additional_kwargs.items() if key != "tool_calls"}
    text = message.text
    return AIMessage(
        content=text if len(text) <= _SHORT else f"{text[:_SHORT]} …({len(text) - _SHORT} characters cut)",
        tool_calls=calls,
        id=message.id,
        additional_kwargs=extra,
    )


def _short_argument(value: Any, keep: int) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= keep else f"{text[:keep]} …({len(text) - keep} characters cut)"
