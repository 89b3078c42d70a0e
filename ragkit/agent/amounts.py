"""What a question for a number needs for an answer: a number.

A small model that is asked how many GPUs were used, by notes that do not say, writes a line that is near and says
nothing of it. Whether an answer is of the kind that the question asks for (its expected answer type, as in Li & Roth
2002, "Learning question classifiers", COLING) is plain for numbers at least.
"""

from __future__ import annotations

import re
from typing import Final

_AUXILIARY: Final = "is|are|was|were|does|do|did|can|could|should|would|will|has|have|had|may|might|must"
_ASKS: Final = re.compile(
    r"(?<!不管)(?<!无论)(?<!没)(?<!没有)(?<!多)多少(?!有点|会有|少)|百分之几|几大[类种]|几成(?!为)"
    r"|(?<=[是有用取分要需共到大占掉了])(?<![过隔]了)几[个种组步天年层倍次条张位块维分类轮]"
    r"|(?<![很许更太众较最越])多(?:长|久|大)(?=[?？的,，。]|时间|比例|$)"
    r"|\bhow many\b"
    rf"|\bhow much\b(?! (?:{_AUXILIARY})\b)"
    rf"|\bhow much (?:{_AUXILIARY})\b.*\b(?:cost|charge|pay|weigh|take|need|use|save|grow|occupy|gain|lose)s?\b"
    rf"|\bwh(?:at|ich) (?:(?!(?:{_AUXILIARY})\b)[\w-]+ ){{0,3}}(?:value|number|rate|ratio|share|percentage|fraction)"
    rf"(?= (?:{_AUXILIARY}|of|to|for|in|on|gives?|works?)\b| ?\?)",
    re.IGNORECASE,
)
_ASKS_ELSE: Final = re.compile(
    r"为什么|为何|为啥|怎么|怎样|如何|什么|哪|谁|是否|吗|呢.|区别|差别|原因|解释|介绍|讲讲|说说|比较|描述"
    r"|([是会能要有该])[不没]\1|有没有|可不可以"
    rf"|^\W*(?:{_AUXILIARY}|explain|describe|compare)\b"
    r"|\b(?:why|who|whom|whose|where|when|what|which|how|explain|describe|difference)\b",
    re.IGNORECASE,
)
_WORDS: Final = (
    "zero none one two three four five six seven eight nine ten eleven twelve twenty thirty hundreds? thousands? "
    "millions? billions? dozens? half halves thirds? quarters? twice thrice doubled? doubles tripled? triples once "
    "single few several handful couple pairs? majority same equal(?:ly)? many linear(?:ly)? quadratic(?:ally)? "
    "constant no"
).replace(" ", "|")
_NUMBER: Final = re.compile(
    r"\d|[零〇二两三四五六七八九十百千万亿半倍]|一[个层步次种张条天年成维块位组份]|几(?!乎|何)|若干|少量|很少|不大|很小|全部|所有|多数"
    rf"|[=^√²³]|\b(?:{_WORDS})\b|(?<![A-Za-z'])[b-hj-z](?![A-Za-z'])",
    re.IGNORECASE,
)
"""Lenient: figures, numerals, words for a count, formulas, and single letters that stand for a number."""
_NAMED: Final = re.compile(r"[A-Za-z.-]*\d[\w.%-]*")


def asks_for_a_number(question: str) -> bool:
    """Whether a question asks for a number and for nothing besides."""
    return _ASKS.search(question) is not None and _ASKS_ELSE.search(_ASKS.sub(" N ", question)) is None


def names_a_number(text: str, question: str) -> bool:
    """Whether a text has any number, in figures, words or letters, that is not merely the question's own (``7B``)."""
    for name in sorted(set(_NAMED.findall(question)), key=len, reverse=True):
        text = re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w|\.\d)", " ", text)
    return _NUMBER.search(text) is not None
