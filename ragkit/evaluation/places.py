"""Places that a measurement writes to, tried before it begins: minutes of computing must not end in a wrong path."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ragkit.errors import ConfigError


def check_file(path: Path, remedy: str) -> None:
    """Make sure that a file can be written at `path`; its folder is made, the file is not touched.

    Raises:
        ConfigError: If it cannot.
    """
    if path.is_dir():
        raise ConfigError(f"Cannot write {path}: it is a folder.", remedy)
    _check(path.parent, path, remedy)


def check_folder(path: Path, remedy: str) -> None:
    """Make sure that files can be written into the folder `path`, which is made.

    Raises:
        ConfigError: If they cannot.
    """
    _check(path, path, remedy)


def _check(folder: Path, path: Path, remedy: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Rights alone do not tell: the disk may be full or the file system read-only.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise ConfigError(f"Cannot write {path}: {exc.strerror}.", remedy) from exc
