"""Who does what to whom, and whose number it is, where all the words are the same.

"PPO 比 DPO 更稳定" is not "DPO 比 PPO 更稳定"; "A has 5, B has 7" does not say that A has 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from ragkit.citations.alignment import clauses
from ragkit.citations.atoms import Atoms
from ragkit.citations.verdicts import Reason
from ragkit.text.tokens import stem

_LEAST: Final = 2.0
"""Weight of a Latin word that may be a party."""
_FARTHEST: Final = 6
"""Atoms between two parties, or between the two numbers of "from 30 to 40"."""
_TO: Final = frozenset("到 至 to".split())
_DIRECTED: Final = frozenset("比 由 被 于 到 to than by from".split())
"""Light words that tell the two sides apart."""
_EVEN: Final = frozenset("和 与 跟 同 及 或 等".split()) | frozenset(
    stem(word) for word in "and or vs versus equals equal equivalent same differs different meets joins".split()
)
"""Words that leave it open which side is which."""

_Party = tuple[str, ...]


def turned_round(claim: Atoms, source: Atoms) -> Iterator[Reason]:
    """Two parties of a clause that stand in the source the other way round, with the very words between them."""
    there = {relation for relation, _ in _relations(source)}
    for (one, between, two), shown in _relations(claim):
        if (two, between, one) in there and (one, between, two) not in there:
            yield Reason("opposite", f"{shown}: the source has it the other way round")
            return


def runs_back(claim: Atoms, source: Atoms) -> Iterator[Reason]:
    """A rise told as a fall: "from 30 to 40" for "from 40 to 30"."""
    there = {(source.keys[a], source.keys[b]) for a, b in _from_to(source)}
    for a, b in _from_to(claim):
        pair = claim.keys[a], claim.keys[b]
        if pair not in there and pair[::-1] in there:
            yield Reason("opposite", f"{claim.show(range(a, b + 1))}: the source has it the other way round")
            return


def of_another(claim: Atoms, source: Atoms) -> Iterator[Reason]:
    """A number said of one name, which the source gives to another name in a clause of its own."""
    there = [(parties, numbers) for parties, numbers in _owned(source) if numbers]
    for parties, numbers in _owned(claim):
        if len(parties) != 1:
            continue
        [named] = parties
        own = {number for others, found in there if named in others for number in found}
        for number, shown in numbers.items():
            owners = [others for others, found in there if number in found]
            # What the source says of no name may be of any.
            if not own or number in own or not owners or not all(owners):
                continue
            others = {party: name for each in owners for party, name in each.items()}
            if not any(_same(named, other) for other in others):
                yield Reason("number", f"number {shown}: the source says it of {min(others.values())}")
                return


def _from_to(atoms: Atoms) -> Iterator[tuple[int, int]]:
    """Two numbers of one clause with "to" between them."""
    places = [at for at, _, _ in atoms.numbers]
    for a, b in pairwise(places):
        between = range(a + 1, b)
        if len(between) <= _FARTHEST and not atoms.breaks.intersection(range(a + 1, b + 1)):
            if any(atoms.keys[at] in _TO for at in between):
                yield a, b


def _owned(atoms: Atoms) -> Iterator[tuple[dict[_Party, str], dict[str, str]]]:
    """The names of each clause, and its other figures, both with how they are written."""
    for start, end in clauses(atoms, contrast=True):
        places = {at: _whole(atoms, at, end) for at in atoms.names if start <= at < end}
        parties = {party: atoms.show(range(at, at + len(party))) for at, party in places.items()}
        named = {key for party in parties for key in party}
        numbers = {atoms.keys[at]: atoms.shown[at] for at, _, _ in atoms.numbers if start <= at < end}
        # Small counts in words are of anything.
        yield parties, {key: shown for key, shown in numbers.items() if key not in named and shown[0].isdecimal()}


def _same(one: _Party, two: _Party) -> bool:
    """Whether one name may be short for the other: GPT-4, GPT-4-0613."""
    short = min(len(one), len(two))
    return one[:short] == two[:short]


def _relations(atoms: Atoms) -> Iterator[tuple[tuple[_Party, tuple[str, ...], _Party], str]]:
    """Latin words and names of one clause with what stands between them, and all of it as it is written."""
    for start, end in clauses(atoms):
        parties = [at for at in range(start, end) if _is_party(atoms, at)]
        for i, first in enumerate(parties):
            left = _whole(atoms, first, end)
            for second in parties[i + 1 :]:
                between = tuple(atoms.keys[first + len(left) : second])
                if len(between) > _FARTHEST:
                    break
                if _tells(atoms, first + len(left), second):
                    right = _whole(atoms, second, end)
                    yield (left, between, right), atoms.show(range(first, second + len(right)))


def _is_party(atoms: Atoms, at: int) -> bool:
    key = atoms.keys[at]
    return key.isascii() and not key.startswith(("#", "!")) and atoms.weights[at] >= _LEAST


def _whole(atoms: Atoms, at: int, end: int) -> _Party:
    """A name with the number behind it: GPT-2."""
    last = at + 1
    while last < end and atoms.keys[last].startswith("#"):
        last += 1
    return tuple(atoms.keys[at:last])


def _tells(atoms: Atoms, start: int, end: int) -> bool:
    """Whether the atoms in between say which side is which."""
    between = atoms.keys[start:end]
    if not between or not _EVEN.isdisjoint(between):
        return False
    heavy = any(atoms.weights[at] >= 1 and not atoms.keys[at].startswith("#") for at in range(start, end))
    return heavy or not _DIRECTED.isdisjoint(between)
