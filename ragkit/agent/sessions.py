"""Conversations on disk: one JSON line a finished turn, appended and synced before it is shown as done.

A crash can cut at most the line being written; a cut last line is ignored when the session is
opened again. A disk that takes nothing never costs an answer: turns wait in memory and are
written with the next one.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragkit.agent.answer import Answer, Citation
from ragkit.agent.budget import Spent
from ragkit.errors import AgentError, UsageError
from ragkit.index.fsops import append_line
from ragkit.retrieval.rewrite import Turn


@dataclass(frozen=True)
class PastAnswer:
    """What is needed of an earlier turn."""

    question: str
    text: str
    standalone: str
    citations: tuple[Citation, ...]
    spent: Spent = field(default=Spent())


class Session:
    """A conversation.

    Args:
        path: File it is kept in; None keeps it in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.answers: list[PastAnswer] = []
        self.spent = Spent()
        """What all questions of the conversation have cost so far, those without an answer too."""
        self._waiting: list[bytes] = []
        self._warned = False
        if path is not None and path.is_file():
            self.answers = _read(path)
            self.spent = sum((answer.spent for answer in self.answers), Spent())

    @property
    def id(self) -> str:
        """Name of the session, empty if it is not kept."""
        return self.path.stem if self.path else ""

    @classmethod
    def open(cls, home: Path, identity: str) -> Session:
        """Open the session `identity` below `home`, or start it.

        Raises:
            UsageError: If the name has other characters than letters, digits, ``-`` and ``_``.
            AgentError: If it is there but cannot be read.
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

    def charge(self, spent: Spent) -> None:
        """Add what a question has cost, whatever became of it."""
        self.spent = self.spent + spent

    def append(self, answer: Answer) -> str:
        """Add a finished turn and save it.

        Returns:
            One line for the user if it could not be saved, else an empty string. It is said once,
            until saving works again.
        """
        self.answers.append(PastAnswer(answer.question, answer.text, answer.standalone, answer.citations))
        if self.path is None:
            return ""
        record: dict[str, Any] = {"question": answer.question, "standalone": answer.standalone, **answer.to_json()}
        self._waiting.append(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            while self._waiting:
                append_line(self.path, self._waiting[0])
                self._waiting.pop(0)
        except OSError as exc:
            first, self._warned = not self._warned, True
            reason = exc.strerror or type(exc).__name__
            remedy = "Make room there, or set RAGKIT_HOME to a folder you may write to."
            return f"The session cannot be saved in {self.path}: {reason}. {remedy}" if first else ""
        self._warned = False
        return ""


def _read(path: Path) -> list[PastAnswer]:
    answers = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as exc:
        raise AgentError(
            f"The session {path} cannot be read: {exc.strerror}.", "Check its permissions, or name another session."
        ) from exc
    for line in text.split("\n"):
        try:
            record = json.loads(line)
            citations = tuple(Citation(**{**c, "heading": tuple(c["heading"])}) for c in record["citations"])
            spent = Spent(
                len(record["steps"]),
                sum(record["usage"].values()),
                record["seconds"],
                record.get("cost") or 0.0,
            )
            answers.append(PastAnswer(record["question"], record["answer"], record["standalone"], citations, spent))
        except (ValueError, KeyError, TypeError):
            continue
    return answers
