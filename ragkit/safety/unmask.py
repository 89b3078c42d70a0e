"""Disguised text as it is meant: full width, spaced letters, signs between characters, leet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ragkit.text.sanitize import printable
from ragkit.text.tokens import fold

_HAN: Final = r"\u3400-\u9fff"
_SPACED_LETTERS: Final = re.compile(r"(?<![a-z0-9])[a-z0-9@$!]([\s.\-_*|·~])[a-z0-9@$!](?:\1[a-z0-9@$!])+(?![a-z0-9])")
_SEPARATORS: Final = re.compile(r"[\s.\-_*|·~]")
_SIGNS_BETWEEN_HAN: Final = re.compile(rf"(?<=[{_HAN}])[\s.\-_*|·~+#/&^]{{1,3}}(?=[{_HAN}])")
_WORD: Final = re.compile(r"[a-z0-9@$!]+")
_LEET: Final = re.compile(r"[a-z@$!][0-9@$!]+[a-z]|(?<![a-z0-9])[@$][a-z]{2}|[0-9][a-z]{2,}|[a-z]{2,}[0-9@$]")
_ANY_LEET: Final = re.compile(r"[a-z]")
_LEET_TABLES: Final = tuple(str.maketrans("013457@$!", f"o{one}eastasi") for one in "il")
_MAX_TABLES_WORD: Final = 24


@dataclass(frozen=True)
class Unmasked:
    """A text in the forms that patterns are tried on."""

    plain: str
    """Folded: NFKC, lower case, simplified, nothing invisible, separators taken out of spelt-out words."""
    variants: tuple[str, ...]
    """`plain`, then its readings with digits and signs as letters, if they differ."""
    masked: bool
    """Letters were spelt out one by one, or characters were kept apart with signs."""


def unmask(text: str) -> Unmasked:
    """Undo the usual disguises of a text.

    Spelling a word out ("b o m b"), putting signs between Chinese characters ("炸*弹"), invisible or
    full-width characters are undone in `plain`; digits for letters ("b0mb") only in further
    variants, because "h100" and "gpt4" are honest words.
    """
    folded = fold(printable(text))
    joined = _SPACED_LETTERS.sub(lambda match: _SEPARATORS.sub("", match.group()), folded)
    plain = _SIGNS_BETWEEN_HAN.sub("", joined)
    # One such word may be a name; where there are several, short ones ("t0") are read as letters too.
    leet = _ANY_LEET if len(_LEET.findall(plain)) > 1 else _LEET
    readings = [_WORD.sub(lambda match, table=table: _letters(match, table, leet), plain) for table in _LEET_TABLES]  # type: ignore[misc]
    return Unmasked(plain, tuple(dict.fromkeys([plain, *readings])), plain != folded)


def _letters(match: re.Match[str], table: dict[int, int], leet: re.Pattern[str]) -> str:
    word = match.group()
    return word.translate(table) if len(word) <= _MAX_TABLES_WORD and leet.search(word) else word
