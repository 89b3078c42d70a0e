"""Text from notes, models and file names, made safe to print on a terminal.

Control characters, escape sequences, bidirectional overrides and invisible characters are
replaced; line breaks and tabs stay.
"""

from __future__ import annotations

import re
from typing import Final

INVISIBLE: Final = frozenset(
    [
        *range(0x200B, 0x2010),  # zero width space and joiners, direction marks
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),  # word joiner, invisible operators, direction isolates
        *range(0xE0000, 0xE0080),  # tags
        0xFEFF,
        0x061C,
        0x00AD,  # soft hyphen
    ]
)
"""Code points that take no room on a page and no part in a word."""

ANSI_SEQUENCE: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[()*+][0-9A-Z]|[=>78cDEHM])"
)
"""Terminal escape sequences as they stand in logs: colours, cursor movements, titles, links."""


def _table() -> dict[int, str]:
    table: dict[int, str] = {code: "\ufffd" for code in [*range(0x20), *range(0x7F, 0xA0)]}
    for kept in "\n\t":
        del table[ord(kept)]
    table[ord("\r")] = "\n"
    table.update(dict.fromkeys(INVISIBLE, ""))
    table.update(dict.fromkeys(range(0xD800, 0xE000), "\ufffd"))
    return table


_UNSAFE: Final = _table()


def printable(text: str) -> str:
    """`text` without anything that could steer a terminal or hide from the reader."""
    return text.translate(_UNSAFE)


def one_line(text: str, limit: int = 200) -> str:
    """`text` printable, on one line, cut to `limit` characters with an ellipsis."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
