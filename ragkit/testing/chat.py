"""A chat model that plays a script and remembers what it was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, InstanceOf

_WORD: Final = re.compile(r"\s*[\u3400-\u9fff]|\s*[^\s\u3400-\u9fff]+\s*|\s+")
"""A Han character, or a run of other characters with the white space behind it."""


@dataclass(frozen=True)
class ScriptedCall:
    """One call of the model: what it was sent."""

    messages: tuple[BaseMessage, ...]
    kwargs: dict[str, Any]
    """``stop``, ``tools`` in OpenAI's form, and whatever else was bound or passed."""


class ScriptedChatModel(BaseChatModel):
    """Replays `replies`, one a call: a string, an ``AIMessage`` (with tool calls), or an exception to raise.

    Raises:
        RuntimeError: On a call after the last reply; a test that gets there asked too often.
    """

    replies: list[str | InstanceOf[AIMessage] | InstanceOf[BaseException]]
    calls: list[ScriptedCall] = Field(default_factory=list)
    model: str = "scripted"

    @property
    def _llm_type(self) -> str:
        return "ragkit-scripted"

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Bind tools; they arrive in the ``kwargs`` of each call, in OpenAI's form."""
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages, stop, kwargs))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reply = self._next(messages, stop, kwargs)
        for word in _WORD.findall(reply.text):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        if reply.tool_calls or reply.usage_metadata or reply.additional_kwargs or not reply.text:
            yield ChatGenerationChunk(message=_rest(reply))

    def _next(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> AIMessage:
        at = len(self.calls)
        self.calls.append(ScriptedCall(tuple(messages), {**kwargs, **({"stop": stop} if stop else {})}))
        if at >= len(self.replies):
            raise RuntimeError(f"call {at + 1} of a script of {len(self.replies)} replies")
        reply = self.replies[at]
        if isinstance(reply, BaseException):
            raise reply
        return AIMessage(content=reply) if isinstance(reply, str) else reply


def _rest(reply: AIMessage) -> AIMessageChunk:
    """What follows the words of a reply: its tool calls, usage and extras."""
    return AIMessageChunk(
        content="",
        tool_call_chunks=[
            tool_call_chunk(
                name=call["name"], args=json.dumps(call["args"], ensure_ascii=False), id=call["id"], index=i
            )
            for i, call in enumerate(reply.tool_calls)
        ],
        usage_metadata=reply.usage_metadata,
        additional_kwargs=reply.additional_kwargs,
    )
