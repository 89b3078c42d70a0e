"""The log of memories that had to go for want of room: ids and facts about them, never their text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ragkit.index.fsops import append_line, write_text_atomically
from ragkit.memory.items import MemoryItem, now

NAME: Final = "evicted.jsonl"
_BYTES: Final = 256 * 1024
"""Size from which the older half of the log goes."""


def log_evicted(folder: Path, gone: Sequence[MemoryItem]) -> None:
    """Write down what was evicted."""
    path = folder / NAME
    with suppress(OSError):  # the commit is made; a log that cannot be written must not deny it
        if path.is_file() and path.stat().st_size > _BYTES:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            write_text_atomically(path, "".join(lines[len(lines) // 2 :]))
        facts = [
            {"id": item.id, "evicted": now(), "origin": item.origin, "trust": item.trust, "last": item.last}
            for item in gone
        ]
        append_line(path, "\n".join(map(json.dumps, facts)).encode("ascii"))


def evicted(folder: Path) -> list[dict[str, Any]]:
    """What was evicted, the oldest first: id, time, origin, trust, when it was said last."""
    try:
        lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError):  # the last line may be cut
            found.append(json.loads(line))
    return found


def drop_log(folder: Path) -> None:
    """Forget what was evicted, too."""
    with suppress(OSError):
        (folder / NAME).unlink()
