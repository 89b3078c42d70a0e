"""What a numeral is worth, in figures or words: 四分之三, "three quarters" and 75 % are one number, 67 亿 is 6.7 B."""

from __future__ import annotations

import re
from typing import Final

HAN_NUMERALS: Final = "零一二三四五六七八九十"
"""Each at the place of its value, as the words of `NUMBER_WORDS`."""
NUMBER_WORDS: Final = "zero one two three four five six seven eight nine ten eleven twelve".split()
HAN_DIGITS: Final = {c: i for i, c in enumerate(HAN_NUMERALS)} | {"两": 2}
COUNTING: Final = {word: value for value, word in enumerate(NUMBER_WORDS) if value > 1}

_HAN_TENS: Final = {"十": 10, "百": 100, "千": 1000}
_HAN: Final = "[一二两三四五六七八九十百千]{1,3}"
_ONES: Final = "|".join(NUMBER_WORDS[1:10])
_PARTS: Final = "half third quarter fifth sixth seventh eighth ninth tenth".split()
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety".split()
FIGURE: Final = (
    rf"{_HAN}分之{_HAN}|[一二三四五六七八九]成(?=[以左多的，。、；]|$)"
    rf"|(?i:\b(?:an?|{_ONES})[ -](?:hal(?:f|ves)|(?:{'|'.join(_PARTS[1:])})s?)(?= (?:of|the|as|more|less)\b|[,.;:]|$))"
    rf"|(?i:\b(?:{'|'.join(_TENS)})(?:[- ](?:{_ONES}))?\b)"
)
"""Shares and tens in words."""
_SCALE: Final = {"%": 0.01, "‰": 0.001, "k": 1e3, "万": 1e4, "m": 1e6, "亿": 1e8, "b": 1e9, "t": 1e12}
_NEAR: Final = 0.011
"""Two amounts that differ by less are one, rounded."""
_EQUAL: Final = 0.002


def figure(words: str) -> tuple[str, str]:
    """Value and unit (``%`` or nothing) of a text that matches `FIGURE`."""
    if "分之" in words:
        below, above = map(_han, words.split("分之"))
        return (str(above), "%") if below == 100 else (f"{above / below:g}", "")
    if words.endswith("成"):
        return str(10 * HAN_DIGITS[words[0]]), "%"
    first, *rest = re.split("[ -]", words.lower())
    ones = NUMBER_WORDS.index(rest[0]) if rest and rest[0] in NUMBER_WORDS else 0
    if first in _TENS:
        return str(20 + 10 * _TENS.index(first) + ones), ""
    count = 1 if first in ("a", "an") else NUMBER_WORDS.index(first)
    part = rest[0].replace("halves", "half").removesuffix("s")
    return f"{count / (_PARTS.index(part) + 2):g}", ""


def _han(numeral: str) -> int:
    value = digit = 0
    for char in numeral:
        if char in _HAN_TENS:
            value += (digit or 1) * _HAN_TENS[char]
            digit = 0
        else:
            digit = HAN_DIGITS[char]
    return value + digit


def is_scale(unit: str) -> bool:
    """Whether a unit says how large a number is, and nothing of what."""
    return unit in _SCALE


def amount(value: str, unit: str) -> float | None:
    """What a number is worth, if its unit is a scale or there is none."""
    return None if unit and unit not in _SCALE else float(value) * _SCALE.get(unit, 1.0)


def written_otherwise(value: str, unit: str, numbers: list[tuple[str, str]], *, in_words: bool) -> bool:
    """Whether one of `numbers` (value, unit) is the same amount in another form: 75 % for 0.75, 67 亿 for 6.7 B.

    Args:
        value: Of the number looked for.
        unit: Of the number looked for; without one it must be a share between 0 and 1.
        numbers: Those of the source.
        in_words: Whether the number is a share in words, which may also be worked out from what the source
            gives: "a third" of "2 of 6 layers", or of "3 times less".
    """
    worth = amount(value, unit)
    if not worth or not (unit or 0 < worth < 1):
        return False
    times = [float(number) for number, its in numbers if its == "倍"]
    amounts = [(there, its) for number, its in numbers if (there := amount(number, its)) is not None]
    amounts += [(number, "倍") for number in times]
    if any((its or 0 < other < 1) and abs(other - worth) <= _NEAR * worth for other, its in amounts):
        return True
    if not in_words:
        return False
    parts = any(abs(one - worth * two) <= _EQUAL * two and a == b for one, a in amounts for two, b in amounts if two)
    return parts or any(abs(number * worth - 1) <= _EQUAL for number in times)
