"""Question sets as values: what is asked, what counts as its answer, and which part of a set is measured.

Gold is a place in a file, never a chunk id, so that changing the chunker does not invalidate a
question set. Reading the files is the task of `ragkit.evaluation.datasets`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from ragkit.errors import DatasetError, UnknownRunError, UsageError
from ragkit.retrieval.rewrite import Turn
from ragkit.values import Document

Split = Literal["dev", "test"]
SPLITS: Final = ("dev", "test", "all")


@dataclass(frozen=True)
class Gold:
    """A place that answers a question. Entries of one group are alternatives."""

    document: str
    quote: str = ""
    """Empty: any chunk of the document counts."""
    group: str = ""
    start: int | None = None
    """Where the quote stands, in characters of the document's text; None: every place where it stands counts."""
    grade: int = 1
    """How relevant the place is, from 1: the gain in nDCG. Every other metric takes all of them alike."""


@dataclass(frozen=True)
class Question:
    """One question of a set."""

    id: str
    text: str
    language: str
    type: str
    gold: tuple[Gold, ...]
    reference_answer: str = ""
    history: tuple[Turn, ...] = ()
    """Earlier turns that a follow-up leans on."""
    split: Split = "dev"
    """``test`` is for reporting only; see `split_of`."""


@dataclass(frozen=True)
class Dataset:
    """A question set and what it is asked of."""

    name: str
    questions: tuple[Question, ...]
    documents: tuple[Document, ...] = ()
    """The corpus, where the set brings it along; else see `notes`."""
    notes: Path | None = None
    by_document: bool = False
    """Rankings are of documents (BEIR), not of chunks."""
    metadata: dict[str, str] = field(default_factory=dict)


def split_of(identity: str, golds: Sequence[Gold]) -> Split:
    """Dev or test, by note: what is tuned on dev has never seen a note that test asks about.

    Two documents in five are test documents, decided by a hash of their path; a question is a test
    question if any of its gold stands in one. Questions without gold are decided by their id.
    """

    def held_out(name: str) -> bool:
        return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[0] % 5 < 2

    documents = {gold.document for gold in golds} or {identity}
    return "test" if any(map(held_out, documents)) else "dev"


def answerable(dataset: Dataset) -> Dataset:
    """The data set without the questions that have no gold: what a search can be measured on.

    Raises:
        DatasetError: If none is left.
    """
    questions = tuple(question for question in dataset.questions if question.gold)
    if not questions:
        raise DatasetError(
            f"Data set {dataset.name} has no question with gold.",
            "Measure it with eval answers.",
        )
    return replace(dataset, questions=questions)


def select(dataset: Dataset, split: str = "all", limit: int | None = None, types: Collection[str] = ()) -> Dataset:
    """The data set with the questions of one split and of some types only, or with an even sample of them.

    Args:
        dataset: Any data set.
        split: ``dev``, ``test`` or ``all``.
        limit: At most so many questions, every type and language in its share; None takes all.
        types: Only questions of these types; empty takes all.

    Raises:
        UnknownRunError: If the split is unknown.
        DatasetError: If a type is unknown, or nothing is left.
    """
    if split not in SPLITS:
        raise UnknownRunError(f"Unknown split {split!r}.", f"Allowed: {', '.join(SPLITS)}.")
    known = sorted({question.type for question in dataset.questions})
    if unknown := [name for name in types if name not in known]:
        raise DatasetError(
            f"Data set {dataset.name} has no question of type {unknown[0]!r}.", f"There are: {', '.join(known)}."
        )
    dataset = replace(dataset, questions=tuple(q for q in dataset.questions if not types or q.type in types))
    questions = [q for q in dataset.questions if split in ("all", q.split)]
    if not questions:
        raise DatasetError(
            f"Data set {dataset.name} has no question in split {split!r}.",
            f"All {len(dataset.questions)} are in the other one: the note decides, unless questions name their split.",
        )
    if limit is not None:
        questions = stratified(questions, limit)
    return replace(dataset, questions=tuple(questions))


def stratified(questions: Sequence[Question], limit: int) -> list[Question]:
    """Exactly `limit` questions (all, if there are no more), spread evenly over each type; no chance in it.

    Every type gets its share by largest remainder, and at least one question while there are
    enough places; within a type every language gets its share, as near as whole questions allow.
    The order is that of `questions`.

    Raises:
        UsageError: If the limit is below 1.
    """
    if limit < 1:
        raise UsageError(f"--limit {limit} leaves no question.", "It must be at least 1.")
    if limit >= len(questions):
        return list(questions)
    places: dict[str, list[int]] = {}
    # By language within a type: of a set whose languages take turns, every second question is of one language.
    for at, question in sorted(enumerate(questions), key=lambda item: item[1].language):
        places.setdefault(question.type, []).append(at)
    exact = {kind: limit * len(at) / len(questions) for kind, at in places.items()}
    share = {kind: int(value) for kind, value in exact.items()}
    # A type below one place comes first, then the largest remainder.
    for kind in sorted(places, key=lambda k: (share[k] > 0, share[k] - exact[k]))[: limit - sum(share.values())]:
        share[kind] += 1
    for kind in [kind for kind in places if not share[kind]]:
        richest = max(share, key=lambda k: share[k])
        if share[richest] > 1:
            share[richest] -= 1
            share[kind] = 1
    picked = [at[(2 * n + 1) * len(at) // (2 * share[kind])] for kind, at in places.items() for n in range(share[kind])]
    return [questions[at] for at in sorted(picked)]
