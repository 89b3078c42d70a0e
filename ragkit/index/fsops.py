"""Durable file operations: every write of an index commit, and every log that grows line by line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ragkit.errors import IndexFailure


def fsync_file(path: Path) -> None:
    """Force a file's bytes to the disk.

    Raises:
        IndexFailure: If the disk refuses; the commit must not go on then.
    """
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
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: readers see the old file or the new one."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step: readers see the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        fsync_file(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def write_json_atomically(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON in one step: readers see the old file or the new one."""
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:  # the name of a folder that is no UTF-8; escaped, it comes back as it was
        data = json.dumps(value, indent=1, sort_keys=True).encode("ascii")
    write_bytes_atomically(path, data)


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
