"""Figures that a sentence binds to something itself: a count to its list, a value to a name by an equals sign.

"three gates: input and output" needs no source to be wrong; "k1=0.75, b=1.2" has the figures of "k1=1.2, b=0.75".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ragkit.citations.atoms import MARKUP
from ragkit.citations.figures import COUNTING, HAN_DIGITS

_ITEM: Final = r"[^、,，。.:：;；()（）/\n]{1,24}"
_COUNT_ZH: Final = "([两二三四五六七八九十2-9])(?:个|种|类|条|步|项|部分|阶段|大类)"
_COUNT_EN: Final = r"\b(two|three|four|five|six|seven|eight|nine|ten|[2-9])\b"
_BEFORE: Final = (
    re.compile(rf"{_COUNT_ZH}{_ITEM}?[:：]\s*({_ITEM}(?:、{_ITEM}){{1,12}})[。.;；]?\s*$"),
    re.compile(rf"{_COUNT_EN} [a-z -]{{2,40}}: ({_ITEM}(?:, {_ITEM}){{1,12}})[.;]?\s*$", re.IGNORECASE),
)
"""The count, then its list up to the end of the sentence."""
_UNCOUNTED: Final = r"[^、,，。.:：;；()（）/\n0-9两二三四五六七八九十]{1,24}"
_AFTER: Final = re.compile(
    rf"(?:^|[，,。：:；;（(\s])({_UNCOUNTED}(?:、{_UNCOUNTED}){{1,12}}?)\s*{_COUNT_ZH}(?=[，,。；;]|$)"
)
"""The list, then its count right behind it: "编码器、解码器两个"."""
_ASSIGNED: Final = re.compile(r"([A-Za-z\u0370-\u03ff]\w*)\s*[=＝]\s*(\d+(?:\.\d+)?)")
_AND: Final = re.compile(r"[和与及]|\band\b|\bor\b|或")
_OPEN: Final = re.compile(r"等|例如|比如|包括|\b(?:such as|including|etc|e\.g|for example)\b", re.IGNORECASE)
"""Words of a list that need not be whole."""


def miscounted(sentence: str) -> Iterator[tuple[str, int]]:
    """Counts in a sentence that its own list belies: the count as it is written, and how many items there are.

    "A、B 和 C" are three items. A conjunction elsewhere may be part of an item: "A 和 B、C" are two or three, and a
    count is wrong only if it is neither.
    """
    plain = sentence.replace("*", "")
    found = [(match[1], match[2]) for pattern in _BEFORE if (match := pattern.search(plain))]
    found += [(match[2], match[1]) for match in _AFTER.finditer(plain)]
    for count, items in found:
        parts = re.split("、|, (?:and |or )?", items)
        inside = [len(_AND.findall(part)) for part in parts]
        most = len(parts) + sum(inside)
        least = len(parts) if any(inside[:-1]) else most
        if _OPEN.search(sentence) is None and not least <= _value(count) <= most:
            yield count, most


def reassigned(sentence: str, source: str) -> Iterator[tuple[str, str]]:
    """Names and values of a sentence ("k1", "0.75") where the source has another value, and that value elsewhere."""
    said = _assigned(sentence)
    there = _assigned(source) if said else {}
    for name, values in said.items():
        if name in there and not values & there[name] and any(values & others for others in there.values()):
            yield name, min(values)


def _assigned(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, value in _ASSIGNED.findall(MARKUP.sub("", text)):
        found.setdefault(name.lower(), set()).add(f"{float(value):g}")
    return found


def _value(count: str) -> int:
    return int(count) if count.isdecimal() else (HAN_DIGITS | COUNTING)[count.lower()]
