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

from ragkit.memory.items import MAX_CHARS
from ragkit.text.sentences import split_sentences
from ragkit.text.tokens import query_terms

_OPERATION: Final = re.compile(
    r"(?<![A-Za-z0-9.-])\d[\d.,]*+(?:e\d+)?\s*+(?:\)\s*+)?(?:\*\*|[-+*/×÷^%＋－＊／]|加|减|乘以?|除以|的(?=\s*\d+\s*次方)"
    r"|plus|minus|times|divided\s+by)\s*\(?\s*\d[\d.,]*(?:e\d+)?(?![\dA-Za-z])"
    r"|(?:log2?|sqrt|根号)\s*\(?\d|\d\s*%\s*of\s*\$?\d"
    r"|\b(?:half|thirds?|quarters?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?)\s+of\s+\$?\d",
    re.IGNORECASE,
)
"""Numbers with what is to be done to them; possessive, so that a question of 8,000 characters costs no seconds."""
_SUM: Final = re.compile(
    r"等于|(?:是|得|有)多少|多少(?=[?？。啊呀呢吗]|$)|结果|(?<!计)算(?!法|子|力|术|出来的)|计算(?=\s*[\d(（])|=\s*[?？]"
    r"|\bcomes?\s+(?:out|to)\b|\bwhat(?:'s|\s+is|\s+are)\s+[\d(]|\bhow much\b|\bi need\b"
    r"|\bwork(?:ing)?\s+out\b|\bcomput|\bcalculat",
    re.IGNORECASE,
)
_DO_SUM: Final = re.compile(
    r"用计算器|(?:帮我|麻烦|请|替我)[^？?，,。]{0,12}算(?!法)|算(?:算|一下|一算|个数|出(?!来的)|[两三四]个?[次数])|别心算"
    r"|(?:^|[.,;:?!]\s*|\b(?:then|and|please|to|you)\s+)(?:compute|calculate|work\s+out)\b(?!\s+(?:is|are"
    r"|was|tools?)\b)"
    r"|\b(?:use|with)\s+(?:the|a)\s+calculator\b",
    re.IGNORECASE,
)
"""Words that ask for a calculation whatever stands beside them."""
_NO_SUM: Final = re.compile(
    r"不(?:用|要|需要|必)(?:计)?算|(?:do not|don't|without|never)\s+(?:comput|calculat)"
    r"|怎么算|如何(?:计)?算|为什么|为何"
    r"|\bwhy\b|\bhow (?:is|are|do|does|to|would)\b[^?]{0,40}\b(?:comput|calculat)",
    re.IGNORECASE,
)
_AMOUNT: Final = re.compile(
    r"多少|[几多]大|几[倍个次块条步轮]|一共|总共|平均|相差|之差|差多少|占|比例|比率|百分|显存|内存|翻倍|几折|[一二三四五六七八九]折|花费?|概率"
    r"|\bhow (?:many|much|large|big|long)\b|\b(?:total|sum|average|difference|ratio|percent\w*|share"
    r"|memory|bytes|bill|costs?|price"
    r"|divided|times|square|root|half|thirds?|quarters?|fifths?|multipl\w+)\b|%|\$",
    re.IGNORECASE,
)
_FREE_NUMBER: Final = re.compile(
    r"(?<![A-Za-z0-9._-])\d[\d.,]*|[二两三四五六七八九十百千万亿][万亿千百十块个张条台次]|一[万亿千百十块张台]|\b(?:two|three|four|five|six|ten"
    r"|hundred|thousand)\b",
    re.IGNORECASE,
)
_STAGES: Final = re.compile(
    r"百分之?几|占[^，。？?]{0,6}(?:多少|几)|几倍|\bdivided by\b|\bdifference between\b|\bratio of\b", re.IGNORECASE
)
_KEEP: Final = re.compile(
    r"(?<!怎么)(?<!如何)(?<!怎样)(?<!能否)(?:记住|记下|记一下|记着|别忘了?|存一下|记录一下|保存一下|(?<![还你])记得(?=我|[：:]))"
    r"|(?:^|[.!?;:]\s+|\bplease\s+|\band\s+|\balso\s+)(?:remember|note)\b"
    r"(?!\s+(?:when|how|what|which|who|where|why|if|whether|any))(?=\s*:|\s+(?:that|down|my|this|i\b))"
    r"|\bdon'?t forget\b|\bkeep in mind\b|\bmake a note\b|\bsave (?:this|that|my)\b",
    re.IGNORECASE,
)
_ASK_TO_KEEP: Final = re.compile(
    r"^\s*(?:请|麻烦|帮我|你|要|替我|先|also|please|and|could you|can you|\s)*"
    r"(?:记住|记下来?|记一下|记着|别忘了?|存一下|记录一下|保存一下"
    r"|remember|note down|note|don'?t forget|keep in mind(?: for later)?|make a note)"
    r"\s*(?:这个|这一点|that|down|this)?\s*[：:，,、]?\s*",
    re.IGNORECASE,
)
_LOOK_BACK: Final = re.compile(
    r"还记得|你记得|我(?:刚才|之前|上次|上回|以前|曾经)?(?:跟你|和你|对你)?(?:说过|告诉过|提过|讲过)|我叫什么|我的名字(?:叫|是)?什么"
    r"|我[^，。？?]{0,6}(?:跟|和|对|给)你(?:说|讲|提|留)|(?:之前|上次|上回)(?:提|说|讲)过|你(?:那儿|那里|这儿)有(?:没有)?(?:记录|印象)"
    r"|\bi (?:have |had )?(?:told|said|mentioned|gave you|shared)\b|\bdid i (?:tell|say|mention)\b"
    r"|\bdo you (?:recall|remember)\b"
    r"|\bwhat(?:'s| is| was) my (?:name|goal|favou?rite|preference|interview)",
    re.IGNORECASE,
)
_ABOUT_ME: Final = re.compile(r"我(?!们)|\b(?:i|i'm|i've|my|me|mine)\b", re.IGNORECASE)
_LISTING: Final = re.compile(
    r"(?:哪些|列出|有多少|几篇|所有)[^？?]{0,12}笔记|笔记[^？?]{0,8}(?:哪些|有多少|几篇)|(?:几个|哪些)[^？?，]{0,6}文件"
    r"|(?:目录|文件夹)[^？?]{0,12}(?:哪些|几[个篇]|啥|什么)|文件名"
    r"|\b(?:which|list|how many|what)\b[^?]{0,30}\bnotes\b(?!\s+(?:say|give|tell|mention|call))|\b(?:list"
    r"|what|which)\b[^?]{0,20}\bfiles\b",
    re.IGNORECASE,
)
_NOTES: Final = re.compile(
    r"笔记|目录|文件|列(?:一下|出)|\b(?:notes?|files?|folders?|director(?:y|ies)|list)\b|\w/(?=\W|$)", re.IGNORECASE
)
_READ: Final = re.compile(
    r"原文|全文|上下文|整篇|打开|翻开|读(?:一下|一遍)|开头|结尾|第\s*\d+\s*行"
    r"|\b(?:read|open|pull up|whole note|full text|line \d+|context)\b",
    re.IGNORECASE,
)
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
    r"分别|各(?:自|是)?|麻烦|得|啊|吧|这|算个数|写给?|给我|挨个|一遍|题|道|跑|分开|另|告诉我?|列出来?|给出|两|三|四|[一二三四五]次|第|个|都要?|数|先|再|最后|这个"
    r"|上一?步|的?结果|次方|帮我?|一下|请|用|计算器?|算出?|等于|多少|是|和|把|吗|呢"
    r"|\b(?:give|report|tell|me|the|both|all|results?|two|three|four|times|each|calculator|use|using"
    r"|compute|calculate|what|is|are|how"
    r"|much|first|second|third|then|after|another|other|one|in|an?|and|for|of|that|by|divide|multiply"
    r"|please|calculation|separately|with)\b",
    re.IGNORECASE,
)
_LINE: Final = re.compile(r"第\s*(\d{1,7})\s*行|\bline\s+(\d{1,7})\b|\.\w{1,8}:(\d{1,7})(?!\d)", re.IGNORECASE)
_ANY_NOTES: Final = re.compile(
    r"我|的|有|在|里|下|共|都|一|总|多少|哪些|什么|几|个|篇|份|请|给|列出来?|笔记|文件夹?|目录|名字?|所有|全部|现在|数"
    r"|\b(?:how|many|much|which|what|list|show|all|the|my|me|of|are|is|there|do|i|have|in|a|please|names?"
    r"|notes?|files?|folders?|total|altogether)\b",
    re.IGNORECASE,
)
"""What a question about the whole list of notes is made of."""
SPECIAL: Final = frozenset({"calculate", "remember", "recall", "list_notes", "read_note"})
"""Tools that a question has to have a use for before a small model is offered them."""


def asks_a_tool(question: str) -> bool:
    """Whether a question is for the calculator, the memory or the list of notes: no passage need answer it."""
    return bool(asked_for(question) - {"read_note"}) or _OPERATION.search(question) is not None


def asked_for(question: str, documents: Collection[str] = ()) -> frozenset[str]:
    """The tools that a question asks for in so many words.

    Args:
        question: As it was typed.
        documents: Paths of the notes; one that stands in the question is asked to be read.
    """
    found = set()
    if _asks_a_sum(question):
        found.add("calculate")
    if _KEEP.search(question):
        found.add("remember")
    elif _LOOK_BACK.search(question):
        found.add("recall")
    if _LISTING.search(question):
        found.add("list_notes")
    if named(question, documents):
        found.add("read_note")
    return frozenset(found)


def _asks_a_sum(question: str) -> bool:
    if _NO_SUM.search(question):
        return False
    if _DO_SUM.search(question):
        return True
    # A score, a range of years: 24-10 and 1620-21 are no differences unless somebody says so.
    plain = question if re.search(r"等于|算|结果|=|minus", question) else re.sub(r"(?<=\d)-(?=\d)", " ", question)
    if not _OPERATION.search(plain):
        return False
    # Beside an expression any of the common ways to ask will do, and so will no other word at all.
    return _SUM.search(question) is not None or not query_terms(_ASKING.sub(" ", _EXPRESSION.sub(" ", question)))


def may_need(question: str) -> frozenset[str]:
    """The tools of `SPECIAL` that a question may have a use for: rather one too many than one too few.

    Reading is the exception: a small model that may read on does so until its steps are used up.
    """
    found = set(asked_for(question))
    numbers = len(_FREE_NUMBER.findall(question))
    if _OPERATION.search(question) or _STAGES.search(question) or (numbers and _AMOUNT.search(question)):
        found.add("calculate")
    if _NO_SUM.search(question):
        found.discard("calculate")
    if _ABOUT_ME.search(question):
        # Who asks what was said before has nothing to be kept.
        found |= {"recall"} if _LOOK_BACK.search(question) else {"remember", "recall"}
    if _NOTES.search(question):
        found.add("list_notes")
    if _READ.search(question):
        found.add("read_note")
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


def names_a_file(question: str) -> bool:
    """Whether a name with an ending stands in a question."""
    return re.search(r"\w\.[A-Za-z]\w{0,7}(?!\w)", question) is not None


def named(question: str, documents: Collection[str]) -> list[str]:
    """The notes whose path, or file name, stands in a question."""
    asked = question.lower()
    return sorted(path for path in documents if path and path.rpartition("/")[2].lower() in asked)


def line_named(question: str) -> int:
    """The line of a note that a question names; 1 if it names none."""
    found = _LINE.search(question)
    return max(1, int(next(number for number in found.groups() if number))) if found else 1


def to_list(question: str, folders: Collection[str]) -> list[str]:
    """What the list of notes is to be narrowed to: folders that a question names, or nothing, which is ``""``.

    Empty where the question says what they are about, which a model must put in a word.
    """
    there = [
        folder
        for folder in sorted(folders)
        # A folder called "notes" is in every such question.
        if query_terms(_ANY_NOTES.sub(" ", folder))
        and re.search(rf"(?<![a-z0-9]){re.escape(folder.lower())}(?![a-z0-9])", question.lower())
    ]
    return there or ([] if query_terms(_ANY_NOTES.sub(" ", question)) else [""])


def to_keep(question: str) -> str:
    """What is to be remembered, in the user's own words; empty if that is too long for one fact."""
    said = next((each for each in split_sentences(question) if _KEEP.search(each)), question)
    text = _ASK_TO_KEEP.sub("", said, count=1).strip() or question.strip()
    return text if len(text) <= MAX_CHARS else ""


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
    values: dict[str, list[str | int]] = field(default_factory=dict)
    """Allowed values by ``"tool.argument"``."""


def offered(
    tools: Collection[str],
    question: str,
    called: Sequence[tuple[str, Mapping[str, Any]]],
    documents: Collection[str] = (),
    folders: Collection[str] = (),
) -> Offer:
    """The tools for the next call: first those that were asked for, then all that the question has a use for.

    The calculator is asked for once, or as often as expressions stand in the question, and then gets one of those.
    A note that the question names is read once: a small model would read on until its steps are used up.

    Args:
        tools: Names of those that may be called.
        question: As it was typed.
        called: Tools and arguments of the calls so far.
        documents: Paths of the notes.
        folders: Names of the folders they are in.
    """
    names, done = frozenset(tools), Counter(tool for tool, _ in called)
    written = expressions(question)
    wanted = {tool: 1 for tool in asked_for(question, documents)}
    if "calculate" in wanted:
        wanted["calculate"] = max(1, len(written))
    pending = frozenset(tool for tool, times in wanted.items() if done[tool] < times) & names
    if not pending:
        return Offer(names - (SPECIAL - may_need(question)) - (wanted.keys() & {"read_note"}))
    computed = {str(arguments.get("expression", "")) for tool, arguments in called if tool == "calculate"}
    values: dict[str, list[str | int]] = {}
    if "calculate" in pending and (left := [text for text in written if text not in computed]):
        values["calculate.expression"] = [*left]
    if "remember" in pending and (text := to_keep(question)):
        values["remember.text"] = [text]
    if "read_note" in pending:
        values["read_note.document"] = [*named(question, documents)]
        values["read_note.line"] = [line_named(question)]
    if "list_notes" in pending and (filters := to_list(question, folders)):
        values["list_notes.filter"] = [*filters]
    return Offer(pending, True, values)
