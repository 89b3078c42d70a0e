"""What stands under one label said of another: of "Lion: one state" and "AdamW: two states" "AdamW keeps one"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from ragkit.citations.alignment import clauses
from ragkit.citations.atoms import Atoms, analyse
from ragkit.citations.columns import ASIDE, bits_of, hard_facts, is_about_columns, is_header, naming
from ragkit.citations.evidence import Evidence, Unit, union, weight
from ragkit.citations.verdicts import Reason

_CELL: Final = re.compile(r"\s*\|(?P<cell>[^|\n]+)\|")
_MARK: Final = re.compile(r"[ \t]*(?:\d{1,2}[.)、]|[-*+]|\|)?[ \t]*")
"""Indentation and list mark of a line."""
_LABEL: Final = re.compile(
    r"\s*(?:(?:\d{1,2}[.)、]|[-*+])\s)?\s*(?:\*\*(?P<bold>[^*\n]{1,40})\*\*|`(?P<code>[^`\n]{1,30})`"
    r"|(?P<plain>[A-Z][\w.+-]*(?: [A-Z0-9][\w.+-]*){0,3}|[^\s：:，,。*|]{2,16})(?=[：:])"
    r"|(?P<lead>[A-Za-z]+[A-Z0-9][\w+-]*)(?= |\Z))"
)
_LONGEST: Final = 12
"""Atoms of a label."""
_LEAST: Final = 3.0
"""What a clause must weigh beside the labels in it."""
_MOST: Final = 0.55
"""Share of it that another label's lines must hold."""
_MARGIN: Final = 0.3
"""Share of it that they must hold beyond what the named label's lines do."""
_BACK: Final = frozenset({"前者", "后者"})
_BACK_EN: Final = frozenset({"former", "latter"})


@dataclass(frozen=True)
class _Entry:
    """A list item or table row with a label."""

    row: int
    label: str
    bits: int
    """Atoms of the claim that name it; 0 if the claim does not name it whole."""
    style: str
    """Indentation and list mark: entries of one list have the same."""
    owns: bool
    """Whether it may own what is said in words; not where the sentence is about a column of its table."""


def misowned(evidence: Evidence, claim: Atoms, number: int, masks: Sequence[int]) -> Iterator[Reason]:
    """Clauses that name one label of passage `number`, from 0, and say what stands under another.

    Args:
        evidence: The passages.
        claim: The sentence.
        number: The passage that carries it.
        masks: For every unit the atoms of `claim` that it holds.
    """
    entries = list(_entries(evidence, claim, number))
    labels = union(entry.bits for entry in entries)
    if len(entries) < 2 or not labels:
        return
    labelled, facts = {entry.row for entry in entries}, hard_facts(claim)
    held: list[_Entry] = []
    for start, end in clauses(claim, contrast=True):
        clause = bits_of(start, end)
        # A clause without a label goes on about the one before it.
        held = _longest([e for e in entries if e.bits and e.bits & clause == e.bits]) or held
        if _refers_back(claim.keys[start:end]) or len({e.bits for e in held}) != 1:
            continue
        mark, ours = held[0].bits, {entry.row for entry in held}
        rows = [r for r in evidence.rows[number] if r in ours or r not in labelled or masks[r] & mark == mark]
        own = union(masks[row] for row in rows)
        others = [e for e in entries if e.row not in rows and not e.bits & clause and _siblings(evidence, e, held)]
        if (reason := _taken(claim, facts, clause & ~labels, own, others, masks)) is not None:
            what, other = reason
            yield Reason("name", f"{what or held[0].label}: the source says it of {other.label}")
            return


def _taken(
    claim: Atoms, facts: Sequence[int], rest: int, own: int, others: Sequence[_Entry], masks: Sequence[int]
) -> tuple[str, _Entry] | None:
    """What of a clause stands under another label and not under its own: a hard fact, or (empty) most of it."""
    heavy = weight(claim, rest)
    owners = [(weight(claim, masks[e.row] & rest), e) for e in others if e.owns]
    best, other = max(owners, key=itemgetter(0), default=(0.0, None))
    if other is not None and heavy >= _LEAST and best >= _MOST * heavy:
        if best - weight(claim, own & rest) >= max(2.0, _MARGIN * heavy):
            return "", other
    taken = rest & ~own
    return next(((claim.shown[at], e) for at in facts for e in others if (taken & masks[e.row]) >> at & 1), None)


def _entries(evidence: Evidence, claim: Atoms, number: int) -> Iterator[_Entry]:
    text = evidence.passages[number].text
    for row in evidence.rows[number]:
        unit = evidence.units[row]
        label = label_of(text[unit.start : unit.end])
        if not label or is_header(text, unit):
            continue
        atoms = analyse(label)
        if len(atoms.keys) > _LONGEST or max(atoms.weights, default=0.0) < 1:
            continue
        owns = not is_about_columns(evidence, claim, unit)
        yield _Entry(row, label, naming(evidence, claim, atoms), _style(text, unit), owns)


def label_of(text: str) -> str:
    """What a list item or table row is about, or nothing."""
    match = _CELL.match(text) or _LABEL.match(text)
    if match is None:
        return ""
    found = match.groupdict()
    mark = _MARK.match(text)
    if found.get("plain") and not (mark and mark[0].strip()):
        return ""  # a word before a colon in running text
    return ASIDE.sub("", next(group for group in match.groups() if group)).strip(" :：.")


def _style(text: str, unit: Unit) -> str:
    mark = _MARK.match(text, text.rfind("\n", 0, unit.start) + 1)
    return re.sub(r"\d+", "1", mark[0]) if mark else ""


def _siblings(evidence: Evidence, entry: _Entry, others: Sequence[_Entry]) -> bool:
    """Whether an entry is of the list of one of `others`: written alike, and no heading between them."""
    at = evidence.units[entry.row].start
    text = evidence.passages[evidence.units[entry.row].passage].text
    places = [evidence.units[other.row].start for other in others]
    alike = entry.style in {other.style for other in others}
    return alike and any("\n#" not in text[min(at, place) : max(at, place)] for place in places)


def _longest(entries: Sequence[_Entry]) -> list[_Entry]:
    """Without those whose label is a part of another's: "Mamba-2" is not "Mamba"."""
    return [e for e in entries if not any(e.bits != o.bits and e.bits & ~o.bits == 0 for o in entries)]


def _refers_back(keys: Sequence[str]) -> bool:
    pairs = {"".join(keys[at : at + 2]) for at in range(len(keys))}
    return not _BACK.isdisjoint(pairs) or not _BACK_EN.isdisjoint(keys)
