"""How `make.py` frees, rewords and spoils sentences: pure functions of a text and a random generator."""

from __future__ import annotations

import random
import re

_SAME = (
    ("例如", "比如"), ("因此", "所以"), ("由于", "因为"), ("使用", "采用"), ("但是", "不过"), ("并且", "而且"),
    ("无需", "不需要"), ("通常", "一般"), ("因为", "由于"), ("只有", "仅有"), ("需要", "须要"), ("如果", "若"), ("相比", "相较"),
    ("therefore", "so"), ("because", "since"), ("uses", "employs"), ("about", "around"), ("usually", "typically"),
    ("for example", "for instance"), ("only", "merely"), ("shows", "demonstrates"), ("large", "big"), ("must", "has to"),
)  # fmt: skip


def plain(quote: str) -> str:
    """A quote without Markdown: emphasis, code signs, list marks, the bars of a table row."""
    text = re.sub(r"^\s*(?:[-*+]|\d+[.)])\s+", "", quote)
    text = re.sub(r"\*\*|`|^#+\s*", "", text)
    if "|" in text.strip("|") and text.count("|") >= 2:
        text = "，".join(cell.strip() for cell in text.strip().strip("|").split("|") if cell.strip())
    return re.sub(r"\s+", " ", text).strip()


def reworded(text: str, pick: random.Random) -> str:
    """`text` with up to two words replaced by words of the same meaning; half of all stay as they are."""
    if pick.random() < 0.5:
        return text
    pairs = [
        (a, b) for a, b in _SAME
        if (re.search(rf"\b{a}\b", text) if a.isascii() else a in text) and b not in text
    ]  # fmt: skip
    for old, new in pick.sample(pairs, min(2, len(pairs))):
        text = re.sub(rf"\b{old}\b", new, text, count=1) if old.isascii() else text.replace(old, new, 1)
    return text


_NUMBER = re.compile(r"(?<![\w.\-_^{\\$/])\d+(?:,\d{3})*(?:\.\d+)?(?![\w.\-_^]*[A-Za-z_^])")
_HAN_NUMBER = re.compile(r"[两三四五六七八九十](?=[个种条步层倍次类组阶段轮位点份成])")
_UNITS = (
    ("GB", "MB"),
    ("TB", "GB"),
    ("%", " 倍"),
    ("万", "亿"),
    ("million", "billion"),
    ("ms", "s"),
    ("bit", "byte"),
    ("倍", "%"),
)


def change_numbers(text: str, passages: list[str], pick: random.Random) -> tuple[str, str] | None:
    """One number (or its unit) made another; every second time one that stands in the passages, if there is one."""
    found = [m for m in _NUMBER.finditer(text) if not re.match(r"\s*[\])）]", text[m.end() :]) or m.start() == 0]
    units = [(a, b) for a, b in _UNITS if re.search(rf"\d\s?{re.escape(a)}(?![A-Za-z])", text)]
    if units and pick.random() < 0.2:
        old, new = pick.choice(units)
        return re.sub(
            rf"(\d)\s?{re.escape(old)}",
            lambda m: f"{m[1]}{' ' if new.isascii() and new != '%' else ''}{new.strip()}",
            text,
            count=1,
        ), "unit"
    if found:
        chosen = pick.choice(found)
        old = chosen.group()
        there = sorted({n for p in passages for n in _NUMBER.findall(p)} - set(_NUMBER.findall(text)))
        similar = [n for n in there if abs(len(n) - len(old)) <= 1 and ("." in n) == ("." in old)]
        if similar and pick.random() < 0.5:
            return text[: chosen.start()] + pick.choice(similar) + text[chosen.end() :], "another of the passages"
        return text[: chosen.start()] + _other(old, pick) + text[chosen.end() :], "digits"
    han = list(_HAN_NUMBER.finditer(text))
    if han:
        chosen = pick.choice(han)
        new = pick.choice([c for c in "两三四五六七八九" if c != chosen.group()])
        return text[: chosen.start()] + new + text[chosen.end() :], "han"
    return None


def _other(number: str, pick: random.Random) -> str:
    """A number of the same form and another value."""
    plain_number = number.replace(",", "")
    while True:
        digits = [c if c == "." else pick.choice("123456789") for c in plain_number]
        new = "".join(digits)
        if float(new) != float(plain_number):
            return f"{int(new):,}" if "," in number else new


_NEGATE = (
    ("不需要", "需要"), ("无需", "需要"), ("不能", "能"), ("不会", "会"), ("没有", "有"), ("不是", "是"), ("不再", "仍"), ("不依赖", "依赖"),
    ("不改变", "改变"), ("不影响", "影响"), ("不作用", "作用"), ("不必", "必须"), ("不用", "要用"), ("不改", "改"), ("不变", "改变"), ("不看", "看"),
    ("does not", "does"), ("do not", "do"), ("is not", "is"), ("are not", "are"), ("cannot", "can"), ("without", "with"), ("never", "always"),
)  # fmt: skip
_ASSERT = (
    ("需要", "不需要"), ("可以", "不可以"), ("必须", "不必"), ("能", "不能"), ("会", "不会"), ("是", "不是"), ("要", "不要"), ("用", "不用"), ("有", "没有"),
    ("is", "is not"), ("are", "are not"), ("can", "cannot"), ("must", "must not"), ("does", "does not"), ("with", "without"), ("has", "lacks"),
)  # fmt: skip
_OPPOSITE = (
    ("更高", "更低"), ("更低", "更高"), ("更大", "更小"), ("更小", "更大"), ("更快", "更慢"), ("更多", "更少"), ("更少", "更多"), ("增大", "减小"),
    ("提高", "降低"), ("降低", "提高"), ("增加", "减少"), ("减少", "增加"), ("变大", "变小"), ("上升", "下降"), ("下降", "上升"),
    ("最大", "最小"), ("最小", "最大"), ("省", "费"), ("高于", "低于"), ("低于", "高于"), ("优于", "劣于"), ("之前", "之后"), ("先", "后"),
    ("more", "less"), ("less", "more"), ("higher", "lower"), ("lower", "higher"), ("larger", "smaller"), ("smaller", "larger"),
    ("faster", "slower"), ("increases", "decreases"), ("decreases", "increases"), ("before", "after"), ("after", "before"),
    ("lowered", "raised"), ("raised", "lowered"), ("better", "worse"), ("longer", "shorter"), ("grows", "shrinks"),
)  # fmt: skip
_NO_WORD = {"能": "功能性能智能可能不能只能才能能量效能就能", "会": "不会机会", "是": "不是就是还是但是而是是否只是", "要": "需要主要只要重要要求不要要么摘要",
            "用": "使用作用不用费用用户复用占用常用用于用到通用应用利用调用", "有": "没有只有所有有关有限具有有效有时含有还有", "可以": "不可以", "必须": "", "需要": "不需要"}  # fmt: skip


def flip_negation(text: str, pick: random.Random) -> tuple[str, str] | None:
    """The sentence turned into its opposite: a negation taken out or put in, or a word made its antonym."""
    for how, table in pick.sample([("taken out", _NEGATE), ("put in", _ASSERT), ("antonym", _OPPOSITE)], 3):
        fitting = [(a, b) for a, b in table if _stands(text, a)]
        if fitting:
            old, new = pick.choice(fitting)
            changed = re.sub(rf"\b{old}\b", new, text, count=1) if old.isascii() else text.replace(old, new, 1)
            return changed, how
    return None


def _stands(text: str, word: str) -> bool:
    if word.isascii():
        return re.search(rf"\b{word}\b", text) is not None
    if word not in text:
        return False
    at = text.index(word)
    around = [text[max(0, at - 1) : at + len(word)], text[at : at + len(word) + 1]]
    words = _NO_WORD.get(word, "")
    return not any(piece in words for piece in around if len(piece) > len(word))


_NAME = re.compile(r"(?<![\w$\\.-])(?=[\w-]*[A-Z])[A-Za-z][A-Za-z0-9]*(?:[-.][A-Za-z0-9]+)*(?![\w$\\(])")
_COMMON = {"The", "It", "A", "An", "In", "For", "If", "With", "When", "This", "That", "They", "Each", "Use", "But", "And", "So", "To", "At", "On",
           "Because", "As", "By", "No", "Not", "Of", "Its", "Only", "Both", "One", "Two", "After", "Before", "Every", "There", "How", "What", "Q", "K", "V", "I"}  # fmt: skip
_TERMS = (("编码器", "解码器"), ("输入", "输出"), ("教师", "学生"), ("预训练", "微调"), ("训练", "推理"), ("查询", "文档"), ("召回", "排序"),
          ("正例", "负例"), ("稀疏", "稠密"), ("行", "列"), ("浅层", "深层"), ("显存", "带宽"), ("prefill", "decode"), ("encoder", "decoder"),
          ("teacher", "student"), ("training", "inference"), ("precision", "recall"), ("keys", "values"), ("draft", "target"), ("policy", "reward"),
          ("input", "output"), ("dense", "sparse"), ("user", "system"))  # fmt: skip


def entity_swaps(text: str) -> list[str]:
    """Names in a text: Latin words with a capital, acronyms, model names."""
    return sorted({name for name in _NAME.findall(text) if name not in _COMMON and len(name) > 1})


def swap_name(text: str, near: list[str], far: list[str], pick: random.Random) -> tuple[str, str] | None:
    """One name replaced by another of the passages or of another note; where there is none, a term by its counterpart."""
    own = [name for name in entity_swaps(text) if not (text.startswith(name) and name.istitle() and name.isalpha())]
    terms = [(a, b) for pair in _TERMS for a, b in (pair, pair[::-1]) if a in text and b not in text and len(a) > 1]
    if terms and (not own or pick.random() < 0.25):
        old, new = pick.choice(terms)
        return text.replace(old, new), "term"
    if not own:
        return None
    old = pick.choice(own)
    how, names = ("of the passages", near) if near and pick.random() < 0.5 else ("of another note", far)
    others = [n for n in names if n not in text and old not in n and n not in old]
    if not others:
        return None
    return re.sub(rf"(?<![\w-]){re.escape(old)}(?![\w-])", pick.choice(others), text), how
