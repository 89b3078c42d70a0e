"""What one text denies and the other does not, and antonyms that stand for each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from ragkit.citations.alignment import SHORT, WORD, Code, clauses, words
from ragkit.citations.atoms import Atoms, opposite
from ragkit.citations.verdicts import Reason
from ragkit.text.tokens import stem

_CANCEL: Final = 12
"""Atoms between a negation that was left out and one that was put in which make up for each other."""
_CLOSE: Final = 3
"""Atoms between a negation and the words that it denies."""
_SCOPE: Final = 5
_DENIED: Final = 1.0
"""What the words behind a negation weigh that both texts have, so that it is they that are denied."""
_DENIED_THERE: Final = 0.6
"""Share of the words behind a negation that the source must have, so that it is they that it says."""
_COMPARED: Final = frozenset({"比", "than"})
_REPEATED: Final = 6
_RESTATED: Final = 4.0
"""What the denied words of a clause weigh, so that it is they that are said again without the negation."""
_PAIR: Final = 1.3
"""Weight from which two Han characters count as a word."""
_PREVENT: Final = frozenset("防止 避免 以免 免得 避开".split())
_OTHERWISE: Final = _PREVENT.union("不同 跳过 省去 省略 免去 拒绝 禁止 禁用 排除".split())
_INSTEAD: Final = _OTHERWISE.union("忽略 其他 其它 缺少 缺乏 只有 仅有 而非".split())
_NOTHING: Final = frozenset("! 不 没 无 非 未 别 只 仅 #0 none zero ignore fail onli".split())
"""What a text denies something with, whether or not it is counted as a negation."""
_PREVENT_EN: Final = frozenset(stem(word) for word in "prevent avoid differ different unlike".split())
_OTHERWISE_EN: Final = _PREVENT_EN.union(stem(word) for word in "skip omit exclude refuse rather hardly void".split())


def negations(claim: Atoms, source: Atoms, codes: Sequence[Code]) -> Iterator[Reason]:
    """A negation in front of words that both have, which only one of them denies."""
    nets: list[tuple[int, int]] = []
    said_apart = there_apart = 0
    for i, (tag, a, b, c, d) in enumerate(codes):
        if tag == "equal":
            continue
        said_apart += claim.keys[a:b].count("!")
        there_apart += source.keys[c:d].count("!") if d - c <= SHORT else 0
        right = codes[i + 1] if i + 1 < len(codes) else None
        left = codes[i - 1] if i else None
        same = _content(claim, right[1], min(right[2], right[1] + _SCOPE)) if right else 0.0
        before = left[2] - left[1] if left else 0
        said, there = _last_clause(claim, a, b), _last_clause(source, c, d)
        net = said.count("!") - there.count("!")
        if not net or not (same >= _DENIED or (before >= 3 and b - a <= 2 and d - c <= 2)):
            continue
        if _turned(claim, source, (a, b, c, d)) or _otherwise(claim, source, (a, b, c, d), net):
            continue
        if net > 0 and (
            "!" in source.keys[max(0, c - 2) : d]
            or _contrasted(claim, source, a, b)
            or _denied_as_well(claim, source, a, b)
        ):
            continue
        if net < 0 and ("!" in claim.keys[max(0, a - _REPEATED) : b] or _verb_denied(claim, source, c, d)):
            continue  # "neither a nor b", said once
        nets.append((a, net))
    total = sum(net for _, net in nets)
    if not nets or (total == 0 and nets[-1][0] - nets[0][0] <= _CANCEL):
        return
    if (total > 0 and there_apart) or (total < 0 and said_apart):
        return  # denied in another place of the sentence
    put_in = total > 0 or (total == 0 and nets[0][1] > 0)
    yield Reason("negation", "it denies what the source says" if put_in else "it says what the source denies")


def _contrasted(claim: Atoms, source: Atoms, start: int, end: int) -> bool:
    """Whether a slice says 而不是 where the source compares: 更喜欢甲，而不是乙 for 比乙更喜欢甲."""
    return claim.keys[max(0, start) : end] == ["而", "!", "是"] and not _COMPARED.isdisjoint(source.keys)


def _verb_denied(claim: Atoms, source: Atoms, start: int, end: int) -> bool:
    """Whether the claim denies, in another place, the word that the last negation of a slice of the source does."""
    last = max(at for at in range(start, end) if source.keys[at] == "!")
    verb = source.keys[last + 1 : last + 2]
    heavy = bool(verb) and source.weights[last + 1] >= WORD
    return heavy and _denials(claim, verb[0]) >= _denials(source, verb[0])


def _denials(atoms: Atoms, word: str) -> int:
    return sum(one == "!" and two == word for one, two in pairwise(atoms.keys))


def _denied_as_well(claim: Atoms, source: Atoms, start: int, end: int) -> bool:
    """Whether the source denies the very words that the last negation of a slice of the claim does."""
    keys = claim.keys
    if keys.count("!") > source.keys.count("!"):
        return False
    first = max(at for at in range(start, end) if keys[at] == "!") + 1
    while first < len(keys) and claim.weights[first] < WORD:
        first += 1
    denied = _pairs(claim, first, min(len(keys), first + _SCOPE))[:1]
    return bool(denied) and any(
        "!" in source.keys[c:d] and denied[0] in _pairs(source, source.keys.index("!", c) + 1, d)
        for c, d in clauses(source)
    )


def restated(claim: Atoms, source: Atoms) -> Iterator[Reason]:
    """A clause of the source that denies something, the words of which a clause of the claim has without negation."""
    there = list(clauses(source))
    plain = [set(_pairs(source, c, d)) for c, d in there if "!" not in source.keys[c:d]]
    for c, d in there:
        if source.keys[c:d].count("!") != 1:
            continue
        first = source.keys.index("!", c) + 1
        denied, single = set(_pairs(source, first, d)), words(source, first, d)
        if not denied or sum(w for w in source.weights[first:d] if w >= WORD) < _RESTATED:
            continue
        if any(len(denied & pairs) >= 0.7 * len(denied) for pairs in plain):
            continue  # said of another thing next to it
        for a, b in clauses(claim):
            said = set(_pairs(claim, a, b))
            if (
                "!" not in claim.keys[a:b]
                and len(denied & said) >= 0.6 * len(denied)
                and len(single & words(claim, a, b)) >= 0.9 * len(single)
                and _OTHERWISE.isdisjoint(said)
                and (_OTHERWISE_EN & {*claim.keys[a:b]} <= {*source.keys[c:d]})
            ):
                yield Reason("negation", "it says what the source denies")
                return


def undenied(claim: Atoms, source: Atoms) -> Iterator[Reason]:
    """A negation of words that the source has, in a place where it denies nothing at all."""
    there = {*source.keys}
    pairs = _joined(source.keys)
    if not there.isdisjoint(_NOTHING) or not pairs.isdisjoint(_INSTEAD) or not there.isdisjoint(_OTHERWISE_EN):
        return
    for a, b in clauses(claim):
        for at in (at for at in range(a, b) if claim.keys[at] == "!"):
            scope = range(at + 1, min(b, at + 1 + _SCOPE))
            denied = sum(claim.weights[i] for i in scope if claim.weights[i] >= WORD)
            same = sum(claim.weights[i] for i in scope if claim.weights[i] >= WORD and claim.keys[i] in there)
            turned = any(opposite(claim.keys[i], key) for i in scope[:2] for key in there)
            if _contrasted(claim, source, at - 1, at + 2):
                continue
            if denied >= _DENIED and same >= _DENIED_THERE * denied and not turned:
                yield Reason("denial", f"{claim.show(range(at, min(b, at + 3)))}: the source does not deny it")
                return


def opposites(claim: Atoms, source: Atoms, codes: Sequence[Code], *, table: bool = False) -> Iterator[Reason]:
    """An antonym where the source has its counterpart: in a short exchange, or right beside what both have.

    Of the cells of a table that a sentence has both words of, `columns.misplaced` tells whose they are.
    """
    for _, a, b, c, d in (code for code in codes if code[0] == "replace"):
        short = b - a <= SHORT and d - c <= SHORT
        pairs = [(i, j) for i in range(a, b) for j in range(c, d)] if short else [(a, c), (b - 1, d - 1)]
        for i, j in pairs:
            if table and source.keys[j] in claim.keys and claim.keys[i] in source.keys:
                continue
            if opposite(claim.keys[i], source.keys[j]) and _denied(claim, i) == _denied(source, j):
                yield Reason("opposite", f"{claim.shown[i]}: the source says {source.shown[j]}")
                return


def _last_clause(atoms: Atoms, start: int, end: int) -> list[str]:
    """The last atoms of a slice that no comma parts from what follows it."""
    first = max([start, end - _CLOSE, *(at for at in atoms.breaks if start < at <= end)])
    return atoms.keys[first:end]


def _content(atoms: Atoms, start: int, end: int) -> float:
    return sum(w for w in atoms.weights[start:end] if w >= 1)


def _denied(atoms: Atoms, at: int) -> bool:
    """Whether a negation stands right before an atom."""
    return "!" in atoms.keys[max(0, at - 2) : at]


def _turned(claim: Atoms, source: Atoms, slices: tuple[int, int, int, int]) -> bool:
    """Whether an antonym makes up for the negation: 不高 for 低."""
    a, b, c, d = slices
    return any(
        opposite(claim.keys[i], source.keys[j]) and _denied(claim, i) != _denied(source, j)
        for i in range(a, min(b + 1, len(claim.keys)))
        for j in range(c, min(d + 1, len(source.keys)))
    )


def _otherwise(claim: Atoms, source: Atoms, slices: tuple[int, int, int, int], net: int) -> bool:
    """Whether the side without the negation denies with a verb: 防止 for 不让, 与……不同 for 不是."""
    a, _, c, d = slices
    keys = source.keys[max(0, c - 6) : d + 3] if net > 0 else claim.keys[max(0, a - 3) :]
    other = claim.keys if net > 0 else source.keys
    # A verb that both have makes up for no negation that one of them has besides.
    verbs, english = (_PREVENT, _PREVENT_EN) if net > 0 else (_OTHERWISE, _OTHERWISE_EN)
    return bool((_joined(keys) & verbs) - _joined(other) or (english & {*keys}) - {*other})


def _joined(keys: Sequence[str]) -> set[str]:
    return {"".join(keys[i : i + 2]) for i in range(len(keys))}


def _pairs(atoms: Atoms, start: int, end: int) -> list[str]:
    """Latin words, numbers and pairs of Han characters that carry meaning."""
    found = []
    for at in range(start, end):
        key = atoms.keys[at]
        if key.isascii():
            found += [key] if atoms.weights[at] >= WORD else []
        elif at + 1 < end and not atoms.keys[at + 1].isascii() and sum(atoms.weights[at : at + 2]) >= _PAIR:
            found.append(key + atoms.keys[at + 1])
    return found
