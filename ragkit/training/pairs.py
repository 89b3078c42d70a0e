"""Training pairs for an embedding model: read from files, or mined from questions with gold.

A pair is a question, a passage that answers it, and one that was retrieved for it but does not.
Questions of the test split must never be among them, see `without_test`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ragkit.api import Index
from ragkit.errors import TrainingError
from ragkit.evaluation.datasets import Question
from ragkit.evaluation.gold import Place, gold_places, overlaps
from ragkit.text.tokens import fold
from ragkit.values import Hit

DEPTH: Final = 20
"""Hits among which the hardest passage without gold is looked for."""
_KEYS: Final = ("query", "positive", "negative")


@dataclass(frozen=True)
class Pair:
    """One training example; passages as the embedding model sees them, heading path included."""

    query: str
    positive: str
    negative: str


def read_pairs(paths: Iterable[Path]) -> list[Pair]:
    """Pairs from JSONL files with the keys query, positive and negative; each pair once.

    Raises:
        TrainingError: If a file cannot be read or a line has another form; names file and line.
    """
    pairs: dict[Pair, None] = {}
    for path in paths:
        try:
            lines = path.expanduser().read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as exc:
            raise TrainingError(f"{path} cannot be read: {exc}.", "Make it: ragkit feedback export --as pairs") from exc
        for number, line in enumerate(lines, start=1):
            if line.strip():
                pairs[_pair(line, f"{path}:{number}")] = None
    return list(pairs)


def _pair(line: str, where: str) -> Pair:
    try:
        row = json.loads(line)
        texts = [row[key] for key in _KEYS]
    except (ValueError, KeyError, TypeError) as exc:
        raise TrainingError(f"{where}: not a pair ({exc!r}).", f"Each line needs {', '.join(_KEYS)}.") from exc
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise TrainingError(f"{where}: {', '.join(_KEYS)} must be texts that are not empty.", "Correct the line.")
    return Pair(*texts)


def without_test(pairs: Iterable[Pair], test_questions: Sequence[Question]) -> list[Pair]:
    """`pairs` without those that ask a test question; width, case and spaces do not count."""
    known = {_same(question.text) for question in test_questions}
    return [pair for pair in pairs if _same(pair.query) not in known]


def pairs_from_questions(
    questions: Sequence[Question],
    index: Index,
    test_questions: Sequence[Question],
    tick: Callable[[int, int], None] | None = None,
) -> list[Pair]:
    """Mine a pair from every need of every question that stands alone and is not in the test.

    The positive is the best ranked chunk that holds the gold (or the chunk that holds it, if it was
    not found), the negative the best ranked one that holds none.

    Args:
        questions: Questions with gold; others are passed over.
        index: Index of their notes.
        test_questions: Questions that must not be trained on.
        tick: Called with (questions done, questions in all).
    """
    test_ids = {question.id for question in test_questions}
    pairs: dict[Pair, None] = {}
    for done, question in enumerate(questions, start=1):
        if question.gold and not question.history and question.id not in test_ids:
            pairs.update(dict.fromkeys(_mine(question, index)))
        if tick is not None:
            tick(done, len(questions))
    return without_test(pairs, test_questions)


def _mine(question: Question, index: Index) -> list[Pair]:
    groups: dict[str, list[Place]] = {}
    for group, place in gold_places(question, index):
        groups.setdefault(group, []).append(place)
    everywhere = [place for places in groups.values() for place in places]
    quotes = [gold.quote.strip() for gold in question.gold if gold.quote.strip()]
    hits = index.search(question.text, k=DEPTH)
    negative = next((hit for hit in hits if not _holds(hit, everywhere) and not _says(hit, quotes)), None)
    if negative is None:
        return []
    pairs = []
    for places in groups.values():
        positive = next((hit for hit in hits if _holds(hit, places)), None) or _chunk_at(index, places)
        if positive is not None:
            pairs.append(Pair(question.text, positive.chunk.search_text, negative.chunk.search_text))
    return pairs


def _chunk_at(index: Index, places: Sequence[Place]) -> Hit | None:
    for path, start, _ in places:
        document = index.document(path)
        line = document.text.count("\n", 0, start) + 1 if document else 1
        found = [hit for hit in index.passages_at(path, line, after=1) if _holds(hit, places)]
        if found:
            return found[0]
    return None


def _holds(hit: Hit, places: Sequence[Place]) -> bool:
    return any(overlaps(hit, place) for place in places)


def _says(hit: Hit, quotes: Sequence[str]) -> bool:
    # The same sentence in another note answers as well: as a negative it would teach the contrary.
    return any(quote in hit.text for quote in quotes)


def _same(text: str) -> str:
    return "".join(fold(text).split())
