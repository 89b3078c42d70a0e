"""What a model wrote, read as one reply of the JSON protocol: form is forgiven, content is never guessed.

Models that ignore the constraint wrap their JSON in a code fence or ``<tool_call>`` tags, talk before and after
it, or double the braces of a format string. All that can be taken away without a decision about what was meant.
A duplicate key, a number that is none or an argument of the wrong type cannot: the fault goes back with its path.
"""

from __future__ import annotations

import re
from typing import Any, Final

from jsonschema import Draft202012Validator
from langchain_core.utils.json import parse_partial_json

from ragkit.text.strict_json import JsonFault, first_value

_THINKING: Final = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_CLOSING: Final = re.compile(r"```|</tool_call>|<\|[a-z_]{1,20}\|>")
"""What may stand behind a reply without being one more."""
_SHOWN: Final = 200


def parse_reply(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The reply as an object that satisfies `schema`.

    An answer that was cut off keeps its complete sentences; a call that was cut off is no call.

    Raises:
        ValueError: Says in at most 400 characters what is wrong and where, for the model to read.
    """
    body = _THINKING.sub("", text)
    try:
        value = reply_object(body)
    except JsonFault as exc:
        cut = _cut_answer(body[body.find("{") :]) if exc.at is not None else None
        if cut is None:
            raise
        value = cut
    branches = schema["properties"]["action"]["anyOf"]
    names = [branch["properties"]["tool"]["const"] for branch in branches]
    value = _in_form(value)
    action = value.get("action")
    given = action.get("tool") if isinstance(action, dict) else None
    if not isinstance(action, dict) or given not in names:
        raise ValueError(f"action.tool is {str(given)[:60]!r}; allowed: {', '.join(names)}"[:400])
    branch = branches[names.index(given)]
    if isinstance(action.get("arguments"), dict):
        action = {**action, "arguments": without_nulls(action["arguments"], branch["properties"]["arguments"])}
    if fault := first_fault(action, branch, "action"):
        raise ValueError(fault)
    return {**value, "action": action}


def first_fault(value: Any, schema: dict[str, Any], root: str) -> str:
    """The first violation of a JSON schema with its path; empty if there is none.

    Types are taken as they stand: ``"5"`` is no integer, and neither is ``true``.
    """
    for error in Draft202012Validator(schema).iter_errors(value):
        path = ".".join([root, *map(str, error.absolute_path)])
        return f"{path[:100]}: {error.message[:_SHOWN]}"
    return ""


def without_nulls(arguments: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments without those optional ones that are null: OpenAI's strict mode cannot leave one out."""
    required, fields = schema.get("required") or [], schema.get("properties") or {}
    return {
        name: item
        for name, item in arguments.items()
        if item is not None
        or name in required
        or name not in fields
        or not next(Draft202012Validator(fields[name]).iter_errors(None), None)
    }


def reply_object(body: str) -> dict[str, Any]:
    """The one JSON object in a text."""
    start = body.find("{")
    before = body[:start] if start >= 0 else body
    if not re.search(r"[^\W\d_]", re.sub(r"```\w*|<tool_call>|null|true|false|NaN", "", before)) and before.strip():
        # No prose in front: the text itself is a value, and no object.
        bare = re.sub(r"^\s*(?:```(?:json)?|<tool_call>)", "", body).lstrip()
        if bare[:1] in '["0123456789-ntfN':
            other, _ = first_value(bare)
            raise JsonFault("", f"it is a JSON {type(other).__name__}, not an object")
    if start < 0:
        raise JsonFault("", "it is not valid JSON (there is no object in it)", len(body))
    raw = body[start:]
    value, end = _doubled(raw) if re.match(r"\{\s*\{", raw) else first_value(raw)
    rest = _CLOSING.sub("", raw[end:])
    if (more := rest.find("{")) >= 0 and _is_object(rest[more:]):
        raise JsonFault("", "it has two objects; reply with one")
    if not isinstance(value, dict):
        raise JsonFault("", f"it is a JSON {type(value).__name__}, not an object")
    return value


def _is_object(text: str) -> bool:
    try:
        return isinstance(first_value(text)[0], dict)
    except JsonFault:
        return False


def _doubled(raw: str) -> tuple[Any, int]:
    """The value of a text whose braces are doubled, all of them or the outermost ones."""
    texts = {_halved(raw), re.sub(r"^\{\s*\{", "{", raw)}
    found = []
    for text in texts:
        try:
            found.append((first_value(text)[0], len(raw)))
        except JsonFault as exc:
            fault = exc
    if not found:
        raise fault
    if any(value != found[0][0] for value, _ in found):
        raise JsonFault("", "its braces are doubled, and it is not clear how; write single ones")
    return found[0]


def _halved(raw: str) -> str:
    """The text with each pair of equal braces outside strings as one."""
    return re.sub(r'("(?:[^"\\]|\\.)*")|\{\{|\}\}', lambda m: m.group(1) or m.group()[0], raw)


_LATEX: Final = {"\t": "\\t", "\f": "\\f", "\b": "\\b", "\r": "\\r"}


def unescape_latex(text: str) -> str:
    r"""Undo what JSON makes of LaTeX: ``\times`` written without a second backslash arrives as a tab and ``imes``."""
    text = re.sub(r"[\t\f\x08\r](?=[a-z])", lambda match: _LATEX[match.group()], text)
    return re.sub(r"\n(?=(?:abla|eq|ot|u|eg|leq)\b)", r"\\n", text)


def _in_form(value: dict[str, Any]) -> dict[str, Any]:
    """The reply in our form, if it is a call in that of Hermes and Qwen or lacks the outer object."""
    if "action" in value:
        return value
    if set(value) == {"name", "arguments"}:
        return {"thought": "", "action": {"tool": value["name"], "arguments": value["arguments"]}}
    if "tool" in value:
        return {"thought": value.get("thought", ""), "action": {k: v for k, v in value.items() if k != "thought"}}
    return value


def _cut_answer(text: str) -> dict[str, Any] | None:
    value = partial_object(text)
    action = value.get("action")
    if not isinstance(action, dict) or action.get("tool") != "answer":
        return None
    sentences = action.get("sentences")
    complete = [s for s in sentences[:-1] if isinstance(s, dict)] if isinstance(sentences, list) else []
    return {**value, "action": {"tool": "answer", "sentences": complete}} if complete else None


def partial_object(text: str) -> dict[str, Any]:
    """What can be read of an object that is still being written; empty if nothing can."""
    try:
        value = parse_partial_json(text)
    except (ValueError, TypeError, IndexError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
