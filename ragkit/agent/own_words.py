"""What a small model wrote, held against its sources strictly: the note's own words stand where they say it better.

A model of 1.5B words things wrongly more often than it looks in the wrong place, so a sentence that its source bears
out in part only gives way to that source's nearest line. Where no line says the same, it goes, unless it is all there
is; figures and names that the source has otherwise go in any case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ragkit.agent.turn import TurnState
from ragkit.citations.atoms import analyse
from ragkit.citations.checker import CONTRARY
from ragkit.citations.markers import without_markers
from ragkit.citations.support import (
    FENCED,
    SUPPORTED,
    best_span,
    body_spans,
    content_terms,
    crosses_languages,
    numbers_in,
    support,
)
from ragkit.citations.verdicts import Span, Verdict
from ragkit.models.embeddings import BUNDLED
from ragkit.text.sanitize import one_line
from ragkit.text.tokens import tokenize
from ragkit.values import Chunk

OWN_WORDS: Final = "the note bears it out in part only; its own words stand instead"
ACROSS: Final = "its source is in another language, so it cannot be checked; the note's own words stand instead"
FAR: Final = "its source is in another language and has no line that is near to it"
PART: Final = "the note bears it out in part only"
NEAR: Final = 0.84
"""Cosine, as questions of the bundled embedding model, of a sentence and a line in another language that may say the
same; other models have scales of their own. ``python evals/experiments/across_languages.py`` has what passes."""
_ALIKE: Final = 0.5
"""Share of a sentence's idf mass that a quote must hold to say the same."""
_SAYS: Final = 3
"""Terms beyond those of the question that are a statement."""
_CHARS: Final = 300
_NO_PROSE: Final = re.compile(r"^\||```|~~~|\$\$|^#", re.MULTILINE)
_LIST_MARK: Final = re.compile(r"^(?:[-*+]|\d{1,3}[.)])\s+")
REPLACED: Final = frozenset({OWN_WORDS, ACROSS})
"""Reasons of sentences in whose place the note's own words stand."""
_OTHERWISE: Final = frozenset({"number", "unit", "name", "quote"}) | CONTRARY
"""Kinds of reasons that say what a source has otherwise."""


@dataclass(frozen=True)
class Ruling:
    """What becomes of a sentence."""

    quotes: tuple[tuple[int, str], ...] = ()
    """What stands instead, by marker."""
    reason: str = ""
    """Why it gives way or goes; empty where it stays."""
    weak: bool = False
    """It stays only where nothing better does."""

    @property
    def gone(self) -> bool:
        """Whether it goes without anything in its place."""
        return bool(self.reason) and not self.quotes


@dataclass(frozen=True)
class _Line:
    """The line of a source in another language that is nearest to a sentence, and its cosine."""

    marker: int
    text: str
    nearness: float


def ruling_of(turn: TurnState, sentence: str, verdict: Verdict) -> Ruling:
    """What becomes of a sentence that its verdict lets stay; one with a result of the calculator stays as it is."""
    if any(turn.computed(number) for number in numbers_in(sentence)):
        return Ruling()
    if lines := _lines_across(turn, sentence, verdict):
        if turn.index.model.name == BUNDLED and not (lines := [line for line in lines if line.nearness >= NEAR]):
            return Ruling(reason=FAR)
        quotes = _quotes([(line.marker, line.text) for line in lines])
        return Ruling(quotes, ACROSS if quotes else "")
    if not verdict.sources or (verdict.verdict in ("supported", "misattributed") and _holds(turn, sentence, verdict)):
        return Ruling()
    otherwise = [reason.text for reason in verdict.reasons if reason.kind in _OTHERWISE]
    # It was compared with sources in its own language first; one in the other may have just these figures.
    if otherwise or verdict.verdict == "stitched":
        if quotes := _quotes([(line.marker, line.text) for line in _line_elsewhere(turn, sentence)]):
            return Ruling(quotes, ACROSS)
    chunks = [(marker, turn.passages[marker - 1].chunk) for marker in verdict.sources]
    for claim in (sentence, _beyond(sentence, turn.question)):
        spans = [(n, chunk, best_span([claim], chunk, turn.index.idf, turn.index.similarity)) for n, chunk in chunks]
        said = [(n, span.quote) for n, _, span in spans]
        alike = bool(claim) and all(support(claim, quote, turn.index.idf).share >= _ALIKE for _, quote in said)
        if alike and not any(_is_code(chunk, span) for _, chunk, span in spans) and (quotes := _quotes(said)):
            return Ruling(quotes, OWN_WORDS)
    return Ruling(reason="; ".join(otherwise)) if otherwise else Ruling(weak=True)


def _is_code(chunk: Chunk, span: Span) -> bool:
    """Whether a quote stands in a block of code: a line of it says nothing in place of a sentence."""
    return any(block.start() <= span.start - chunk.start < block.end() for block in FENCED.finditer(chunk.text))


def _line_elsewhere(turn: TurnState, sentence: str) -> list[_Line]:
    """The nearest line in another language that has all numbers and names of a sentence; none without numbers."""
    claim = analyse(sentence)
    wanted = {value for _, value, _ in claim.numbers}
    if not wanted or turn.index.model.name != BUNDLED:
        return []
    names = {claim.keys[at] for at in claim.names}
    found = []
    for marker, hit in enumerate(turn.passages, start=1):
        if not crosses_languages(sentence, hit.chunk):
            continue
        missing = names - set(analyse(" ".join(hit.heading)).keys)
        lines = []
        for text in _body_lines(hit.text):
            line = analyse(text)
            if wanted <= {value for _, value, _ in line.numbers} and missing <= set(line.keys):
                lines.append(text)
        nearness = turn.index.similarity(sentence, lines) if lines else []
        found += [_Line(marker, line, near) for line, near in zip(lines, nearness, strict=True) if near >= NEAR]
    return sorted(found, key=lambda line: -line.nearness)[:1]


def _body_lines(text: str) -> list[str]:
    return [text[start:end] for start, end in body_spans(text)]


def _beyond(sentence: str, question: str) -> str:
    """The terms of a sentence that its question lacks: what it says. A small model repeats the question before it.

    Empty where there are too few to say anything.
    """
    asked = set(tokenize(question))
    terms = [term for term in content_terms(sentence) if term not in asked]
    return " ".join(terms) if len(terms) >= _SAYS else ""


def _holds(turn: TurnState, sentence: str, verdict: Verdict) -> bool:
    """Whether the passages that it cites hold most of a sentence, or a judge said so; its numbers were compared."""
    if any(reason.kind == "judge" for reason in verdict.reasons):
        return True
    cited = "\n\n".join(turn.passages[marker - 1].chunk.search_text for marker in verdict.sources)
    return support(sentence, cited, turn.index.idf).share >= SUPPORTED


def _quotes(said: list[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Lines as they can stand in an answer; none if one of them is no short prose."""
    if any(len(quote) > _CHARS or _NO_PROSE.search(quote) for _, quote in said):
        return ()
    return tuple(
        (marker, without_markers(_LIST_MARK.sub("", one_line(quote, _CHARS)), keep_numbers=True))
        for marker, quote in said
    )


def _lines_across(turn: TurnState, sentence: str, verdict: Verdict) -> list[_Line]:
    """The nearest line of each source, where nothing but numbers could be compared, as they are in another language."""
    if all(reason.kind != "language" for reason in verdict.reasons):
        return []
    found = []
    for marker in verdict.sources:
        lines = _body_lines(turn.passages[marker - 1].text)
        nearness = turn.index.similarity(sentence, lines)
        best = max(range(len(lines)), key=nearness.__getitem__)
        found.append(_Line(marker, lines[best], nearness[best]))
    return found
