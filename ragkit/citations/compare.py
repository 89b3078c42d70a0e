"""Numbers, units, names, terms and negation of a sentence against the lines of a source that say the same.

Likeness of words hides these: "24 layers" and "12 layers" share all words but one. Both texts are aligned atom by
atom; what was exchanged in the midst of what is the same tells a slip from a paraphrase.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Final

from ragkit.citations.alignment import Code, Exchange, align, exchanges, words
from ragkit.citations.atoms import Atoms
from ragkit.citations.direction import of_another, turned_round
from ragkit.citations.figures import is_scale, written_otherwise
from ragkit.citations.negation import negations, opposites, restated
from ragkit.citations.verdicts import Reason
from ragkit.text.tokens import stem

_CROSSED: Final = 10
"""Atoms of a piece that may have changed places with another."""
_ALIKE: Final = 0.6
"""Share of its words that a piece has in common with what it changed places with."""
_RATIOS: Final = frozenset({"倍", "%"})
_COUNTED: Final = 4
"""The largest count in words that an answer may have made itself; of the reference answers none counts further."""
_SAME: Final = (
    {"只", "仅"},
    {"需", "须"},
    {"若", "如"},
    {"较", "比"},
    {"约", "近"},
    {"及", "和", "与"},
    {"使", "令", "让"},
    {"式", "形"},
)
_VERBATIM: Final = 0.8
"""Share of a sentence in its place from which an exchanged word is a slip and no paraphrase."""
_FRAME: Final = 5
_TERM: Final = 4
_EVERYDAY: Final = frozenset(
    """通常 一般 常常 往往 经常 使用 采用 利用 运用 应用 用 需要 须要 因为 由于 所以 因此 于是 但是 不过 然而 例如 比如 大约 大概 约 近 很 非常
    十分 特别 显著 明显 仅 只 仅仅 只有 仅有 如果 若 假如 相比 相较 得到 获得 取得 提高 提升 增强 降低 减少 下降 缩短 缩小 放入 放进 进 入 加入 添加 造成
    保持 维持 仍 仍是 仍然 依然 错误 多余 额外 细节 情况 导致 引起 带来 产生 生成 方法 办法 做法 方式 问题 之后 以后 然后 之前 以前 同时 并且 而且 以及 能够 可以 可能 应该 必须 主要 重要 关键 全部 所有 整个 部分
    具体 直接 立即 马上 立刻 完全 彻底 基本 几乎 包括 包含 含有 成为 变成 作为 叫 称 称为 叫做 说 指 指的 表示 说明 表明 显示 认为 觉得 选择 选 挑 挑出 取 拿
    当 当作 作 做 分 分成 分为 变 改 改成 换 换成 修改 改变 更 再 又 也 还 都 已 已经 个 种 类 条 份 道 题 题目 则 便 就 即 即使 大 多 好 让 给 把 看 查看""".split()
) | frozenset(
    stem(word)
    for word in """about around roughly approximately some usually typically often commonly generally use uses used employ employs
    apply applies show shows demonstrate demonstrates indicate large big great small little must has have need needs require requires
    only merely just because since as so therefore thus hence also too may can could might will would should get gets obtain gain
    make makes let lets give gives take takes taken made give keep keeps such like for example instance very much quite more most
    mainly mostly chiefly roughly nearly almost both all every each any several many few own same way method approach""".split()
)
_NO_TERM: Final = frozenset("一二三四五六七八九十两几数第")


def compare(
    claim: Atoms,
    source: Atoms,
    context: frozenset[str],
    terms: Container[str] = (),
    *,
    table: bool = False,
    computed: Container[str] = (),
) -> list[Reason]:
    """What a sentence says otherwise than its source.

    Args:
        claim: The sentence.
        source: The lines of the passage that carry it.
        context: Terms that need not stand in those lines: of the headings above them and of the lines around.
        terms: Terms of all passages. An English word put in the place of another counts only if it is one
            of them: what confuses two things takes the name of one for that of the other.
        table: Whether the source is rows of a table, whose cells say yes and no, and of what, by themselves.
        computed: Numbers that need no source.
    """
    codes = align(claim, source)
    exchanged = list(exchanges(codes, len(claim.keys)))
    reasons = [*_numbers(claim, source, context, exchanged, computed), *_names(claim, source, context, exchanged)]
    reasons += [*opposites(claim, source, codes), *turned_round(claim, source)]
    if not table:
        reasons += negations(claim, source, codes)
    if not any(reason.kind in ("negation", "opposite") for reason in reasons):
        reasons += restated(claim, source)
    reasons = reasons or ([] if table else list(of_another(claim, source)))
    return reasons or list(_crossed(claim, source, codes)) or list(_terms(claim, source, exchanged, terms))


def _crossed(claim: Atoms, source: Atoms, codes: Sequence[Code]) -> Iterator[Reason]:
    """Two pieces each of which stands where the source has the other: "b=1 ..., b=0 ..." for "b=0 ..., b=1 ..."."""
    pieces: list[tuple[set[str], set[str], range, range]] = []
    for i, (tag, a, b, c, d) in enumerate(codes):
        if tag != "replace":
            continue
        # What follows behind a comma belongs to no exchange.
        b = min([b, *(at for at in claim.breaks if a < at < b)]) if b - a > _CROSSED else b
        d = min([d, *(at for at in source.breaks if c < at < d)])
        beside = any(code[0] == "equal" for code in codes[max(0, i - 1) : i + 2])
        said, real = words(claim, a, b), words(source, c, d)
        if said and real and beside and b - a <= _CROSSED and d - c <= _CROSSED:
            pieces.append((said, real, range(a, b), range(c, d)))
    for i, (said, real, at, there) in enumerate(pieces):
        for other, instead, _, _ in pieces[i + 1 :]:
            crossed = _alike(said, instead) and _alike(other, real)
            if crossed and not _alike(said, real) and not _alike(said, other):
                shown = f"{claim.show(at)}: the source says {source.show(there)}, and the other way round"
                yield Reason("term", shown)
                return


def _alike(one: set[str], two: set[str]) -> bool:
    return len(one & two) >= _ALIKE * max(len(one), len(two))


def _numbers(
    claim: Atoms,
    source: Atoms,
    context: frozenset[str],
    exchanged: Sequence[Exchange],
    computed: Container[str],
) -> Iterator[Reason]:
    there: dict[str, set[str]] = {}
    for _, value, unit in source.numbers:
        there.setdefault(value, set()).add(unit)
    framed = {at: e for e in exchanged if e.framed for at in e.claim}
    amounts = [(value, unit) for _, value, unit in source.numbers]
    shared = {unit for _, _, unit in claim.numbers}
    for at, value, unit in claim.numbers:
        if f"#{value}" in computed:
            continue
        shown = claim.shown[at]
        in_words = not shown[0].isascii() or not shown[0].isdecimal()
        if (unit or value not in there) and written_otherwise(value, unit, amounts, in_words=in_words):
            continue
        known = f"#{value}" in context
        other = _number_at(source, framed[at].source) if at in framed else ""
        other = other or ("" if known else _instead(claim, source, at) or _measured(claim, source, at, unit))
        if other and not _listed(claim, source, other):
            yield Reason("number", f"number {shown}: the source says {other}")
        elif value not in there and not known and not _counted(claim, source, at, value):
            yield Reason("number", f"number {shown} is in no source")
        elif value in there and _of_another_unit(unit, there[value], shared):
            yield Reason(
                "unit", f"unit of {shown}: {unit or 'none'}; the source says {', '.join(sorted(there[value]))}"
            )


def _of_another_unit(unit: str, there: set[str], shared: set[str]) -> bool:
    """Whether a number with `unit` is none of those that the source has with the units `there`.

    A number without a unit may leave out what is counted, not how much: 5 is not 5 billion, unless it stands in a row
    that ends with one of the `shared` units of the sentence ("3.7 and 2.8 million").
    """
    if unit:
        return unit not in there and "" not in there
    return shared.isdisjoint(there) and all(map(is_scale, there))


def _counted(claim: Atoms, source: Atoms, at: int, value: str) -> bool:
    """Whether a number is a small count in words ("four models") of what the source lists and does not count."""
    if not claim.shown[at].isalpha() or not value.isdecimal() or int(value) > _COUNTED:
        return False
    following = claim.keys[at + 1 : at + 2]
    return not any(source.shown[i].isalpha() and source.keys[i + 1 : i + 2] == following for i, _, _ in source.numbers)


def _instead(claim: Atoms, source: Atoms, at: int) -> str:
    """The number that the source has in the company in which the claim has the one at `at`, or nothing."""
    following = _meaning(claim, at)
    if not following:
        return ""
    value = claim.keys[at]
    for i, _, _ in source.numbers:
        if source.keys[i] == value and (_meaning(source, i)[:1] == following[:1] or _beside(claim, source, at, i)):
            return ""
    return next((source.shown[i] for i, _, _ in source.numbers if _meaning(source, i) == following), "")


def _measured(claim: Atoms, source: Atoms, at: int, unit: str) -> str:
    """The only ratio that the source gives, where it has the number at `at` without that unit; or nothing.

    "2 times" for "14 times" in a source that says "2" of something else as well.
    """
    if unit not in _RATIOS:
        return ""
    said = {key for key in claim.keys if key.startswith("#")}
    ratios = [i for i, _, its in source.numbers if its == unit]
    bare = {source.keys[i] for i, _, its in source.numbers if not its}
    found = len(ratios) == 1 and claim.keys[at] in bare and source.keys[ratios[0]] not in said
    return source.shown[ratios[0]] if found else ""


def _meaning(atoms: Atoms, at: int) -> list[str]:
    """The two atoms behind a number."""
    return atoms.keys[at + 1 : at + 3] if len(atoms.keys) > at + 2 else []


def _beside(claim: Atoms, source: Atoms, at: int, i: int) -> bool:
    """Whether two numbers have a word in common right before them."""
    before = {claim.keys[k] for k in range(max(0, at - 4), at) if claim.weights[k] >= 1}
    return not before.isdisjoint(source.keys[max(0, i - 4) : i])


def _number_at(source: Atoms, positions: Sequence[int]) -> str:
    return next((source.shown[at] for at in positions if source.keys[at].startswith("#")), "")


def _listed(claim: Atoms, source: Atoms, other: str) -> bool:
    """Whether the claim has the number of the source as often as it does: the same facts in another order."""
    return claim.shown.count(other) >= source.shown.count(other)


def _names(claim: Atoms, source: Atoms, context: frozenset[str], exchanged: Sequence[Exchange]) -> Iterator[Reason]:
    there = set(source.keys)
    spelled = "".join(source.keys)
    framed = {at: e for e in exchanged if e.framed for at in e.claim}
    for at in claim.names:
        key = claim.keys[at]
        known = key in there or (len(key) > 3 and key in spelled)
        other = [source.shown[i] for i in framed[at].source if i in source.names] if at in framed else []
        if not known and key not in context:
            instead = f": the source says {' '.join(other)}" if other else " is not in the source"
            yield Reason("name", f"name {claim.shown[at]}{instead}")
        elif other and not any(name in claim.shown for name in other) and framed[at].left + framed[at].right >= 6:
            yield Reason("name", f"name {claim.shown[at]}: the source says {' '.join(other)}")


def _terms(claim: Atoms, source: Atoms, exchanged: Sequence[Exchange], terms: Container[str]) -> Iterator[Reason]:
    """A content word exchanged for another in a sentence that is otherwise that of the source."""
    there = set(source.keys)
    same = sum(w for key, w in zip(claim.keys, claim.weights, strict=True) if key in there)
    near_verbatim = same >= _VERBATIM * sum(claim.weights)
    for e in exchanged:
        if not e.claim or not e.source or not e.framed:
            continue
        said, real = [claim.keys[i] for i in e.claim], [source.keys[j] for j in e.source]
        if any(key.startswith(("#", "!")) for key in (*said, *real)) or said[0].isascii() != real[0].isascii():
            continue
        if max(claim.weights[i] for i in e.claim) < 1 or max(source.weights[j] for j in e.source) < 1:
            continue
        inside_word = len(said) == len(real) == 1 and not said[0].isascii()
        if inside_word and ({said[0], real[0]} & _NO_TERM or any({said[0], real[0]} <= group for group in _SAME)):
            continue
        if (
            max(len(said), len(real)) > _TERM
            or abs(len(said) - len(real)) > 1
            or not near_verbatim
            or e.left + e.right < _FRAME
            or all(key in there for key in said)
        ):
            continue
        if _general(said) or _general(real) or (said[0].isascii() and not _known(claim, e.claim, terms)):
            continue
        yield Reason("term", f"{_around(claim, e.claim)}: the source says {_around(source, e.source)}")


def _known(claim: Atoms, positions: Sequence[int], terms: Container[str]) -> bool:
    """Whether every exchanged atom stands somewhere in the passages, Han characters in pairs."""
    bits = sum(1 << at for at in positions)
    found = 0
    for term, mask in claim.terms:
        if mask & bits and term in terms:
            found |= mask
    return not bits & ~found


def _general(keys: Sequence[str]) -> bool:
    """Whether these are words of everyday language, which paraphrase exchanges freely."""
    return "".join(keys) in _EVERYDAY or all(key in _EVERYDAY for key in keys)


def _around(atoms: Atoms, positions: Sequence[int]) -> str:
    return atoms.show(range(max(0, positions[0] - 1), min(len(atoms.keys), positions[-1] + 2)))
