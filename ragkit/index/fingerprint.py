"""What decides the contents of an index besides its notes, and the refusal to mix what does not fit together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from ragkit.errors import IndexMismatchError
from ragkit.index.bm25 import BM25Settings
from ragkit.index.manifest import Manifest
from ragkit.ingest.chunk_settings import ChunkSettings
from ragkit.models.embeddings import EmbeddingModel, ModelIdentity
from ragkit.text.tokens import ANALYSER_VERSION

Progress = Callable[[int, int], None]
"""Called with (chunks embedded so far, chunks to embed)."""


def counted(progress: Progress | None, total: int) -> Callable[[int], None]:
    """A function that is told how many more were done, and tells `progress` how many of `total` that makes."""
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return report


@dataclass(frozen=True)
class IndexSettings:
    """What decides the contents of an index besides the notes and the model."""

    chunks: ChunkSettings = field(default_factory=ChunkSettings)
    bm25: BM25Settings = field(default_factory=BM25Settings)
    factory: str | None = None
    """FAISS index type of new segments; None: the quickest that still finds what an exact search does."""


def check_fingerprint(manifest: Manifest, model: EmbeddingModel, settings: IndexSettings) -> None:
    """Refuse to mix what does not fit together.

    Raises:
        IndexMismatchError: Naming what differs, and how to rebuild.
    """
    expected = {
        "embedding model": (manifest.model, asdict(model.identity)),
        "analyser": (manifest.analyser, ANALYSER_VERSION),
        "chunker": (manifest.chunker, settings.chunks.fingerprint),
        "BM25": (manifest.bm25, settings.bm25.fingerprint),
    }
    for what, (built, now) in expected.items():
        if built != now:
            was, is_ = (ModelIdentity(**v).fingerprint if isinstance(v, dict) else v for v in (built, now))
            raise IndexMismatchError(
                f"The index was built with {what} {was}, but {is_} is in use.",
                "Rebuild it with `ragkit index NOTES --rebuild`, or go back to the setting it was built with.",
            )
