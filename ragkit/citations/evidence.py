"""Passages made ready for comparison, and where in them the parts of a sentence stand.

A passage is a row of units: its sentences, list items and table rows. For a sentence every unit gets the set of the
sentence's atoms that it holds, as the bits of an integer; a window is up to three units in a row. What a window
holds together says how well it carries the sentence, what two windows hold that neither holds alone says that the
sentence was put together from both.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

from ragkit.citations.aliases import initials, makers
from ragkit.citations.atoms import Atoms, analyse
from ragkit.citations.frames import is_row
from ragkit.citations.support import body_spans, is_chinese

_LONGEST_WINDOW: Final = 3
_WINDOW_CHARS: Final = 420
_SECTION: Final = re.compile(r"^\W*(?:\d+(?:\.\d+)*|[一二三四五六七八九十]+)[.、)：:\s]")


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A text that an answer was given as a source."""

    text: str
    document: str = ""
    heading: tuple[str, ...] = ()
    start: int = 0
    """Character offset of `text` in its document."""
    start_line: int = 1


@dataclass(frozen=True)
class Unit:
    """One sentence, list item or table row of a passage."""

    passage: int
    """From 0."""
    start: int
    """In characters of the passage."""
    end: int
    table: bool
    atoms: Atoms


@dataclass(frozen=True)
class Window:
    """Consecutive units of one passage, and the atoms of a sentence that they hold."""

    first: int
    last: int
    mask: int
    """Atoms in it and in what frames its passage."""
    own: int
    """Atoms in it."""
    share: float
    """0..1 of what the sentence's atoms weigh, those of the heading path included."""


class Evidence:
    """The passages of one answer.

    Args:
        passages: Passage n of an answer is the n-th, from 1.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = list(passages)
        self.units: list[Unit] = []
        self.rows: list[range] = []
        """Units of each passage."""
        self.chinese = [is_chinese(passage.text) for passage in passages]
        self._context: list[set[str]] = []
        """Terms of each passage's heading path and document name, and of whole names that it has in short."""
        self._postings: dict[str, list[int]] = {}
        for number, passage in enumerate(self.passages):
            self._add(number, passage)
        texts = ["\n".join((*passage.heading, passage.text)) for passage in self.passages]
        whole = makers(texts, [p.document for p in self.passages])
        for there, text, names in zip(self._context, texts, whole, strict=True):
            there.update(term for name in names for term, _ in analyse(name).terms)
            there.update(initials(text))

    def _add(self, number: int, passage: Passage) -> None:
        first = len(self.units)
        for start, end in body_spans(passage.text):
            text = passage.text[start:end]
            atoms = analyse(text)
            row = len(self.units)
            self.units.append(Unit(number, start, end, is_row(text), atoms))
            for term in {term for term, _ in atoms.terms}:
                self._postings.setdefault(term, []).append(row)
            for key in set(atoms.keys):
                if _wide(key):
                    self._postings.setdefault(f"1{key}", []).append(row)
        self.rows.append(range(first, len(self.units)))
        # The number of a section is no fact.
        headings = [_SECTION.sub("", heading) for heading in passage.heading]
        name = passage.document.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        framing = analyse(" / ".join((*headings, name)))
        table = [self.units[row].atoms for row in self.rows[-1] if self.units[row].table][:1]
        self._context.append({term for atoms in (framing, *table) for term, _ in atoms.terms})

    def masks(self, claim: Atoms) -> list[int]:
        """For every unit the atoms of `claim` that it holds."""
        masks = [0] * len(self.units)
        for term, bits in claim.terms:
            for row in self._postings.get(f"1{term}" if _wide(term) else term, ()):
                masks[row] |= bits
        return masks

    @staticmethod
    def masks_of(claim: Atoms, source: Atoms) -> int:
        """The atoms of `claim` that `source` holds."""
        there = {term for term, _ in source.terms} | {f"1{key}" for key in source.keys if _wide(key)}
        mask = 0
        for term, bits in claim.terms:
            if (f"1{term}" if _wide(term) else term) in there:
                mask |= bits
        return mask

    def context(self, number: int, claim: Atoms) -> int:
        """The atoms of `claim` that stand in what frames passage `number`: headings, name, head of its table."""
        there = self._context[number]
        mask = 0
        for term, bits in claim.terms:
            if term in there:
                mask |= bits
        return mask

    @property
    def terms(self) -> Container[str]:
        """Every term of the passages."""
        return self._postings.keys()

    def frame(self, number: int) -> set[str]:
        """Terms of what frames passage `number`."""
        return self._context[number]

    def windows(self, number: int, claim: Atoms, masks: Sequence[int]) -> Iterator[Window]:
        """Every window of passage `number` that holds anything of `claim`."""
        rows = self.rows[number]
        frame = self.context(number, claim)
        total = sum(claim.weights) or 1.0
        known: dict[int, float] = {}
        for first in rows:
            mask = 0
            for last in range(first, min(first + _LONGEST_WINDOW, rows.stop)):
                if last > first and self.units[last].end - self.units[first].start > _WINDOW_CHARS:
                    break
                if not masks[last]:
                    if last == first:
                        break
                    continue
                mask |= masks[last]
                if not mask & ~frame:
                    continue
                held = mask | frame
                if held not in known:
                    known[held] = weight(claim, held) / total
                yield Window(first, last, held, mask, known[held])

    def above(self, row: int) -> list[int]:
        """The list items that a unit is nested under, the nearest first."""
        unit = self.units[row]
        text, first = self.passages[unit.passage].text, self.rows[unit.passage].start
        depth, found = _depth(text, unit.start), []
        for other in range(row - 1, first - 1, -1):
            if not depth:
                break
            its = _depth(text, self.units[other].start)
            if its < depth:
                depth = its
                found.append(other)
        return found

    def text(self, window: Window) -> str:
        """The verbatim text of a window."""
        start, end = self.span(window)
        return self.passages[self.units[window.first].passage].text[start:end]

    def span(self, window: Window) -> tuple[int, int]:
        """Start and end of a window in characters of its passage."""
        return self.units[window.first].start, self.units[window.last].end

    def is_table(self, window: Window) -> bool:
        """Whether any line of a window is a row of a table."""
        return any(self.units[row].table for row in range(window.first, window.last + 1))

    def passage_of(self, window: Window) -> int:
        """Number of the window's passage, from 0."""
        return self.units[window.first].passage


def union(masks: Iterable[int]) -> int:
    """What any of `masks` holds."""
    return reduce(or_, masks, 0)


def weight(claim: Atoms, mask: int) -> float:
    """What the atoms of `claim` in `mask` weigh."""
    total = 0.0
    while mask:
        low = mask & -mask
        total += claim.weights[low.bit_length() - 1]
        mask ^= low
    return total


def _depth(text: str, at: int) -> int:
    """Indentation of the line that `at` is on, in characters; 0 for a line of a table."""
    line = text[text.rfind("\n", 0, at) + 1 : at + 1]
    return len(line) - len(line.lstrip(" \t"))


def _wide(term: str) -> bool:
    return len(term) == 1 and not term.isascii()
