"""What an endpoint can do, found out by asking it once and kept in ``$RAGKIT_HOME/endpoints.json``.

A server says nowhere whether a model's tool calls arrive as such or as text, and whether a schema is enforced or
ignored without a word. So it is given a call that only a caller makes, and a schema that only an enforced one meets.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from ragkit.models.constraints import FORMS, constrained
from ragkit.text.strict_json import JsonFault, first_value

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

FILE: Final = "endpoints.json"
_DAYS: Final = 30
"""Servers are updated; what was found is asked again after this time."""
_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "report_number",
        "description": "Reports a number.",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer"}},
            "required": ["number"],
            "additionalProperties": False,
        },
    },
}
_CALL_IT: Final = "Call the tool report_number with the number 7. Do not answer with text."
_FRUIT: Final = {
    "type": "object",
    "properties": {"fruit": {"type": "string", "enum": ["kumquat"]}},
    "required": ["fruit"],
    "additionalProperties": False,
}
_SAY_HELLO: Final = 'Reply with a JSON object that greets me, such as {"hello": "you"}.'
_REFUSALS: Final = frozenset({400, 404, 405, 415, 422, 500, 501})
log = logging.getLogger(__name__)
_lock: Final = threading.Lock()


@dataclass(frozen=True)
class Found:
    """What an endpoint was found to do."""

    tool_calling: Literal["native", "json"]
    form: str
    """One of `ragkit.models.constraints.FORMS`: the form of schema that it enforces, or at least takes."""
    asked: float
    """Seconds since 1970."""


def discover(model: BaseChatModel, key: str, home: Path) -> Found:
    """What the endpoint of a model can do, from the file or from the endpoint itself.

    Args:
        model: Client of the endpoint.
        key: Address and model name.
        home: ``$RAGKIT_HOME``.

    Raises:
        Exception: Whatever the client raises if the endpoint is not there or refuses the key; nothing is kept then.
    """
    if found := known(key, home):
        return found
    native = _calls_tools(model)
    found = Found("native" if native else "json", FORMS[0] if native else _enforced_form(model), time.time())
    _keep(key, found, home)
    return found


def known(key: str, home: Path) -> Found | None:
    """What was found earlier; None if it was never asked, or too long ago."""
    entry = _read(home).get(key)
    try:
        found = Found(**entry) if isinstance(entry, dict) else None
    except TypeError:
        return None
    if found is None or found.tool_calling not in {"native", "json"} or found.form not in FORMS:
        return None
    return found if isinstance(found.asked, int | float) and time.time() - found.asked < _DAYS * 86_400 else None


def _calls_tools(model: BaseChatModel) -> bool:
    """Whether the model calls a tool when it is told to, in the form of the API and with right arguments."""
    try:
        reply = model.bind(tools=[_TOOL], max_tokens=200).invoke(_CALL_IT)
    except Exception as exc:
        if getattr(exc, "status_code", None) in _REFUSALS:
            return False
        raise
    return any(call["name"] == "report_number" and call["args"] == {"number": 7} for call in reply.tool_calls)


def _enforced_form(model: BaseChatModel) -> str:
    """The first form of a schema that shows in the reply, else the first one that is not refused."""
    taken = ""
    for form in FORMS[:-2]:
        try:
            text = constrained(model, _FRUIT, 60, form).invoke(_SAY_HELLO).text
        except Exception as exc:
            if getattr(exc, "status_code", None) in _REFUSALS:
                continue
            raise
        taken = taken or form
        try:
            value: Any = first_value(text)[0]
        except JsonFault:
            continue
        if value == {"fruit": "kumquat"}:
            return form
    return taken or "json_object"


def _read(home: Path) -> dict[str, Any]:
    try:
        value = json.loads((home / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _keep(key: str, found: Found, home: Path) -> None:
    """Write the file anew; that it cannot be written costs one more question the next time."""
    with _lock:
        value = {**_read(home), key: asdict(found)}
        temporary = home / f".{FILE}.{os.getpid()}.{secrets.token_hex(3)}"
        try:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_text(json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True), encoding="utf-8")
            os.replace(temporary, home / FILE)
        except OSError as exc:
            log.warning("what %s can do is not kept: %s", key, exc)
            temporary.unlink(missing_ok=True)
