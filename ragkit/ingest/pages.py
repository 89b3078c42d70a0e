"""Page numbers of converted documents, kept in a document's metadata."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from ragkit.values import Document

PAGES: Final = "pages"
"""Metadata key: JSON list of ``[offset, number]``."""
_PAGED: Final = (".pdf", ".pptx", ".pptm", ".ppsx")
"""Only of these files `PAGES` is believed: a note's front matter may say anything."""


def with_pages(metadata: Mapping[str, str], pages: Sequence[tuple[int, int]]) -> dict[str, str]:
    """Metadata that knows where pages begin."""
    kept = {key: value for key, value in metadata.items() if key != PAGES}
    return {**kept, PAGES: json.dumps(pages, separators=(",", ":"))} if pages else kept


def has_pages(path: str) -> bool:
    """Whether documents of this name have pages."""
    return path.lower().endswith(_PAGED)


def page_at(document: Document | None, offset: int) -> int | None:
    """Page or slide (from 1) that the character at `offset` stands on; None if the document has none."""
    if document is None or not has_pages(document.path) or PAGES not in document.metadata:
        return None
    starts, numbers = _parsed(document.metadata[PAGES])
    at = bisect_right(starts, offset) - 1
    return numbers[at] if at >= 0 else None


@lru_cache(maxsize=64)
def _parsed(text: str) -> tuple[list[int], list[int]]:
    try:
        pairs = [(int(offset), int(number)) for offset, number in json.loads(text)]
    except (ValueError, TypeError):
        return [], []
    return [offset for offset, _ in pairs], [number for _, number in pairs]
