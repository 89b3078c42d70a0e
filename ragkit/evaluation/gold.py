"""Where the gold of a question stands in an index, and at which ranks a search met it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ragkit.api import Index
from ragkit.errors import DatasetError
from ragkit.evaluation.questions import Question
from ragkit.values import Hit

Place = tuple[str, int, int]
"""Document, start and end in characters of its text."""


class Span(Protocol):
    """A slice of a document: a hit, or a citation."""

    @property
    def document(self) -> str: ...

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


def gold_places(question: Question, index: Index) -> list[tuple[str, Place]]:
    """Every place where a gold quote stands, as ``(group, place)``.

    A gold with a start stands there or nowhere; a gold without quote is its whole document.
    """
    places = []
    for gold in question.gold:
        document = index.document(gold.document)
        text = document.text if document else ""
        quote = gold.quote.replace("\r\n", "\n").replace("\r", "\n")
        if gold.start is not None and quote:
            if text.startswith(quote, gold.start):
                places.append((gold.group, (gold.document, gold.start, gold.start + len(quote))))
            continue
        if not quote and document:
            places.append((gold.group, (gold.document, 0, len(text))))
            continue
        at = text.find(quote)
        while quote and at != -1:
            places.append((gold.group, (gold.document, at, at + len(quote))))
            at = text.find(quote, at + 1)
    return places


def ranks_of(
    question: Question, hits: Sequence[Hit], places: Sequence[tuple[str, Place]], by_document: bool
) -> tuple[int | None, ...]:
    """For each need of a question the rank (from 1) at which `hits` met it, or None."""
    if by_document:
        order = list(dict.fromkeys(hit.document for hit in hits))
        ranks = {document: rank for rank, document in enumerate(order, start=1)}
        return tuple(ranks.get(document) for document in dict.fromkeys(g.document for g in question.gold))
    met: list[int | None] = []
    for group in dict.fromkeys(g.group for g in question.gold):
        spans = [span for g, span in places if g == group]
        met.append(next((hit.rank for hit in hits if any(overlaps(hit, span) for span in spans)), None))
    return tuple(met)


def grades_of(question: Question, by_document: bool) -> tuple[int, ...]:
    """How relevant what meets each need of a question is, in the order of `ranks_of`."""
    grades: dict[str, int] = {}
    for gold in question.gold:
        name = gold.document if by_document else gold.group
        grades[name] = max(gold.grade, grades.get(name, 0))
    return tuple(grades.values())


def check_gold(questions: Sequence[Question], index: Index) -> None:
    """Make sure that every gold quote stands where its question says.

    Raises:
        DatasetError: If one does not; names the question and the files.
    """
    for question in questions:
        absent = sorted({gold.document for gold in question.gold if index.document(gold.document) is None})
        if absent:
            raise DatasetError(
                f"Question {question.id}: there is no {', '.join(absent)} among the notes.",
                "Correct its gold, or name the right notes with --notes DIR; file is the path below that folder.",
            )
        groups = {gold.group for gold in question.gold}
        if {group for group, _ in gold_places(question, index)} != groups:
            files = ", ".join(sorted({gold.document for gold in question.gold}))
            raise DatasetError(
                f"Question {question.id}: its gold quote is not in {files}.", "Correct the quote; it must be verbatim."
            )


def overlaps(span: Span, place: Place) -> bool:
    """Whether a slice and a gold place share a character."""
    document, start, end = place
    return span.document == document and span.start < end and start < span.end


def holds(span: Span, place: Place) -> bool:
    """Whether a slice and a gold place share at least half of the shorter of the two."""
    document, start, end = place
    shared = min(span.end, end) - max(span.start, start)
    return span.document == document and 2 * shared >= min(span.end - span.start, end - start) > 0
