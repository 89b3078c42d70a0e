"""What the benchmark asks of an engine, and the table that stands in for an embedding model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from corpus import Part, Question

DEPTH = 50
"""Candidates that each leg proposes."""
LOOKUP: dict[str, npt.NDArray[np.float32]] = {}
"""Text to vector: embedding must cost nothing here."""


class Engine(Protocol):
    """One engine in one process. Ids and texts of the answers come out of the engine's own store."""

    def load_libraries(self) -> None:
        """Import what the engine needs; timed as part of a cold open."""

    def build(self, part: Part, folder: Path) -> None:
        """Index `part` and make it durable in `folder`."""

    def open(self, folder: Path) -> None:
        """Open what `build` wrote."""

    def search(self, question: Question, k: int) -> Sequence[tuple[str, str]]:
        """``(id, text)`` of the `k` best, both legs taking part."""

    def add(self, part: Part, folder: Path) -> None:
        """Add chunks, durably."""

    def delete(self, ids: Sequence[str], folder: Path) -> None:
        """Delete chunks, durably."""


def rrf(legs: Sequence[Sequence[int]], k: int, constant: int = 60) -> list[int]:
    """Reciprocal rank fusion (Cormack 2009), for engines that bring none."""
    score: dict[int, float] = {}
    for leg in legs:
        for rank, name in enumerate(leg, start=1):
            score[name] = score.get(name, 0.0) + 1 / (constant + rank)
    return sorted(score, key=lambda name: (-score[name], name))[:k]
