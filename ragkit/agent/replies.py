"""A model's reply made fit for the transcript: few calls, each one once, names and arguments of sane length.

Endpoints refuse a history with illegal tool names or two calls of one id, and a reply with
thousands of calls would fill the context window for good.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.messages import AIMessage
from langchain_core.messages.tool import ToolCall, tool_call

from ragkit.agent.turn import call_key
from ragkit.text.sanitize import one_line

MAX_CALLS_PER_REPLY: Final = 8
MAX_ARGUMENT_CHARS: Final = 8_000
"""Longest arguments of one call, as JSON."""
MAX_REPLY_CHARS: Final = 50_000
MAX_TEXT_BESIDE_CALLS: Final = 2_000
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ILLEGAL: Final = "illegal_name"
_SHOWN: Final = 200
_CALL_BLOCKS: Final = {"tool_use", "tool_call", "function_call"}


@dataclass(frozen=True)
class Reply:
    """A reply, and which of its calls are answered without being run."""

    message: AIMessage
    refused: dict[str, str] = field(default_factory=dict)
    """Identity of a call -> why it is not run."""


def tidy(message: AIMessage) -> Reply:
    """Bring a reply into bounds.

    Calls of the same tool with the same arguments become one. Of more than eight the first eight
    stay, and one more stands for all the others. A call that was no valid JSON stays as one
    without arguments; it is never run.
    """
    if not message.tool_calls and not message.invalid_tool_calls:
        return Reply(_cut(message, MAX_REPLY_CHARS))
    calls: list[ToolCall] = []
    refused: dict[str, str] = {}
    keys: set[str] = set()
    identities: set[str] = set()
    left_out = 0
    for call in message.tool_calls:
        key = call_key(call["name"], call["args"])
        if key in keys:
            continue
        if len(calls) == MAX_CALLS_PER_REPLY:
            left_out += 1
            continue
        keys.add(key)
        kept, reason = _legal(call, identities)
        calls.append(kept)
        if reason:
            refused[str(kept["id"])] = reason
    malformed = message.invalid_tool_calls
    if malformed and len(calls) < MAX_CALLS_PER_REPLY:
        bad = malformed[0]
        name = bad.get("name") or "unknown"
        kept, _ = _legal(tool_call(name=name, args={}, id=bad.get("id")), identities)
        calls.append(kept)
        refused[str(kept["id"])] = (
            f"the arguments are no valid JSON object: {one_line(str(bad.get('args')), _SHOWN)!r}. Call it again."
        )
        left_out += len(malformed) - 1
    else:
        left_out += len(malformed)
    if left_out:
        kept, _ = _legal(tool_call(name=calls[-1]["name"], args={}, id=None), identities)
        calls.append(kept)
        refused[str(kept["id"])] = (
            f"{left_out:,} more calls of this reply were not run; at most {MAX_CALLS_PER_REPLY} run at a time."
        )
    same = len(calls) == len(message.tool_calls) and not malformed and all(map(_equal, calls, message.tool_calls))
    return Reply(_cut(message if same else _with_calls(message, calls), MAX_TEXT_BESIDE_CALLS), refused)


def _legal(call: ToolCall, identities: set[str]) -> tuple[ToolCall, str]:
    """A call that an endpoint takes back in the history, and why it is not run, if it is not."""
    name, arguments, identity, reason = call["name"], call["args"], call["id"], ""
    if not _NAME.match(name):
        name, reason = _ILLEGAL, f"there is no tool {one_line(name, 60)!r}"
    length = len(json.dumps(arguments, ensure_ascii=False, default=str))
    if length > MAX_ARGUMENT_CHARS:
        start = one_line(json.dumps(arguments, ensure_ascii=False, default=str)[:_SHOWN], _SHOWN)
        arguments = {"cut": start}
        reason = reason or f"the arguments have {length:,} characters; at most {MAX_ARGUMENT_CHARS:,} are taken"
    if not identity or identity in identities or len(identity) > _SHOWN:
        identity = f"call_{uuid.uuid4().hex[:12]}"
    identities.add(identity)
    return tool_call(name=name, args=arguments, id=identity), reason


def _equal(a: ToolCall, b: ToolCall) -> bool:
    return a["id"] == b["id"] and a["name"] == b["name"] and a["args"] is b["args"]


def _with_calls(message: AIMessage, calls: list[ToolCall]) -> AIMessage:
    kept = {call["id"] for call in calls}
    content: Any = message.content
    if isinstance(content, list):
        content = [
            block
            for block in content
            if not (isinstance(block, dict) and block.get("type") in _CALL_BLOCKS)
            or (block.get("call_id") or block.get("id")) in kept
        ]
    return AIMessage(
        content=content,
        tool_calls=calls,
        id=message.id,
        # Some clients keep the calls a second time, as they came.
        additional_kwargs={
            k: v for k, v in message.additional_kwargs.items() if k not in {"tool_calls", "function_call"}
        },
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
    )


def _cut(message: AIMessage, limit: int) -> AIMessage:
    content = message.content
    if not isinstance(content, str) or len(content) <= limit:
        return message
    return message.model_copy(update={"content": f"{content[:limit]} …({len(content) - limit} characters cut)"})
