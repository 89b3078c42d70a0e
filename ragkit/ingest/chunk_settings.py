"""How large chunks are. Apart from the chunker, so that opening an index does not load a Markdown parser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CHUNKER_VERSION: Final = "headings-3"


@dataclass(frozen=True)
class ChunkSettings:
    """Sizes in Han-character widths, see `ragkit.ingest.blocks.width`."""

    target: float = 350
    """Blocks of a section are packed up to this width."""
    maximum: float = 600
    """A code block, table or formula up to this width stays whole."""
    minimum: float = 80
    """A section below this width joins its neighbour under the same parent."""

    @property
    def fingerprint(self) -> str:
        return f"{CHUNKER_VERSION}/{self.target:g}/{self.maximum:g}/{self.minimum:g}"
