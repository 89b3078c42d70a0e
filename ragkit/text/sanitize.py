"""Text from notes, models and file names, made safe to print on a terminal.

Control characters, escape sequences, bidirectional overrides and invisible characters are
replaced; line breaks and tabs stay.
"""

from __future__ import annotations

from typing import Final


def _table() -> dict[int, str]:
    table: dict[int, str] = {code: "\ufffd" for code in [*range(0x20), *range(0x7F, 0xA0)]}
    for kept in "\n\t":
        del table[ord(kept)]
    table[ord("\r")] = "\n"
    hidden = [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0x61C, 0xAD]
    table.update(dict.fromkeys([*hidden, *range(0xE0000, 0xE0080)], ""))
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
