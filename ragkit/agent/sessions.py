"""Conversations on disk: one JSON line a finished turn, appended and synced before it is shown as done.

A crash can cut at most the line being written; a cut last line is ignored when the session is
opened again.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkit.agent.answer import Answer, Citation
from ragkit.errors import UsageError
from ragkit.retrieval.rewrite import Turn


@dataclass(frozen=True)
class PastAnswer:
    """What is needed of an earlier turn."""

    question: str
    text: str
    standalone: str
    citations: tuple[Citation, ...]


class Session:
    """A conversation.

    Args:
        path: File it is kept in; None keeps it in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.answers: list[PastAnswer] = []
        if path is not None and path.is_file():
            self.answers = _read(path)

    @property
    def id(self) -> str:
        """Name of the session, empty if it is not kept."""
        return self.path.stem if self.path else ""

    @classmethod
    def open(cls, home: Path, identity: str) -> Session:
        """Open the session `identity` below `home`, or start it.

        Raises:
            UsageError: If the name has other characters than letters, digits, ``-`` and ``_``.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", identity):
            raise UsageError(f"Session name {identity!r} is not allowed.", "Use letters, digits, - and _.")
        return cls(home / "sessions" / f"{identity}.jsonl")

    @classmethod
    def seeded(cls, turns: Sequence[Turn]) -> Session:
        """A conversation in memory that begins with these earlier turns."""
        session = cls()
        session.answers = [PastAnswer(turn.question, turn.answer, turn.question, ()) for turn in turns]
        return session

    @classmethod
    def start(cls, home: Path) -> Session:
        """A new session with a name from date and chance."""
        return cls.open(home, f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}")

    def append(self, answer: Answer) -> None:
        """Add a finished turn, on disk first."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            record: dict[str, Any] = {"question": answer.question, "standalone": answer.standalone, **answer.to_json()}
            line = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                # A crash may have cut the last line; the next record must not be glued to it.
                size = os.fstat(fd).st_size
                if size and os.pread(fd, 1, size - 1) != b"\n":
                    line = b"\n" + line
                os.write(fd, line)
                os.fsync(fd)
            finally:
                os.close(fd)
        self.answers.append(PastAnswer(answer.question, answer.text, answer.standalone, answer.citations))


def _read(path: Path) -> list[PastAnswer]:
    answers = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            record = json.loads(line)
            citations = tuple(Citation(**{**c, "heading": tuple(c["heading"])}) for c in record["citations"])
            answers.append(PastAnswer(record["question"], record["answer"], record["standalone"], citations))
        except (ValueError, KeyError, TypeError):
            continue
    return answers
