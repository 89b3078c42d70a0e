"""Few-shot examples of an agent file: sections ``## Example`` below the system prompt, as messages.

A section holds ``Question:`` and ``Answer:``, and between them, if the example is to show a tool at work,
``Thought:``, ``Call:`` and ``Observation:``. A value goes on until the next of these words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ragkit.citations.markers import parse_answer, render

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

_SECTION: Final = re.compile(r"^##[ \t]+(?:examples?|示例|例子)\b[^\n]*$", re.IGNORECASE | re.MULTILINE)
_HEADING: Final = re.compile(r"^#{1,2}[ \t]+\S", re.MULTILINE)
_LABELS: Final = {
    "question": "question", "问题": "question", "thought": "thought", "思考": "thought", "call": "call",
    "调用": "call", "observation": "observation", "观察": "observation", "answer": "answer", "回答": "answer",
}  # fmt: skip
_LABEL: Final = re.compile(rf"^({'|'.join(_LABELS)})[ \t]*[:：][ \t]*", re.IGNORECASE | re.MULTILINE)
_CALL: Final = re.compile(r"([A-Za-z_][\w-]*)\s*(\{.*\})\s*", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """A tool call of an example, and what came back."""

    thought: str
    tool: str
    arguments: dict[str, Any]
    observation: str
    offset: int = 0
    """Place of the call in the text below the front matter."""


@dataclass(frozen=True)
class Example:
    """A question, what was done about it, and the answer with its markers."""

    question: str
    calls: tuple[Call, ...]
    thought: str
    answer: str


class ExampleError(ValueError):
    """A section is wrong; `offset` is its place in the text."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


def split_examples(body: str) -> tuple[str, tuple[Example, ...]]:
    """Part the body of an agent file into the system prompt and its examples.

    Raises:
        ExampleError: If a section lacks its question or its answer, or a call is no ``tool {json}``.
    """
    prompt: list[str] = []
    examples: list[Example] = []
    at = 0
    for section in _SECTION.finditer(body):
        if section.start() < at:
            continue
        prompt.append(body[at : section.start()])
        following = _HEADING.search(body, section.end())
        at = following.start() if following else len(body)
        examples.append(_example(body, section.end(), at))
    prompt.append(body[at:])
    return "\n\n".join(part.strip() for part in prompt if part.strip()), tuple(examples)


def _example(body: str, start: int, end: int) -> Example:
    labels = list(_LABEL.finditer(body, start, end))
    parts = [
        (_LABELS[label[1].lower()], body[label.end() : following.start() if following else end].strip(), label.start())
        for label, following in zip(labels, [*labels[1:], None], strict=True)
    ]
    kinds = [kind for kind, _, _ in parts]
    if kinds.count("question") != 1 or kinds[0] != "question" or kinds.count("answer") != 1 or kinds[-1] != "answer":
        raise ExampleError(start, "an example begins with one `Question:` and ends with one `Answer:`")
    calls: list[Call] = []
    thought = ""
    pending: tuple[str, dict[str, Any], int] | None = None
    for kind, text, offset in parts:
        if not text:
            raise ExampleError(offset, f"{kind} of the example is empty")
        if (kind == "observation") != (pending is not None):
            raise ExampleError(offset, "each `Call:` is followed by its `Observation:`")
        if kind == "thought":
            thought = text
        elif kind == "call":
            pending = (*_call(text, offset), offset)
        elif pending is not None:
            calls.append(Call(thought, pending[0], pending[1], text, pending[2]))
            thought, pending = "", None
    return Example(parts[0][1], tuple(calls), thought, parts[-1][1])


def _call(text: str, offset: int) -> tuple[str, dict[str, Any]]:
    match = _CALL.fullmatch(text)
    try:
        arguments = json.loads(match[2]) if match else None
    except ValueError:
        arguments = None
    if match is None or not isinstance(arguments, dict):
        raise ExampleError(offset, 'a call of an example is written: Call: search_notes {"query": "..."}')
    return match[1], arguments


def example_messages(examples: Sequence[Example], *, json_protocol: bool, thoughts: bool = True) -> list[BaseMessage]:
    """The examples as turns of a conversation, in the form in which the model itself is to reply.

    Args:
        examples: See `split_examples`.
        json_protocol: Whether the model replies with one JSON object; otherwise it calls tools natively
            and writes its answer as text with markers.
        thoughts: Whether a reply in JSON has a thought; without, its schema has no room for one.
    """
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

    messages: list[BaseMessage] = []
    for n, example in enumerate(examples, start=1):
        messages.append(HumanMessage(example.question))
        for i, call in enumerate(example.calls, start=1):
            if json_protocol:
                action = {"tool": call.tool, "arguments": call.arguments}
                messages.append(AIMessage(_reply(call.thought if thoughts else None, action)))
                messages.append(HumanMessage(f"Observation ({call.tool}):\n{call.observation}"))
                continue
            identity = f"example_{n}_{i}"
            made = {"name": call.tool, "args": call.arguments, "id": identity, "type": "tool_call"}
            messages.append(AIMessage(call.thought, tool_calls=[made]))
            messages.append(ToolMessage(call.observation, tool_call_id=identity, name=call.tool))
        messages.append(AIMessage(_answer(example, thoughts) if json_protocol else example.answer))
    return messages


def _answer(example: Example, thoughts: bool) -> str:
    sentences = [
        {"text": render([sentence]) if sentence.verbatim else sentence.text, "sources": list(sentence.markers)}
        for sentence in parse_answer(example.answer)
    ]
    return _reply(example.thought if thoughts else None, {"tool": "answer", "sentences": sentences})


def _reply(thought: str | None, action: dict[str, Any]) -> str:
    said = {} if thought is None else {"thought": thought}
    return json.dumps({**said, "action": action}, ensure_ascii=False)
