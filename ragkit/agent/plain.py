"""Values of a running turn as plain JSON text, and back: what a checkpoint on disk consists of.

Every value that is no JSON scalar is written as ``[kind, payload]``, so no text, whatever stands in
it, can pass for anything else: what a note or a model wrote is always a payload. A kind is looked
up in the closed tables below; nothing is imported by name and no constructor is named in the data.
There is no second format to fall back to, and an unknown value or kind is refused.

Lone surrogates are written as JSON escapes, so no text makes the writer fail. (The chain of
CVE-2025-64439 began with one: the writer fell back to a format that could name constructors.)
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
)
from langgraph.types import Overwrite, Send
from pydantic import TypeAdapter

from ragkit.agent.answer import Step
from ragkit.agent.evidence import Judgement
from ragkit.errors import AgentError
from ragkit.memory.items import MemoryItem
from ragkit.redact import redacted
from ragkit.retrieval.answerable import Fit, Signals
from ragkit.retrieval.planner import Plan, Stage
from ragkit.retrieval.retriever import Query
from ragkit.values import Chunk, Hit, LegScore

FORMAT: Final = "ragkit-plain-1"
_MESSAGES: Final[dict[str, type[BaseMessage]]] = {
    "ai": AIMessage,
    "human": HumanMessage,
    "remove": RemoveMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
}
_VALUES: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (Chunk, Fit, Hit, Judgement, LegScore, MemoryItem, Plan, Query, Signals, Stage, Step)
}
_COLLECTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
_FLOATS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_CONSTANTS: Final[dict[object, str]] = {None: "null", True: "true", False: "false"}
_quoted: Final = json.encoder.encode_basestring_ascii
_LEFT_OUT: Final = {"artifact", "type"}
"""Of a message: artifacts are objects of the program's; what ragkit needs of them it keeps itself."""


def dumps(value: object) -> bytes:
    """`value` as ASCII JSON.

    Raises:
        AgentError: If something in it is no plain data, or nested too deeply.
    """
    return _Writer().dumps(value)


def loads(data: bytes) -> Any:
    """What `dumps` was given; of messages everything but their artifact.

    Raises:
        AgentError: If the data is not what `dumps` writes.
    """
    try:
        return _decode(json.loads(data.decode("ascii"), parse_constant=_no_constant))
    except (ValueError, TypeError, LookupError, RecursionError) as exc:
        raise AgentError(
            f"A checkpoint of a conversation is damaged ({type(exc).__name__}).", "Ask the question again."
        ) from exc


class PlainSerializer:
    """`dumps` and `loads` in the shape of LangGraph's ``SerializerProtocol``, for one turn and one thread at a time."""

    def __init__(self) -> None:
        self._writer = _Writer()

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The name of the format, and the data."""
        return FORMAT, self._writer.dumps(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Read data of this format, and of no other.

        Raises:
            AgentError: If it has another format, or is damaged.
        """
        if data[0] != FORMAT:
            raise AgentError(f"A checkpoint has the unknown format {str(data[0])[:40]!r}.", "Ask the question again.")
        return loads(data[1])


@dataclass(frozen=True)
class _Written:
    """A message that was written, as it was then, and its text."""

    message: BaseMessage
    fields: dict[str, Any]
    text: str


class _Writer:
    """Writes values, and knows the text of messages that have not changed since they were written last.

    Every step of a turn writes all of its messages again; of these all but the newest are as they were.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Written] = {}

    def dumps(self, value: object) -> bytes:
        """See `dumps`."""
        try:
            return self._text(value).encode("ascii")
        except (RecursionError, ValueError) as exc:
            raise _refused(str(exc) or "it is nested too deeply") from exc

    def _text(self, value: object) -> str:
        if type(value) is str:
            return _quoted(value)
        if value is None or isinstance(value, bool):
            return _CONSTANTS[value]
        match value:
            case str():
                return _quoted(str(value))
            case int():
                return int.__repr__(value)
            case float():
                return float.__repr__(value) if math.isfinite(value) else f'["float","{float(value)}"]'
            case bytes():
                return f'["bytes","{base64.b64encode(value).decode("ascii")}"]'
            case dict():
                return self._tagged("counter" if isinstance(value, Counter) else "dict", dict(value))
            case list() | tuple() | set() | frozenset():
                return f'["{_collection(value)}",[{",".join(map(self._text, list(value)))}]]'
            case BaseMessage():
                return self._message(value)
            case Send():
                return f'["send",[{self._text(value.node)},{self._text(value.arg)}]]'
            case Overwrite():
                return f'["overwrite",{self._text(value.value)}]'
            case BaseException():
                return f'["error",{_quoted(redacted(f"{type(value).__name__}: {value}"))}]'
        kind = type(value).__name__
        if _VALUES.get(kind) is type(value) and is_dataclass(value):
            return self._tagged(kind, {field.name: getattr(value, field.name) for field in fields(value)})
        raise _refused(f"it holds a {kind}")

    def _tagged(self, kind: str, items: dict[Any, Any]) -> str:
        inside = ",".join(f"{_quoted(_key(key))}:{self._text(item)}" for key, item in items.items())
        return f'["{kind}",{{{inside}}}]'

    def _message(self, given: BaseMessage) -> str:
        now = {name: item for name, item in given.__dict__.items() if name not in _LEFT_OUT}
        known = self._known.get(id(given))
        if known is not None and known.message is given and known.fields == now:
            return known.text
        message = message_chunk_to_message(given) if isinstance(given, AIMessageChunk) else given
        kind = next((kind for kind, cls in _MESSAGES.items() if type(message) is cls), "")
        if not kind:
            raise _refused(f"it holds a {type(message).__name__}")
        every = ((name, getattr(message, name), default) for name, default in _defaults(kind).items())
        text = self._tagged(kind, {name: item for name, item, default in every if item != default})
        # The message itself is kept, so that its id is nobody else's; its fields are copied, so that a change is seen.
        self._known[id(given)] = _Written(given, deepcopy(now), text)
        return text


@lru_cache
def _defaults(kind: str) -> dict[str, object]:
    """The fields of a kind of message that are written, with the value that need not be; ``...`` if there is none."""
    fields_ = _MESSAGES[kind].model_fields
    return {
        name: ... if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in fields_.items()
        if name not in _LEFT_OUT
    }


def _collection(value: object) -> str:
    # By class and not by name: a named tuple is a tuple here.
    return next(kind for kind, cls in _COLLECTIONS.items() if isinstance(value, cls))  # type: ignore[arg-type]


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise _refused(f"it holds a key that is a {type(key).__name__}")
    return str(key)


def _decode(value: Any) -> Any:
    if not isinstance(value, list):
        if isinstance(value, dict):
            raise TypeError("a bare object")
        return value
    kind, payload = value
    if kind in _COLLECTIONS:
        return _COLLECTIONS[kind]([_decode(item) for item in _of(list, payload)])
    if kind == "dict":
        return _decoded_fields(payload)
    if kind == "counter":
        return Counter(_decoded_fields(payload))
    if kind == "float":
        return _FLOATS[payload]
    if kind == "bytes":
        return base64.b64decode(payload, validate=True)
    if kind == "send":
        node, arg = _of(list, payload)
        return Send(_of(str, _decode(node)), _decode(arg))
    if kind == "overwrite":
        return Overwrite(_decode(payload))
    if kind == "error":
        return _of(str, payload)
    if kind in _MESSAGES:
        return _MESSAGES[kind](**_decoded_fields(payload))
    return _adapter(kind).validate_python(_decoded_fields(payload))


def _decoded_fields(payload: Any) -> dict[str, Any]:
    return {name: _decode(item) for name, item in _of(dict, payload).items()}


@lru_cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(_VALUES[kind])


def _of(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _refused(reason: str) -> AgentError:
    return AgentError(f"This turn cannot be kept for a restart: {reason}.", "It goes on, but cannot be resumed.")
