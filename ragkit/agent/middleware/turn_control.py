"""What keeps one turn on its way: the first search, the budgets, no call twice, no flood of calls.

Small models repeat the same search for ever unless a call that was made is taken out of their
choice. So each call is run once; a repeated one takes its tool out of the schema for the rest
of the turn. When the step budget or the room for passages is used up, only answering remains.
A turn of n steps asks the model at most n times.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection
from typing import Any, Final

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from ragkit.agent.answer import Thought, ToolCalled
from ragkit.agent.budget import OutOfBudget, Stop
from ragkit.agent.json_protocol import GAVE_UP, MAX_REPAIRS, SENTENCES, THOUGHT, JsonProtocolModel
from ragkit.agent.middleware.tool_guard import failure, message_of
from ragkit.agent.replies import tidy
from ragkit.agent.requests import asked_for, asks_nothing_else, offered, settled
from ragkit.agent.results import DIRECT, direct_result
from ragkit.agent.said import reply_of
from ragkit.agent.sheets import sheet_of
from ragkit.agent.spotlight import HEADED
from ragkit.agent.tools.permission import answers_directly
from ragkit.agent.turn import TurnCancelled, TurnState, call_key
from ragkit.errors import ModelError
from ragkit.text.language import answer_language
from ragkit.values import MEMORY, Hit

FIRST_THOUGHT: Final = {"zh": "先在笔记里找这个问题。", "en": "First look for the question in the notes."}
_QUERY_CHARS: Final = 300
_KEPT: Final = {GAVE_UP, SENTENCES}
_REPEATED_CHARS: Final = 500
"""Longest result of a call that is shown again where the call is repeated."""


class TurnControl(AgentMiddleware[Any, Any]):
    """Steers the agent loop of one turn; stands outside all other middleware.

    Args:
        turn: State of the question being answered.
        reply: Gives the final message without a model (``extractive``), or None to ask the model.
        narrowed: Tools that are offered, and asked for, by what the question says, see `ragkit.agent.requests`.
        sheets: Whether a model that is driven by JSON answers from a sheet, see `ragkit.agent.line_answers`.
    """

    def __init__(
        self,
        turn: TurnState,
        reply: Callable[[TurnState], AIMessage] | None = None,
        narrowed: Collection[str] = (),
        *,
        sheets: bool = False,
    ) -> None:
        super().__init__()
        self._turn = turn
        self._reply = reply
        self._narrowed = frozenset(narrowed)
        self._sheets = sheets

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        turn = self._turn
        if turn.cancelled.is_set():
            raise TurnCancelled
        direct = {_name(tool) for tool in request.tools if answers_directly(tool)}
        if direct and (text := direct_result(request.messages, direct, turn.spotlight)):
            return AIMessage("", additional_kwargs={GAVE_UP: "the tool has answered", DIRECT: text})
        if stop := turn.budget.over():
            return self._stopped(stop)
        if not turn.calls and turn.max_steps > 0 and not self._needs_no_search(request):
            # The question itself is always the first query; a model call would only repeat it.
            turn.thought = FIRST_THOUGHT[answer_language(turn.question)]
            turn.emit(Thought(turn.thought))
            return _call("search_notes", {"query": turn.standalone[:_QUERY_CHARS]}, turn.thought)
        if self._narrows(request) and settled(turn.question, [(step.tool, step.arguments) for step in turn.steps]):
            return AIMessage("", additional_kwargs={GAVE_UP: "the tool has answered"})
        if turn.max_steps > 0 and turn.model_calls == 0 and turn.hopeless:
            # No model call: there is nothing it could answer from.
            return AIMessage("", additional_kwargs={GAVE_UP: "nothing relevant in the notes"})
        if self._reply is not None:
            return self._reply(turn)
        try:
            return self._asked(request, handler)
        except OutOfBudget as exc:
            return self._stopped(exc.stop)

    def _asked(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        """The model's reply. One that says nothing new is not kept, and the model is asked again."""
        turn = self._turn
        while turn.model_calls < turn.max_steps:
            turn.model_calls += 1
            message = self._tidied(handler(self._restricted(request)))
            if thought := str(message.additional_kwargs.get(THOUGHT, "")).strip():
                turn.thought = thought
                turn.emit(Thought(thought))
            if not message.tool_calls:
                if message.text.strip() or _KEPT & set(message.additional_kwargs) or turn.empty_replies:
                    return message
                turn.empty_replies += 1
                continue
            if any(
                c["id"] in turn.refused or call_key(c["name"], c["args"]) not in turn.calls for c in message.tool_calls
            ):
                return message
            turn.exhausted |= {call["name"] for call in message.tool_calls}
        return self._stopped(Stop("max_steps", turn.max_steps, turn.model_calls))

    def _tidied(self, response: ModelResponse[Any]) -> AIMessage:
        """The reply within bounds; one of malformed calls only comes back with the reason, at most twice."""
        turn, given = self._turn, reply_of(response)
        reply = tidy(given)
        turn.refused.update(reply.refused)
        for call in reply.message.tool_calls:
            turn.order.setdefault(str(call["id"]), len(turn.order))
        if given.invalid_tool_calls and not given.tool_calls:
            turn.malformed += 1
            if turn.malformed > MAX_REPAIRS:
                raise ModelError("The chat model keeps sending malformed tool calls.", "Try again, or another model.")
        return reply.message

    def _stopped(self, stop: Stop) -> AIMessage:
        """The end of a turn whose budget is used up."""
        self._turn.stop = stop
        if stop.reason != "max_steps":
            # A part of a workflow has steps of its own; everything else is spent for all parts.
            self._turn.budget.stopped = stop
        return AIMessage("", additional_kwargs={GAVE_UP: stop.reason})

    def _needs_no_search(self, request: ModelRequest[Any]) -> bool:
        """Whether a tool that there is answers the question by itself."""
        tools = {_name(tool) for tool in request.tools} & self._narrowed
        question = self._turn.question
        return self._narrows(request) and asks_nothing_else(question) and asked_for(question) <= tools

    def _narrows(self, request: ModelRequest[Any]) -> bool:
        """Whether the model is one that takes any tool for any question; others choose for themselves."""
        return bool(self._narrowed) and isinstance(request.model, JsonProtocolModel)

    def _restricted(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        turn = self._turn
        tools = [] if turn.spent else [tool for tool in request.tools if _name(tool) not in turn.exhausted]
        # Nobody would read what a tool said after the last call of the model.
        only_answering = turn.only_answering or turn.model_calls >= turn.max_steps
        if not isinstance(request.model, JsonProtocolModel):
            return request.override(tools=[] if only_answering else tools)
        asked = turn.named
        names = {_name(tool) for tool in tools}
        called = [(step.tool, step.arguments) for step in turn.steps]
        # The folders of a large index are gone through only for a question that asks for the list.
        listing = "list_notes" in asked_for(turn.question)
        folders = {part for path in turn.index.documents() for part in path.split("/")[:-1]} if listing else set()
        offer = offered(names & self._narrowed, turn.question, called, asked, folders)
        notes = {hit.document for hit in turn.passages if not hit.document.startswith(MEMORY)}
        notes.update(asked)
        settings: dict[str, Any] = {
            "citable": list(range(1, len(turn.passages) + 1)),
            "argument_values": {"read_note.document": sorted(notes), **offer.values},
            "must_call": offer.must_call,
        }
        allowed = set(offer.tools)
        if not offer.must_call:
            allowed = set() if only_answering else allowed | (names - self._narrowed)
        if not notes:
            allowed.discard("read_note")
        tools = [tool for tool in tools if _name(tool) in allowed]
        if self._sheets and not tools:
            settings["sheet"] = sheet_of(turn)
        return request.override(tools=tools, model_settings={**request.model_settings, **settings})

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        turn, call = self._turn, request.tool_call
        if turn.cancelled.is_set():
            raise TurnCancelled
        if reason := turn.refused.get(str(call["id"])):
            return failure(call, reason)
        key = call_key(call["name"], call["args"])
        if not turn.claim(key):
            return self._repeated(call, key)
        if not turn.reserve():
            turn.made(key, "it was not run")
            return _result(call, "The step budget is used up; answer from the passages there are.")
        turn.emit(ToolCalled(call["name"], dict(call["args"])))
        known = len(turn.passages)
        began = time.monotonic()
        try:
            result = handler(request)
        except BaseException:
            turn.forget(key)
            raise
        message = message_of(result)
        arguments = turn.ran.pop(str(call["id"]), dict(call["args"]))
        text = str(message.text) if message is not None else "done"
        turn.made(key, text)
        hits: list[Hit] = []
        if message is not None:
            failed = text.startswith("Error") or message.status == "error"
            message.content = turn.spotlight.wrap(text, headed=call["name"] in HEADED and not failed)
            if call["name"] in HEADED and turn.steps and not failed and len(turn.passages) == known:
                # It brought nothing that was not there: asking this tool again would not either.
                turn.exhausted.add(call["name"])
            found = message.artifact if isinstance(message.artifact, list | tuple) else ()
            hits = [hit for hit in found if isinstance(hit, Hit)]
        seconds = time.monotonic() - began
        turn.record(call["name"], arguments, text, seconds, hits, turn.order.get(str(call["id"])))
        return result

    def _repeated(self, call: Any, key: str) -> ToolMessage:
        """What a call that was made already gets: its result is in the transcript."""
        text, spotlight = self._turn.calls.get(key), self._turn.spotlight
        seen = "; its result stands above."
        if text is not None and len(text) <= _REPEATED_CHARS:
            seen = f":\n{spotlight.wrap(text, headed=call['name'] in HEADED)}"
        return _result(call, f"This call was made already{seen}")


def _name(tool: Any) -> str:
    return str(getattr(tool, "name", ""))


def _call(tool: str, arguments: dict[str, Any], thought: str) -> AIMessage:
    call = {"name": tool, "args": arguments, "id": f"call_{uuid.uuid4().hex[:12]}", "type": "tool_call"}
    return AIMessage(content="", tool_calls=[call], additional_kwargs={THOUGHT: thought})


def _result(call: Any, text: str) -> ToolMessage:
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"])
