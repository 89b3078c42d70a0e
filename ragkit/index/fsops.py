"""Durable file operations: every write of an index commit, and every log that grows line by line.

Whatever a commit does to a folder it does through this module, and `observed` sees each step before
and after it happens: tests record the steps, fail them or die in them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import xxhash

from ragkit.errors import IndexFailure

Step = Literal["mkdir", "write", "fsync", "rename", "link", "remove"]
Observer = Callable[[Step, Path, bool], None]
"""Called with the step, the path that it changes, and False before it, True after it."""
_observers: list[Observer] = []
_BLOCK: Final = 1 << 20


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Let `observer` see every step; what it raises is raised by the step."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


@contextmanager
def _step(step: Step, path: Path) -> Iterator[None]:
    for observer in _observers:
        observer(step, path, False)
    yield
    for observer in _observers:
        observer(step, path, True)


def make_folder(path: Path) -> None:
    """Make a folder that only its owner may read."""
    with _step("mkdir", path):
        path.mkdir(mode=0o700)


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill the new file `path`."""
    with _step("write", path):
        write(path)


def write_files(folder: Path, write: Callable[[Path], Sequence[str]]) -> Sequence[str]:
    """Let `write` add files to `folder`; it returns their names."""
    with _step("write", folder):
        return write(folder)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system knows no links."""
    with _step("link", target):
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def remove(path: Path) -> None:
    """Remove a file or a folder with all files in it; what cannot be removed is left for the next commit."""
    with _step("remove", path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def fsync_file(path: Path) -> None:
    """Force a file's bytes to the disk.

    Raises:
        IndexFailure: If the disk refuses; the commit must not go on then.
    """
    with _step("fsync", path):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        except OSError as exc:
            raise IndexFailure(f"The disk refused to store {path}: {exc.strerror}.", "Check the disk.") from exc
        finally:
            os.close(fd)


def fsync_folder(path: Path) -> None:
    """Force a folder's entries to the disk; a no-op where folders cannot be synced (Windows)."""
    if os.name == "nt":
        return
    with _step("fsync", path):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def fsync_all(paths: Sequence[Path]) -> None:
    """Force files and folders to the disk; all at once, so that a journalling file system commits once.

    Raises:
        IndexFailure: If the disk refuses one; the commit must not go on then.
    """

    def sync(path: Path) -> None:
        (fsync_folder if path.is_dir() else fsync_file)(path)

    if _observers or len(paths) < 2:
        for path in paths:
            sync(path)
        return
    with ThreadPoolExecutor(min(16, len(paths))) as pool:
        list(pool.map(sync, paths))


def checksum(path: Path) -> str:
    """XXH3-128 (hex) of a file: against damage, not against forgery; eleven times as quick as SHA-256 here."""
    digest = xxhash.xxh3_128()
    buffer = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def write_text_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: readers see the old file or the new one."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step: readers see the old file or the new one."""
    _write_atomically(path, data)


def write_json_atomically(path: Path, value: Any, after: Sequence[Path] = ()) -> None:
    """Replace `path` by `value` as JSON in one step: readers see the old file or the new one.

    Args:
        path: File to replace.
        value: What `json.dumps` takes.
        after: Files and folders that must be on the disk before.
    """
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:  # the name of a folder that is no UTF-8; escaped, it comes back as it was
        data = json.dumps(value, indent=1, sort_keys=True).encode("ascii")
    _write_atomically(path, data, after)


def _write_atomically(path: Path, data: bytes, after: Sequence[Path] = ()) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(3)}.tmp")
    try:
        write_file(temporary, lambda new: new.write_bytes(data))
        fsync_all([*after, temporary])
        with _step("rename", path):
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def append_line(path: Path, line: bytes, mode: int = 0o600) -> None:
    """Append one line to a log and force it to the disk.

    A file that is not there is made with `mode`, less the umask. A crash or a full disk may have
    cut the last line; the new one is never glued to it.

    Raises:
        OSError: If it cannot be written.
    """
    new = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), mode)
    try:
        if os.fstat(fd).st_size:
            os.lseek(fd, -1, os.SEEK_END)
            if os.read(fd, 1) != b"\n":
                line = b"\n" + line
        rest = memoryview(line + b"\n")
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    if new:
        fsync_folder(path.parent)


def with_disk_errors(folder: Path, action: Callable[[], None]) -> None:
    """Run `action`; a full or failing disk becomes one clear line and leaves the old state.

    Raises:
        IndexFailure: On any error of the disk, naming the folder and the free space.
    """
    try:
        action()
    except (OSError, sqlite3.Error, RuntimeError) as exc:  # FAISS reports a full disk as RuntimeError
        free = shutil.disk_usage(folder).free // 1024 // 1024
        reason = " ".join(str(getattr(exc, "strerror", None) or exc).split())[:200]
        raise IndexFailure(
            f"Cannot write the index in {folder}: {reason} ({free} MiB free).",
            "The previous index is unchanged; make room or choose another folder with --index.",
        ) from exc
