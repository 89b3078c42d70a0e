"""Vectors of the pictures that notes show: one file of its own beside the index, keyed by content.

The file is derived from the notes and can be made again from them, so a damaged one is not an
error: it is replaced.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ragkit.index.fsops import with_disk_errors, write_bytes_atomically
from ragkit.ingest.conversion import Converter
from ragkit.ingest.formats.base import ConversionError
from ragkit.ingest.image_refs import pictures_in
from ragkit.ingest.loader import SourceFile, changed_ns
from ragkit.ingest.pictures import SUFFIXES
from ragkit.models.clip import SIDE, ClipModel
from ragkit.values import Document, Picture, PictureHit, Warned

FILE: Final = "pictures.bin"
_MAGIC: Final = b"ragkit pictures 1\n"
_MAX_BYTES: Final = 50 * 1024 * 1024
_BATCH: Final = 32


@dataclass(frozen=True)
class _Seen:
    """A picture file as it was when it was looked at."""

    size: int
    mtime_ns: int
    sha256: str = ""
    """Empty if it cannot be shown."""
    reason: str = ""
    """Why not."""


@dataclass
class Pictures:
    """Which note shows which picture where, and the pictures' vectors."""

    model: str = ""
    """Fingerprint of the CLIP model."""
    notes: dict[str, tuple[str, list[Picture]]] = field(default_factory=dict)
    """By document: its content hash, and what it shows."""
    files: dict[str, _Seen] = field(default_factory=dict)
    """By path relative to the root."""
    hashes: list[str] = field(default_factory=list)
    """Content hash of each row of `vectors`."""
    vectors: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    """(n, dimension), unit length."""

    def search(self, vector: npt.NDArray[np.float32], k: int) -> list[PictureHit]:
        """The `k` places whose pictures are nearest to a text's vector, best first; ties by document and line."""
        if not self.hashes:
            return []
        cosines = dict(zip(self.hashes, (self.vectors @ vector).tolist(), strict=True))
        places = [
            (cosines[seen.sha256], document, picture)
            for document, (_, shown) in self.notes.items()
            for picture in shown
            if (seen := self.files.get(picture.path)) is not None and seen.sha256 in cosines
        ]
        places.sort(key=lambda place: (-place[0], place[1], place[2].line, place[2].path))
        return [
            PictureHit(rank=rank, score=score, path=p.path, alt=p.alt, document=document, line=p.line)
            for rank, (score, document, p) in enumerate(places[:k], start=1)
        ]

    def warnings(self) -> Iterator[Warned]:
        """Pictures that notes show and that could not be looked at."""
        for document, (_, shown) in sorted(self.notes.items()):
            for path in dict.fromkeys(picture.path for picture in shown):
                if (seen := self.files.get(path)) is not None and seen.reason:
                    yield Warned(path=document, reason=f"picture {path}: {seen.reason}")


def load_pictures(folder: Path) -> Pictures:
    """What is kept in an index folder; nothing if there is nothing, or it is damaged."""
    try:
        data = (folder / FILE).read_bytes()
    except OSError:
        return Pictures()
    body = data[len(_MAGIC) + 65 :]
    if not data.startswith(_MAGIC) or hashlib.sha256(body).hexdigest().encode() != data[len(_MAGIC) : len(_MAGIC) + 64]:
        return Pictures()
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            meta = json.loads(arrays["meta"].tobytes())
            vectors = np.asarray(arrays["vectors"], dtype=np.float32)
        return Pictures(
            model=meta["model"],
            notes={path: (digest, [Picture(**p) for p in shown]) for path, (digest, shown) in meta["notes"].items()},
            files={path: _Seen(**seen) for path, seen in meta["files"].items()},
            hashes=list(meta["hashes"]),
            vectors=vectors.reshape(len(meta["hashes"]), -1),
        )
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return Pictures()


def _save(folder: Path, pictures: Pictures) -> None:
    meta = {
        "model": pictures.model,
        "notes": {path: (digest, [asdict(p) for p in shown]) for path, (digest, shown) in pictures.notes.items()},
        "files": {path: asdict(seen) for path, seen in pictures.files.items()},
        "hashes": pictures.hashes,
    }
    out = io.BytesIO()
    text = json.dumps(meta, ensure_ascii=True).encode("ascii")
    np.savez(out, vectors=pictures.vectors, meta=np.frombuffer(text, dtype=np.uint8))
    body = out.getvalue()
    data = _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    with_disk_errors(folder, lambda: write_bytes_atomically(folder / FILE, data))


def update_pictures(
    folder: Path,
    sources: Sequence[SourceFile],
    roots: Sequence[Path],
    hashes: dict[str, str],
    document: Callable[[str], Document | None],
    model: ClipModel,
) -> Pictures:
    """Bring the picture file up to date with the notes; only new pictures are embedded.

    Args:
        folder: Index folder, whose writer lock the caller holds.
        sources: The note files.
        roots: Folders or files of notes; a picture outside them is not opened.
        hashes: Content hash of every indexed document, by path.
        document: Gives a document by path.
        model: The CLIP model.
    """
    old = load_pictures(folder)
    fresh = Pictures(model=model.identity.fingerprint)
    homes = [root.resolve() if root.is_dir() else root.resolve().parent for root in roots]
    files: dict[str, Path] = {}
    for source in sources:
        if source.path not in hashes:
            continue
        kept = old.notes.get(source.path)
        if kept is None or kept[0] != hashes[source.path]:
            found = document(source.path)
            kept = (hashes[source.path], pictures_in(found.text, source.path) if found is not None else [])
        if kept[1]:
            fresh.notes[source.path] = kept
        for picture in kept[1]:
            if "://" not in picture.path and Path(picture.path).suffix.lower() in SUFFIXES:
                relative = os.path.relpath(picture.path, os.path.dirname(source.path) or ".")
                files.setdefault(picture.path, source.file.parent / relative)
    known = dict(zip(old.hashes, old.vectors, strict=True)) if old.model == fresh.model else {}
    pending: dict[str, tuple[int, int, bytes]] = {}
    with Converter() as converter:
        for path, file in files.items():
            seen = _look(file, homes, old.files.get(path))
            if not seen.reason and (not seen.sha256 or seen.sha256 not in known):
                try:
                    width, height, pixels, digest = converter.picture(file, SIDE, _MAX_BYTES)
                    seen = _Seen(seen.size, seen.mtime_ns, digest)
                    if digest not in known:
                        pending[digest] = (width, height, pixels)
                except ConversionError as exc:
                    seen = _Seen(seen.size, seen.mtime_ns, reason=str(exc))
            fresh.files[path] = seen
            if len(pending) >= _BATCH:
                _embed(pending, known, model)
        _embed(pending, known, model)
    fresh.hashes = sorted({seen.sha256 for seen in fresh.files.values() if seen.sha256})
    rows = [known[digest] for digest in fresh.hashes]
    fresh.vectors = np.stack(rows) if rows else np.zeros((0, model.identity.dimension), dtype=np.float32)
    if fresh.files != old.files or fresh.notes != old.notes or fresh.model != old.model:
        _save(folder, fresh)
    return fresh


def _look(file: Path, homes: Sequence[Path], before: _Seen | None) -> _Seen:
    """A picture file without opening it: as it was seen before, or new, or the reason why it will not be opened."""
    try:
        target = file.resolve(strict=True)
        info = target.stat()
    except (OSError, ValueError, RuntimeError):
        return _Seen(0, 0, reason="not found")
    if not any(target.is_relative_to(home) for home in homes):
        return _Seen(0, 0, reason="outside the folder of notes")
    if not target.is_file():
        return _Seen(0, 0, reason="not a regular file")
    if before is not None and (before.size, before.mtime_ns) == (info.st_size, changed_ns(info)):
        return before
    return _Seen(info.st_size, changed_ns(info))


def _embed(
    pending: dict[str, tuple[int, int, bytes]], known: dict[str, npt.NDArray[np.float32]], model: ClipModel
) -> None:
    if pending:
        known.update(zip(pending, model.encode_pictures(list(pending.values())), strict=True))
        pending.clear()
