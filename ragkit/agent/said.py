"""What the messages of a turn come to: the model's last words, and whether they are an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage

from ragkit.agent.json_protocol import GAVE_UP

if TYPE_CHECKING:
    from langchain.agents.middleware.types import ModelResponse


def last_words(messages: list[BaseMessage]) -> AIMessage | None:
    """The final message, if the loop came so far."""
    last = messages[-1]
    return last if isinstance(last, AIMessage) and not last.tool_calls else None


def reply_of(response: ModelResponse[Any]) -> AIMessage:
    """What the model replied, among the messages of a response."""
    return next(message for message in reversed(response.result) if isinstance(message, AIMessage))


def usable(sample: AIMessage) -> bool:
    """Whether a sample answers, or says that it gives up."""
    return bool(sample.text.strip() or sample.additional_kwargs.get(GAVE_UP))
