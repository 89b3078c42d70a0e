"""Native tool calls, taken only as the model wrote them.

Client libraries read the arguments of a streamed call as JSON that may be unfinished: a call that was cut at
``{"path": "/ho`` becomes one for ``/ho``, of two equal keys the last wins, and NaN is a number. Here the arguments
are read strictly, and what cannot be read goes back to the model.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final, cast

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool

from ragkit.agent.json_protocol import MAX_REPAIRS
from ragkit.agent.reply_parsing import without_nulls
from ragkit.errors import ModelError
from ragkit.text.repetition import goes_round
from ragkit.text.strict_json import JsonFault, strict_json

log = logging.getLogger(__name__)

_FAULTS_TOLD: Final = 3
_LOOK: Final = 100
"""Characters after which it is looked again whether a reply goes round."""


class NativeToolModel(BaseChatModel):
    """A chat model with tool calls of its own; only whole calls come out of it.

    Text passes through as it is written. A reply with a call that cannot be taken is asked for again with the
    path of the fault, at most twice.
    """

    inner: BaseChatModel

    @property
    def _llm_type(self) -> str:
        return "ragkit-native-tools"

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Bind tools; they and the choice are those of the model within."""
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        tools = kwargs.pop("tools", None) or []
        more = {**kwargs, **({"stop": stop} if stop else {})}
        model: Any = self.inner.bind_tools(tools, **more) if tools else self.inner
        if not tools and more:
            model = self.inner.bind(**more)
        schemas = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}
        prompt, shown = list(messages), ""
        for attempt in range(MAX_REPAIRS + 1):
            calls, text = _Calls(), ""
            # Callbacks of the run must not see calls that are not checked; what may be seen is passed on below.
            for part in _until_round(model.stream(prompt, config={"callbacks": [], "tags": ["nostream"]})):
                calls.take(part)
                text += part.text
                # Of a second attempt only what goes beyond the first: nothing is shown twice.
                if text.startswith(shown) or attempt == 0:
                    yield ChatGenerationChunk(message=_passed(part, text[len(shown) :]))
                    shown = text
                elif part.usage_metadata:
                    # What a second attempt costs counts, whatever is shown of it.
                    yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=part.usage_metadata))
            faults = calls.faults(schemas)
            if not faults:
                for at, call in enumerate(calls.found):
                    piece = tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=at)
                    yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[piece]))
                return
            if attempt == MAX_REPAIRS:
                raise ModelError(
                    f"The chat model keeps sending malformed tool calls: {faults[0]}.", "Try again, or another model."
                )
            told = "; ".join(faults[:_FAULTS_TOLD])
            prompt += [
                AIMessage(text or "(a tool call)"),
                HumanMessage(f"Observation: nothing was run, your tool call cannot be used: {told}. Call again."),
            ]


def _until_round(reply: Iterator[Any]) -> Iterator[Any]:
    """The chunks of a reply up to where it says the same over and over: a small model may do so for minutes.

    What was said before counts; sentences that return are dropped later, as in any answer.
    """
    text, looked = "", 0
    with closing(cast("Generator[Any]", reply)):
        for part in reply:
            yield part
            text += part.text
            if len(text) - looked >= _LOOK:
                looked = len(text)
                if goes_round(text):
                    log.warning("the chat model said the same over and over; its reply was ended there")
                    return


@dataclass
class _Call:
    name: str = ""
    id: str | None = None
    arguments: str = ""


@dataclass
class _Calls:
    """The calls of one reply, put together from their pieces."""

    found: list[_Call] = field(default_factory=list)
    _by_index: dict[Any, _Call] = field(default_factory=dict)

    def take(self, part: Any) -> None:
        """Add what one chunk says; a model that does not stream sends a whole message."""
        pieces = getattr(part, "tool_call_chunks", None) or []
        for piece in pieces:
            call = self._by_index.get(piece.get("index"))
            if call is None or (piece.get("id") and call.id and piece["id"] != call.id):
                call = self._by_index[piece.get("index")] = _Call()
                self.found.append(call)
            call.name += piece.get("name") or ""
            call.id = call.id or piece.get("id")
            call.arguments += piece.get("args") or ""
        if pieces or isinstance(part, AIMessageChunk):
            return
        for whole in part.tool_calls:
            text = json.dumps(whole["args"], ensure_ascii=False)
            self.found.append(_Call(whole["name"], whole.get("id"), text))
        for bad in part.invalid_tool_calls:
            self.found.append(_Call(bad.get("name") or "", bad.get("id"), bad.get("args") or "?"))

    def faults(self, schemas: dict[str, dict[str, Any]]) -> list[str]:
        """What cannot be read; whether arguments fit their tool is for `ToolGate`, which sees what will run."""
        faults = []
        for call in self.found:
            name = call.name[:60] or "tool call"
            try:
                value = strict_json(call.arguments or "{}")
            except JsonFault as exc:
                faults.append(f"{name}.{exc}" if exc.path else f"{name}: {exc}")
                continue
            if not isinstance(value, dict):
                faults.append(f"{name}: the arguments are a JSON {type(value).__name__}, not an object")
                continue
            if call.name in schemas:
                call.arguments = json.dumps(without_nulls(value, schemas[call.name]), ensure_ascii=False)
        return faults


def _passed(part: Any, text: str) -> AIMessageChunk:
    """A chunk without its calls."""
    return AIMessageChunk(
        content=text,
        additional_kwargs={k: v for k, v in part.additional_kwargs.items() if k not in {"tool_calls", "function_call"}},
        response_metadata=part.response_metadata,
        usage_metadata=part.usage_metadata,
        id=part.id,
    )
