"""A model call that fits: its prompt into the context window, its time and tokens into the budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, cast

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from ragkit.agent.budget import OutOfBudget
from ragkit.agent.context import ContextWindow
from ragkit.agent.fitting import fit, message_text
from ragkit.agent.json_protocol import JsonProtocolModel
from ragkit.agent.limited import NotInTime, within
from ragkit.agent.line_answers import Sheet
from ragkit.agent.turn import TurnState
from ragkit.errors import ModelError
from ragkit.models.tokens import estimate_tokens

_TEMPLATE: Final = 64
"""Tokens of a chat template before its first message."""
_JSON_CALLS: Final = 1.2
"""How much longer a tool's schema gets where a chat template writes it out."""


class ModelGuard(AgentMiddleware[Any, Any]):
    """Fits, times and counts the calls of the chat model; stands inside all other middleware.

    Args:
        turn: State of the question.
        window: The model's context window.
        name: The model's name, for errors.
    """

    def __init__(self, turn: TurnState, window: ContextWindow, name: str) -> None:
        super().__init__()
        self._turn = turn
        self._window = window
        self._name = name
        self._bases: dict[tuple[str, tuple[int, ...], bool], str] = {}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        sent, tokens = self._fitted(request)
        try:
            response = self._in_time(sent, handler)
        except Exception as exc:
            if not self._window.refused(exc, tokens or self._tokens(sent)):
                raise
            sent, tokens = self._fitted(request, count=True)
            try:
                response = self._in_time(sent, handler)
            except Exception as again:
                if not self._window.refused(again, tokens):
                    raise
                raise ModelError(
                    f"{self._name} refuses the prompt as too long, shortened to about {tokens:,} tokens too.",
                    "Set endpoint_context_tokens (context_tokens for a local model) to what it can read.",
                ) from again
        self._charge(response, sent, tokens)
        return response

    def _in_time(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        budget = self._turn.budget
        if stop := budget.over():
            raise OutOfBudget(stop)
        seconds = budget.seconds_left()
        try:
            return within(seconds, lambda: handler(request)) if seconds is not None else handler(request)
        except NotInTime as exc:
            raise OutOfBudget(budget.out_of_time()) from exc

    def _fitted(self, request: ModelRequest[Any], count: bool = False) -> tuple[ModelRequest[Any], int]:
        """The request with a prompt that fits, and the prompt's tokens, 0 if they were not counted."""
        window = self._window
        sheet: Sheet | None = request.model_settings.get("sheet")
        if sheet is not None:
            # All that is sent, and of a size that was chosen; the conversation stays here.
            return request, sum(map(window.size, sheet.messages(_rules(request)))) if count else 0
        base = self._base(request)
        if not count and window.surely_holds([HumanMessage(base), *request.messages]):
            return request, 0
        fixed = window.count(base) + _TEMPLATE
        if fixed > window.room:
            raise ModelError(
                f"The system prompt and the tools take {fixed:,} tokens; the context window of {self._name} has "
                f"{window.limit:,}.",
                "Shorten the agent file, name fewer tools, or raise context_tokens (of a local model) or "
                "endpoint_context_tokens.",
            )
        messages, cuts = fit(request.messages, window.room - fixed, window.size)
        if cuts:
            self._turn.cuts = cuts
            self._turn.window = window.limit
            request = request.override(messages=cast(Any, messages))
        return request, fixed + sum(window.size(message) for message in messages)

    def _base(self, request: ModelRequest[Any]) -> str:
        """What is sent whatever the conversation is: rules and tools, their schemas made once for each choice."""
        cited = request.model_settings.get("citable") is not None
        tools = tuple(id(tool) for tool in request.tools)
        key = (_rules(request), tools, cited)
        if key not in self._bases:
            self._bases[key] = self._made_base(request)
        return self._bases[key]

    @staticmethod
    def _made_base(request: ModelRequest[Any]) -> str:
        tools = [tool if isinstance(tool, dict) else convert_to_openai_tool(tool) for tool in request.tools]
        rules = _rules(request)
        if isinstance(request.model, JsonProtocolModel):
            cited = request.model_settings.get("citable") is not None
            plain = request.model.prompt([SystemMessage(rules)], [tool["function"] for tool in tools], cited=cited)
            return "\n".join(message.text for message in plain)
        schemas = json.dumps(tools, ensure_ascii=False) if tools else ""
        return f"{rules}\n{schemas}{schemas[: int(len(schemas) * (_JSON_CALLS - 1))]}"

    def _tokens(self, request: ModelRequest[Any]) -> int:
        return self._window.count(self._base(request)) + sum(map(self._window.size, request.messages))

    def _charge(self, response: ModelResponse[Any], sent: ModelRequest[Any], tokens: int) -> None:
        """Count what the model said it read and wrote, or an estimate if it did not say."""
        turn = self._turn
        for message in response.result:
            if not isinstance(message, AIMessage):
                continue
            if used := message.usage_metadata:
                turn.usage["prompt_tokens"] += used["input_tokens"]
                turn.usage["completion_tokens"] += used["output_tokens"]
                turn.budget.add_tokens(used["input_tokens"], used["output_tokens"])
            else:
                read = tokens or estimate_tokens(self._base(sent)) + sum(
                    estimate_tokens(message_text(m)) for m in sent.messages
                )
                turn.budget.add_tokens(read, estimate_tokens(message_text(message)))


def _rules(request: ModelRequest[Any]) -> str:
    """The system prompt; empty if there is none."""
    return request.system_message.text if request.system_message else ""
