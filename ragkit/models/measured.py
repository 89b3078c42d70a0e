"""Arrays that are measured once per embedding model and kept in a folder."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from ragkit.models.embeddings import EmbeddingModel, Vectors


def measured_once(
    folder: Path | None,
    kind: str,
    model: EmbeddingModel,
    texts: Iterable[str],
    shape: tuple[int, ...],
    measure: Callable[[], Vectors],
) -> Vectors:
    """What `measure` gives, from the file in `folder` if it was measured before.

    A file that cannot be read or does not fit is measured anew; one that cannot be written costs the next process
    another measurement, no more.

    Args:
        folder: Where it is kept; None measures each time.
        kind: Begin of the file's name.
        model: Measured with; another identity has another file.
        texts: Measured with; other texts have another file.
        shape: Of the array; all of it must be finite.
        measure: Embeds the texts; its errors are those of the model.

    Returns:
        float32 of `shape`.
    """
    path = None if folder is None else folder / f"{kind}-{_key(model, texts)}.npy"
    if path is not None:
        # TypeError: an array of something else than numbers.
        with suppress(OSError, ValueError, EOFError, TypeError):
            kept = np.load(path, allow_pickle=False)
            if kept.shape == shape and np.isfinite(kept).all():
                return np.asarray(kept, dtype=np.float32)
    fresh = measure()
    if path is not None:
        with suppress(OSError):
            _save(path, fresh)
    return fresh


def _save(path: Path, array: Vectors) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f"{path.stem}-{secrets.token_hex(4)}.npy")
    try:
        np.save(part, array, allow_pickle=False)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _key(model: EmbeddingModel, texts: Iterable[str]) -> str:
    parts = "\n".join((model.identity.fingerprint, *texts))
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:16]
