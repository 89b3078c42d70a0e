"""Passages that say different things about the same: same words, another number, or a negation.

Only lines that an answer cites are compared, with all lines of the other passages, so that what the notes
contradict among themselves is said where it matters. Both lines must share nearly all their words: "BERT-base has 12
layers" and "BERT-large has 24" are no contradiction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ragkit.citations.atoms import Atoms
from ragkit.citations.checker import span_of
from ragkit.citations.compare import compare
from ragkit.citations.evidence import Evidence, Unit
from ragkit.citations.verdicts import Reason, Span

_SAME: Final = 0.82
"""Share of each line's words, numbers aside, that the other must have."""
_LEAST: Final = 7.0
"""What these words weigh at least (Han characters; an English word 2)."""
_CONTRARY: Final = frozenset({"number", "unit", "negation", "opposite"})


@dataclass(frozen=True)
class Contradiction:
    """Two lines of different passages that cannot both be right."""

    first: Span
    """One that the answer cites."""
    second: Span
    reason: Reason


def contradictions(evidence: Evidence, cited: Sequence[Span]) -> list[Contradiction]:
    """What other passages say against the lines that an answer cites; each pair once.

    Args:
        evidence: The passages of the answer.
        cited: Spans of its verdicts.
    """
    found: list[Contradiction] = []
    seen: set[frozenset[int]] = set()
    for span in cited:
        if not 1 <= span.passage <= len(evidence.passages):
            continue
        offset = evidence.passages[span.passage - 1].start
        for row in evidence.rows[span.passage - 1]:
            unit = evidence.units[row]
            if not span.start - offset <= unit.start < span.end - offset or unit.table:
                continue
            masks = evidence.masks(unit.atoms)
            for other in range(len(evidence.units)):
                pair = frozenset({row, other})
                if not masks[other] or evidence.units[other].passage == unit.passage or pair in seen:
                    continue
                reason = _against(evidence, unit, evidence.units[other], masks[other])
                if reason is not None:
                    seen.add(pair)
                    found.append(Contradiction(_span(evidence, unit), _span(evidence, evidence.units[other]), reason))
    return found


def _against(evidence: Evidence, one: Unit, two: Unit, mask: int) -> Reason | None:
    if two.table or _worded(one.atoms) < _LEAST or _worded(two.atoms) < _LEAST:
        return None
    if _held(one.atoms, mask) < _SAME * _worded(one.atoms):
        return None
    back = evidence.masks_of(two.atoms, one.atoms)
    if _held(two.atoms, back) < _SAME * _worded(two.atoms):
        return None
    if _words(one.atoms) != _words(two.atoms):
        return None  # BERT-base and BERT-large
    reasons = compare(one.atoms, two.atoms, frozenset())
    if any(reason.kind not in _CONTRARY for reason in reasons):
        return None
    return next((reason for reason in reasons if reason.kind != "number" or "the source says" in reason.text), None)


def _words(atoms: Atoms) -> set[str]:
    """Latin words that carry meaning."""
    return {
        key
        for key, weighs in zip(atoms.keys, atoms.weights, strict=True)
        if weighs >= 0.5 and key.isascii() and not key.startswith(("#", "!"))
    }


def _worded(atoms: Atoms) -> float:
    return _held(atoms, -1)


def _held(atoms: Atoms, mask: int) -> float:
    """What the words of `atoms` in `mask` weigh, numbers aside."""
    return sum(
        weighs
        for at, weighs in enumerate(atoms.weights)
        if mask >> at & 1 and not atoms.keys[at].startswith(("#", "!"))
    )


def _span(evidence: Evidence, unit: Unit) -> Span:
    passage = evidence.passages[unit.passage]
    return span_of(
        passage.text, unit.start, unit.end, passage.start, passage.start_line, unit.passage + 1, passage.document
    )
