"""Whether the file behind an indexed document is still what was indexed, by the hash of its content."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from ragkit.errors import IngestError
from ragkit.ingest.decode import UndecodableError, decode_note
from ragkit.ingest.formats import format_of
from ragkit.ingest.loader import prefixes, scan
from ragkit.values import Document

CHANGED: Final = "changed since it was indexed"
UNREADABLE: Final = "can no longer be read"
GONE: Final = "no longer among the notes"
MOVED: Final = "moved to {}"


def staleness(document: Document, quote: str, roots: Sequence[str], size: int | None = None) -> str:
    """What happened to the file of `document`; empty if it still is what was indexed.

    Only this one file is read, unless it is missing: then the names and sizes of all are looked at.

    Args:
        document: As it was indexed.
        quote: A verbatim slice of it; of a note that changed it is said whether this still stands there.
        roots: Folders and files of notes, as the index remembers them.
        size: Bytes of the file when it was indexed; None if nobody knows.
    """
    file = locate(document.path, roots)
    try:
        if file is None:
            return _missing(document, roots, size)
        data = _read(file, size)
    except OSError:
        return UNREADABLE
    if data is None or hashlib.sha256(data).hexdigest() != document.content_hash:
        return CHANGED + _still_said(file, data, quote)
    return ""


def locate(path: str, roots: Sequence[str]) -> Path | None:
    """The file below `roots` that has this path in an index of them; None if there is none."""
    folders = [Path(root) for root in roots]
    for folder, prefix in zip(folders, prefixes(folders), strict=True):
        rest = PurePosixPath(path[len(prefix) :])
        if path.startswith(prefix) and not rest.is_absolute() and ".." not in rest.parts:
            file = (folder.parent if folder.is_file() else folder) / rest
            if _is_file(file):
                return file
    return None


def _is_file(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except (OSError, ValueError):
        return False


def _read(file: Path, size: int | None) -> bytes | None:
    """The bytes of a file; None if its size alone tells that it changed, and the file is large."""
    with file.open("rb") as opened:
        now = os.fstat(opened.fileno()).st_size
        return None if size is not None and now != size and now > 1 << 24 else opened.read()


def _missing(document: Document, roots: Sequence[str], size: int | None) -> str:
    """Where the content of a file that is not at its place went."""
    try:
        sources, _ = scan([Path(root) for root in roots])
    except IngestError:
        return GONE
    for source in sources:
        same_name = source.path == document.path  # one that is no UTF-8
        if same_name or size is None or source.size == size:
            data = source.file.read_bytes()
            if hashlib.sha256(data).hexdigest() == document.content_hash:
                return "" if same_name else MOVED.format(source.path)
            if same_name:
                return CHANGED
    return GONE


def _still_said(file: Path, data: bytes | None, quote: str) -> str:
    if data is None or not quote or format_of(file.name) is not None:
        return ""
    try:
        text = decode_note(data).text
    except (UndecodableError, ValueError):
        return ""
    return "; the quote still stands in it" if quote in text else "; the quote no longer stands in it"
