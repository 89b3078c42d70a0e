"""Which language a text is in, as far as retrieval and answering need to know."""

from __future__ import annotations

import re
from typing import Final, Literal

from ragkit.text.tokens import STOP_WORDS

Language = Literal["zh", "en"]
LanguageGroup = Literal["zh", "other"]

CJK_RANGES: Final = ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
"""Code point ranges of Han characters (inclusive)."""

_CJK_RUNS: Final = re.compile("[" + "".join(f"{chr(low)}-{chr(high)}" for low, high in CJK_RANGES) + "]+")

ZH_SHARE: Final = 0.15
"""A text with more than this share of Han characters counts as Chinese."""


def is_cjk(char: str) -> bool:
    """Tell whether a single character is a Han character."""
    code = ord(char)
    return any(low <= code <= high for low, high in CJK_RANGES)


def count_cjk(text: str) -> int:
    """Number of Han characters in `text`."""
    return 0 if text.isascii() else sum(map(len, _CJK_RUNS.findall(text)))


def script_counts(text: str) -> tuple[int, int]:
    """Number of Han characters in `text`, and of characters that are not white space."""
    return count_cjk(text), sum(map(len, text.split()))


def cjk_share(text: str) -> float:
    """Share (0..1) of Han characters among the characters that are not white space."""
    han, solid = script_counts(text)
    return han / solid if solid else 0.0


def language_group(text: str) -> LanguageGroup:
    """``zh`` if more than 15 % of the characters are Han characters, else ``other``.

    This is the grouping under which the dense language correction was measured.
    """
    return group_of(*script_counts(text))


def group_of(han: int, solid: int) -> LanguageGroup:
    """`language_group` of a text with so many Han characters among those that are not white space."""
    return "zh" if solid and han / solid > ZH_SHARE else "other"


def answer_language(question: str) -> Language:
    """The language an answer to `question` is to be written in.

    A question such as "LoRA 的 rank 是什么" is Chinese although most characters are Latin:
    one Han character decides, because an English question has none, save a quoted word. Words
    such as "what" or "the" tell that case from "FlashAttention vs PagedAttention 区别".
    """
    han = count_cjk(question)
    words = [word.lower() for word in question.split() if word.isascii() and word.isalpha()]
    english = han < len(words) and cjk_share(question) <= ZH_SHARE and not STOP_WORDS.isdisjoint(words)
    return "zh" if han > 0 and not english else "en"
