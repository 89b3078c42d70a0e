"""Which segments a commit merges into the one it writes anyway: a pure rule over sizes.

Size-tiered, as log-structured merge trees do it (O'Neil et al. 1996): when eight segments of one
tier are there, the next commit makes one of them, eight times as large. A chunk is then rewritten
at most once a tier. What a commit merges is bounded, so a small addition to a large index stays
cheap; the large segments are left to ``ragkit index --compact``, unless more than half of one is
dead: then its rewriting has been paid for by as many deletions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FAN: Final = 8
"""Segments of a tier that are merged, and the factor between tiers."""
FOREGROUND: Final = 4096
"""Chunks that any commit may merge; a larger commit may merge `FAN` times its own."""


@dataclass(frozen=True)
class Size:
    """Of a segment, in documents and chunks together."""

    total: int
    dead: int

    @property
    def living(self) -> int:
        return self.total - self.dead


def choose(segments: Sequence[Size], new: int, *, everything: bool = False) -> set[int]:
    """The places of the segments that are to be merged with `new` documents and chunks.

    Args:
        segments: Sizes after the deletions of this commit. Those without anything living are never chosen.
        new: Documents and chunks that the commit adds.
        everything: Leave one segment without deleted chunks, whatever it costs.
    """
    living = {i: size for i, size in enumerate(segments) if size.living}
    if everything:
        worth = len(living) + (new > 0) > 1 or any(size.dead for size in living.values())
        return set(living) if worth else set()
    chosen = {i for i, size in living.items() if 2 * size.dead > size.total}
    size = new + sum(living[i].living for i in chosen)
    limit = max(FOREGROUND, FAN * new)
    while size:
        peers = {i for i in living.keys() - chosen if _tier(living[i].living) <= _tier(size)}
        merged = size + sum(living[i].living for i in peers)
        if len(peers) < FAN - 1 or merged > limit:
            break
        chosen, size = chosen | peers, merged
    return chosen


def _tier(size: int) -> int:
    tier = 0
    while size >= FAN:
        size, tier = size // FAN, tier + 1
    return tier
