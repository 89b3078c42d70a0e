"""Logs and errors without keys: credentials in addresses and headers, and every secret that was read from settings."""

from __future__ import annotations

import base64
import logging
import re
from typing import Final
from urllib.parse import quote

_IN_ADDRESS: Final = re.compile(r"(?<=://)[^/@\s'\"]+@")
_IN_HEADER: Final = re.compile(r"\b(Basic|Bearer)(\s+)[^\s'\",;)}\]]+", re.IGNORECASE)
_SHORTEST: Final = 12
"""Characters below which a value is taken for a placeholder (``ollama``, ``EMPTY``) and may stand anywhere."""
_known: Final[dict[str, None]] = {}


def keep_secret(value: str | None) -> None:
    """From now on `redacted` leaves this value out, in whatever form it stands."""
    if value is not None and len(value) >= _SHORTEST:
        raw = value.encode("utf-8", "replace")
        forms = [value, repr(value)[1:-1], quote(value, safe=""), quote(value), base64.b64encode(raw).decode()]
        _known.update(dict.fromkeys(forms))


def redacted(text: str) -> str:
    """`text` without credentials."""
    text = _IN_HEADER.sub(r"\1\2…", _IN_ADDRESS.sub("", text))
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


class RedactingFormatter(logging.Formatter):
    """A formatter whose lines, tracebacks included, are `redacted`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return redacted(super().format(record))
