"""Prompts that fit the model's context window, whatever tools returned and however long the talk was.

What is given up first is what helps least: old tool results are shortened, then earlier turns of
the conversation leave, then old calls with their results; the newest result is shortened last. The
system prompt stays whole. Calls and their results stay together. Every cut is marked where it was
made, and told to the user.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from ragkit.agent.json_protocol import THOUGHT
from ragkit.errors import ModelError
from ragkit.models.chat import ChatModel
from ragkit.models.tokens import LlamaCounter, TokenCounter, estimate_tokens
from ragkit.settings import Settings
from ragkit.text.language import answer_language

_PER_MESSAGE: Final = 16
"""Tokens of the chat template, and of what the JSON protocol writes around a call or a result."""
_PER_BLOCK: Final = 1500
"""Tokens of an image or another block that is no text."""
_SHORT: Final = 300
"""Characters that are left of an old tool result."""
_LEAST: Final = 200
"""Characters that are left of the newest one in any case."""
_ARGUMENT: Final = 200
"""Characters that are left of an argument of a call."""
_UNKNOWN: Final = 32_768
"""Window of an endpoint that nothing is known of, in tokens."""
_OVERFLOW: Final = re.compile(
    r"context_length_exceeded|maximum context length|exceeds? the (?:available |model's )?(?:context|maximum)|"
    r"context (?:size|length|window)|prompt is too long|too many (?:input )?tokens|input is too long|"
    r"reduce the length of the (?:messages|prompt)",
    re.IGNORECASE,
)
_STATED: Final = re.compile(
    r"maximum context length (?:is|of) (\d[\d,]*)|context (?:size|length|window) (?:is |of |\()(\d[\d,]*)|"
    r"n_ctx\W{1,5}(\d+)|> (\d[\d,]*) maximum|allowed \((\d[\d,]*)",
    re.IGNORECASE,
)
_SURELY: Final = 0.6
"""A prompt that is estimated at this share of the room fits, whatever its text is; counting is spared."""
_SMALLEST: Final = 256
_AGAIN: Final = 2 / 3
"""Share of a refused prompt that is sent again, where the count was wrong or no limit was stated."""


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


class ContextWindow:
    """How much a chat model can read, and how that is counted. It outlives a question and learns from refusals.

    Args:
        chat: The model; not loaded before the window is used.
        settings: ``context_tokens`` for a local model, ``endpoint_context_tokens`` for another.
        reply_tokens: The longest reply.
    """

    def __init__(self, chat: ChatModel, settings: Settings, reply_tokens: int) -> None:
        self._chat = chat
        self._settings = settings
        # The JSON protocol may send a bad reply back twice, with the reason.
        self._reply = (3 * reply_tokens + 300) if chat.tool_calling == "json" else max(reply_tokens, 1024)
        self._limit: int | None = None
        self._cap: int | None = None
        self._count: TokenCounter | None = None

    @property
    def limit(self) -> int:
        """Tokens of prompt and reply together."""
        if self._limit is None:
            self._limit = self._known_limit()
        return self._limit

    @property
    def room(self) -> int:
        """Tokens of the prompt: the window without the reply, which is at most a third of it."""
        room = self.limit - min(self._reply, self.limit // 3)
        return room if self._cap is None else min(room, self._cap)

    def count(self, text: str) -> int:
        """Tokens of `text`: exact for a local model, rather too many for another."""
        if self._count is None:
            self._count = self._counter()
        return self._count(text)

    def size(self, message: BaseMessage) -> int:
        """Tokens of a message, with what the chat template puts around it."""
        blocks = [] if isinstance(message.content, str) else message.content
        pictures = sum(1 for block in blocks if isinstance(block, dict) and block.get("type") not in _TEXTS)
        return self.count(message_text(message)) + _PER_MESSAGE + _PER_BLOCK * pictures

    def surely_holds(self, messages: Sequence[BaseMessage]) -> bool:
        """Whether so little is sent that nothing need be counted."""
        total = sum(estimate_tokens(message_text(message)) + _PER_MESSAGE for message in messages)
        return total <= _SURELY * self.room and all(isinstance(message.content, str) for message in messages)

    def refused(self, error: BaseException, sent: int) -> bool:
        """Whether `error` says that a prompt was too long; if so, the window is smaller from then on.

        Args:
            error: What the model's client raised.
            sent: Tokens of the prompt, as counted here.
        """
        text = _chain(error)
        if not (_is_overflow(error) or _OVERFLOW.search(text)):
            return False
        stated = [int(number.replace(",", "")) for found in _STATED.findall(text) for number in found if number]
        self._limit = min([self.limit, *(max(number, _SMALLEST) for number in stated)])
        if sent <= self.room:
            self._cap = max(int(sent * _AGAIN), _SMALLEST)
        return True

    def _known_limit(self) -> int:
        if self._chat.local:
            return self._settings.context_tokens
        if self._settings.endpoint_context_tokens is not None:
            return self._settings.endpoint_context_tokens
        known = (getattr(self._chat.model(), "profile", None) or {}).get("max_input_tokens")
        return known if isinstance(known, int) and known >= _SMALLEST else _UNKNOWN

    def _counter(self) -> TokenCounter:
        if not self._chat.local:
            return estimate_tokens
        model: Any = self._chat.model()
        base, key = getattr(model, "openai_api_base", None), getattr(model, "openai_api_key", None)
        return LlamaCounter(base, key.get_secret_value()) if base and key is not None else estimate_tokens


_TEXTS: Final = {"text", "tool_use", "tool_call", "reasoning", "thinking"}


def message_text(message: BaseMessage) -> str:
    """Everything of a message that is sent as text: its content, its calls and the thought behind them."""
    content = message.content
    text = content if isinstance(content, str) else json.dumps(_without_pictures(content), ensure_ascii=False)
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = [{"name": call["name"], "arguments": call["args"]} for call in message.tool_calls]
        text += json.dumps(calls, ensure_ascii=False, default=str) + str(message.additional_kwargs.get(THOUGHT, ""))
    return text


def _without_pictures(content: list[Any]) -> list[Any]:
    return [block for block in content if not isinstance(block, dict) or block.get("type") in _TEXTS]


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
        fitter.shorten_newest_calls,
        fitter.shorten_newest_results,
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
        self._shortened: set[str] = set()
        """Identities of the calls whose results were shortened."""

    def cuts(self) -> Cuts:
        present = {message.tool_call_id for message in self.messages if isinstance(message, ToolMessage)}
        return Cuts(len(self._shortened & present), self._calls, self._turns, self._cut_question)

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
        for at in range(max(self._newest_call(), 0), len(self.messages)):
            message = self.messages[at]
            if self.total > self._room and isinstance(message, AIMessage) and message.tool_calls:
                self._replace(at, _with_short_arguments(message))

    def shorten_newest_results(self) -> None:
        newest = self._results()[1]
        for at in newest[:-1]:
            if self.total > self._room:
                self._shorten(at, _SHORT)
        if newest and self.total > self._room:
            self._shorten_to(newest[-1], self._sizes[newest[-1]] - (self.total - self._room))

    def shorten_question(self) -> None:
        at = self._question()
        if at < 0:
            return
        text = self.messages[at].text
        room = self._sizes[at] - (self.total - self._room)
        keep = len(text)
        while keep > _LEAST and self.total > self._room:
            keep = max(int(keep * min(0.9, max(room, 1) / self._sizes[at])), _LEAST)
            cut = len(text) - keep
            middle = f" …({cut} characters cut)… "
            self._replace(at, _with_text(self.messages[at], text[: keep // 2] + middle + text[len(text) - keep // 2 :]))
            self._cut_question = cut

    def _shorten(self, at: int, keep: int) -> None:
        message = self.messages[at]
        text = message.text
        if isinstance(message.content, str) and len(text) <= keep:
            return
        cut = len(text) - keep
        self._replace(at, _with_text(message, f"{text[:keep]} …({max(cut, 0)} characters cut to fit)"))
        if isinstance(message, ToolMessage):
            self._shortened.add(message.tool_call_id)

    def _shorten_to(self, at: int, tokens: int) -> None:
        keep = len(self.messages[at].text)
        whole = self.messages[at]
        while self.total > self._room and keep > _LEAST:
            keep = max(int(keep * min(0.9, max(tokens, 1) / self._sizes[at])), _LEAST)
            self._replace(at, whole)
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


def _with_text(message: BaseMessage, text: str) -> BaseMessage:
    return message.model_copy(update={"content": text})


def _with_short_arguments(message: AIMessage) -> AIMessage:
    calls = [
        {**call, "args": {name: _short_argument(value) for name, value in call["args"].items()}}
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


def _short_argument(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= _ARGUMENT else f"{text[:_ARGUMENT]} …({len(text) - _ARGUMENT} characters cut)"


def _chain(error: BaseException) -> str:
    """What an error and those behind it say."""
    texts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        texts.append(str(current)[:2000])
        current = current.__cause__ or current.__context__
    return "\n".join(texts)


def _is_overflow(error: BaseException) -> bool:
    return isinstance(error, ContextOverflowError) or isinstance(error.__cause__, ContextOverflowError)
