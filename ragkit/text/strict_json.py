"""JSON as the standard has it, with the place of each fault.

``json.loads`` keeps the last of two equal keys, takes NaN and makes infinity of ``1e999``: an argument that
nobody wrote would reach a tool. Here each of these is an error that names its path.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final

MAX_DEPTH: Final = 64
MAX_INTEGER: Final = 2**63 - 1


class JsonFault(ValueError):
    """What is wrong with a text that should be JSON, and where.

    Args:
        path: Keys and indexes from the root, joined with dots; empty for the text as a whole.
        reason: What is wrong.
        at: Character offset, where the text is no JSON at all.
    """

    def __init__(self, path: str, reason: str, at: int | None = None) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path = path
        self.at = at


@dataclass(frozen=True)
class _Fault:
    """Stands in the tree where a value cannot be taken."""

    reason: str


def strict_json(text: str) -> Any:
    """The value of a text that is one JSON value and nothing else.

    Raises:
        JsonFault: As `first_value`, and for text behind the value.
    """
    value, end = first_value(text)
    if text[end:].strip():
        raise JsonFault("", f"there is text behind the value (character {end})", end)
    return value


def first_value(text: str) -> tuple[Any, int]:
    """The JSON value that a text begins with, and where it ends.

    Raises:
        JsonFault: If there is none, or a key stands twice in one object, a number is no finite number or
            beyond 64 bits, a string is no Unicode, or it is nested deeper than 64 levels.
    """
    start = len(text) - len(text.lstrip())
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as exc:
        raise JsonFault("", f"it is not valid JSON (character {exc.pos}: {exc.msg})", exc.pos) from exc
    except RecursionError as exc:
        raise JsonFault("", f"it is nested deeper than {MAX_DEPTH} levels") from exc
    _check(value, (), 0)
    return value, end


def _check(value: Any, path: tuple[str, ...], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise JsonFault("", f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, _Fault):
        raise JsonFault(_shown(path), value.reason)
    if isinstance(value, str) and not _is_unicode(value):
        raise JsonFault(_shown(path), "half of a surrogate pair is no character")
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, path, depth + 1)
            _check(item, (*path, key), depth + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check(item, (*path, str(number)), depth + 1)


def _shown(path: tuple[str, ...]) -> str:
    parts = (part[:40] for part in path)
    return ".".join(part if part.isprintable() else part.encode("unicode_escape").decode() for part in parts)


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        value[key] = _Fault("the key stands twice in one object") if key in value else item
    return value


def _constant(name: str) -> _Fault:
    return _Fault(f"{name} is not a JSON number")


def _float(digits: str) -> float | _Fault:
    number = float(digits)
    return number if math.isfinite(number) else _Fault(f"{digits[:20]} is beyond the range of numbers")


def _integer(digits: str) -> int | _Fault:
    # Compared by length first: converting thousands of digits takes quadratic time.
    if len(digits) <= 20 and abs(number := int(digits)) <= MAX_INTEGER:
        return number
    return _Fault(f"an integer of {len(digits.lstrip('-'))} digits is beyond 64 bits")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer
)
