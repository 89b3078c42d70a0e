"""Offline rules in Chinese and English: a request for harm, not the mere mention of it.

A rule needs what is asked (make a bomb, rob a bank) *and* that it is asked for (how do I, 教我). In
talk about models and their safety, both stand in quotations and examples; there a rule holds only if the
writer asks on their own behalf. The patterns hold no instructions and give none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from ragkit.safety.patterns import ACTIONS, INJECTION, OUTRIGHT
from ragkit.safety.unmask import unmask
from ragkit.text.sentences import split_sentences

Direction = Literal["input", "output"]

CATEGORIES: Final = (
    "violence",
    "self-harm",
    "illicit",
    "cyber",
    "hate",
    "sexual",
    "privacy",
    "prompt-injection",
)
"""What a text can be flagged for."""

_ASKED: Final = (
    r"(?:\bhow (?:do|can|could|would|should|might|to|many|much|deep|long)\b|\b(?:teach|show|tell|help|give|get|walk|guide|find|make|send|build|bring) "
    r"(?:me|us)\b|\bwrite\b|\bdescribe\b|\bexplain how\b|\b(?:steps?|instructions?|guide|recipe|tutorial|plan|way|method|tips?|advice) "
    r"(?:to|for|on|of)\b|\bi(?:'m| am)? (?:want|need|plan|would like|going|wanna|will|have decided)\b|\bi'd like\b|\bwhere (?:can|do|could|to)\b"
    r"|\b(?:best|easiest|fastest|quickest|safest|least painful) (?:way|place|method|poison|weapon)\b|\bcan you\b|\bcould you\b|\bplease\b"
    r"|\bwhich\b|\bwhat(?:'s| is| are)? (?:the )?(?:best|easiest|fastest|chemicals|ingredients|materials|poison|drugs?)\b"
    r"|\b(?:sure|certainly|of course)\b|\bhere(?:'s| is| are)\b|\bstep (?:1|one)\b|\bto\b"
    r"|怎么|怎样|如何|咋|为我|替我|发点?给?我?|教我|教教我|告诉我|给我|帮我|帮忙|我想|我要|我打算|我准备|我决定|哪里|哪儿|去哪|在哪|哪些?|什么设备|有没有|有什么|哪个网站|什么方法|什么毒|有什么办法|求"
    r"|方法|步骤|教程|配方|流程|详细|写一|写个|写篇|编一|做一张|请|下面是|以下是|如下|想要|要想|多少|多深"
    r"|^\W*(?:make|find|dox|create|generate|prove|plan|list|build|explain why|compose|look up|design|draft|produce|hack|sell)\b|^\W*(?:证明|人肉|查|曝光|开盒|编|用什么|讲|列|搞|弄))"
)
_BEFORE: Final = 80
_AFTER: Final = 40
"""Characters around an action within which it must be asked for."""
_OWN_BEHALF: Final = (
    r"(?:\b(?:teach|show|tell|help) (?:me|us)(?: how)?(?: to)?|\bi (?:want|need|plan|am going|wanna)(?: to)?|\bhow (?:do|can|could) i"
    r"|教教?我|告诉我(?:怎么|怎样|如何)?|帮我|我想|我要|我打算)"
)
_ABOUT_MODELS: Final = re.compile(
    r"jailbreak|越狱|red[- ]?team|红队|防御|防护|防范|防止|预防|防住|检测|识别|过滤|审核|对齐|\balign|rlhf|\bdpo\b|\bsft\b|分类器|classif|数据集|dataset"
    r"|benchmark|评测|评估|护栏|guard|moderation|refus|拒答|拒绝|\bllms?\b|模型|chatbot|机器人|\bbots?\b|\bnlp\b|热线|helpline|crisis line|preference data|偏好|recogni[sz]|识破|认出|\bfilter|\bmodels?\b|prevent|defen[cds]|mitigat|detect"
    r"|safety (?:train|filter|eval|polic)|safety-|false alarm|误报|误判|误杀|prompt injection|提示注入|adversarial|对抗样本|训练数据|training (?:data|set)"
    r"|toxicity|toxic |毒性|\brag\b|语料|\bcorpus\b|(?<!nerve )\bagents?\b"
)
_ABOUT_INJECTION: Final = re.compile(
    r"jailbreak|越狱|注入|injection|attack|攻击|defen[cds]|防御|防止|怎么防|检测|detect|例如|比如|诸如|譬如|such as|for example|e\.g\."
    r"|means?\b|meaning|what does|why does|什么意思|这类|这种|之类|含义|红队|red[- ]?team|hijack|劫持|leak|泄露"
)
_QUOTED: Final = re.compile(
    r"\"[^\"]{3,200}\"|“[^”]{2,200}”|「[^」]{2,200}」|`[^`]{3,200}`|‘[^’]{3,200}’|《[^》]{1,60}》"
)


_ASKING: Final = re.compile(_ASKED)


@dataclass(frozen=True)
class RuleHit:
    """A rule that matched."""

    category: str
    rule: str
    """Which kind of rule: ``request``, ``outright``, ``injection``, ``personal-data``."""


@lru_cache(maxsize=1)
def _requests() -> dict[str, tuple[re.Pattern[str], re.Pattern[str]]]:
    """For each category: the action, and the action asked for on the writer's own behalf."""
    compiled = {}
    for category, actions in ACTIONS.items():
        action = "|".join(actions)
        compiled[category] = (
            re.compile(action),
            re.compile(rf"{_OWN_BEHALF}.{{0,12}}?(?:{action})"),
        )
    return compiled


@lru_cache(maxsize=1)
def _outright() -> dict[str, re.Pattern[str]]:
    return {category: re.compile("|".join(patterns)) for category, patterns in OUTRIGHT.items()}


@lru_cache(maxsize=1)
def _injection() -> re.Pattern[str]:
    return re.compile("|".join(INJECTION))


def check_rules(text: str, direction: Direction = "input") -> list[RuleHit]:
    """The rules that `text` meets, each category once; empty if none.

    Args:
        text: A question or an answer.
        direction: Injection rules hold for ``input`` only: an answer that quotes an attack from the
            notes attacks nobody.
    """
    hits: dict[str, RuleHit] = {}
    for variant in unmask(text).variants:
        # Quoted words are talked about, not said; an answer quotes its sources all the time.
        unquoted = _QUOTED.sub(" ", variant)
        for sentence in split_sentences(unquoted):
            for category, rule in _sentence(sentence):
                hits.setdefault(category, RuleHit(category, rule))
        injected = _injection().search(unquoted) if direction == "input" else None
        if injected and not _ABOUT_INJECTION.search(unquoted):
            hits.setdefault("prompt-injection", RuleHit("prompt-injection", "injection"))
    if _identity_number(text):
        hits.setdefault("privacy", RuleHit("privacy", "personal-data"))
    return list(hits.values())


def _sentence(sentence: str) -> list[tuple[str, str]]:
    found = []
    studied = _ABOUT_MODELS.search(sentence) is not None
    for category, (action, own) in _requests().items():
        if own.search(sentence) if studied else _asked_for(sentence, action):
            found.append((category, "request"))
    if not studied:
        found += [(category, "outright") for category, pattern in _outright().items() if pattern.search(sentence)]
    return found


def _asked_for(sentence: str, action: re.Pattern[str]) -> bool:
    # The verb of a request may be the first word of the action ("write ransomware"), so the two may overlap.
    return any(
        _ASKING.search(sentence[max(0, match.start() - _BEFORE) : match.end() + _AFTER])
        for match in action.finditer(sentence)
    )


_IDENTITY: Final = re.compile(
    r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)"
)
_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def _identity_number(text: str) -> bool:
    """Whether a Chinese identity number with the right check digit (GB 11643-1999) stands in `text`."""
    return any(
        "10X98765432"[sum(int(d) * w for d, w in zip(number, _WEIGHTS, strict=False)) % 11] == number[-1].upper()
        for number in _IDENTITY.findall(text)
    )
