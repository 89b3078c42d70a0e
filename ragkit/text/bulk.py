"""The tokens of many passages at once, for building an index: the bags of `ragkit.text.tokens.tokenize`.

A Han token is a number here and becomes a string only where it enters a dictionary. Words of other
scripts go through the same functions as in a question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ragkit.text.codepoints import CodePoints, are_han, code_points, text_of
from ragkit.text.tokens import composed, parts_of_camel, simplified_table, word_runs

_BATCH: Final = 1 << 19
"""Characters that are looked at together: some 20 MB."""
_END: Final = "\0"
"""Stands between two passages: part of no token, and nothing composes with it."""
_FIRST: Final = 21
"""Bits of a code point; the first character of a pair stands above them."""
_SECOND: Final = (1 << _FIRST) - 1

HanTokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bags:
    """The tokens of some passages in a row, each as often as it occurs; their order within a passage is lost."""

    runs: list[list[str]]
    """Of each passage, the runs whose `ragkit.text.tokens.terms_of_run` are tokens of it; none is Han."""
    camel: dict[int, list[str]]
    """The tokens of CamelCase words, by passage."""
    han: HanTokens
    """(n,) Han tokens of all passages, see `han_token`."""
    passages: npt.NDArray[np.int64]
    """(n,) which passage each belongs to, from 0."""


def han_token(number: int) -> str:
    """The character or the pair of characters that a number of `Bags.han` stands for."""
    first, second = number >> _FIRST, number & _SECOND
    return chr(first) + chr(second) if first else chr(second)


def bags_of(texts: Iterable[str]) -> Iterator[Bags]:
    """Analyse passages, some hundreds of thousands of characters at a time."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH:
            yield _bags(batch)
            batch, size = [], 0
    if batch:
        yield _bags(batch)


def _bags(texts: Sequence[str]) -> Bags:
    kept = composed(_END.join(_alone(text) if "\x1b" in text or _END in text else text for text in texts))
    codes = _simplified()[code_points(kept)]
    han = are_han(codes)
    passage = np.cumsum(codes == 0)
    second = np.flatnonzero(han[1:] & han[:-1]) + 1
    pairs = codes[second - 1].astype(np.int64) << _FIRST | codes[second]
    single = np.flatnonzero(han)
    # What is left has a line break for each run of Han characters: no number meets a unit across it.
    begins = han.copy()
    begins[second] = False
    other = text_of(np.where(han, np.uint32(ord("\n")), codes)[~han | begins])
    cased = enumerate(map(parts_of_camel, other.split(_END)))
    return Bags(
        [word_runs(lowered) for lowered in other.lower().split(_END)],
        {passage: parts for passage, parts in cased if parts},
        np.concatenate([codes[single].astype(np.int64), pairs]),
        np.concatenate([passage[single], passage[second]]),
    )


def _alone(text: str) -> str:
    """An escape sequence may run on into the next passage, so it goes before they stand side by side."""
    return composed(text).replace(_END, "\n").replace("\x1b", "\n")


@lru_cache(maxsize=1)
def _simplified() -> CodePoints:
    """The code point that each one folds to, traditional characters to simplified ones."""
    table = np.arange(0x110000, dtype=np.uint32)
    for code, char in simplified_table().items():
        table[code] = ord(char)
    return table
