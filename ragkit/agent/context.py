"""How much a chat model can read, how that is counted, and what its refusals teach."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import BaseMessage

from ragkit.agent.fitting import TEXT_BLOCKS, message_text
from ragkit.models.chat import ChatModel
from ragkit.models.tokens import LlamaCounter, TokenCounter, estimate_tokens
from ragkit.settings import Settings

_PER_MESSAGE: Final = 16
"""Tokens of the chat template, and of what the JSON protocol writes around a call or a result."""
_PER_BLOCK: Final = 1500
"""Tokens of an image or another block that is no text."""
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
        self._reply_tokens = reply_tokens
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
        # The JSON protocol may send a bad reply back twice, with the reason.
        json_protocol = self._chat.tool_calling == "json"
        reply = 3 * self._reply_tokens + 300 if json_protocol else max(self._reply_tokens, 1024)
        room = self.limit - min(reply, self.limit // 3)
        return room if self._cap is None else min(room, self._cap)

    def count(self, text: str) -> int:
        """Tokens of `text`: exact for a local model, rather too many for another."""
        if self._count is None:
            self._count = self._counter()
        return self._count(text)

    def size(self, message: BaseMessage) -> int:
        """Tokens of a message, with what the chat template puts around it."""
        blocks = [] if isinstance(message.content, str) else message.content
        pictures = sum(1 for block in blocks if isinstance(block, dict) and block.get("type") not in TEXT_BLOCKS)
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
