"""Folders of notes to documents. A document that cannot be read is named with its reason, never fatal.

Markdown and other text for people is read here; everything else by its converter (`ragkit.ingest.formats`).

Nothing outside the given roots is opened: links that lead out and linked folders are skipped, and
only regular files are read, so a pipe or a device cannot block the run. A root may be a link
itself. Folders that hold an index of ragkit are no notes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

import yaml

from ragkit.errors import IngestError, UsageError
from ragkit.ingest.conversion import CONVERTERS_VERSION, Converter, LimitError
from ragkit.ingest.decode import UndecodableError, decode_note
from ragkit.ingest.file_kinds import is_note, why_unread
from ragkit.ingest.formats import all_formats, format_of
from ragkit.ingest.formats.base import Converted, Format
from ragkit.ingest.generated import GENERATED, MANIFEST, is_generated_folder, is_index
from ragkit.ingest.pages import with_pages
from ragkit.ingest.yaml_safe import load_yaml, split_front_matter
from ragkit.values import Document, Skipped, SkippedFolder

MAX_BYTES: Final = 20 * 1024 * 1024
"""A note above this size is skipped; formats have limits of their own."""


@dataclass(frozen=True)
class SourceFile:
    """A file found below a root, not read yet."""

    file: Path
    path: str
    """Path relative to the root, with ``/``; always valid Unicode, unlike the name of `file`."""
    size: int
    mtime_ns: int
    """See `changed_ns`."""


def changed_ns(info: os.stat_result) -> int:
    """A number of nanoseconds that changes with a file: when it was modified, and when its name or attributes were.

    Unpacking and copying may give all notes one time of modification; two of equal size that swap their names would not
    be noticed by it.
    """
    return info.st_mtime_ns + info.st_ctime_ns


def scan(roots: Sequence[Path]) -> tuple[list[SourceFile], list[Skipped]]:
    r"""Find the notes below `roots`, sorted by path.

    A root may be a folder or a single file. With several roots each path is prefixed with
    its root's name, so that two folders may hold files of the same name. A file name that is no
    UTF-8 is read as GBK if it can be, else its bytes are written as ``\xNN``.

    Raises:
        IngestError: If a root does not exist, or is a folder that cannot be looked into.
    """
    found: dict[str, SourceFile] = {}
    skipped: list[Skipped] = []
    for root, prefix in zip(roots, prefixes(roots), strict=True):
        _check_root(root)
        base, home = (root.parent, None) if root.is_file() else (root, root.resolve())
        for file, problem in _find(root):
            path = prefix + readable(file.relative_to(base))
            if path in found:  # a name in GBK beside the same one in UTF-8
                path = prefix + readable(file.relative_to(base), escape=True)
            try:
                if isinstance(problem, OSError):
                    # One that is gone since it was listed is no folder to wait for.
                    gone = isinstance(problem, FileNotFoundError | NotADirectoryError)
                    skipped.append((Skipped if gone else SkippedFolder)(path=path, reason=_reason(problem)))
                    continue
                if problem or path in found:
                    raise ValueError(problem or f"{found[path].file} has the same path in the index")
                found[path] = _inspect(file, home, path)
            except (OSError, ValueError) as exc:
                skipped.append(Skipped(path=path, reason=_reason(exc)))
    return [found[path] for path in sorted(found)], sorted(skipped, key=lambda item: item.path)


def _check_root(root: Path) -> None:
    try:
        there = root.exists()
        if there and root.is_dir():
            _look_into(root)
    except OSError as exc:
        raise IngestError(f"{root} cannot be read: {_reason(exc)}.", "Check the permissions of your notes.") from exc
    if not there:
        raise IngestError(f"No such file or folder: {root}", "Check the path of your notes.")


def _look_into(folder: Path) -> None:
    """Raise an OSError if the files of `folder` cannot be reached; it needs more rights than to list their names."""
    os.scandir(folder).close()
    os.stat(os.path.join(folder, "."))


def unread(path: str, skipped: Sequence[Skipped]) -> bool:
    """Whether the document lies in a folder that could not be looked into: it is not known to be gone."""
    return any(isinstance(item, SkippedFolder) and path.startswith(f"{item.path}/") for item in skipped)


def below(path: Path, roots: Sequence[str]) -> str | None:
    """What stands before a note's path in an index of `roots`, with ``/``, if `path` lies below one of them.

    Args:
        path: Folder of notes, or one file.
        roots: Absolute, as the index remembers them.

    Returns:
        None if it does not; an empty string at the root itself.
    """
    folders = [Path(root) for root in roots]
    if path.is_file() and (file := path.resolve()) in folders:
        return prefixes(folders)[folders.index(file)]
    at = (path.parent if path.is_file() else path).resolve()
    for folder, prefix in zip(folders, prefixes(folders), strict=True):
        if folder.is_dir() and at.is_relative_to(folder):
            inside = readable(at.relative_to(folder))
            return prefix + (f"{inside}/" if inside else "")
    return None


def distinct_roots(roots: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """`roots` without those whose notes another one has already, and a line about each that is left out.

    That is the same folder named again, and what is read below another; each note would be there twice.
    """
    places = [root.resolve() for root in roots]
    kept: list[Path] = []
    said: list[str] = []
    for i, (root, inner) in enumerate(zip(roots, places, strict=True)):
        if inner in places[:i]:
            said.append(f"{root} was named twice; it is indexed once.")
        elif outer := next((o for o, place in zip(roots, places, strict=True) if _is_read_below(inner, place)), None):
            said.append(f"{root} is within {outer}; it is indexed once.")
        else:
            kept.append(root)
    return kept, said


def _is_read_below(place: Path, root: Path) -> bool:
    """Whether a scan of `root` reads the file or folder `place`: it is nothing hidden and nothing that is left out."""
    if place == root or not place.is_relative_to(root):
        return False
    parts = place.relative_to(root).parts
    if any(part.startswith(".") for part in parts):
        return False
    file = os.path.isfile(place)
    folders = [root.joinpath(*parts[: i + 1]) for i in range(len(parts) - file)]
    return not any(map(is_generated_folder, folders)) and (not file or _is_read(place.name))


def nothing_readable(roots: Sequence[str], skipped: Sequence[Skipped]) -> IngestError:
    """What to raise where no file below `roots` could be read; says why the first was skipped."""
    reasons = f" ({skipped[0].path}: {skipped[0].reason})" if skipped else ""
    return IngestError(f"No readable note in {', '.join(roots)}{reasons}.", "See Formats in the README.")


def read(source: SourceFile, converter: Converter | None = None) -> Document:
    """Read one file.

    Args:
        source: The file.
        converter: Converts what is no note; None: one of its own, for this file only.

    Raises:
        ValueError: If the file is empty, no text, or cannot be converted; the message is the reason.
        OSError: If the file cannot be read.
    """
    one = format_of(source.path)
    if one is not None:
        return _convert(source, one, converter)
    data = source.file.read_bytes()
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES // 1024 // 1024} MiB")
    decoded = decode_note(data)
    if not decoded.text.strip():
        raise ValueError("empty")
    document = make_document(source.path, decoded.text, hashlib.sha256(data).hexdigest())
    return replace(document, warning=decoded.warning)


def _convert(source: SourceFile, one: Format, converter: Converter | None) -> Document:
    if not one.installed:
        raise ValueError('needs ragkit[docs]: pip install "ragkit[docs]"')
    name = PurePosixPath(source.path).name
    if not one.isolated:
        data = source.file.read_bytes()
        if len(data) > one.max_bytes:
            raise ValueError(f"larger than {one.max_bytes // 1024 // 1024} MiB")
        return _document(source.path, one, one.convert(data, name), hashlib.sha256(data).hexdigest())
    if converter is None:
        with Converter() as own:
            return _document(source.path, one, *own.document(source.file, source.path, one))
    return _document(source.path, one, *converter.document(source.file, source.path, one))


def _document(path: str, one: Format, done: Converted, content_hash: str) -> Document:
    return Document(
        path=path,
        text=done.text,
        content_hash=content_hash,
        title=done.title or PurePosixPath(path).stem,
        metadata=with_pages({**done.metadata, "format": one.name}, done.pages),
        warning=done.warning,
    )


def make_document(path: str, text: str, content_hash: str = "") -> Document:
    """Build a document from text that is decoded already; front matter gives title and tags.

    Raises:
        UsageError: If path or text are no texts, or the path is empty: nothing could be found or replaced by it.
    """
    if not isinstance(path, str) or not isinstance(text, str):
        raise UsageError(f"A document has a path and a text, not {path!r} and a {type(text).__name__}.")
    if not path.strip():
        raise UsageError("The path of a document is empty.", "Give it a name of its own: make_document('a.md', text).")
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
    return ", ".join(str(one) for one in value if one is not None) if isinstance(value, list) else str(value)


def prefixes(roots: Sequence[Path]) -> list[str]:
    """What stands before the paths of each root, with ``/``; nothing where there is one root only."""
    if len(roots) < 2:
        return [""] * len(roots)
    names = [readable(Path(root.name if root.is_file() else root.resolve().name)) for root in roots]
    labels = [name if names.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(names, start=1)]
    return [
        "" if root.is_file() and label == name else f"{label}/"
        for root, name, label in zip(roots, names, labels, strict=True)
    ]


def _find(root: Path) -> Iterator[tuple[Path, str | OSError]]:
    """Documents and links below a root, each with the reason why it is not read, or an empty string.

    Folders that cannot be looked into come with the error.
    """
    if root.is_file():
        own, meant = root.name, root.resolve().name
        if any(is_note(name) or format_of(name) for name in (own, meant)):
            yield root, ""
        else:
            known = ", ".join(one.name for one in all_formats())
            other = f"unsupported file type {root.suffix or '(none)'}; .md, .txt, {known} are read"
            yield root, why_unread(own) or why_unread(meant) or other
        return
    unreadable: list[OSError] = []
    for folder, names, files in os.walk(root, followlinks=False, onerror=unreadable.append):
        at = Path(folder)
        seen = sorted(name for name in names if not name.startswith("."))
        names.clear()
        for name in seen:
            if is_generated_folder(at / name):
                continue
            if (at / name).is_symlink():
                yield at / name, "symbolic link to a folder; to index it, name it as a folder of notes"
                continue
            try:
                _look_into(at / name)
            except OSError as exc:
                yield at / name, exc
            else:
                names.append(name)
        for name in sorted(files):
            if name.startswith(".") or (name == MANIFEST and is_index(at)):
                continue
            if _is_read(name) or why_unread(name):
                yield at / name, why_unread(name)
    for error in unreadable:
        yield Path(error.filename), error


def _is_read(name: str) -> bool:
    return is_note(name) or (format_of(name) is not None and not GENERATED.fullmatch(name))


def _inspect(file: Path, home: Path | None, path: str) -> SourceFile:
    """Check a file; links in it must stay below `home`, if that is given."""
    info = file.stat()
    if not stat.S_ISREG(info.st_mode):
        raise ValueError("not a regular file")
    if home is not None and file.is_symlink() and not file.resolve().is_relative_to(home):
        raise ValueError("a link that leads outside the folder of notes")
    one = format_of(path)
    most = MAX_BYTES if one is None else one.max_bytes
    if info.st_size > most:
        raise ValueError(f"larger than {most // 1024 // 1024} MiB")
    return SourceFile(file=file, path=path, size=info.st_size, mtime_ns=changed_ns(info))


def readable(path: PurePath, *, escape: bool = False) -> str:
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


def read_all(
    sources: Sequence[SourceFile], refused: Path | None = None
) -> Iterator[tuple[SourceFile, Document | Skipped]]:
    """Read `sources` one by one; a broken one comes back as its `Skipped`.

    Args:
        sources: Files that `scan` found.
        refused: Where it is kept which of them took too much time or memory, so that they are not
            tried again while they stay as they are; None tries them all.
    """
    before = _load_refused(refused)
    now: dict[str, str] = {}
    with Converter() as converter:
        for source in sources:
            key = f"{CONVERTERS_VERSION} {source.size} {source.mtime_ns} {source.path}"
            try:
                if key in before:
                    raise LimitError(before[key])
                yield source, read(source, converter)
            except (OSError, UndecodableError, ValueError) as exc:
                if isinstance(exc, LimitError):
                    now[key] = str(exc)
                yield source, Skipped(path=source.path, reason=_reason(exc))
    if refused is not None and now != before:
        # No promise hangs on this file: without it, the files in question are only tried again.
        with suppress(OSError):
            fresh = refused.with_name(f"{refused.name}.{os.getpid()}")
            fresh.write_text(json.dumps(now), encoding="ascii")
            fresh.replace(refused)


def _load_refused(file: Path | None) -> dict[str, str]:
    try:
        data = json.loads(file.read_bytes()) if file is not None else {}
    except (OSError, ValueError):
        return {}
    return {str(key): str(reason) for key, reason in data.items()} if isinstance(data, dict) else {}
