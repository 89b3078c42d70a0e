"""The words that ask for a fact to be remembered, taken off the fact: "please remember that I live in Toronto".

They are no part of it. Kept, they made the longer wording of a fact look like the fuller one. Only what
cannot be meant otherwise goes: "remember to buy milk", "Note taking is my hobby" and 别忘了买牛奶 stay whole.
"""

from __future__ import annotations

import re
from typing import Final

_POLITE: Final = (
    r"(?:(?:please|kindly|also|and|can you|could you|would you|i want you to|i(?:'d| would) like you to)[\s,]+)*"
)
_EN: Final = re.compile(
    rf"^\s*{_POLITE}(?:remember|note|keep in mind|bear in mind|don['’]?t forget|do not forget|make a note)\b"
    r"(?:(?:\s+(?:this|that|the following|down|for later|please|of this|of that))*\s*[:：,，]\s*"
    r"|(?:\s+down)?\s+that\s+(?!(?:day|time|night|one)\b)|\s+(?=(?:i|i['’]m|i['’]ve|my|we|our)\s))",
    re.IGNORECASE,
)
_ZH: Final = re.compile(
    r"^\s*(?:(?:请|麻烦|劳烦|拜托|你|帮我|替我|给我|帮忙|再|先|也|要)*"
    r"(?:记住|记一下|记下来?|记着|记得|记录一下|别忘了?|不要忘了?|存一下|保存一下)(?:这个|这一点|这件事|下面这个)?"
    r"(?:\s*[：:，,、]\s*|\s+|(?=我|咱|[他她]的?|本人))"
    r"|(?:请|麻烦|帮我|替我)+(?:记住|记一下|记下来?|记录一下)(?!了))"
)
_AFTER: Final = re.compile(
    r"[,，;；.。!！]\s*(?:please\s+)?(?:remember|note|keep in mind|don['’]?t forget)(?:\s+(?:that|this|it))?"
    r"(?:\s+please)?[\s.!。！]*$"
    r"|[,，;；.。!！\s]\s*(?:请|麻烦|你|帮我|替我|要)*(?:记住|记一下|记下来|记着|别忘了)"
    r"(?:这个|这一点|哦|吧|啊|了|它)*[\s.!。！]*$",
    re.IGNORECASE,
)
_ASKED: Final = re.compile(r"^\s*(?:(?:please|also|and)[\s,]+)*(?:can|could|would) you\b", re.IGNORECASE)


def without_asking(text: str) -> str:
    """`text` without what asks to remember it; as it is where nothing would be left.

    Args:
        text: One line.
    """
    fact = text
    for asking in (_EN, _ZH, _AFTER):
        fact = asking.sub("", fact, count=1)
    fact = fact.strip()
    if fact != text.strip() and _ASKED.match(text):
        fact = fact.rstrip("?？ ")  # the question was whether it would be remembered
    return fact if len(re.findall(r"\w", fact)) > 1 else text
