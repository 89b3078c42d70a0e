"""Sentence boundaries for Chinese and English, as offsets into the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_CLOSERS: Final = "\"'”’」』）】》)]"
_HALF: Final = "[.!?;]"
_FULL: Final = "[。！？；…]"
_CLOSING: Final = rf"[{re.escape(_CLOSERS)}]*+"
# Possessive, and from the first of a run of stops only: a long run inside a word is passed once, not once a stop.
# It begins with one set of characters, which is looked for four times as fast as a choice of three beginnings.
_END: Final = re.compile(
    rf"[。！？；….!?;\n](?:(?<={_FULL}){_FULL}*+{_CLOSING}"
    rf"|(?<={_HALF})(?<!{_HALF}{{2}}){_HALF}*+{_CLOSING}(?=\s|$)|(?<=\n)\n*+)"
)
_ABBREVIATION: Final = re.compile(
    r"\b(?:e\.g|i\.e|etc|vs|cf|fig|eq|sec|dr|mr|mrs|ms|prof|al|approx|no|[A-Z])\.\Z", re.IGNORECASE
)
_WINDOW: Final = 12
"""Characters before a full stop that are looked at; the longest abbreviation has 6."""
_LIST_NUMBER: Final = re.compile(r"[^\S\n]*\d{1,3}\.")


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield ``(start, end)`` of each sentence; white space around it is left out.

    。！？； and . ! ? ; end a sentence, a line break does too. A full stop after an
    abbreviation, an initial or a list number ("e.g.", "1.") does not. Time grows with the length
    of `text`, however it is made up.
    """
    start = 0
    number: re.Match[str] | None = _LIST_NUMBER.match(text)
    for match in _END.finditer(text):
        end = match.end()
        if match.group().startswith("."):
            stop = match.start() + 1
            if number is not None and number.end() == stop:
                continue
            if _ABBREVIATION.search(text[max(start, stop - _WINDOW) : stop]):
                continue
        yield from _trimmed(text, start, end)
        start = end
        number = _LIST_NUMBER.match(text, start)
    yield from _trimmed(text, start, len(text))


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`, trimmed, without empty ones."""
    return [text[start:end] for start, end in sentence_spans(text)]


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if end > start:
        yield start, end
