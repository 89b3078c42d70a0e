r"""A text as the atoms that are compared: Latin words, numbers, single Han characters, each with what it weighs.

Before anything is compared, width, compatibility forms, case and traditional characters are folded
(NFKC, lower case, t2s, as `ragkit.text.tokens.fold`), Markdown signs are left out, and LaTeX is read as plain
words: ``$d_{ff}$`` is ``dff``, ``\alpha`` and α are ``alpha``. Numbers are compared by value: 1,024 is 1024, 三个 is
3 个, "three" is 3; a number keeps the unit behind it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from ragkit.citations.figures import COUNTING, FIGURE, HAN_DIGITS, figure
from ragkit.text.tokens import STOP_WORDS, fold_case_kept, stem

_HAN: Final = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HAN_CHAR: Final = re.compile(f"[{_HAN}]")
_ATOM: Final = re.compile(
    rf"(?P<figure>{FIGURE})|(?P<name>[A-Za-z]+\d[A-Za-z0-9]*)|(?P<number>\d+(?:,\d{{3}})+(?:\.\d+)?|\d+(?:\.\d+)?(?:[eE][-+]?\d{{1,3}}(?![A-Za-z0-9]))?)|(?P<han>[{_HAN}])"
    rf"|(?P<word>[^\W\d_{_HAN}]+(?:'[a-z]+)?)|(?P<sign>[%‰<>])"
)
_BREAK: Final = re.compile(r"[,，;；。.:：?？!！|—(（]")
_END: Final = re.compile(r"[;；。!！?？\n]|\.\s")
_LIST_MARK: Final = re.compile(r"^\s*(?:\d{1,2}[.)、]\s|[-*+]\s|#{1,6}\s|>\s)+")
_PARTICLE: Final = re.compile(
    r"^\s*(?:yes|no|是的|不是|不能|不会|不行|不对|可以|能|会|不|是|对)[，,。.]\s*", re.IGNORECASE
)
"""Yes or no in front of an answer; it denies nothing that follows."""
_GREEK: Final = {
    ord(letter): f" {name} "
    for letter, name in zip(
        "αβγδεζηθκλμνξπρστφχψω",
        "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega".split(),
        strict=True,
    )
}
_MATHS: Final = str.maketrans({"√": " sqrt ", "≥": ">", "≤": "<", "×": " ", "·": " ", "∝": " ", "’": "'"})
_FRACTION: Final = re.compile(r"\\[dt]?frac\s?(\d)(\d)(?!\d)")
r"""``\frac83`` is 8/3."""
_COMMAND: Final = re.compile(r"\\([A-Za-z]+)")
MARKUP: Final = re.compile(r"[_{}$\\*`]")
_POWER: Final = re.compile(r"(?<=[A-Za-z])\^(?=\d)")
"""``d^2`` is d², which NFKC makes d2."""
_WEEKDAY: Final = re.compile(r"(?<![一二两三四五六七八九十几\d])(?:周|星期|礼拜)([一二三四五六日天])(?![十次个天只周])")
_WEEKDAYS: Final = dict(
    zip("一二三四五六日天", "Monday Tuesday Wednesday Thursday Friday Saturday Sunday Sunday".split(), strict=True)
)
_CURRENCIES: Final = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yuan"}
_PRICE: Final = re.compile(r"([$€£¥])\s?(\d[\d,]*(?:\.\d+)?(?:\s?(?:thousand|million|billion|trillion|[kmbKMB])\b)?)")
_LAYOUT: Final = frozenset(
    "frac dfrac tfrac left right text mathrm mathbf mathcal operatorname cdot times quad hat bar".split()
)
_EMPHASIS: Final = re.compile(r"\*\*|__|`+")
_FUNCTION: Final = frozenset(
    "的了是在和与就也都而且及或被把对从到为以之其这那有个种等会可能要将于中上下时则因此所如果但由让使给来去再又才已还很更最"
    "它他们该各每某吗呢吧着过地得即便若虽然并同样只需应当做作成当向比较些里外内后前间者性化"
)
_LIGHT: Final = 0.3
_WORD_WEIGHT: Final = 2.0
"""An English word says about as much as two Han characters."""
_NAME_WEIGHT: Final = 2.5
_MEASURES: Final = frozenset(
    "个种条步层倍次类组阶段轮位点份成张块篇句项路台家者遍维头行列天年月日门字节"
    "勺杯碗瓶盒包袋支根颗粒片间辆架座本册封桶罐盘双只件箱滴斤寸尺米岁楼场局届期票笔股户周晚"
)
_UNITS: Final = frozenset(
    """% ‰ 倍 万亿 万 亿 千 百 k m b g t kb mb gb tb pb bit bits byte bytes 位 字节 比特 ms s us ns hz ghz mhz flops tflops million
    billion trillion thousand x fold 年 月 日 天 周 小时 分钟 秒 hour hours minute minutes second seconds day days week weeks
    month months year years percent kg mg mcg lb lbs oz km cm mm mph kw kwh 吨 克 千克 公斤 公里 厘米 毫米 元 美元 欧元 dollar dollars
    euro euros pound pounds yuan""".split()
)
_SAME_UNIT: Final = {
    "percent": "%", "bits": "bit", "比特": "bit", "bytes": "byte", "字节": "byte", "fold": "倍", "x": "倍", "times": "倍", "time": "倍",
    "hours": "hour", "小时": "hour", "minutes": "minute", "分钟": "minute", "seconds": "second", "秒": "second", "s": "second",
    "days": "day", "天": "day", "日": "day", "weeks": "week", "周": "week", "months": "month", "years": "year", "年": "year", "million": "m", "billion": "b", "trillion": "t", "thousand": "k", "千": "k", "万亿": "t",
    "gb": "g", "tb": "t", "lbs": "lb", "克": "g", "千克": "kg", "公斤": "kg", "公里": "km", "厘米": "cm", "毫米": "mm", "元": "yuan", "美元": "dollar",
    "dollars": "dollar", "欧元": "euro", "euros": "euro", "pounds": "pound",
}  # fmt: skip
_ZH_CUES: Final = frozenset("不没无非未勿莫别禁")
_ZH_NO_CUE: Final = re.compile(
    r"不到(?=\s*\d)|不(?:然|同|仅|但|过|断|管|论|止|少|一|妨|得不|变量|等式|稳|足|错|均|良|久|如)|无(?:论|监督|穷|线|损|偏|梯度|状态|标签|序|向)|非(?:常|线性|凸|马尔|自回|零|空|参)"
    r"|[分特级区个类识辨差告性派鉴甄送]别|别(?:的|人|处|样|名|墅|致|扭|于|离|称)|[解宵门]禁|不禁|禁(?:止|区|令|闭)|未(?:来|必)|差不多|能不能|会不会|要不要|可不可|是不是|有没有|用不用|好不好"
)
_EN_CUES: Final = frozenset(
    "not no nobody never without lacking cannot can't don't doesn't isn't aren't won't neither nor lack lacks".split()
)
_ANTONYMS: Final = [
    [word if not word.isascii() else stem(word) for word in pair.split("/")]
    for pair in (
        "高/低 大/小 快/慢 多/少 增/减 升/降 前/后 先/后 长/短 强/弱 优/劣 省/费 深/浅 宽/窄 远/近 易/难 早/晚 松/紧 稀/稠 "
        "超/低 超/小 有/无 翻/减 "
        "more/less more/fewer higher/lower high/low larger/smaller large/small faster/slower fast/slow increase/decrease "
        "before/after lower/raise longer/shorter long/short better/worse grow/shrink first/last most/least max/min "
        "maximum/minimum maximize/minimize up/down above/below exceed/below exceed/under rise/fall rose/fell deeper/shallower deep/shallow "
        "cheaper/expensive cheap/expensive same/different left/right row/column positive/negative preserve/break "
        "preserve/destroy remain/delete half/twice all/some daily/weekly daily/monthly weekly/monthly encoder/decoder"
    ).split()
]
_OPPOSITES: Final[dict[str, frozenset[str]]] = {
    word: frozenset(other for pair in _ANTONYMS for other in pair if word in pair and other != word)
    for pair in _ANTONYMS
    for word in pair
}


@dataclass
class Atoms:
    """The atoms of one text, in order."""

    keys: list[str] = field(default_factory=list)
    """Folded and stemmed; a number is ``#`` and its value, a negation ``!``."""
    weights: list[float] = field(default_factory=list)
    terms: list[tuple[str, int]] = field(default_factory=list)
    """What is looked for in a source, and the bits of the atoms that it stands for."""
    numbers: list[tuple[int, str, str]] = field(default_factory=list)
    """Position, value, unit (empty: none)."""
    names: list[int] = field(default_factory=list)
    """Positions of words with a capital inside or a digit, and of capitalised words inside a sentence."""
    breaks: set[int] = field(default_factory=set)
    """Positions in front of which a clause ends."""
    items: set[int] = field(default_factory=set)
    """Positions in front of which an item of a list ends by 、."""
    ends: set[int] = field(default_factory=set)
    """Positions in front of which a sentence or a line ends, or behind a semicolon."""
    shown: list[str] = field(default_factory=list)
    """As they stand in the text, for messages."""

    def show(self, positions: Sequence[int]) -> str:
        """Atoms at `positions` for a reader."""
        words = [self.shown[at] for at in positions]
        return "".join(w if not w.isascii() else f" {w} " for w in words).replace("  ", " ").strip()


def opposite(a: str, b: str) -> bool:
    """Whether two atoms are antonyms."""
    return b in _OPPOSITES.get(a, ())


@lru_cache(maxsize=4096)
def analyse(text: str) -> Atoms:
    """The atoms of `text`; the result is shared and must not be changed."""
    out = Atoms()
    clean = _clean(text)
    skipped: set[int] = set()
    if any(cue in clean for cue in _ZH_CUES):
        skipped = {at for m in _ZH_NO_CUE.finditer(clean) for at in range(m.start(), m.end())}
    # The first word of an English sentence has a capital in any case.
    previous_end, sentence_start = -1, _HAN_CHAR.search(clean) is None
    for match in _ATOM.finditer(clean):
        raw, kind = match.group(), match.lastgroup
        at = len(out.keys)
        between = clean[previous_end : match.start()] if at else ""
        # 03:40 is one time, 3.5 one number.
        if between and _BREAK.search(between) and not (between == ":" and kind == "number" and out.keys[-1][0] == "#"):
            out.breaks.add(at)
        elif "、" in between:
            out.items.add(at)
        if between and _END.search(between):
            out.ends.add(at)
        if kind == "han":
            following = clean[match.end() : match.end() + 1]
            if raw in HAN_DIGITS and raw != "一" and following in _MEASURES:
                _number(out, str(HAN_DIGITS[raw]), shown=raw)
            else:
                cue = raw in _ZH_CUES and match.start() not in skipped
                _add(out, "!" if cue else raw, _LIGHT if cue or raw in _FUNCTION else 1.0, raw)
                if match.start() == previous_end and at and _is_han(before := out.shown[at - 1]):
                    out.terms.append((before + raw, 0b11 << (at - 1)))
                else:
                    out.terms.append((raw, 1 << at))
        elif kind == "number":
            _number(out, _value(raw), shown=raw)
        elif kind == "figure":
            _number(out, *figure(raw), shown=raw)
        else:
            _word(out, raw, named=kind == "name", initial=sentence_start)
        # "1.2, b" has no unit.
        joined = not clean[previous_end : match.start()].strip(" -")
        if joined and out.numbers and out.numbers[-1][0] == at - 1 and kind not in ("number", "figure"):
            _unit(out, at, clean[match.start() : match.end() + 1])
        previous_end = match.end()
        sentence_start = False
    return out


def _clean(text: str) -> str:
    folded = fold_case_kept(_PARTICLE.sub("", _EMPHASIS.sub("", _LIST_MARK.sub("", text))))
    folded = _WEEKDAY.sub(lambda m: f" {_WEEKDAYS[m[1]]} ", folded)
    if "\\" in folded:
        folded = _FRACTION.sub(r"\1 \2", folded).replace("}{", "} {")
        folded = _COMMAND.sub(lambda m: " " if m[1] in _LAYOUT else f" {m[1]} ", folded)
    return _POWER.sub("", MARKUP.sub("", _priced(folded.translate(_GREEK).translate(_MATHS))))


def _priced(text: str) -> str:
    """`text` with the currency behind its number; between two dollar signs stands a formula."""
    if not any(sign in text for sign in _CURRENCIES) or ("$" in text and text.count("$") % 2 == 0):
        return text
    return _PRICE.sub(lambda m: f"{m[2]} {_CURRENCIES[m[1]]}", text)


def _is_han(char: str) -> bool:
    return len(char) == 1 and not char.isascii() and ("\u3400" <= char <= "\u9fff" or char >= "\uf900")


def _value(raw: str) -> str:
    return f"{float(raw.replace(',', '')):g}" if len(raw) < 16 else raw


def _add(out: Atoms, key: str, weight: float, shown: str) -> None:
    out.keys.append(key)
    out.weights.append(weight)
    out.shown.append(shown)


def _number(out: Atoms, value: str, unit: str = "", *, shown: str) -> None:
    at = len(out.keys)
    _add(out, f"#{value}", _WORD_WEIGHT, shown)
    out.terms.append((f"#{value}", 1 << at))
    out.numbers.append((at, value, unit))


def _word(out: Atoms, raw: str, *, named: bool, initial: bool) -> None:
    at, low = len(out.keys), raw.lower()
    if low in COUNTING:
        _number(out, str(COUNTING[low]), shown=raw)
        return
    if low in _EN_CUES:
        _add(out, "!", _LIGHT, raw)
        return
    key = stem(low)
    upper = named or raw[1:] != low[1:]
    if upper or (raw[:1].isupper() and not initial and len(raw) > 1 and low not in STOP_WORDS):
        out.names.append(at)
    weight = 0.0 if low in STOP_WORDS and not upper else _NAME_WEIGHT if upper else _WORD_WEIGHT
    _add(out, key, 0.5 if len(raw) == 1 and weight else weight, raw)
    if weight:
        out.terms.append((key, 1 << at))


def _unit(out: Atoms, at: int, text: str) -> None:
    raw = out.shown[at].lower() if at < len(out.shown) else ""
    pair = text[:2] if text[:1] and _is_han(text[0]) else raw
    for candidate in (pair, raw):
        if candidate in _UNITS or candidate in _SAME_UNIT:
            position, value, _ = out.numbers[-1]
            out.numbers[-1] = (position, value, _SAME_UNIT.get(candidate, candidate))
            if out.names and out.names[-1] == at:
                out.names.pop()
            return
