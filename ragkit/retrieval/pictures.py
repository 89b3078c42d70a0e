"""Text finds pictures: an index's pictures brought up to date, and searched."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ragkit.errors import ConfigError, IndexMismatchError
from ragkit.index.pictures import load_pictures, update_pictures
from ragkit.index.snapshot import Snapshot
from ragkit.index.writer import writer_lock
from ragkit.ingest.loader import scan
from ragkit.models.clip import ClipModel
from ragkit.retrieval.retriever import check_k, check_question
from ragkit.text.sanitize import clean_question
from ragkit.values import IndexReport, PictureHit


@lru_cache(maxsize=2)
def clip_model(name: str) -> ClipModel:
    """The CLIP model of this name; loading takes seconds, so it is kept."""
    return ClipModel(name)


def look_at_pictures(
    folder: Path, roots: Sequence[Path], snapshot: Snapshot, model: str, report: IndexReport
) -> IndexReport:
    """Bring the pictures up to date with the notes of `snapshot`.

    Returns:
        `report` with a warning for each picture that a note shows and that cannot be looked at.

    Raises:
        ConfigError: If Pillow is not installed.
        ModelError: If the model cannot be loaded, or takes no pictures.
        IndexLockedError: If another process is writing.
    """
    if importlib.util.find_spec("PIL") is None:
        raise ConfigError(
            "Pictures cannot be looked at without Pillow.", 'pip install "ragkit[docs]", or unset images.'
        )
    sources, _ = scan(roots)
    hashes = {path: state.content_hash for path, state in snapshot.files().items()}
    with writer_lock(folder):
        pictures = update_pictures(folder, sources, roots, hashes, snapshot.document, clip_model(model))
    return replace(report, warnings=(*report.warnings, *pictures.warnings()))


def search_pictures(folder: Path, model: str | None, query: str, k: int) -> list[PictureHit]:
    """The `k` pictures of an index that fit a text best.

    Raises:
        ConfigError: If there is no model: pictures are off.
        IndexMismatchError: If they were looked at with another model, or not yet.
        UsageError: If the question is empty or too long, or k is below 1.
    """
    check_k(k)
    query = clean_question(query)
    check_question(query)
    if not model:
        raise ConfigError("Pictures are not looked at.", 'Set images = "clip-ViT-B-32" and index the notes again.')
    clip = clip_model(model)
    pictures = load_pictures(folder)
    if pictures.model != clip.identity.fingerprint:
        with_what = pictures.model.partition("@")[0] or "no model"
        raise IndexMismatchError(
            f"The pictures of {folder} were looked at with {with_what}, but {model} is set.",
            "Index the notes again: ragkit index NOTES.",
        )
    return pictures.search(clip.encode_query(query), k)
