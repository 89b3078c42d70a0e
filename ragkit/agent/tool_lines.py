"""The tools of a turn as a small model reads them in the prompt of the JSON protocol, a line each.

A local model reads some 70 tokens a second, so a line is short: the names of the arguments and what the tool does.
Of tools that are not ragkit's own it also says what the arguments mean and which values they take; small models
have been measured with the others as they are, and do without.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ragkit.agent.header import TOOL_NAMES
from ragkit.text.sanitize import one_line

_MEANING_CHARS: Final = 80
_VALUES: Final = 12
_VALUE_CHARS: Final = 40
_NOTES_CHARS: Final = 300
"""Of all arguments of one tool."""
BOUNDS: Final = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
"""Bounds of a number in a JSON schema, and how they are said."""


def tool_line(tool: Mapping[str, Any]) -> str:
    """One tool: how it is called, what it does, and what its arguments take.

    Args:
        tool: OpenAI function description.
    """
    fields = (tool.get("parameters") or {}).get("properties") or {}
    line = f'- {{"tool": "{tool["name"]}", "arguments": {{{", ".join(fields)}}}}}: {tool.get("description", "")}'
    if tool["name"] in TOOL_NAMES:
        return line
    notes = "; ".join(f"{name}: {said}" for name, field in fields.items() if (said := _meaning(field)))
    return f"{line} ({one_line(notes, _NOTES_CHARS)})" if notes else line


def _meaning(field: Mapping[str, Any]) -> str:
    """What one argument is, and the values or the bounds that it has; empty if nothing is known of it."""
    described = one_line(str(field.get("description", "")), _MEANING_CHARS).rstrip(".")
    return ", ".join(part for part in (described, _values(field), *_bounds(field)) if part)


def _values(field: Mapping[str, Any]) -> str:
    # An optional one has its values in a branch beside null.
    branches = [field, *(branch for branch in field.get("anyOf") or [] if isinstance(branch, dict))]
    values = [value for branch in branches for value in branch.get("enum") or [branch.get("const")]]
    shown = [json.dumps(value, ensure_ascii=False) for value in values if value is not None]
    if not shown or len(shown) > _VALUES or max(map(len, shown)) > _VALUE_CHARS:
        return ""
    return f"one of {' '.join(shown)}"


def _bounds(field: Mapping[str, Any]) -> list[str]:
    return [said.format(field[key]) for key, said in BOUNDS.items() if is_number(field.get(key))]


def is_number(value: object) -> bool:
    """Whether a bound is one: in old JSON schemas ``exclusiveMinimum`` is true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)
