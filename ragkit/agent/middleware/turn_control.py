"""What keeps one turn on its way: the first search, the step budget, no call twice.

Small models repeat the same search for ever unless a call that was made is taken out of their
choice. So each call is run once; a repeated one takes its tool out of the schema for the rest
of the turn. When the step budget or the room for passages is used up, only answering remains.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from ragkit.agent.answer import Thought, ToolCalled
from ragkit.agent.json_protocol import GAVE_UP, MAX_REPAIRS, THOUGHT, JsonProtocolModel
from ragkit.agent.spotlight import HEADED
from ragkit.agent.turn import TurnState, call_key
from ragkit.errors import ModelError, RagkitError
from ragkit.text.language import answer_language

MAX_CALLS_PER_REPLY: Final = 8
FIRST_THOUGHT: Final = {"zh": "先在笔记里找这个问题。", "en": "First look for the question in the notes."}
_QUERY_CHARS: Final = 300
_MAX_OBSERVATION: Final = 12_000
_GRACE: Final = 3
"""Model calls beyond the step budget before the turn is ended."""


class TurnCancelled(Exception):
    """The reader of the events went away."""


class TurnControl(AgentMiddleware[Any, Any]):
    """Steers the agent loop of one turn.

    Args:
        turn: State of the question being answered.
        reply: Gives the final message without a model (``extractive``), or None to ask the model.
    """

    def __init__(self, turn: TurnState, reply: Callable[[TurnState], AIMessage] | None = None) -> None:
        super().__init__()
        self._turn = turn
        self._reply = reply

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        turn = self._turn
        if turn.cancelled.is_set():
            raise TurnCancelled
        if not turn.calls:
            # The question itself is always the first query; a model call would only repeat it.
            turn.thought = FIRST_THOUGHT[answer_language(turn.question)]
            turn.emit(Thought(turn.thought))
            return _call("search_notes", {"query": turn.standalone[:_QUERY_CHARS]}, turn.thought)
        if turn.model_calls == 0 and turn.hopeless:
            # No model call: there is nothing it could answer from.
            return AIMessage("", additional_kwargs={GAVE_UP: "nothing relevant in the notes"})
        if self._reply is not None:
            return self._reply(turn)
        if turn.model_calls > turn.max_steps + _GRACE:
            turn.out_of_steps = True
            return AIMessage("", additional_kwargs={GAVE_UP: "the step budget is used up"})
        for _ in range(len(request.tools) + 1):
            response = handler(self._restricted(request))
            message = _message(response)
            turn.model_calls += 1
            repeated = {c["name"] for c in message.tool_calls if call_key(c["name"], c["args"]) in turn.calls}
            if not repeated:
                break
            turn.exhausted |= repeated
        if thought := str(message.additional_kwargs.get(THOUGHT, "")).strip():
            turn.thought = thought
            turn.emit(Thought(thought))
        if message.invalid_tool_calls and not message.tool_calls:
            return self._returned(message)
        if len(message.tool_calls) > MAX_CALLS_PER_REPLY:
            message.tool_calls = message.tool_calls[:MAX_CALLS_PER_REPLY]
        return response

    def _returned(self, message: AIMessage) -> AIMessage:
        """A malformed call of a native model as a call that comes back with the reason, at most twice."""
        self._turn.malformed += 1
        if self._turn.malformed > MAX_REPAIRS:
            raise ModelError("The chat model keeps sending malformed tool calls.", "Try again, or another model.")
        bad = message.invalid_tool_calls[0]
        arguments = {"malformed": str(bad.get("args"))[:200], "attempt": self._turn.malformed}
        return _call(bad.get("name") or "unknown", arguments, "")

    def _restricted(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        turn = self._turn
        tools = (
            [] if turn.only_answering else [t for t in request.tools if getattr(t, "name", "") not in turn.exhausted]
        )
        if not isinstance(request.model, JsonProtocolModel):
            return request.override(tools=tools)
        settings = {
            "citable": list(range(1, len(turn.passages) + 1)),
            "argument_values": {"read_note.document": sorted({hit.document for hit in turn.passages})},
        }
        if not turn.passages:
            tools = [tool for tool in tools if getattr(tool, "name", "") != "read_note"]
        return request.override(tools=tools, model_settings={**request.model_settings, **settings})

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        turn, call = self._turn, request.tool_call
        key = call_key(call["name"], call["args"])
        if turn.cancelled.is_set():
            raise TurnCancelled
        headed = call["name"] in HEADED
        if key in turn.calls:
            before = turn.spotlight.wrap(turn.calls[key], headed=headed)
            return ToolMessage(f"This call was made already:\n{before}", tool_call_id=call["id"], name=call["name"])
        with turn.lock:
            if turn.reserved >= turn.max_steps:
                return ToolMessage(
                    "The step budget is used up; answer from the passages there are.",
                    tool_call_id=call["id"],
                    name=call["name"],
                )
            turn.reserved += 1
        turn.emit(ToolCalled(call["name"], dict(call["args"])))
        known = len(turn.passages)
        began = time.monotonic()
        try:
            result = handler(request)
        except RagkitError as exc:
            result = ToolMessage(f"Error: {exc}", tool_call_id=call["id"], name=call["name"], status="error")
        if isinstance(result, ToolMessage):
            text = str(result.text)
            if len(text) > _MAX_OBSERVATION:
                text = f"{text[:_MAX_OBSERVATION]} …({len(text) - _MAX_OBSERVATION} characters cut)"
            result.content = turn.spotlight.wrap(text, headed=headed)
            turn.calls[key] = text
            failed = text.startswith("Error") or result.status == "error"
            if turn.steps and not failed and len(turn.passages) == known and call["name"] != "calculate":
                # It brought nothing that was not there: asking this tool again would not either.
                turn.exhausted.add(call["name"])
            turn.record(call["name"], dict(call["args"]), text, time.monotonic() - began, result.artifact or ())
        return result


def _call(tool: str, arguments: dict[str, Any], thought: str) -> AIMessage:
    call = {"name": tool, "args": arguments, "id": f"call_{uuid.uuid4().hex[:12]}", "type": "tool_call"}
    return AIMessage(content="", tool_calls=[call], additional_kwargs={THOUGHT: thought})


def _message(response: ModelResponse[Any]) -> AIMessage:
    return next(m for m in reversed(response.result) if isinstance(m, AIMessage))
