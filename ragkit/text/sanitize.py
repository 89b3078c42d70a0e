r"""Text from notes, models, users and file names, made safe to print, to search for and to hand on.

Control characters, escape sequences, bidirectional overrides and invisible characters are
replaced; line breaks and tabs stay. In JSON they stay too, as ``\uXXXX``. Each character is judged
by itself, so a text may come in pieces cut anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from ragkit.errors import UsageError

ANSI_SEQUENCE: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[()*+][0-9A-Z]|[=>78cDEHM])"
)
"""Terminal escape sequences as they stand in logs: colours, cursor movements, titles, links."""

_CONTROLS: Final = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t\r"]
_BREAKS: Final = [0x0D, 0x2028, 0x2029]
_JOINERS: Final = [0x200C, 0x200D]
"""Invisible, but part of words in some scripts and of emoji."""
_INVISIBLE: Final = [
    *(0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    *(0xFEFF, 0xFFF9, 0xFFFA, 0xFFFB),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE0080),
    *range(0xE0100, 0xE01F0),
]
INVISIBLE: Final = frozenset([*_JOINERS, *_INVISIBLE])
"""Code points that take no room on a page and no part in a word."""
_BLANK: Final = [
    *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
    *range(0x180B, 0x1810),
    *range(0xFE00, 0xFE10),
]
"""Fillers and variation selectors: letters or marks by their class, but nothing is seen of them, and
sixteen of them in a row spell hidden bytes. An analyser may need them, a reader does not."""
_SURROGATES: Final = range(0xD800, 0xE000)

_PRINTABLE: Final[dict[int, str]] = {
    **dict.fromkeys([*_CONTROLS, *_SURROGATES], "\ufffd"),
    **dict.fromkeys(_BREAKS, "\n"),
    **dict.fromkeys([*INVISIBLE, *_BLANK], ""),
}
_QUESTION: Final[dict[int, str]] = {
    **dict.fromkeys([*_CONTROLS, *_SURROGATES, 0xFFFD], " "),
    **dict.fromkeys(_BREAKS, "\n"),
    **dict.fromkeys(_INVISIBLE, ""),
}
_JSON: Final[dict[int, str]] = {
    **{
        code: "".join(f"\\u{unit:04x}" for unit in memoryview(chr(code).encode("utf-16-le")).cast("H"))
        for code in (0x7F, *range(0x80, 0xA0), 0x2028, 0x2029, *INVISIBLE, *_BLANK)
    },
    **dict.fromkeys(_SURROGATES, "\ufffd"),
}
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_BYTES: Final = re.compile("[\udc80-\udcff]{2,}")
"""How Python hands on what stands in arguments and on standard input and is none of the locale's characters."""


def runs_of(codes: Iterable[int]) -> re.Pattern[str]:
    """Matches runs of these code points. As ranges: a class of single characters is searched a hundred times slower."""
    ranges: list[list[int]] = []
    for code in sorted(codes):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return re.compile("[" + "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in ranges) + "]+")


_TO_PRINT: Final = runs_of(_PRINTABLE)
_TO_JSON: Final = runs_of(_JSON)
_SAMPLE: Final = 4096
_DENSE: Final = 100
"""Runs in the sample from which on replacing them one by one is the slower way."""


def printable(text: str) -> str:
    """`text` without anything that could steer a terminal or hide from the reader."""
    return _replaced(text, _TO_PRINT, _PRINTABLE)


def one_line(text: str, limit: int = 200) -> str:
    """`text` printable, on one line, cut to `limit` characters with an ellipsis."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def clean_question(text: str) -> str:
    """What was asked, as text that every part of the way to an answer can take.

    Arguments and terminal lines that are no UTF-8 arrive with lone surrogates, which no encoder
    takes; they and control characters become spaces. Two halves of one character are joined, and so are the
    bytes of one in UTF-8: under ``LC_ALL=C`` a question in Chinese consists of them.
    Invisible characters, which split words that were copied from elsewhere, are left out.

    Raises:
        UsageError: If it is no text.
    """
    if not isinstance(text, str):
        raise UsageError(f"A question must be a text, not {text!r}.")
    joined = _PAIR.sub(lambda pair: pair.group().encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _BYTES.sub(_read_as_utf8, joined).translate(_QUESTION)


def _read_as_utf8(run: re.Match[str]) -> str:
    return run.group().encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def escape_json(text: str) -> str:
    r"""A JSON text with every character that could steer a terminal or hide written as ``\uXXXX``.

    Its parsed value stays the same, except that lone surrogates, which other parsers refuse,
    become U+FFFD. `text` must be what ``json.dumps`` gave: such characters stand in strings only.
    """
    return _replaced(text, _TO_JSON, _JSON)


def _replaced(text: str, runs: re.Pattern[str], table: Mapping[int, str]) -> str:
    """`text` through `table`: translating is the quicker way for ASCII and dense text, searching for the rest."""
    if text.isascii() or len(runs.findall(text, 0, _SAMPLE)) > _DENSE:
        return text.translate(table)
    return runs.sub(lambda run: run.group().translate(table), text)
