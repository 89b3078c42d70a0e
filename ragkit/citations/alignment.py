"""A sentence and its source side by side, atom by atom: what is the same, and what stands for what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Final

from ragkit.citations.atoms import Atoms

SHORT: Final = 5
"""Atoms of an exchanged piece; a longer one is another wording."""
_MOST: Final = 400_000
"""Pairs of atoms."""
WORD: Final = 0.5
"""Weight from which an atom counts as a word."""
_CONTRAST: Final = frozenset({"而", "while", "wherea", "but"})
"""Words (stemmed) with which a clause about another thing begins."""

Code = tuple[str, int, int, int, int]
"""An edit of `difflib`: tag, slice of the claim, slice of the source."""


@dataclass(frozen=True)
class Exchange:
    """A piece of the claim that stands where the source has another."""

    claim: tuple[int, ...]
    source: tuple[int, ...]
    left: int
    """Atoms that are the same right before it."""
    right: int
    edge: bool
    """Whether it begins or ends the claim."""

    @property
    def framed(self) -> bool:
        return self.left + self.right >= 4 and (self.edge or min(self.left, self.right) >= 1)


def align(claim: Atoms, source: Atoms) -> list[Code]:
    """The edits that make `source` of `claim`; none where both are so long that aligning them takes seconds."""
    if len(claim.keys) * len(source.keys) > _MOST:
        return []
    return list(SequenceMatcher(None, claim.keys, source.keys, autojunk=False).get_opcodes())


def exchanges(codes: Sequence[Code], size: int) -> Iterator[Exchange]:
    """The short pieces among `codes` that are not the same; `size` is the number of atoms of the claim."""
    for i, (tag, a, b, c, d) in enumerate(codes):
        if tag == "equal" or b - a > SHORT or d - c > SHORT:
            continue
        left = codes[i - 1] if i else None
        right = codes[i + 1] if i + 1 < len(codes) else None
        yield Exchange(
            tuple(range(a, b)),
            tuple(range(c, d)),
            left[2] - left[1] if left and left[0] == "equal" else 0,
            right[2] - right[1] if right and right[0] == "equal" else 0,
            a == 0 or b == size,
        )


def words(atoms: Atoms, start: int, end: int) -> set[str]:
    """The atoms from `start` to `end` that count as words."""
    return {k for k, w in zip(atoms.keys[start:end], atoms.weights[start:end], strict=True) if w >= WORD}


def clauses(atoms: Atoms, *, contrast: bool = False) -> Iterator[tuple[int, int]]:
    """Start and end of each clause; with `contrast` also where "while" or 而 begins one without a comma."""
    edges = {0, len(atoms.keys), *atoms.breaks}
    if contrast:
        edges |= {at for at, key in enumerate(atoms.keys) if key in _CONTRAST}
    yield from pairwise(sorted(edges))
