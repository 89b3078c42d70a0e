"""Names that a note writes out once and shortens from then on: "DeepSeek-R1", and "R1" below.

A sentence with the whole name is borne out by the lines with the short one, so the maker's name belongs to what
frames a passage, wherever another passage of the same note has the whole name. "Qwen-R1" is not borne out
by it: no passage of that note calls it so. A name with capitals inside also goes by these: FlashAttention by FA.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_WHOLE: Final = re.compile(r"(?<![A-Za-z0-9])([A-Z][A-Za-z]{2,})[- ]([A-Za-z]{1,2}\d+(?:\.\d+)?)(?![A-Za-z0-9])")
_SHORT: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{1,2}\d+(?:\.\d+)?(?![A-Za-z0-9])")
_HUMPS: Final = re.compile(r"(?<![A-Za-z])(?:[A-Z][a-z]{2,}){2,4}(?![a-z])")


def initials(text: str) -> set[str]:
    """The capitals, folded, of each name that is written together from two to four words."""
    return {"".join(filter(str.isupper, name)).lower() for name in _HUMPS.findall(text)}


def makers(texts: Sequence[str], documents: Sequence[str]) -> list[set[str]]:
    """First parts of the names that each text has in short.

    Args:
        texts: Passages with their headings.
        documents: The note of each; an empty name is a note of its own.
    """
    known: dict[str, dict[str, set[str]]] = {}
    for text, document in zip(texts, documents, strict=True):
        if document:
            for maker, short in _WHOLE.findall(text):
                known.setdefault(document, {}).setdefault(short, set()).add(maker)
    return [
        set().union(*(known.get(document, {}).get(short, set()) for short in _SHORT.findall(text)))
        for text, document in zip(texts, documents, strict=True)
    ]
