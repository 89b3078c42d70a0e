"""Texts as arrays of code points, where a loop over characters would take too long."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ragkit.text.language import CJK_RANGES

CodePoints = npt.NDArray[np.uint32]
HAN: Final = 1
SOLID: Final = 2
_LAST_BLANK: Final = 0x3000
"""White space with the highest code point."""


def code_points(text: str) -> CodePoints:
    """(characters,) code points of `text`; lone surrogates are themselves."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def text_of(codes: CodePoints) -> str:
    """The text of code points; the opposite of `code_points`."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def kinds(codes: CodePoints) -> npt.NDArray[np.uint8]:
    """What each code point is: `HAN` (see `ragkit.text.language.CJK_RANGES`), `SOLID` (no white space), both, or 0."""
    return _table().take(codes)


def are_han(codes: CodePoints) -> npt.NDArray[np.bool_]:
    """Which code points are Han characters."""
    return (kinds(codes) & HAN).view(np.bool_)


@lru_cache(maxsize=1)
def _table() -> npt.NDArray[np.uint8]:
    """The kind of every code point; looking it up takes a fifth of comparing a passage with the ends of ranges."""
    table = np.full(sys.maxunicode + 1, SOLID, dtype=np.uint8)
    table[[code for code in range(_LAST_BLANK + 1) if chr(code).isspace()]] = 0
    for low, high in CJK_RANGES:
        table[low : high + 1] |= HAN
    return table
