"""Arguments of a tool call against the tool's schema, without the conversions that pydantic makes.

``"5"`` is no 5 and ``true`` is no 1: whoever converts guesses what a model meant.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, UnknownType
from langchain_core.tools import BaseTool
from pydantic import BaseModel
from referencing import Registry
from referencing.exceptions import Unresolvable

from ragkit.text.sanitize import one_line

_LARGEST: Final = 2**53 - 1
"""Beyond it a JSON number is not the same number everywhere (RFC 8259, section 6)."""
_MAX_CHARS: Final = 1_000_000
_MAX_DEPTH: Final = 64


def schema_of(tool: BaseTool) -> dict[str, Any]:
    """JSON schema of what a model may send to `tool`; objects are closed unless they say otherwise."""
    given = tool.tool_call_schema
    schema = given if isinstance(given, dict) else given.model_json_schema() if issubclass(given, BaseModel) else {}
    closed: dict[str, Any] = _closed(schema)
    return closed


def fault(schema: dict[str, Any], arguments: Any) -> str:
    """What is wrong with the arguments of a call, beginning with the path of the fault; empty if nothing.

    Args:
        schema: See `schema_of`.
        arguments: What the model sent, parsed.
    """
    if not isinstance(arguments, dict):
        return f"arguments: must be an object, not {type(arguments).__name__}"
    if found := _unfit(arguments, "arguments", 0):
        return found
    try:
        # With a registry of its own the validator fetches no reference from an address that a server put there.
        checked = Draft202012Validator(schema, registry=Registry()).iter_errors(arguments)
        errors = sorted(checked, key=lambda error: [str(part) for part in error.absolute_path])
    except (SchemaError, UnknownType, Unresolvable, RecursionError, re.error) as exc:
        return f"arguments: cannot be checked ({one_line(str(exc), 120)})"
    for error in errors:
        path = ".".join(["arguments", *map(str, error.absolute_path)])
        return f"{path}: {one_line(error.message, 200)}"
    return ""


def _unfit(value: Any, path: str, depth: int) -> str:
    """Values that have a JSON form in Python only, or are absurd in size."""
    if depth > _MAX_DEPTH:
        return f"{path}: nested deeper than {_MAX_DEPTH}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{path}: {value} is no JSON number"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST:
        return f"{path}: the number is too large"
    if isinstance(value, str):
        if len(value) > _MAX_CHARS:
            return f"{path}: longer than {_MAX_CHARS:,} characters"
        if any("\ud800" <= char <= "\udfff" for char in value):
            return f"{path}: contains half a character"
        return ""
    if isinstance(value, dict):
        parts = [(str(key), each) for key, each in value.items()]
    else:
        parts = [(str(i), each) for i, each in enumerate(value)] if isinstance(value, list) else []
    return next((found for key, each in parts if (found := _unfit(each, f"{path}.{key}", depth + 1))), "")


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {
        key: {name: _closed(each) for name, each in value.items()}
        if key in {"properties", "$defs"} and isinstance(value, dict)
        else value
        # What stands in allOf describes one object together with what stands beside it.
        if key in {"enum", "const", "default", "examples", "allOf"}
        else _closed(value)
        for key, value in schema.items()
    }
    if "properties" in inside and not {"additionalProperties", "unevaluatedProperties", "allOf"} & set(inside):
        inside["additionalProperties"] = False
    return inside
