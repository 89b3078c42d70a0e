"""Function calls on any chat model: the tool list becomes a JSON schema, the reply becomes ``tool_calls``.

Each reply is one object ``{"thought": ..., "action": {...}}``; the action is a call of one of the
bound tools or the answer, sentence by sentence with the passages it was taken from. The server
constrains the reply to the schema, so a model without native tool calling cannot miss the form.
A reply that is malformed all the same goes back to the model with the reason, at most twice.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from ragkit.agent.line_answers import Sheet
from ragkit.agent.reply_parsing import parse_reply, partial_object, unescape_latex
from ragkit.agent.tool_lines import BOUNDS, is_number, tool_line
from ragkit.citations.markers import with_markers
from ragkit.errors import ModelError
from ragkit.models.constraints import stream_constrained

ENDS: Final = ("answer", "give_up")
"""Actions of the protocol that end a turn; no tool is called so."""
MAX_REPAIRS: Final = 2
SENTENCES: Final = "ragkit_sentences"
"""Key in ``additional_kwargs`` of the final message: ``[[text, [passage numbers]], ...]``."""
QUOTED: Final = "ragkit_quoted"
"""Key that says that the sentences are word for word those of their passages."""
THOUGHT: Final = "ragkit_thought"
HIDDEN_THOUGHT: Final = "ragkit_hidden_thought"
"""Key of a thought that is nobody's business but the model's."""
FROM_LINES: Final = "ragkit_from_lines"
"""Key that says that an answer was written from a sheet of lines, see `ragkit.agent.line_answers`."""
UNSEEN: Final = "ragkit_unseen"
"""Key of an answer that nobody is to read before it is translated."""
SHORT_THOUGHT: Final = 120
GAVE_UP: Final = "ragkit_gave_up"
_MAX_SENTENCES: Final = 6
_ACTION: Final = '"action"'
_KEPT: Final = (
    "type",
    "enum",
    "const",
    "items",
    "anyOf",
    "maxLength",
    "minLength",
    "properties",
    "required",
    "additionalProperties",
)


class JsonProtocolModel(BaseChatModel):
    """A chat model that calls tools through constrained JSON.

    Besides ``tools`` (set by ``bind_tools``) a call takes ``citable``, the numbers of passages a
    sentence may name as its sources, ``argument_values``, allowed values by ``"tool.argument"``, and
    ``must_call``, with which the reply is one of the calls. With a ``sheet`` nothing is called: the answer is written
    from its lines, and the conversation is not sent.
    """

    inner: BaseChatModel
    max_tokens: int = 400
    told: list[dict[str, Any]] = Field(default_factory=list)
    """Function descriptions of all tools of a turn. The prompt lists these, whichever of them may still be called:
    a prompt that begins as the last one did is not read again by llama.cpp."""
    thought_chars: int = SHORT_THOUGHT
    """Longest thought before an action, in characters; 0 for none."""

    @property
    def _llm_type(self) -> str:
        return "ragkit-json-protocol"

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Bind tools; ``tool_choice`` is ignored, the schema always allows answering too."""
        return self.bind(tools=[convert_to_openai_tool(tool)["function"] for tool in tools], **kwargs)

    def prompt(
        self, messages: Sequence[BaseMessage], tools: Sequence[dict[str, Any]], *, cited: bool
    ) -> list[BaseMessage]:
        """What the model within is sent for a conversation.

        Args:
            messages: The conversation.
            tools: Function descriptions of those that may be called, where `told` is empty.
            cited: Whether the sentences of an answer name their sources.
        """
        return to_plain_messages(messages, self.told or tools, cited, self.thought_chars)

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
        tools = kwargs.get("tools") or []
        citable = kwargs.get("citable")
        schema = reply_schema(
            tools,
            citable,
            kwargs.get("argument_values") or {},
            self.thought_chars,
            must_call=bool(kwargs.get("must_call")),
        )
        sheet: Sheet | None = kwargs.get("sheet")
        if sheet is None:
            form, prompt = schema, self.prompt(messages, tools, cited=citable is not None)
        else:
            rules = "\n\n".join(message.text for message in messages if isinstance(message, SystemMessage))
            form, prompt = sheet.schema(), sheet.messages(rules)
        for attempt in range(MAX_REPAIRS + 1):
            text, shown = "", ""
            # Callbacks of the run must not see the raw JSON; what may be shown is passed on below.
            quiet: Any = {"callbacks": [], "tags": ["nostream"]}
            for part in stream_constrained(self.inner, prompt, form, self.max_tokens, quiet):
                if part.usage_metadata:
                    yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=part.usage_metadata))
                if not part.text:
                    continue
                text += part.text
                visible = "" if attempt else _visible_answer(text, sheet)
                if visible.startswith(shown) and len(visible) > len(shown):
                    yield ChatGenerationChunk(message=AIMessageChunk(content=visible[len(shown) :]))
                    shown = visible
            try:
                if sheet is not None and _ACTION not in text:
                    last = _said(sheet.read(text), shown, {FROM_LINES: True, UNSEEN: sheet.foreign})
                else:
                    # A model that ignores the constraint may have its answer in the other form.
                    last = final_chunk(parse_reply(text, schema), shown)
            except ValueError as exc:
                if attempt == MAX_REPAIRS:
                    raise ModelError(
                        f"The chat model did not follow the reply format: {exc}.",
                        "Try again, or another model with /model or --model.",
                    ) from exc
                prompt = [
                    *prompt,
                    AIMessage(text),
                    HumanMessage(f"Observation: your reply cannot be used: {exc}. Reply again."),
                ]
                continue
            yield ChatGenerationChunk(message=last)
            return


def reply_schema(
    tools: Sequence[dict[str, Any]],
    citable: Sequence[int] | None,
    argument_values: dict[str, list[Any]],
    thought_chars: int = SHORT_THOUGHT,
    *,
    must_call: bool = False,
) -> dict[str, Any]:
    """JSON schema of one reply.

    Args:
        tools: OpenAI function descriptions of the tools that may still be called.
        citable: Passage numbers a sentence may cite; None if answers carry no sources.
        argument_values: Allowed values by ``"tool.argument"``.
        thought_chars: Longest thought before the action, in characters; 0 for none.
        must_call: Whether the reply must be one of the calls.
    """
    actions = [_tool_action(tool, argument_values) for tool in tools]
    forced = must_call and bool(actions)
    if not forced and (citable is None or citable):
        actions.append(_answer_action(citable))
    if not forced and citable is not None:
        actions.append(_object({"tool": {"const": "give_up"}, "reason": {"type": "string", "maxLength": 120}}))
    thought = {"thought": {"type": "string", "maxLength": thought_chars}} if thought_chars else {}
    return _object({**thought, "action": {"anyOf": actions}})


def _answer_action(citable: Sequence[int] | None) -> dict[str, Any]:
    sentence: dict[str, Any] = {"text": {"type": "string", "minLength": 2, "maxLength": 400}}
    if citable is not None:
        sentence["sources"] = {
            "type": "array",
            "items": {"enum": list(citable)},
            "minItems": 1,
            "maxItems": 2,
        }
    items = _object(sentence)
    sentences = {"type": "array", "items": items, "minItems": 1, "maxItems": _MAX_SENTENCES}
    return _object({"tool": {"const": "answer"}, "sentences": sentences})


def _tool_action(tool: dict[str, Any], argument_values: dict[str, list[Any]]) -> dict[str, Any]:
    parameters = tool.get("parameters") or {}
    properties = {}
    for name, field in (parameters.get("properties") or {}).items():
        values = argument_values.get(f"{tool['name']}.{name}")
        properties[name] = {"enum": values} if values else _kept(field)
    arguments = {**_object(properties), "required": list(parameters.get("required", properties))}
    return _object({"tool": {"const": tool["name"]}, "arguments": arguments})


def _kept(field: dict[str, Any]) -> dict[str, Any]:
    """What constrained decoders know of the schema of an argument."""
    bounds = {key: field[key] for key in (*BOUNDS, "minItems", "maxItems") if is_number(field.get(key))}
    return {**{key: field[key] for key in _KEPT if key in field}, **bounds}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def to_plain_messages(
    messages: Sequence[BaseMessage],
    tools: Sequence[dict[str, Any]],
    cited: bool,
    thought_chars: int = SHORT_THOUGHT,
) -> list[BaseMessage]:
    """The conversation for a model that knows no tool roles: calls and observations as text."""
    plain: list[BaseMessage] = []
    instructions = _instructions(tools, cited, thought_chars)
    for message in messages:
        if isinstance(message, SystemMessage):
            plain.append(SystemMessage(f"{message.text}\n\n{instructions}"))
        elif isinstance(message, AIMessage) and message.tool_calls:
            call = message.tool_calls[0]
            action = {"tool": call["name"], "arguments": call["args"]}
            given = message.additional_kwargs
            thought = {"thought": given.get(THOUGHT) or given.get(HIDDEN_THOUGHT) or ""} if thought_chars else {}
            plain.append(AIMessage(json.dumps({**thought, "action": action}, ensure_ascii=False)))
        elif isinstance(message, ToolMessage):
            plain.append(HumanMessage(f"Observation ({message.name}):\n{message.text}"))
        else:
            plain.append(type(message)(message.text))
    return plain if any(isinstance(m, SystemMessage) for m in plain) else [SystemMessage(instructions), *plain]


def _instructions(tools: Sequence[dict[str, Any]], cited: bool, thought_chars: int) -> str:
    sources = ', "sources": [numbers of the passages it is taken from]' if cited else ""
    length = "one short line" if thought_chars <= SHORT_THOUGHT else "your reasoning, step by step"
    thought = f'"thought": {length}, ' if thought_chars else ""
    lines = [
        f'Reply with one JSON object {{{thought}"action": {{...}}}}. The action is one of:',
        f'- {{"tool": "answer", "sentences": [{{"text": a sentence{sources}}}]}}: if the passages answer it.',
    ]
    lines += map(tool_line, tools)
    if cited:
        lines.append('- {"tool": "give_up", "reason": ...}: the passages do not contain the answer.')
    return "\n".join(lines)


def _visible_answer(text: str, sheet: Sheet | None) -> str:
    """What of a reply still being written can be shown: the sentences of its answer so far."""
    if sheet is not None and _ACTION not in text:
        return _marked(sheet.written(text))
    if '"answer"' not in text:
        return ""  # asked for each piece of a reply, most of which are calls
    action = partial_object(text[text.find("{") :]).get("action")
    if not isinstance(action, dict) or action.get("tool") != "answer":
        return ""
    written = action.get("sentences")
    sentences = [s for s in written if isinstance(s, dict)] if isinstance(written, list) else []
    shown: list[tuple[str, Sequence[int]]] = []
    for i, sentence in enumerate(sentences):
        body = sentence.get("text")
        if not isinstance(body, str) or not body:
            continue
        body = unescape_latex(body).strip() if i < len(sentences) - 1 else unescape_latex(body).lstrip()
        sources = sentence.get("sources") if i < len(sentences) - 1 else None
        shown.append((body, sources or ()))
    return _marked(shown)


def _marked(sentences: Sequence[tuple[str, Sequence[int]]]) -> str:
    """An answer as it is read: each sentence with its markers."""
    out = ""
    for body, sources in sentences:
        out += (" " if out and body[:1].isascii() else "") + with_markers(body, sources)
    return out


def final_chunk(reply: dict[str, Any], shown: str) -> AIMessageChunk:
    """The last chunk of a reply: the tool call, or what of the answer was not shown yet."""
    action, thought = reply["action"], str(reply.get("thought", ""))
    if action["tool"] == "give_up":
        return AIMessageChunk(
            content="", additional_kwargs={THOUGHT: thought, GAVE_UP: str(action.get("reason", "")) or "-"}
        )
    if action["tool"] != "answer":
        arguments = json.dumps(action.get("arguments", {}), ensure_ascii=False)
        call = tool_call_chunk(name=action["tool"], args=arguments, id=f"call_{uuid.uuid4().hex[:12]}", index=0)
        return AIMessageChunk(content="", additional_kwargs={THOUGHT: thought}, tool_call_chunks=[call])
    sentences = [
        (unescape_latex(str(s["text"])).strip(), [int(n) for n in s.get("sources", [])]) for s in action["sentences"]
    ]
    return _said(sentences, shown, {THOUGHT: thought})


def _said(
    sentences: Sequence[tuple[str, Sequence[int]]], shown: str, more: dict[str, Any] | None = None
) -> AIMessageChunk:
    """The last chunk of an answer: what of it was not shown yet, and its sentences; without any it is given up."""
    if not sentences:
        return AIMessageChunk(content="", additional_kwargs={**(more or {}), GAVE_UP: "no line answers it"})
    full = _marked(sentences)
    rest = full[len(shown) :] if full.startswith(shown) else ""
    given = {**(more or {}), SENTENCES: [[text, list(numbers)] for text, numbers in sentences]}
    return AIMessageChunk(content=rest, additional_kwargs=given)
