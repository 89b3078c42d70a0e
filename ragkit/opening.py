"""From settings to the parts of an index: where it lies, which model it takes, how it is cut and scored."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ragkit.errors import IngestError, UsageError
from ragkit.index.bm25 import BM25Settings
from ragkit.index.fingerprint import IndexSettings
from ragkit.index.fsops import write_json_atomically
from ragkit.ingest.chunk_settings import ChunkSettings
from ragkit.retrieval.fusion import FusionSettings
from ragkit.settings import Settings

CURRENT: Final = "current.json"


def default_folder(settings: Settings, roots: Sequence[Path]) -> Path:
    """Index folder below the home for these notes: readable name plus a hash of the full paths."""
    resolved = "\n".join(str(root.expanduser().resolve()) for root in roots)
    digest = hashlib.sha256(resolved.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in roots[0].resolve().name)[:40] or "notes"
    return settings.ensure_home() / "indexes" / f"{name}-{digest}"


def remember_notes(settings: Settings, roots: Sequence[Path]) -> None:
    """Make these notes the ones that commands use when none are named."""
    write_json_atomically(settings.ensure_home() / CURRENT, {"notes": [str(root.resolve()) for root in roots]})


def remembered_notes(settings: Settings) -> list[Path]:
    """The notes that were indexed last; empty if there are none.

    Raises:
        IngestError: If they are gone; answering from other notes instead would go unnoticed.
    """
    try:
        data = json.loads((settings.home / CURRENT).read_text(encoding="utf-8"))
        paths = [Path(path) for path in data["notes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    for path in paths:
        with suppress(PermissionError):  # whoever reads them says so
            if path.exists():
                continue
            raise IngestError(
                f"The notes indexed last are gone: {path}",
                "Index others with `ragkit index PATH`, or name them with --notes.",
            )
    return paths


def index_settings(settings: Settings) -> IndexSettings:
    """The part of the settings that decides the contents of an index."""
    chunks = ChunkSettings(target=settings.chunk_target, maximum=max(settings.chunk_maximum, settings.chunk_target))
    bm25 = BM25Settings(k1=settings.bm25_k1, b=settings.bm25_b, variant=settings.bm25_variant)
    return IndexSettings(chunks=chunks, bm25=bm25, factory=settings.faiss_factory)


def fusion_settings(settings: Settings) -> FusionSettings:
    """The part of the settings that decides how the legs are merged."""
    return FusionSettings(
        weight=settings.coverage_weight,
        floor=settings.coverage_floor,
        temperature=settings.temperature,
        centring=settings.question_centring,
        correction=settings.language_correction,
        sentences=settings.sentence_share,
        candidates=settings.candidates,
    )


def note_roots(notes: str | Path | Sequence[str | Path] | None) -> list[Path]:
    """One path or several, as paths; none as an empty list.

    Raises:
        UsageError: See `given_path`.
    """
    if notes is None:
        return []
    given = [notes] if isinstance(notes, (str, os.PathLike)) or not isinstance(notes, Iterable) else list(notes)
    return [given_path(path) for path in given]


def given_path(path: str | Path) -> Path:
    """A path that a caller named, ``~`` resolved.

    Raises:
        UsageError: If it is empty, which would be the working directory and is an unset variable, or no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"A path must be a text or a Path, not {path!r}.")
    if not str(path).strip():
        raise UsageError("The path is empty.", "Name a file or a folder; the working directory is '.'.")
    return Path(path).expanduser()
