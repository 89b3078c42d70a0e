"""What kinds of value the end of a sentence may be: a name, a number, a time, an e-mail address; often none.

"I live in Berlin" and "I live in a small flat" fill one pattern, and neither takes the other's place: two values
contradict each other only where they are of one kind. Kinds are told by shape (capitals, digits, dates, surnames)
and by closed lists of words that describe or are common; what they cannot tell has no kind. Pure functions, no model.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from ragkit.memory.kind_words import (
    ADVERBS,
    COMMON,
    DEMONYMS,
    DESCRIBING,
    FUNCTION,
    KNOWN_NAMES,
    NUMBERS,
    SURNAMES,
    UNITS,
    ZH_COMMON,
    ZH_DESCRIBING,
    ZH_ORGANISATIONS,
    ZH_PLACES,
    ZH_VERBS,
)
from ragkit.text.language import count_cjk

How = Literal["strict", "shaped", "open"]
"""Which words a slot takes for names: those that look like one; also lower-case ones among themselves; all nouns."""

MEASURES: Final = frozenset(UNITS.values()) | {"number"}
_TIMES: Final = frozenset({"when", "year", "name"})
_TAKES: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(("name", "employer", "manager", "city", "company", "school", "timezone"), frozenset({"name"})),
    **dict.fromkeys(("age", "port", "budget", "price", "batch size", "learning rate"), MEASURES),
    **dict.fromkeys(("height", "weight", "salary"), MEASURES),
    **dict.fromkeys(("home", "address", "room", "phone", "version"), MEASURES | {"name"}),
    **dict.fromkeys(("birthday", "deadline", "date"), _TIMES),
    "time": _TIMES | MEASURES,
    "job": frozenset({"name", "word"}),
    "email": frozenset({"contact"}),
}
"""Kinds of value that a slot has, where not every kind will do."""
_STRICT: Final = frozenset("home employer manager city company school room email address phone timezone".split())
_OPEN: Final = frozenset("job color language editor major database framework food name".split())
_NOUNS: Final = frozenset({"job", "major", "food", "name"})
"""What they are called often ends as an adjective does: "engineering", "executive", "seaweed"."""
_PEOPLE: Final = frozenset({"name", "manager"})
_EMPLOYERS: Final = frozenset({"employer", "company"})

_MONTH: Final = (
    r"(?:january|february|march|april|june|july|august|september|october|november|december|"
    r"jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\b"
)
_EN_TIME: Final = re.compile(
    rf"\b{_MONTH}|\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? may\b|\bmay \d|^may$|^(?:late |early |mid-?)?may\b|"
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b|\b(?:today|tomorrow|tonight|yesterday|noon|midnight|nights?|"
    r"mornings?|afternoons?|evenings?|weekends?|weekdays?|christmas|easter)\b|"
    r"\b(?:next|this|last|end of(?: the)?) (?:week|month|year|quarter|spring|summer|autumn|fall|winter)\b|"
    r"\bo'clock\b|\b\d{1,2}(?::\d\d)? ?[ap]\.?m\b|\b\d{1,2}:\d\d\b|\b\d{4}-\d{1,2}-\d{1,2}\b|\b\d{1,2}(?:st|nd|rd|th)$"
)
_HAN_NUMBER: Final = "[零一二两三四五六七八九十百千万亿半]"
_HAN_MEASURE: Final = f"[个室号间套栋级岁]|{'|'.join(unit for unit in UNITS if count_cjk(unit))}"
_ZH_TIME: Final = re.compile(
    rf"(?:\d|{_HAN_NUMBER})\s*(?:月|[日号](?!楼|线)|点(?!\d)|年(?!级|薪))|(?:周|星期|礼拜)[一二三四五六日天末\d]|"
    r"[今明后昨][天日年晚早]|[上下][个]?(?:周|月|星期|礼拜)|上午|下午|晚上|早上|中午|傍晚|凌晨|夜[里间晚]|白天|周末|"
    r"[月年]底|[月年]初|[一二三四五六七八九十\d](?:天|周|个月|小时|分钟)[之以]?后|春节|国庆|中秋|元旦"
)
_YEAR: Final = re.compile(r"(?:19|20)\d\d年?")
_SLASHED: Final = re.compile(r"\d{1,4}(?:[/.\-]\d{1,2}){1,2}")
_CONTACT: Final = re.compile(r"[\w.+\-]+@[\w.\-]+")
_NUMBER: Final = re.compile(r"(?:[~≈$€£¥+#\-]\s?)?\d[\d,.]*(?:e[+\-]?\d+)?\s*([a-z%°µ]+|[\u3400-\u9fff]*)(.*)")
_ZH_NUMBER: Final = re.compile(rf"(?:约|大约|大概|第)?{_HAN_NUMBER}+((?:{_HAN_MEASURE})?)")
_LABEL: Final = re.compile(
    r"^(?:room|port|version|number|no\.?|suite|desk|seat|端口|版本|房间)\s*(?=v?\d)", re.IGNORECASE
)
_ABOUT: Final = re.compile(r"^(?:about|around|roughly|nearly|almost|only|exactly|over|under|up to|at least|at most)\s+")
_WHERE: Final = re.compile(r"^(?:in|at|on|near|behind|under|above|inside|outside|next to)\s+", re.IGNORECASE)
_ARTICLE: Final = re.compile(r"^(the|an?)\s+", re.IGNORECASE)
_TAIL: Final = re.compile(
    r"\s+(?:in|at|on|from|since|until|with|without|near|for|by|to|because|but|when|if|while|who|which|that|where|as|"
    r"and (?:i|it|he|she|we|they))\s.*|\s*[,;，；(（].*",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[^\W\d_]+")
_SUFFIX: Final = re.compile(r"\w{2,}(?:ful|ous|less)")
_LOOSE_SUFFIX: Final = re.compile(r"\w{2,}(?:able|ible|ive|ish|ing|(?<!e)ed|ly)")
_QUOTED: Final = re.compile(r"[\"'“‘「『《].+[\"'”’」』》]")
_NICKNAME: Final = re.compile(r"[小老阿大][\u3400-\u9fff]{1,2}")
_TITLE: Final = re.compile(
    r"[\u3400-\u9fff]{1,3}(?:教授|老师|博士|医生|先生|女士|小姐|经理|总|工|哥|姐|导|院士|主任|院长|所长)"
)
_ZH_FRAME: Final = re.compile(r"^(?:了|一[名位个条只条台辆])|了$")
_ZH_GENERIC: Final = re.compile(r"^(?:一[家个所间]|[这那某][家个所间]?|我们?|附近)|[大小新老旧]型?")
_ZH_DEGREE: Final = re.compile(
    r"^(?:得|很|太|非常|挺|比较|特别|有点|有些|更|越来越|十分|相当|真|好[\u3400-\u9fff]|不|没|别|还|都|又|再|一起|努力|认真)|"
    r"(?:的|的人|人|了|着|过|中|死|极了)$"
)


def how_named(slot: str, sentence: str) -> How:
    """How a slot (or the attribute of one) takes words for names.

    Args:
        slot: For example ``home``, ``manager``, ``favourite food``; empty for a subject that is no known attribute.
        sentence: The folded sentence: "my name is" says more than "call me", which may go on with a time.
    """
    if slot == "name" and not re.search(r"name|名|代号|昵称", sentence):
        return "strict"
    if slot in _STRICT:
        return "strict"
    return "open" if slot in _OPEN or slot.startswith("favourite") else "shaped"


def kinds(raw: str, slot: str, how: How, *, cased: bool, chinese: bool) -> frozenset[str]:
    """The kinds of value that `raw` may be, of those that `slot` has; empty where it is no value but a description.

    Args:
        raw: The value as it was written, with its capitals and articles.
        slot: The slot, or the known attribute in it; empty for other subjects.
        how: See `how_named`.
        cased: Whether capitals say anything: not in a sentence that is all small or all large.
        chinese: Whether the sentence is Chinese, where a Latin word is a name in any case.
    """
    found = _han(raw, slot, how) if count_cjk(raw) else _latin(raw, slot, how, cased and not chinese, chinese)
    return found & _TAKES[slot] if slot in _TAKES else found


def cased_as(value: str, text: str) -> str:
    """A folded `value` with the capitals that its words have in `text`."""
    written = {word.lower(): word for word in _WORD.findall(text)}
    return _WORD.sub(lambda found: written.get(found[0], found[0]), value)


def _latin(raw: str, slot: str, how: How, cased: bool, chinese: bool) -> frozenset[str]:
    if _CONTACT.fullmatch(raw.strip()):
        return frozenset({"contact"})
    located = _WHERE.match(raw) is not None
    value = _ABOUT.sub("", _TAIL.sub("", _WHERE.sub("", raw)).strip())
    value = _LABEL.sub("", value) if slot else value
    folded = value.lower()
    if _EN_TIME.search(folded):
        return _dated(folded)
    if measured := _measured(folded, slot):
        return measured | {"when"} if located and "time" in measured else measured
    article = _ARTICLE.match(value)
    words = (value[article.end() :] if article else value).split()
    if _QUOTED.fullmatch(value):
        return frozenset({"name"})
    if not words or words[0].lower() in FUNCTION:
        return frozenset()
    if _named(words, slot, cased):
        return frozenset({"located" if located else "name"})
    if not slot and re.search(r"\d", folded):
        return frozenset({f"number {' '.join(_WORD.findall(folded))}"})  # "room 5" beside "lasts 3 hours"
    if located or len(words) > 4 or _describes(words, slot):
        return frozenset()
    if how == "open" or chinese:
        return frozenset({"name"})
    if how == "shaped":
        return frozenset({"word"})
    bare = not (cased or article) and len(words) < 3 and not COMMON.intersection(word.lower() for word in words)
    return frozenset({"name"}) if bare or _known(words, slot) else frozenset()


def _known(words: list[str], slot: str) -> bool:
    """Whether the words are a name that everybody knows, so that no capital is needed to see it.

    "I live in toronto" has a capital as any English sentence does, and "toronto" none: without this it would be a
    description as "fear" is.
    """
    folded = [word.lower().strip(".!,") for word in words]
    starts = {" ".join(folded[:count]) for count in (1, 2, 3)}
    # "central london" is there; "visiting london" is no manager.
    ends = set() if slot in _PEOPLE else {" ".join(folded[1:])}
    return not KNOWN_NAMES.isdisjoint(starts | ends)


def _named(words: list[str], slot: str, cased: bool) -> bool:
    """Whether the words hold something written as a name: with a capital inside, or letters with digits and marks."""
    if slot == "name" and cased and not _looks_named(words[0], cased):
        return False  # "call me when Ann is there"
    if words[0].lower() in DEMONYMS and not _of_languages(slot):
        return False
    return any(_looks_named(word, cased) for word in words)


def _looks_named(word: str, cased: bool) -> bool:
    letters = any(char.isalpha() for char in word)
    if letters and re.search(r"\d|\w[_/:.@#]\w", word):
        return True
    stressed = word.isupper() and word.lower() in DESCRIBING  # "the server is DOWN"
    return cased and word != "I" and not stressed and any(char.isupper() for char in word)


def _describes(words: list[str], slot: str) -> bool:
    """Whether lower-case words say how something is; the last word of an English noun phrase is its head."""
    if slot.endswith("color"):
        return False
    folded = [word.lower().strip(".!") for word in words]
    if "of" in folded:
        folded = folded[: folded.index("of")] or folded
    last = folded[-1]
    if last in DESCRIBING or last in ADVERBS or folded[0] in ADVERBS or _SUFFIX.fullmatch(last):
        return True
    if set(folded) & DEMONYMS and not _of_languages(slot):
        return True
    nouns = slot in _NOUNS or slot.startswith("favourite") or last in DEMONYMS
    return not nouns and _LOOSE_SUFFIX.fullmatch(last) is not None


def _of_languages(slot: str) -> bool:
    """Whether "English" and "Chinese" are values of the slot, and do not say where somebody is from."""
    return slot in ("language", "prefer") or slot.startswith("favourite")


def _dated(value: str) -> frozenset[str]:
    return frozenset({"when", "year"} if re.search(r"(?<!\d)(?:19|20)\d\d(?!\d)", value) else {"when"})


def _measured(value: str, slot: str) -> frozenset[str]:
    """The dimensions of a value that begins with a number."""
    if (words := value.split()) and words[0] in NUMBERS:
        value = " ".join(["1", *(word for word in words[1:] if word not in NUMBERS)])
    if _YEAR.fullmatch(value):
        return MEASURES | {"year"} if slot else frozenset({"number"})
    if _SLASHED.fullmatch(value):
        return MEASURES | {"when", "name"}
    if (found := _NUMBER.fullmatch(value)) is None:
        return frozenset()
    unit, rest = found[1], found[2].strip()
    dimension = UNITS.get(unit) or (UNITS.get(rest.split()[0]) if rest and not unit else None)
    if dimension:
        return frozenset({dimension})
    measures = MEASURES if slot else frozenset({"number"})
    if unit and not rest and " " not in value:
        return measures | {"name"}  # "402B", "7b"
    return measures | {"when"} if not unit and not rest else measures


def _han(raw: str, slot: str, how: How) -> frozenset[str]:
    value = _LABEL.sub("", _ZH_FRAME.sub("", re.split(r"[，,；;（(]", raw.strip())[0])).strip()
    if not value:
        return frozenset()
    if _QUOTED.fullmatch(value):
        return frozenset({"name"})
    if slot in _PEOPLE:
        short = how == "open" and len(value) <= 4 and not _ZH_DEGREE.search(value) and not _zh_common(value)
        return frozenset({"name"}) if _person(value) or (short and value[0] not in ZH_VERBS) else frozenset()
    if _ZH_TIME.search(value):
        return _dated(value)
    if value in ZH_PLACES and slot not in _EMPLOYERS:
        return frozenset({"name"})
    number = _ZH_NUMBER.fullmatch(value)
    if number and (slot not in _TAKES or "number" in _TAKES[slot]):  # 百度 is no number of degrees
        dimension = UNITS.get(number[1])
        return frozenset({dimension or f"number {number[1]}".strip()}) | (MEASURES if slot in _TAKES else frozenset())
    if measured := _measured(value, slot):
        return measured
    if _ZH_DEGREE.search(value) or _zh_common(value) or len(value) > 16 or value[0] in ZH_VERBS:
        return frozenset()
    if slot in _EMPLOYERS and (value in ZH_PLACES or value[-1] in "市省县镇村区国"):
        return frozenset()  # "我在北京工作" says where, "我在腾讯工作" for whom
    return frozenset({"name"})


def _person(value: str) -> bool:
    """Whether Chinese characters are a person: a surname and a given name, a nickname, a surname with a title."""
    if _TITLE.fullmatch(value) and (value[0] in SURNAMES or value[0] in "小老大"):
        return True
    if value in ZH_DESCRIBING or _ZH_DEGREE.search(value) or value[-1] in "子家":
        return False
    if _NICKNAME.fullmatch(value) and value not in ZH_COMMON and (value[1:] not in ZH_DESCRIBING or len(value) == 2):
        return value[1] in SURNAMES or value[0] in "阿小"
    given = value[2:] if value[:2] in SURNAMES else value[1:] if value[0] in SURNAMES else ""
    return 1 <= len(given) <= 2 and value not in ZH_COMMON and not set(given) & set("的了着过是在去来")


def _zh_common(value: str) -> bool:
    """Whether Chinese characters describe, or name a thing as there are many: "五楼", "一家小公司", "父母家"."""
    if value in ZH_DESCRIBING or value in ZH_COMMON:
        return True
    if value.endswith(tuple(ZH_COMMON)) and value not in ZH_PLACES:
        return True
    for tail in ZH_ORGANISATIONS:
        if value.endswith(tail):
            before = _ZH_GENERIC.sub("", value.removesuffix(tail))
            return len(before) < 2 or before in ZH_ORGANISATIONS
    return False
