"""Folders of notes to documents. A file that cannot be read is named with its reason, never fatal.

Nothing outside the given roots is opened: links that lead out are skipped, and only regular
files are read, so a pipe or a device cannot block the run.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from ragkit.errors import IngestError
from ragkit.ingest.decode import UndecodableError, decode
from ragkit.ingest.yaml_safe import load_yaml, split_front_matter
from ragkit.values import Document, Skipped

SUFFIXES: Final = frozenset({".md", ".markdown", ".txt"})
MAX_BYTES: Final = 20 * 1024 * 1024
"""A note above this size is skipped."""


@dataclass(frozen=True)
class SourceFile:
    """A file found below a root, not read yet."""

    file: Path
    path: str
    """Path relative to the root, with ``/``."""
    size: int
    mtime_ns: int


def scan(roots: Sequence[Path]) -> tuple[list[SourceFile], list[Skipped]]:
    """Find the notes below `roots`, sorted by path.

    A root may be a folder or a single file. With several roots each path is prefixed with
    its root's name, so that two folders may hold files of the same name.

    Raises:
        IngestError: If a root does not exist.
    """
    found: dict[str, SourceFile] = {}
    skipped: list[Skipped] = []
    for root, prefix in zip(roots, _prefixes(roots), strict=True):
        if not root.exists():
            raise IngestError(f"No such file or folder: {root}", "Check the path of your notes.")
        base = root if root.is_dir() else root.parent
        unreadable: list[OSError] = []
        for file in _walk(root, unreadable):
            path = prefix + _clean(file.relative_to(base).as_posix())
            try:
                source = _inspect(file, base.resolve(), path)
            except (OSError, ValueError) as exc:
                skipped.append(Skipped(path=path, reason=_reason(exc)))
                continue
            if path in found:
                skipped.append(Skipped(path=path, reason=f"{found[path].file} has the same path in the index"))
                continue
            found[path] = source
        for error in unreadable:
            path = prefix + _clean(os.path.relpath(error.filename, base).replace(os.sep, "/"))
            skipped.append(Skipped(path=path, reason=_reason(error)))
        if root.is_file() and root.suffix.lower() not in SUFFIXES:
            reason = f"unsupported file type {root.suffix or '(none)'}; .md and .txt are read"
            skipped.append(Skipped(path=prefix + _clean(root.name), reason=reason))
    return [found[path] for path in sorted(found)], sorted(skipped, key=lambda item: item.path)


def read(source: SourceFile) -> Document:
    """Read and decode one file.

    Raises:
        ValueError: If the file is empty or no text; the message is the reason.
        OSError: If the file cannot be read.
    """
    data = source.file.read_bytes()
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES // 1024 // 1024} MiB")
    text = decode(data)
    if not text.strip():
        raise ValueError("empty")
    return make_document(source.path, text, hashlib.sha256(data).hexdigest())


def make_document(path: str, text: str, content_hash: str = "") -> Document:
    """Build a document from text that is decoded already; front matter gives title and tags."""
    # Texts from JSON may bring other newlines, which the parser would count as lines, and half surrogate pairs.
    text = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode("utf-8")
    title, metadata = "", {}
    front, _ = split_front_matter(text)
    if front is not None:
        try:
            data = load_yaml(front)
        except (yaml.YAMLError, ValueError, RecursionError):
            data = None
        if isinstance(data, dict):
            metadata = {str(key): _plain(value) for key, value in data.items() if value is not None}
            title = metadata.get("title", "")
    digest = content_hash or hashlib.sha256(text.encode("utf-8")).hexdigest()
    return Document(path=path, text=text, content_hash=digest, title=title, metadata=metadata)


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _prefixes(roots: Sequence[Path]) -> list[str]:
    if len(roots) < 2:
        return [""] * len(roots)
    names = [root.resolve().name for root in roots]
    labels = [name if names.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(names, start=1)]
    return [
        "" if root.is_file() and label == root.resolve().name else f"{label}/"
        for root, label in zip(roots, labels, strict=True)
    ]


def _walk(root: Path, unreadable: list[OSError]) -> Iterator[Path]:
    if root.is_file():
        if root.suffix.lower() in SUFFIXES:
            yield root
        return
    for folder, names, files in os.walk(root, followlinks=False, onerror=unreadable.append):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(folder) / name


def _inspect(file: Path, base: Path, path: str) -> SourceFile:
    info = file.stat()
    if not stat.S_ISREG(info.st_mode):
        raise ValueError("not a regular file")
    if file.is_symlink() and not file.resolve().is_relative_to(base):
        raise ValueError("a link that leads outside the folder of notes")
    if info.st_size > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES // 1024 // 1024} MiB")
    return SourceFile(file=file, path=path, size=info.st_size, mtime_ns=info.st_mtime_ns)


def _clean(name: str) -> str:
    """A file name that is not valid UTF-8 must still fit into JSON and on a terminal."""
    return os.fsencode(name).decode("utf-8", "replace")


def _reason(exc: BaseException) -> str:
    if isinstance(exc, OSError):
        return exc.strerror or type(exc).__name__
    return str(exc)


def read_all(sources: Sequence[SourceFile]) -> Iterator[tuple[SourceFile, Document | Skipped]]:
    """Read `sources` one by one; a broken one comes back as its `Skipped`."""
    for source in sources:
        try:
            yield source, read(source)
        except (OSError, UndecodableError, ValueError) as exc:
            yield source, Skipped(path=source.path, reason=_reason(exc))
