"""Whose memories are where, and which of them a search may return: names and conditions from closed lists.

No name or value that comes from outside becomes a path, a pattern or a query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from ragkit.errors import MemoryFailure, UnknownMemoryError, UsageError
from ragkit.index.manifest import MANIFEST
from ragkit.memory.items import ORIGINS, TRUSTS, MemoryItem, check_time

FOLDER: Final = "memory"
WHERE: Final = ("origin", "trust", "session", "after", "before")
"""What a search may be narrowed by."""
_USER: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_RESERVED: Final = re.compile(r"con|prn|aux|nul|(?:com|lpt)\d")
"""Names that no folder of Windows may have."""


def folder_of(home: Path, user: str) -> Path:
    """The folder of a user's namespace; it may not exist yet.

    Raises:
        UsageError: If the name is not allowed.
        MemoryFailure: If it is a link.
    """
    folder = home / FOLDER / check_user(user)
    if folder.is_symlink() or folder.parent.is_symlink():
        raise MemoryFailure(f"{folder} is a link; it might lead to another user's memory.", "Remove it.")
    return folder


def check_user(user: str) -> str:
    """The name of a namespace, which is the name of a folder.

    Raises:
        UsageError: If it is not allowed; capitals are not, because some file systems do not tell them apart.
    """
    if not isinstance(user, str) or _USER.fullmatch(user) is None or _RESERVED.fullmatch(user):
        raise UsageError(
            f"Memory user {str(user)[:80]!r} is not allowed.", "Use lower case letters, digits, - and _ (at most 64)."
        )
    return user


def users(home: Path) -> list[str]:
    """The names of all namespaces below a home that hold something."""
    folder = home / FOLDER
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path.name for path in found if _USER.fullmatch(path.name) and (path / MANIFEST).is_file())


def conditions(where: Mapping[str, str]) -> list[Callable[[MemoryItem], bool]]:
    """A test for each condition.

    Raises:
        UsageError: If a name is not in the list, or a value none that the field may have.
    """
    tests: list[Callable[[MemoryItem], bool]] = []
    for name, value in where.items():
        if name not in WHERE:
            raise UsageError(f"Memories cannot be narrowed by {str(name)[:40]!r}.", f"Allowed: {', '.join(WHERE)}.")
        if not isinstance(value, str):
            raise UsageError(f"The value of {name} must be a text.")
        if name in {"after", "before"}:
            moment = check_time(value)
            tests.append(lambda item, m=moment, a=name == "after": item.time > m if a else item.time < m)  # type: ignore[misc]
            continue
        allowed: Iterable[str] = {"origin": ORIGINS, "trust": TRUSTS}.get(name, (value,))
        if value not in allowed:
            raise UsageError(f"Unknown {name} {value[:40]!r}.", f"Allowed: {', '.join(allowed)}.")
        tests.append(lambda item, n=name, v=value: getattr(item, n) == v)  # type: ignore[misc]
    return tests


def find(items: Mapping[str, MemoryItem], given: str) -> str:
    """The id among `items` that `given` is, or begins like with at least 4 digits.

    Raises:
        UnknownMemoryError: If there is none, or several.
    """
    if given in items:
        return given
    found = [key for key in items if key.startswith(given)] if len(given) >= 4 else []
    if len(found) != 1:
        what = "No memory has" if not found else f"{len(found)} memories have"
        raise UnknownMemoryError(f"{what} the id {given[:40]!r}.", "`ragkit memory list` shows the ids.")
    return found[0]
