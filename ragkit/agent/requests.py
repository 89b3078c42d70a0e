"""What a question asks for outright: the calculator, the memory, the list of notes, a file by its name.

A small model takes any tool that stands on its list, for any question. So a model that is driven by JSON is
offered the calculator, the memory and the list only where the question may need them, and must call first what
was asked for in so many words (`ragkit.agent.middleware.turn_control`). Which tools there are at all, and whether
a call may take effect, is decided elsewhere: nothing here widens it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ragkit.text.tokens import query_terms

_CALCULATION: Final = re.compile(
    r"(?<![A-Za-z0-9.-])\d[\d.,]*(?:e\d+)?\s*\)?\s*(?:\*\*|[-+*/×÷^%＋－＊／]|加|减|乘以?|除以|的(?=\s*\d+\s*次方)"
    r"|plus|minus|times|divided\s+by)\s*\(?\s*\d[\d.,]*(?:e\d+)?(?![\dA-Za-z])"
    r"|(?:log2?|sqrt|根号)\s*\(?\d|用计算器|算一下|帮我算|算出(?!来的)|\b(?:use|with)\s+the\s+calculator\b"
    r"|\bcompute\s+(?:how|their|\d|\()",
    re.IGNORECASE,
)
_SUM: Final = re.compile(
    r"等于|是多少|多少[?？。]|结果|(?<!计)算(?!法|子|力|术)|计算(?=\s*[\d(（])|用计算器|=\s*[?？]"
    r"|\b(?:comput|calculat)(?:e|ing)\b|\bcalculator\b|\bwhat(?:'s|\s+is|\s+are)\s+[\d(]|\bhow much\b",
    re.IGNORECASE,
)
_NO_SUM: Final = re.compile(r"不(?:用|要|需要)(?:计)?算|(?:do not|don't|without)\s+(?:comput|calculat)", re.IGNORECASE)
_AMOUNT: Final = re.compile(
    r"多少|几[倍个次块条步轮]|一共|总共|平均|相差|占比|比例|百分|显存|内存|翻倍"
    r"|\bhow (?:many|much|large|big|long)\b|\b(?:total|sum|average|difference|ratio|percent|share|memory)\b|%",
    re.IGNORECASE,
)
_FREE_NUMBER: Final = re.compile(r"(?<![A-Za-z0-9._-])\d[\d.,]*")
_KEEP: Final = re.compile(
    r"(?:^|[请你我，,。.!！：:；;\s])(?:要|要你|帮我|先)?(?:记住|记下|记一下|别忘了|记得(?=我|[：:]))"
    r"|(?:^|[.!?;:]\s+|\bplease\s+|\band\s+|\balso\s+)(?:remember|note)\b"
    r"(?!\s+(?:when|how|what|which|who|where|why|if|whether|any))(?=\s*:|\s+(?:that|my|this|i\b))"
    r"|\bdon't forget (?:that|my|this|i\b)",
    re.IGNORECASE,
)
_LOOK_BACK: Final = re.compile(
    r"还记得|你记得|我(?:刚才|之前|上次|以前|曾经)?(?:跟你|和你|对你)?(?:说过|告诉过|提过|讲过)|我叫什么|我的名字(?:叫|是)?什么"
    r"|\bi (?:have )?(?:told|said|mentioned)\b|\bdid i (?:tell|say|mention)\b|\bdo you (?:recall|remember)\b"
    r"|\bwhat(?:'s| is| was) my (?:name|goal|favou?rite|preference|interview)",
    re.IGNORECASE,
)
_ABOUT_ME: Final = re.compile(
    r"我(?:叫|的名字|喜欢|的目标|的面试)|\bmy (?:name|goal|favou?rite|preference|interview)\b", re.IGNORECASE
)
_LISTING: Final = re.compile(
    r"(?:哪些|列出|有多少|几篇|所有)[^？?]{0,12}笔记|笔记[^？?]{0,8}(?:哪些|有多少|几篇)"
    r"|\b(?:which|list|how many|what)\b[^?]{0,30}\bnotes\b|\blist\b[^?]{0,20}\bfiles\b",
    re.IGNORECASE,
)
_OPEN: Final = re.compile(r"打开|读|看|翻到|\b(?:open|read|show|look at)\b", re.IGNORECASE)
_MORE: Final = re.compile(
    r"然后|再(?!见)|接着|并且|同时|解释|说明|为什么|[?？].*[?？]|\b(?:then|explain|why|also|afterwards)\b",
    re.IGNORECASE | re.DOTALL,
)
_EXPRESSION: Final = re.compile(
    r"(?<![A-Za-z0-9_.-])(?:(?:log2|log10|log|sqrt|ceil|floor|exp)\s*\(|[(\d.])"
    r"(?:[\d.()\s+\-*/%^÷]|,(?=\d{3}(?!\d))|(?<=\d)e\d|(?:log2|log10|log|sqrt)\()*(?![A-Za-z])"
)
_IN_STEPS: Final = re.compile(r"先|再|然后|最后|上一?步|这个|\b(?:then|first|that|after|it)\b", re.IGNORECASE)
_OPERATOR: Final = re.compile(r"[+\-*/%^÷]|[a-z]\(")
_ASKING: Final = re.compile(
    r"分别|各(?:自|是)?|告诉我?|列出来?|给出|两|三|四|[一二三四五]次|第|个|都要?|数|先|再|最后|这个|上一?步|的?结果|次方|帮我?|一下|请|用|计算器?|算出?|等于|多少|是|和|把|吗|呢"
    r"|\b(?:give|report|tell|me|the|both|all|results?|two|three|four|times|each|calculator|use|using|compute|calculate|what|is|are|how"
    r"|much|first|second|third|then|after|another|other|one|in|an?|and|for|of|that|by|divide|multiply|please|calculation|separately|with)\b",
    re.IGNORECASE,
)
SPECIAL: Final = frozenset({"calculate", "remember", "recall", "list_notes"})
"""Tools that a question has to have a use for before a small model is offered them."""


def asks_a_tool(question: str) -> bool:
    """Whether a question is for the calculator, the memory or the list of notes: no passage need answer it."""
    return any(pattern.search(question) for pattern in (_CALCULATION, _KEEP, _LOOK_BACK, _ABOUT_ME, _LISTING))


def asked_for(question: str, documents: Collection[str] = ()) -> frozenset[str]:
    """The tools that a question asks for in so many words.

    Args:
        question: As it was typed.
        documents: Paths of the notes; one that stands in the question is asked to be read.
    """
    found = set()
    if _SUM.search(question) and _CALCULATION.search(question) and not _NO_SUM.search(question):
        found.add("calculate")
    if _KEEP.search(question):
        found.add("remember")
    elif _LOOK_BACK.search(question):
        found.add("recall")
    if _LISTING.search(question):
        found.add("list_notes")
    if _OPEN.search(question) and named(question, documents):
        found.add("read_note")
    return frozenset(found)


def may_need(question: str) -> frozenset[str]:
    """The tools of `SPECIAL` that a question may have a use for."""
    found = set(asked_for(question))
    if _CALCULATION.search(question) or (_FREE_NUMBER.search(question) and _AMOUNT.search(question)):
        found.add("calculate")
    if _NO_SUM.search(question):
        found.discard("calculate")
    if _ABOUT_ME.search(question):
        found |= {"remember", "recall"}
    if re.search(r"笔记|目录|文件|\b(?:notes?|files?|folders?)\b", question, re.IGNORECASE):
        found.add("list_notes")
    return frozenset(found) & SPECIAL


def asks_nothing_else(question: str) -> bool:
    """Whether a tool answers the question by itself, so that there is nothing to look for in the notes."""
    asked = asked_for(question)
    if len(asked) != 1:
        return False
    if asked == {"calculate"}:
        rest = _ASKING.sub(" ", _EXPRESSION.sub(" ", question))
        return bool(expressions(question)) and not query_terms(rest)
    return asked == {"recall"} or not _MORE.search(question)


def expressions(question: str) -> list[str]:
    """The arithmetic expressions that stand in a question, in order, each once.

    What has no operator, or only ``×`` as in ``64×64×4``, is none.
    """
    found = []
    for match in _EXPRESSION.finditer(question):
        text = match.group().strip(" .,")
        # A bracket of the sentence around it is no part of it.
        while text.count("(") < text.count(")") and text.endswith(")"):
            text = text[:-1].rstrip()
        if _OPERATOR.search(text.lstrip("-+")) and re.search(r"\d", text) and text[-1] not in "+-*/%^(÷":
            found.append(text)
    return list(dict.fromkeys(found))


def named(question: str, documents: Collection[str]) -> list[str]:
    """The notes whose path stands in a question."""
    return sorted(path for path in documents if path and path in question)


def settled(question: str, called: Sequence[tuple[str, Mapping[str, Any]]]) -> bool:
    """Whether the calls so far answer a question that asks for nothing else, so that no model need put it in words."""
    if not asks_nothing_else(question):
        return False
    (tool,) = asked_for(question)
    if tool != "calculate":
        return tool in {"remember", "list_notes"} and any(tool == each for each, _ in called)
    computed = {str(arguments.get("expression", "")) for each, arguments in called if each == tool}
    return not _IN_STEPS.search(question) and set(expressions(question)) <= computed


@dataclass(frozen=True)
class Offer:
    """What a small model may do next."""

    tools: frozenset[str]
    must_call: bool = False
    """Whether it must call one of them."""
    values: dict[str, list[str]] = field(default_factory=dict)
    """Allowed values by ``"tool.argument"``."""


def offered(
    tools: Collection[str],
    question: str,
    called: Sequence[tuple[str, Mapping[str, Any]]],
    documents: Collection[str] = (),
) -> Offer:
    """The tools for the next call: first those that were asked for, then all that the question has a use for.

    The calculator is asked for once, or as often as expressions stand in the question, and then gets one of those.

    Args:
        tools: Names of those that may be called.
        question: As it was typed.
        called: Tools and arguments of the calls so far.
        documents: Paths of the notes.
    """
    names, done = frozenset(tools), Counter(tool for tool, _ in called)
    written = expressions(question)
    wanted = {tool: 1 for tool in asked_for(question, documents)}
    if "calculate" in wanted:
        wanted["calculate"] = max(1, len(written))
    pending = frozenset(tool for tool, times in wanted.items() if done[tool] < times) & names
    if not pending:
        return Offer(names - (SPECIAL - may_need(question)))
    computed = {str(arguments.get("expression", "")) for tool, arguments in called if tool == "calculate"}
    values: dict[str, list[str]] = {}
    if "calculate" in pending and (left := [text for text in written if text not in computed]):
        values["calculate.expression"] = left
    if "read_note" in pending:
        values["read_note.document"] = named(question, documents)
    return Offer(pending, True, values)
