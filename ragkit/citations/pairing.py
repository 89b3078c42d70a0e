"""What a sentence pairs and its source pairs otherwise: "250 safe and 200 unsafe" for "200 safe and 250 unsafe"."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Final

from ragkit.citations.alignment import WORD
from ragkit.citations.atoms import Atoms
from ragkit.citations.verdicts import Reason

_JOINTS: Final = frozenset("而 和 与 及 and while wherea but".split())
"""Words between two pieces that say the same of two things."""
_PAIR: Final = 1.6
"""Weight from which two Han characters count as a word."""
_MOST: Final = 12
"""Pieces of a sentence; a longer one is a list."""
_IN_ORDER: Final = frozenset("former latter respectively 前者 后者 分别".split())
"""Words of a text that pairs things by their order."""

Terms = dict[str, tuple[int, ...]]
"""Words of a piece and the atoms each stands for."""


def crossed_over(claim: Atoms, source: Atoms) -> Iterator[Reason]:
    """Two pieces of the claim, each of which holds words of the same two pieces of the source.

    Only words that stand in one piece of the source and in one of the claim tell anything: of "a small step keeps the
    state, a large one resets it" keeps, small, large and resets. The pieces of the source are taken small, and as large
    as its lines and what a semicolon parts, since a label may stand before a comma or in a cell of its own.
    """
    said = list(_pieces(claim, _small(claim)))
    if not 1 < len(said) <= _MOST or not _IN_ORDER.isdisjoint(_shown(source)):
        return
    names = {claim.keys[at] for at in claim.names}
    for edges in (_small(source), {0, len(source.keys), *source.ends}):
        at = _mixed(said, list(_pieces(source, edges)), names)
        if at:
            yield Reason("opposite", f"{claim.show(range(at[0], at[-1] + 1))}: the source pairs them otherwise")
            return


def _mixed(said: Sequence[Terms], there: Sequence[Terms], names: Collection[str]) -> list[int]:
    """The atoms of the first piece of the claim that mixes two pieces of the source with another one, in order."""
    home, once = _single(there), _single(said)
    drawn: list[dict[int, list[str]]] = []
    for number, piece in enumerate(said):
        found: dict[int, list[str]] = {}
        for term in piece:
            if term in home and once.get(term) == number:
                found.setdefault(home[term], []).append(term)
        drawn.append(found)
    for (number, one), (_, two) in combinations(enumerate(drawn), 2):
        for i, j in combinations(sorted(one.keys() & two.keys()), 2):
            if not any(_in_one_piece(kind, one, two, (i, j)) for kind in (_is_number, names.__contains__)):
                return sorted(at for term in (*one[i], *one[j]) for at in said[number][term])
    return []


def _in_one_piece(
    kind: Callable[[str], bool], one: Mapping[int, list[str]], two: Mapping[int, list[str]], pieces: tuple[int, int]
) -> bool:
    """Whether a piece of the source has all the numbers, or names, of both: "A grew faster than B (18% against 7%)"."""
    first, second = ({n for n in pieces if any(map(kind, terms[n]))} for terms in (one, two))
    return len(first) == 1 and first == second


def _is_number(term: str) -> bool:
    return term.startswith("#")


def _shown(atoms: Atoms) -> set[str]:
    """Words as they stand in the text, Han characters in pairs."""
    return {word.lower() for word in atoms.shown} | {one + two for one, two in pairwise(atoms.shown)}


def _single(pieces: Sequence[Terms]) -> dict[str, int]:
    """The words that stand in one piece only, with its number."""
    found: dict[str, int] = {}
    several: set[str] = set()
    for number, piece in enumerate(pieces):
        for term in piece:
            if found.setdefault(term, number) != number:
                several.add(term)
    return {term: number for term, number in found.items() if term not in several}


def _small(atoms: Atoms) -> set[int]:
    joints = {at for at, key in enumerate(atoms.keys) if key in _JOINTS}
    return {0, len(atoms.keys), *atoms.breaks, *atoms.items, *joints}


def _pieces(atoms: Atoms, edges: set[int]) -> Iterator[Terms]:
    for start, end in pairwise(sorted(edges)):
        if found := _terms(atoms, start, end):
            yield found


def _terms(atoms: Atoms, start: int, end: int) -> Terms:
    found: Terms = {}
    for at in range(start, end):
        key = atoms.keys[at]
        if key.isascii():
            if atoms.weights[at] >= WORD and key != "!":
                found[key] = (at,)
            continue
        before = at > start and not atoms.keys[at - 1].isascii()
        after = at + 1 < end and not atoms.keys[at + 1].isascii()
        if after and sum(atoms.weights[at : at + 2]) >= _PAIR:
            found[key + atoms.keys[at + 1]] = (at, at + 1)
        elif not before and not after and atoms.weights[at] >= 1:
            found[key] = (at,)
    return found
