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
from dataclasses import fields, is_dataclass
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
_AS_THEY_ARE: Final = frozenset({str, int})
"""Asked for by exact type: most values are of these, and no subclass of them may pass."""
_LEFT_OUT: Final = {"artifact", "type"}
"""Of a message: artifacts are objects of the program's; what ragkit needs of them it keeps itself."""


def dumps(value: object) -> bytes:
    """`value` as ASCII JSON.

    Raises:
        AgentError: If something in it is no plain data, or nested too deeply.
    """
    try:
        return json.dumps(_encode(value), allow_nan=False, separators=(",", ":")).encode("ascii")
    except (RecursionError, ValueError) as exc:
        raise _refused(str(exc) or "it is nested too deeply") from exc


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
    """`dumps` and `loads` in the shape of LangGraph's ``SerializerProtocol``."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The name of the format, and the data."""
        return FORMAT, dumps(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Read data of this format, and of no other.

        Raises:
            AgentError: If it has another format, or is damaged.
        """
        if data[0] != FORMAT:
            raise AgentError(f"A checkpoint has the unknown format {str(data[0])[:40]!r}.", "Ask the question again.")
        return loads(data[1])


def _encode(value: object) -> Any:
    if value is None or isinstance(value, bool) or type(value) in _AS_THEY_ARE:
        return value
    match value:
        case str():
            return str(value)
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else ["float", str(float(value))]
        case bytes():
            return ["bytes", base64.b64encode(value).decode("ascii")]
        case dict():
            kind = "counter" if isinstance(value, Counter) else "dict"
            return [kind, {_key(key): _encode(item) for key, item in dict(value).items()}]
        case list() | tuple() | set() | frozenset():
            return [_collection(value), [_encode(item) for item in list(value)]]
        case BaseMessage():
            return _encode_message(value)
        case Send():
            return ["send", [_encode(value.node), _encode(value.arg)]]
        case Overwrite():
            return ["overwrite", _encode(value.value)]
        case BaseException():
            return ["error", redacted(f"{type(value).__name__}: {value}")]
    kind = type(value).__name__
    if _VALUES.get(kind) is type(value) and is_dataclass(value):
        return [kind, {field.name: _encode(getattr(value, field.name)) for field in fields(value)}]
    raise _refused(f"it holds a {kind}")


def _encode_message(message: BaseMessage) -> Any:
    if isinstance(message, AIMessageChunk):
        message = message_chunk_to_message(message)
    kind = next((kind for kind, cls in _MESSAGES.items() if type(message) is cls), "")
    if not kind:
        raise _refused(f"it holds a {type(message).__name__}")
    given = ((name, getattr(message, name), default) for name, default in _defaults(kind).items())
    return [kind, {name: _encode(item) for name, item, default in given if item != default}]


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
