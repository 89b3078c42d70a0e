"""Folders of notes to documents. A file that cannot be read is named with its reason, never fatal.

Nothing outside the given roots is opened: links that lead out and linked folders are skipped, and
only regular files are read, so a pipe or a device cannot block the run. A root may be a link
itself. Folders that hold an index of ragkit are no notes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Final

import yaml

from ragkit.errors import IngestError
from ragkit.ingest.decode import UndecodableError, decode_note
from ragkit.ingest.yaml_safe import load_yaml, split_front_matter
from ragkit.values import Document, Skipped

SUFFIXES: Final = frozenset({".md", ".markdown", ".txt"})
MAX_BYTES: Final = 20 * 1024 * 1024
"""A note above this size is skipped."""
_GENERATION: Final = re.compile(r"(gen|seg)-\d{20}-[0-9a-f]{6}")


@dataclass(frozen=True)
class SourceFile:
    """A file found below a root, not read yet."""

    file: Path
    path: str
    """Path relative to the root, with ``/``; always valid Unicode, unlike the name of `file`."""
    size: int
    mtime_ns: int


def scan(roots: Sequence[Path]) -> tuple[list[SourceFile], list[Skipped]]:
    r"""Find the notes below `roots`, sorted by path.

    A root may be a folder or a single file. With several roots each path is prefixed with
    its root's name, so that two folders may hold files of the same name. A file name that is no
    UTF-8 is read as GBK if it can be, else its bytes are written as ``\xNN``.

    Raises:
        IngestError: If a root does not exist.
    """
    found: dict[str, SourceFile] = {}
    skipped: list[Skipped] = []
    for root, prefix in zip(roots, _prefixes(roots), strict=True):
        if not root.exists():
            raise IngestError(f"No such file or folder: {root}", "Check the path of your notes.")
        base, home = (root.parent, None) if root.is_file() else (root, root.resolve())
        for file, problem in _find(root):
            path = prefix + _readable(file.relative_to(base))
            if path in found:  # a name in GBK beside the same one in UTF-8
                path = prefix + _readable(file.relative_to(base), escape=True)
            try:
                if problem or path in found:
                    raise ValueError(problem or f"{found[path].file} has the same path in the index")
                found[path] = _inspect(file, home, path)
            except (OSError, ValueError) as exc:
                skipped.append(Skipped(path=path, reason=_reason(exc)))
    return [found[path] for path in sorted(found)], sorted(skipped, key=lambda item: item.path)


def below(path: Path, roots: Sequence[str]) -> str | None:
    """What stands before a note's path in an index of `roots`, with ``/``, if `path` lies below one of them.

    Args:
        path: Folder of notes, or one file.
        roots: Absolute, as the index remembers them.

    Returns:
        None if it does not; an empty string at the root itself.
    """
    folders = [Path(root) for root in roots]
    at = (path.parent if path.is_file() else path).resolve()
    for folder, prefix in zip(folders, _prefixes(folders), strict=True):
        if folder.is_dir() and at.is_relative_to(folder):
            inside = _readable(at.relative_to(folder))
            return prefix + (f"{inside}/" if inside else "")
    return None


def read(source: SourceFile) -> Document:
    """Read and decode one file.

    Raises:
        ValueError: If the file is empty or no text; the message is the reason.
        OSError: If the file cannot be read.
    """
    data = source.file.read_bytes()
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES // 1024 // 1024} MiB")
    decoded = decode_note(data)
    if not decoded.text.strip():
        raise ValueError("empty")
    document = make_document(source.path, decoded.text, hashlib.sha256(data).hexdigest())
    return replace(document, warning=decoded.warning)


def make_document(path: str, text: str, content_hash: str = "") -> Document:
    """Build a document from text that is decoded already; front matter gives title and tags."""
    # Texts from JSON may bring other newlines, which the parser would count as lines, and half surrogate pairs.
    text = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode("utf-8")
    path = path.encode("utf-8", "backslashreplace").decode("utf-8")
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
    names = [_readable(Path(root.name if root.is_file() else root.resolve().name)) for root in roots]
    labels = [name if names.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(names, start=1)]
    return [
        "" if root.is_file() and label == name else f"{label}/"
        for root, name, label in zip(roots, names, labels, strict=True)
    ]


def _find(root: Path) -> Iterator[tuple[Path, str]]:
    """Files and links below a root that may be notes, each with the reason why it is none, or an empty string."""
    if root.is_file():
        suffixes = {root.suffix.lower(), root.resolve().suffix.lower()}
        fits = not suffixes.isdisjoint(SUFFIXES)
        yield root, "" if fits else f"unsupported file type {root.suffix or '(none)'}; .md and .txt are read"
        return
    unreadable: list[OSError] = []
    for folder, names, files in os.walk(root, followlinks=False, onerror=unreadable.append):
        at = Path(folder)
        names[:] = sorted(name for name in names if not name.startswith(".") and not _is_index(at / name))
        for name in names:
            if (at / name).is_symlink():
                yield at / name, "symbolic link to a folder; to index it, name it as a folder of notes"
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield at / name, ""
    for error in unreadable:
        yield Path(error.filename), _reason(error)


def _is_index(folder: Path) -> bool:
    """Whether ragkit wrote `folder`: an index, or a generation of an index that shares its folder with notes."""
    if _GENERATION.fullmatch(folder.name):
        return True
    try:
        data = json.loads((folder / "MANIFEST.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and {"generation", "seal"} <= data.keys()


def _inspect(file: Path, home: Path | None, path: str) -> SourceFile:
    """Check a file; links in it must stay below `home`, if that is given."""
    info = file.stat()
    if not stat.S_ISREG(info.st_mode):
        raise ValueError("not a regular file")
    if home is not None and file.is_symlink() and not file.resolve().is_relative_to(home):
        raise ValueError("a link that leads outside the folder of notes")
    if info.st_size > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES // 1024 // 1024} MiB")
    return SourceFile(file=file, path=path, size=info.st_size, mtime_ns=info.st_mtime_ns)


def _readable(path: PurePath, *, escape: bool = False) -> str:
    """A path with ``/`` that fits into JSON, SQLite and a terminal; different names stay different.

    Archives made on Chinese Windows unpack to names in GBK. With `escape` these too are written
    as backslash, x and two digits.
    """
    parts = []
    for part in path.parts:
        raw = os.fsencode(part)
        for codec in ("utf-8", "utf-8" if escape else "gbk"):
            with suppress(UnicodeDecodeError):
                parts.append(raw.decode(codec))
                break
        else:
            parts.append(raw.decode("utf-8", "backslashreplace"))
    return "/".join(parts)


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
