"""What a sentence pairs and its source pairs otherwise: "250 safe and 200 unsafe" for "200 safe and 250 unsafe"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

Terms = dict[str, tuple[int, ...]]
"""Words of a piece and the atoms each stands for."""


def crossed_over(claim: Atoms, source: Atoms) -> Iterator[Reason]:
    """Two pieces of the claim, each of which holds words of the same two pieces of the source.

    Only words that stand in one piece of the source and in one of the claim tell anything: of "a small step keeps the
    state, a large one resets it" keeps, small, large and resets.
    """
    said, there = list(_pieces(claim)), list(_pieces(source))
    if not 1 < len(said) <= _MOST or len(there) < 2:
        return
    home = _single(there)
    once = _single(said)
    drawn: list[dict[int, list[str]]] = []
    for number, piece in enumerate(said):
        found: dict[int, list[str]] = {}
        for term in piece:
            if term in home and once.get(term) == number:
                found.setdefault(home[term], []).append(term)
        drawn.append(found)
    for one, two in combinations(range(len(said)), 2):
        shared = sorted(drawn[one].keys() & drawn[two].keys())
        for i, j in combinations(shared, 2):
            at = sorted(a for term in (*drawn[one][i], *drawn[one][j]) for a in said[one][term])
            yield Reason("opposite", f"{claim.show(range(at[0], at[-1] + 1))}: the source pairs them otherwise")
            return


def _single(pieces: Sequence[Terms]) -> dict[str, int]:
    """The words that stand in one piece only, with its number."""
    found: dict[str, int] = {}
    several: set[str] = set()
    for number, piece in enumerate(pieces):
        for term in piece:
            if found.setdefault(term, number) != number:
                several.add(term)
    return {term: number for term, number in found.items() if term not in several}


def _pieces(atoms: Atoms) -> Iterator[Terms]:
    edges = {0, len(atoms.keys), *atoms.breaks, *atoms.items}
    edges |= {at for at, key in enumerate(atoms.keys) if key in _JOINTS}
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
        elif at + 1 < end and not atoms.keys[at + 1].isascii() and sum(atoms.weights[at : at + 2]) >= _PAIR:
            found[key + atoms.keys[at + 1]] = (at, at + 1)
    return found
