"""What of its passages a small local model reads: the sentences nearest to the question, in their order.

A model on a plain laptop reads some forty tokens a second, so the passages of a search are most of the time until
its first word, and most of their text is beside the question. ``python evals/experiments/excerpts.py`` says how many
of the lines that answer a question stay at which size. Nothing else changes: passages keep their numbers, whatever
the model writes is checked against all of their text, and what was left out is shown when it is found or read again.

Choosing sentences for a query is extractive compression, see Xu et al. 2024, "RECOMP" (arXiv:2310.04408).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ragkit.api import Index
from ragkit.errors import ModelError
from ragkit.models.tokens import typical_tokens
from ragkit.text.sentences import sentence_spans
from ragkit.text.tokens import query_terms, tokenize
from ragkit.values import Hit

Scores = npt.NDArray[np.float64]
GAP: Final = "…"
"""Stands for what was left out."""
COVERAGE: Final = 0.2
"""Weight of the share of the question's terms that a piece holds, beside its product with the question's vector."""
BESIDE: Final = 0.3
"""Weight of the better neighbour: an answer often stands beside the sentence that names its subject."""
RANK: Final = 0.02
"""Taken off for each place of the passage behind the first."""
_BLOCK: Final = re.compile(
    r"^(```|~~~)[^\n]*\n.*?(?:^\1[ \t]*$|\Z)|\$\$.*?\$\$|(?:^\|[^\n]*(?:\n|\Z))+", re.MULTILINE | re.DOTALL
)
"""Code, formulas and tables."""
_BLOCK_CHARS: Final = 300
"""A longer block is taken line by line."""
_LINE: Final = re.compile(r"[^\n]+")
_HEADING: Final = re.compile(r"#{1,6}\s")
_EMPTY: Final = re.compile(r"[\s|:+=~`*_-]*\Z")
"""Lines under a table's head, around code and between sections."""
_LEAST: Final = 40
"""Tokens that are shown of a passage of which no piece is short enough."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """A sentence, a line or a block of a passage.

    Args:
        start: Offset in the passage's text.
        end: Offset of its end.
        heading: Whether it is one; it stays where something below it stays.
    """

    start: int
    end: int
    heading: bool = False


def body_of(hit: Hit) -> str:
    """The text of a passage without the heading that stands in front of it anyway."""
    first, _, rest = hit.text.partition("\n")
    said = hit.heading and _HEADING.match(first) and first.lstrip("#").strip() == hit.heading[-1]
    return rest.lstrip("\n") if said and rest.strip() else hit.text


def pieces_of(text: str) -> list[Piece]:
    """What is chosen from, in its order: all of a passage but white space and lines without words."""
    spans: list[tuple[int, int]] = []
    at = 0
    for block in _BLOCK.finditer(text):
        spans += _moved(sentence_spans(text[at : block.start()]), at)
        if block.end() - block.start() <= _BLOCK_CHARS:
            spans.append((block.start(), block.start() + len(block[0].rstrip())))
        else:
            spans += [line.span() for line in _LINE.finditer(text, block.start(), block.end())]
        at = block.end()
    spans += _moved(sentence_spans(text[at:]), at)
    return [Piece(a, b, bool(_HEADING.match(text, a))) for a, b in spans if not _EMPTY.match(text, a, b)]


def excerpts(index: Index, questions: Sequence[str], passages: Mapping[int, Hit], tokens: int) -> dict[int, str]:
    """Of each passage what is nearest to a question, at least one piece; empty if all of them fit.

    Args:
        index: Where they were found; gives the vectors and the weights of terms.
        questions: What they were found for, the same question in several wordings or languages.
        passages: By number, the best one first.
        tokens: About how many tokens they may have together, see `typical_tokens`.

    Returns:
        The texts that are to be shown, gaps marked with "…".
    """
    texts = {number: body_of(hit) for number, hit in passages.items()}
    if sum(map(typical_tokens, texts.values())) <= tokens:
        return {}
    pieces, chosen = nearest(index, questions, texts, list(passages.values()), tokens)
    return {number: _joined(text, pieces[number], chosen[number]) for number, text in texts.items()}


def nearest(
    index: Index, questions: Sequence[str], texts: Mapping[int, str], passages: Sequence[Hit], tokens: float
) -> tuple[dict[int, list[Piece]], dict[int, set[int]]]:
    """The pieces of each passage, and the places of those that stay, both by its number.

    Args:
        index: See `excerpts`, as for `questions` and `tokens`.
        questions: See `excerpts`.
        texts: What is chosen from, by number, the best passage first.
        passages: Those that the texts are of.
        tokens: See `excerpts`.
    """
    pieces = {number: pieces_of(text) for number, text in texts.items()}
    return pieces, choose(texts, pieces, score_pieces(index, questions, texts, pieces, passages), tokens)


def score_pieces(
    index: Index,
    questions: Sequence[str],
    texts: Mapping[int, str],
    pieces: Mapping[int, Sequence[Piece]],
    passages: Sequence[Hit],
) -> dict[int, Scores]:
    """How near each piece is to the question it is nearest to: (pieces,) by passage, higher is nearer."""
    parts = [texts[number][piece.start : piece.end] for number in texts for piece in pieces[number]]
    best = (COVERAGE * _coverage(index, questions, parts) + _products(index, questions, parts, passages)).max(axis=0)
    scores: dict[int, Scores] = {}
    at = 0
    for place, number in enumerate(texts):
        own = best[at : at + len(pieces[number])]
        scores[number] = own + BESIDE * _better_neighbour(own) - RANK * place
        at += len(own)
    return scores


def _coverage(index: Index, questions: Sequence[str], parts: Sequence[str]) -> Scores:
    """(questions, parts) share of a question's idf mass that a part holds."""
    held = [set(tokenize(part)) for part in parts]
    shares = np.zeros((len(questions), len(parts)))
    for row, question in enumerate(questions):
        weights = {term: index.idf(term) for term in query_terms(question)}
        whole = sum(weights.values()) or 1.0
        shares[row] = [sum(weights[term] for term in weights.keys() & terms) / whole for terms in held]
    return shares


def _products(index: Index, questions: Sequence[str], parts: Sequence[str], passages: Sequence[Hit]) -> Scores:
    try:
        return np.asarray(index.nearness(questions, parts, passages), dtype=np.float64)
    except ModelError as exc:
        log.warning("sentences are chosen by their words alone: %s", exc)
        return np.zeros((len(questions), len(parts)))


def _better_neighbour(own: Scores) -> Scores:
    """(n,) the larger of the scores before and behind; 0 for a piece without neighbours."""
    if len(own) < 2:
        return np.zeros(len(own))
    before, behind = np.r_[-np.inf, own[:-1]], np.r_[own[1:], -np.inf]
    better: Scores = np.maximum(before, behind)
    return better


def choose(
    texts: Mapping[int, str], pieces: Mapping[int, Sequence[Piece]], scores: Mapping[int, Scores], tokens: float
) -> dict[int, set[int]]:
    """Places of the pieces that stay, by passage: first the best of each passage, then the best of all that fit."""
    chosen: dict[int, set[int]] = {number: set() for number in texts}
    ranked = sorted(
        (-float(scores[number][at]), number, at)
        for number, several in pieces.items()
        for at, piece in enumerate(several)
        if not piece.heading
    )
    left = tokens
    for first in (True, False):
        for _, number, at in ranked:
            piece = pieces[number][at]
            size = typical_tokens(texts[number][piece.start : piece.end])
            if size <= left and at not in chosen[number] and not (first and chosen[number]):
                chosen[number].add(at)
                left -= size
    return chosen


def _joined(text: str, pieces: Sequence[Piece], chosen: Iterable[int]) -> str:
    """The pieces that stay, with their headings and the heads of their tables, and marks for what does not."""
    wanted = set(chosen)
    if not wanted:
        return _shortened(text)
    for at in chosen:
        wanted |= {table_head(text, pieces, at), heading_above(pieces, at)} - {-1}
    parts: list[str] = []
    end = -1
    for at in sorted(wanted):
        if at == end:
            parts.append(text[pieces[at - 1].end : pieces[at].start])
        elif at:
            parts.append(f"\n{GAP}\n" if parts else f"{GAP}\n")
        parts.append(text[pieces[at].start : pieces[at].end])
        end = at + 1
    if end < len(pieces):
        parts.append(f"\n{GAP}")
    return "".join(parts)


def heading_above(pieces: Sequence[Piece], at: int) -> int:
    """Place of the nearest heading above a piece, -1 if there is none."""
    return next((i for i in range(at - 1, -1, -1) if pieces[i].heading), -1)


def table_head(text: str, pieces: Sequence[Piece], at: int) -> int:
    """Place of the first row of the table that a piece is a row of; `at` itself for anything else."""
    while at > 0 and _is_row(text, pieces[at]) and _is_row(text, pieces[at - 1]):
        at -= 1
    return at


def _is_row(text: str, piece: Piece) -> bool:
    return text.startswith("|", piece.start)


def _shortened(text: str) -> str:
    """The beginning of a passage that has no piece of a size to be shown."""
    end = len(text)
    while typical_tokens(text[:end]) > _LEAST:
        end = end * 3 // 4
    return f"{text[:end]} {GAP}(cut)"


def _moved(spans: Iterable[tuple[int, int]], by: int) -> list[tuple[int, int]]:
    return [(start + by, end + by) for start, end in spans]
