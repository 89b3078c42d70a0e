"""Texts as arrays of code points, where a loop over characters would take too long."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ragkit.text.language import CJK_RANGES

CodePoints = npt.NDArray[np.uint32]


def code_points(text: str) -> CodePoints:
    """(characters,) code points of `text`; lone surrogates are themselves."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def text_of(codes: CodePoints) -> str:
    """The text of code points; the opposite of `code_points`."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def are_han(codes: CodePoints) -> npt.NDArray[np.bool_]:
    """Which code points are Han characters, see `ragkit.text.language.CJK_RANGES`."""
    han = np.zeros(len(codes), dtype=np.bool_)
    for low, high in CJK_RANGES:
        han |= (codes >= low) & (codes <= high)
    return han
