"""Who does what to whom: "PPO 比 DPO 更稳定" is not "DPO 比 PPO 更稳定", with the same words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ragkit.citations.alignment import clauses
from ragkit.citations.atoms import Atoms
from ragkit.citations.verdicts import Reason
from ragkit.text.tokens import stem

_LEAST: Final = 2.0
"""Weight of a Latin word that may be a party."""
_FARTHEST: Final = 6
"""Atoms between two parties."""
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
