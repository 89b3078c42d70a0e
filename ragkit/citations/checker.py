"""The first stage of verification: sentence by sentence, by comparison alone, no model.

Best window first (`evidence`): how much of the sentence the best three lines of each passage hold. Then what
likeness hides (`compare`), and whether two places carry what no single one does. The thresholds were fitted on the
dev half of ``evals/citations``; docs/citations.md has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ragkit.citations.atoms import Atoms, analyse
from ragkit.citations.columns import misplaced
from ragkit.citations.compare import compare
from ragkit.citations.counts import miscounted, reassigned
from ragkit.citations.evidence import Evidence, Window, union, weight
from ragkit.citations.normal import find_quote
from ragkit.citations.owners import label_of, misowned
from ragkit.citations.verdicts import UNDECIDED, Reason, Span, Verdict, VerdictName
from ragkit.text.language import answer_language

SUPPORTED: Final = 0.5
"""Share of the sentence from which a place carries it."""
PARTLY: Final = 0.42
ACROSS: Final = 0.7
"""The same as `SUPPORTED` for a source in another language, with which names and numbers alone may be shared."""
MOVE_GAIN: Final = 0.1
"""Another passage must carry a sentence by this much more before its marker is moved."""
STITCH_RUN: Final = 4.0
"""What a stretch of the sentence weighs (Han characters; an English word 2) that only the second place holds."""
STITCH_NEW: Final = 3.5
"""What of that stretch the first place and its headings must lack: one English word, or three characters, is chance."""
STITCH_SHARED: Final = 0.5
"""Share of that stretch that the first place may hold too, and the other way round."""
STITCH_TOGETHER: Final = 0.6
"""Share of it that the rest of the first passage may hold: what stands in one passage stood together."""
STITCH_BELOW: Final = 0.9
"""Share from which one place carries a sentence whole."""
STITCH_WHOLE: Final = 0.75
"""Share that both must hold together: a paraphrase of one place shares some words with any other."""
STITCH_APART: Final = 700
"""Characters between two places of one passage that count as apart."""
WORDS: Final = 9.0
"""What the words besides names and numbers must weigh before a source is asked to hold some of them."""
WORDS_HELD: Final = 0.3
"""Share of them that it must hold; rows of tables are all names and numbers."""
_CITING: Final = frozenset({"et", "al"})
_QUOTED: Final = re.compile(r"[“「『\"]([^”」』\"\n]{8,200})[”」』\"]")
_NEAR: Final = 1
"""Units around a window in which a name may stand as well; a number must be in these very lines."""
CONTRARY: Final = frozenset({"negation", "opposite"})


@dataclass(frozen=True)
class _Best:
    """The best window of one passage."""

    window: Window | None
    share: float


class Checker:
    """Checks the sentences of one answer against its passages.

    Args:
        evidence: The passages.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._computed: frozenset[str] = frozenset()

    def check(self, sentence: str, markers: Sequence[int], computed: Sequence[str] = ()) -> Verdict:
        """Judge one sentence.

        Args:
            sentence: Without markers.
            markers: What it named; numbers without a passage are left out, and said among the reasons.
            computed: Numbers that need no source, such as results of a calculator.
        """
        self._computed = frozenset(f"#{value}" for text in computed for _, value, _ in analyse(text).numbers)
        valid = tuple(dict.fromkeys(n for n in markers if 1 <= n <= len(self.evidence.passages)))
        gone = [n for n in dict.fromkeys(markers) if n not in valid]
        verdict = self._judge(sentence, valid)
        if not gone:
            return verdict
        lost = Reason("marker", f"there is no passage {', '.join(map(str, gone))}")
        return replace(verdict, reasons=(*verdict.reasons, lost))

    def _judge(self, sentence: str, named: tuple[int, ...]) -> Verdict:
        claim = analyse(sentence)
        if not claim.terms or not any(claim.weights):
            return Verdict(sentence=sentence, markers=named, verdict="supported", sources=named, share=1.0)
        masks = self.evidence.masks(claim)
        best = [self._best(number, claim, masks) for number in range(len(self.evidence.passages))]
        order = sorted(range(len(best)), key=lambda n: (-best[n].share, n + 1 not in named, n))
        if not order:
            return Verdict(sentence=sentence, markers=named, verdict="unsupported", reasons=(_ABSENT,))
        top = order[0]
        own = next((n for n in order if n + 1 in named), None)
        if own is not None and (best[own].share + MOVE_GAIN > best[top].share or best[top].share < SUPPORTED):
            top = own
        window = best[top].window
        across = self._across(sentence, claim, named, best[order[0]].share)
        if across is not None and best[order[0]].share < ACROSS:
            return across
        if window is None or best[top].share < PARTLY:
            stitched = self._stitched(claim, masks, best, order[0])
            if stitched is not None and best[order[0]].share >= PARTLY:
                return self._result(sentence, named, "stitched", stitched, (_PIECES,), best[order[0]].share)
            return Verdict(
                sentence=sentence, markers=named, verdict="unsupported", reasons=(_ABSENT,), share=best[top].share
            )
        carried = self._carried(sentence, claim, masks, named, best, top)
        # What a passage in its own language has otherwise, or in part, the one that it names may say.
        if across is not None and across.sources and carried.verdict not in ("supported", "misattributed"):
            return across
        return carried

    def _carried(
        self,
        sentence: str,
        claim: Atoms,
        masks: Sequence[int],
        named: tuple[int, ...],
        best: Sequence[_Best],
        top: int,
    ) -> Verdict:
        """The verdict on a sentence that passage `top` says at least partly."""
        window, share = best[top].window, best[top].share
        assert window is not None
        strongest = max(range(len(best)), key=lambda n: (best[n].share, n == top))
        if pieces := self._stitched(claim, masks, best, strongest):
            return self._result(sentence, named, "stitched", pieces, (_PIECES,), share)
        reasons = self._facts(claim, window, top)
        if not reasons and self.evidence.is_table(window):
            reasons = list(misplaced(self.evidence, claim, top))
        reasons = reasons or list(misowned(self.evidence, claim, top, masks))
        reasons += [
            Reason("number", f"number {count}: the sentence itself lists {items}")
            for count, items in miscounted(sentence)
        ]
        reasons += [
            Reason("number", f"number {value}: the source has another {name}")
            for name, value in reassigned(sentence, self.evidence.passages[top].text)
        ]
        if not self._quotes_hold(sentence):
            reasons.append(Reason("quote", "the words in quotation marks stand in no source"))
        others = [n for n in range(len(best)) if n + 1 in named and n != top and best[n].share >= share - MOVE_GAIN]
        windows = [window, *(w for n in others if (w := best[n].window) is not None)]
        moved = bool(named) and top + 1 not in named
        if share < SUPPORTED:
            verdict: VerdictName = "partly"
            reasons = reasons or [Reason("absent", "the source says only a part of it")]
        elif any(reason.kind in CONTRARY for reason in reasons):
            verdict = "unsupported"
        elif not self.evidence.is_table(window) and self._names_alone(claim, window):
            verdict = "unsupported"
            reasons.append(_OF_OTHERS)
        elif reasons:
            verdict = "partly"
        elif moved:
            verdict = "misattributed"
            reasons = [Reason("moved", f"passage {top + 1} says it, not {', '.join(map(str, named))}")]
        else:
            verdict = "supported"
        found = self._result(sentence, named, verdict, windows, tuple(reasons), share)
        return replace(found, decided=share >= SUPPORTED and UNDECIDED.isdisjoint(r.kind for r in reasons))

    def _best(self, number: int, claim: Atoms, masks: Sequence[int]) -> _Best:
        window: Window | None = None
        for candidate in self.evidence.windows(number, claim, masks):
            if window is None or candidate.share > window.share + 0.02 * (
                candidate.last - candidate.first - (window.last - window.first)
            ):
                window = candidate
        return _Best(window, window.share if window else 0.0)

    def _facts(self, claim: Atoms, window: Window, number: int) -> list[Reason]:
        evidence = self.evidence
        rows = evidence.rows[number]
        near = [*range(max(rows.start, window.first - _NEAR), window.first)]
        near += range(window.last + 1, min(rows.stop, window.last + 1 + _NEAR))
        context = set(evidence.frame(number))
        for row in near:
            context.update(key for key in evidence.units[row].atoms.keys if not key.startswith("#"))
        for row in evidence.above(window.first):
            unit = evidence.units[row]
            context.update(analyse(label_of(evidence.passages[number].text[unit.start : unit.end])).keys)
        if evidence.is_table(window):
            for row in rows:
                atoms = evidence.units[row].atoms
                context.update(atoms.keys[at] for at in atoms.names if evidence.units[row].table)
        source = analyse(evidence.text(window))
        return compare(
            claim, source, frozenset(context), evidence.terms, table=evidence.is_table(window), computed=self._computed
        )

    def _names_alone(self, claim: Atoms, window: Window) -> bool:
        """Whether a place has a sentence's names and numbers, but not what the sentence says of them."""
        apart = {*claim.names, *(at for at, _, _ in claim.numbers)}
        there = {*analyse(self.evidence.text(window)).keys}
        total = held = 0.0
        for at, (key, weighs) in enumerate(zip(claim.keys, claim.weights, strict=True)):
            if weighs >= 1 and at not in apart and key != "!" and key not in _CITING:
                total += weighs
                held += weighs * (key in there or bool(window.mask >> at & 1))
        return total >= WORDS and held < WORDS_HELD * total

    def _stitched(
        self, claim: Atoms, masks: Sequence[int], best: Sequence[_Best], strongest: int
    ) -> list[Window] | None:
        """The two places that carry a sentence together, where neither does alone."""
        one = best[strongest].window
        if one is None or one.share >= STITCH_BELOW:
            return None
        evidence = self.evidence
        found: tuple[float, Window] | None = None
        whole = [union(masks[row] for row in rows) for rows in evidence.rows]
        home = evidence.passage_of(one)
        # Rows of a table name what they are about in the headings above it only.
        first = one.mask if evidence.is_table(one) else one.own
        total = sum(claim.weights)
        for number in range(len(evidence.passages)):
            for window in evidence.windows(number, claim, masks):
                if not window.own & ~one.own or not self._apart(one, window):
                    continue
                if weight(claim, first | window.own) < STITCH_WHOLE * total:
                    continue
                for stretch in _stretches(claim, window.own):
                    heavy = weight(claim, stretch)
                    rest = one.own & ~stretch
                    if (
                        heavy >= STITCH_RUN
                        and weight(claim, stretch & ~one.mask) >= STITCH_NEW
                        and weight(claim, stretch & first) <= STITCH_SHARED * heavy
                        and (kept := weight(claim, rest)) >= STITCH_RUN
                        and weight(claim, rest & window.own) <= STITCH_SHARED * kept
                        and (number == home or weight(claim, stretch & whole[home]) <= STITCH_TOGETHER * heavy)
                        and (number == home or weight(claim, rest & whole[number]) <= STITCH_TOGETHER * kept)
                        and (found is None or heavy > found[0])
                    ):
                        found = (heavy, window)
        return None if found is None else [one, found[1]]

    def _apart(self, one: Window, two: Window) -> bool:
        if self.evidence.passage_of(one) != self.evidence.passage_of(two):
            return True
        (a, b), (c, d) = self.evidence.span(one), self.evidence.span(two)
        return c - b >= STITCH_APART or a - d >= STITCH_APART

    def _across(self, sentence: str, claim: Atoms, named: tuple[int, ...], share: float) -> Verdict | None:
        """The verdict where the named sources are all in another language: numbers and names only."""
        chinese = answer_language(sentence) == "zh"
        if not named or any(self.evidence.chinese[n - 1] == chinese for n in named):
            return None
        rows = [row for n in named for row in self.evidence.rows[n - 1] if self.evidence.units[row].atoms.terms]
        if not rows:
            return None
        there = {key for row in rows for key in self.evidence.units[row].atoms.keys}
        missing = [
            Reason("number", f"number {claim.shown[at]} is in no source")
            for at, value, _ in claim.numbers
            if f"#{value}" not in there | self._computed
        ]
        note = Reason("language", "the source is in another language; only numbers were compared")
        return Verdict(
            sentence=sentence, markers=named, verdict="unsupported" if missing else "partly",
            sources=() if missing else named, reasons=(*missing, note), decided=False, share=share,
        )  # fmt: skip

    def _quotes_hold(self, sentence: str) -> bool:
        return all(
            any(find_quote(quote, passage.text) is not None for passage in self.evidence.passages)
            for quote in _QUOTED.findall(sentence)
        )

    def _result(
        self,
        sentence: str,
        named: tuple[int, ...],
        verdict: VerdictName,
        windows: Sequence[Window],
        reasons: tuple[Reason, ...],
        share: float,
    ) -> Verdict:
        spans = tuple(self._span(window) for window in windows)
        sources = tuple(dict.fromkeys(span.passage for span in spans))
        return Verdict(
            sentence=sentence, markers=named, verdict=verdict, sources=sources, spans=spans,
            reasons=reasons, share=share,
        )  # fmt: skip

    def _span(self, window: Window) -> Span:
        number = self.evidence.passage_of(window)
        passage = self.evidence.passages[number]
        start, end = self.evidence.span(window)
        return span_of(passage.text, start, end, passage.start, passage.start_line, number + 1, passage.document)


def span_of(
    text: str, start: int, end: int, offset: int = 0, line: int = 1, number: int = 0, document: str = ""
) -> Span:
    """The slice ``text[start:end]`` of a passage at `offset` and `line` of its document."""
    first = line + text.count("\n", 0, start)
    last = first + text.count("\n", start, end)
    return Span(offset + start, offset + end, first, last, text[start:end], number, document)


def _stretches(claim: Atoms, mask: int) -> Iterator[int]:
    """The unbroken stretches of atoms in `mask`; light atoms between them break none."""
    current = 0
    for at, weighs in enumerate(claim.weights):
        if mask >> at & 1:
            current |= 1 << at
        elif weighs >= 1:
            if current:
                yield current
            current = 0
    if current:
        yield current


_ABSENT: Final = Reason("absent", "no passage says it")
_OF_OTHERS: Final = Reason("absent", "its source has the same names and numbers, but says something else of them")
_PIECES: Final = Reason("pieces", "its parts stand in different places and never together")
