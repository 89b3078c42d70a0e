"""Where the gold of a question stands in an index, and at which ranks a search met it."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.api import Index
from ragkit.errors import DatasetError
from ragkit.evaluation.datasets import Dataset, Question
from ragkit.values import Hit

Span = tuple[str, int, int]
"""Document, first character, character after the last."""


def gold_places(question: Question, index: Index) -> list[tuple[str, Span]]:
    """Every place where a gold quote stands, as ``(group, span)``. A gold without quote is its whole document."""
    places = []
    for gold in question.gold:
        document = index.document(gold.document)
        text = document.text if document else ""
        quote = gold.quote.replace("\r\n", "\n").replace("\r", "\n")
        if not quote and document:
            places.append((gold.group, (gold.document, 0, len(text))))
            continue
        at = text.find(quote)
        while quote and at != -1:
            places.append((gold.group, (gold.document, at, at + len(quote))))
            at = text.find(quote, at + 1)
    return places


def overlaps(document: str, start: int, end: int, span: Span) -> bool:
    """Whether a passage and a span share a character."""
    return document == span[0] and start < span[2] and span[1] < end


def ranks_of(
    question: Question, hits: Sequence[Hit], places: Sequence[tuple[str, Span]], by_document: bool
) -> tuple[int | None, ...]:
    """For each need of a question the rank (from 1) at which `hits` met it, or None."""
    if by_document:
        order = list(dict.fromkeys(hit.document for hit in hits))
        ranks = {document: rank for rank, document in enumerate(order, start=1)}
        return tuple(ranks.get(document) for document in dict.fromkeys(g.document for g in question.gold))
    met: list[int | None] = []
    for group in dict.fromkeys(g.group for g in question.gold):
        spans = [span for g, span in places if g == group]
        met.append(next((h.rank for h in hits if any(overlaps(h.document, h.start, h.end, s) for s in spans)), None))
    return tuple(met)


def check_gold(questions: Sequence[Question], index: Index, dataset: Dataset) -> None:
    """Make sure that every gold can be found.

    Raises:
        DatasetError: If a quote is not in its file; names the question.
    """
    if dataset.by_document:
        return
    for question in questions:
        groups = {gold.group for gold in question.gold}
        if {group for group, _ in gold_places(question, index)} != groups:
            files = ", ".join(sorted({gold.document for gold in question.gold}))
            raise DatasetError(
                f"Question {question.id}: its gold quote is not in {files}.", "Correct the quote; it must be verbatim."
            )
