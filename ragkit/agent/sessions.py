"""Conversations on disk: one JSON line a finished turn, appended and synced before it is shown as done.

A crash can cut at most the line being written; a cut last line is ignored when the session is
opened again. A disk that takes nothing never costs an answer: turns wait in memory and are
written with the next one. The turn that is being answered stands in a file beside it
(`ragkit.agent.checkpoints`), from which a killed run is resumed.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ragkit.agent.answer import Answer, Citation
from ragkit.agent.budget import Spent
from ragkit.errors import AgentError, UsageError
from ragkit.index.fsops import append_line
from ragkit.retrieval.rewrite import Past, turns_of

if TYPE_CHECKING:
    from ragkit.agent.checkpoints import TurnFile

FOLDER: Final = "sessions"
"""Below the home folder."""
TURN_SUFFIX: Final = ".turn"
"""Of the file that holds an unfinished turn."""
_NAME_CHARS: Final = 64
_CITATION: Final = frozenset(field.name for field in dataclasses.fields(Citation))


@dataclass(frozen=True)
class PastAnswer:
    """What is needed of an earlier turn."""

    question: str
    text: str
    standalone: str
    citations: tuple[Citation, ...]
    abstained: bool = False
    model: str = ""
    time: str = ""
    """When it was given, ISO 8601 with the offset; empty in sessions of earlier versions."""
    turn: str = ""
    """Id of the turn, empty in sessions of earlier versions."""
    state: dict[str, Any] = field(default_factory=dict)
    """See `ragkit.agent.answer.Answer.state`."""
    spent: Spent = field(default=Spent())


@dataclass(frozen=True)
class UnfinishedTurn:
    """A turn whose process ended before it was answered."""

    id: str
    question: str
    agent: str
    model: str
    began: str
    """ISO 8601 with the offset."""
    steps: int
    """Tool calls that were finished."""
    unknown: tuple[str, ...]
    """Calls with effects of which it is not known whether they took effect, as ``tool(arguments)``."""

    def __str__(self) -> str:
        done = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        doubt = f"; it is not known whether {', '.join(self.unknown)} took effect" if self.unknown else ""
        return f"The last turn was not finished: {self.question!r} (begun {self.began}, {done} done{doubt})"


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
        self._seen: tuple[int, int, int] | None = None
        self.refresh()

    @property
    def id(self) -> str:
        """Name of the session, empty if it is not kept."""
        return self.path.stem if self.path else ""

    def refresh(self) -> None:
        """Take over the turns that others, in this process or another, have added to its file since.

        Raises:
            AgentError: If the file is there but cannot be read.
        """
        seen = _state(self.path)
        if self.path is None or seen is None or seen == self._seen or self._waiting:
            return
        known = {(answer.turn, answer.time, answer.question) for answer in self.answers}
        # A list of its own: whoever holds the one of before goes on with what was known then.
        self.answers = _read(self.path)
        added = [a for a in self.answers if (a.turn, a.time, a.question) not in known]
        self.spent = sum((answer.spent for answer in added), self.spent)
        self._seen = seen

    @classmethod
    def open(cls, home: str | Path, identity: str) -> Session:
        """Open the session `identity` below `home`, or start it.

        Args:
            home: ``load_settings().home``, which is ``$RAGKIT_HOME``, or a folder of the program's own.
            identity: Its name.

        Raises:
            UsageError: If the name has other characters than letters, digits, ``-`` and ``_``.
            AgentError: If it is there but cannot be read.
        """
        return cls(session_path(home, identity))

    @classmethod
    def seeded(cls, turns: Sequence[Past]) -> Session:
        """A conversation in memory that begins with these earlier turns.

        Raises:
            UsageError: If one is neither a `Turn` nor a pair of question and answer.
        """
        session = cls()
        session.answers = [PastAnswer(turn.question, turn.answer, turn.question, ()) for turn in turns_of(turns)]
        return session

    @classmethod
    def start(cls, home: str | Path) -> Session:
        """A new session with a name from date and chance."""
        return cls.open(home, f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}")

    def charge(self, spent: Spent) -> None:
        """Add what a question has cost, whatever became of it."""
        self.spent = self.spent + spent

    def append(self, answer: Answer, turn: str = "") -> str:
        """Add a finished turn and save it.

        Args:
            answer: What was answered.
            turn: Id of the turn; one that is here already is never resumed.

        Returns:
            One line for the user if it could not be saved, else an empty string. It is said once,
            until saving works again.
        """
        now = _now()
        self.answers.append(
            PastAnswer(
                answer.question,
                answer.text,
                answer.standalone,
                answer.citations,
                answer.abstained,
                answer.model,
                now,
                turn,
                answer.state,
            )
        )
        if self.path is None:
            return ""
        record: dict[str, Any] = {"question": answer.question, "standalone": answer.standalone, **answer.to_json()}
        record.update(time=now, turn=turn, state=answer.state)
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
        self._seen = _state(self.path)
        return ""

    def unfinished(self) -> UnfinishedTurn | None:
        """The turn that was being answered when its process ended, if there is one.

        Raises:
            SessionBusyError: If it is being answered right now.
            AgentError: If what was kept of it is damaged.
        """
        file = self._left()
        if file is None:
            return None
        try:
            return _unfinished(file)
        finally:
            file.close()

    def begin_turn(self, question: str, agent: str, model: str) -> TurnFile | None:
        """Keep the turn that begins now; one that was left unfinished is dropped.

        Returns:
            Where it is kept; None if this session is not kept, or the disk takes nothing.

        Raises:
            SessionBusyError: If another question is being answered in this session.
        """
        if self.path is None:
            return None
        from ragkit.agent.checkpoints import open_new_turn

        facts = {"id": secrets.token_hex(8), "question": question, "agent": agent, "model": model, "began": _now()}
        file = open_new_turn(self.path.with_suffix(TURN_SUFFIX), facts)
        self.refresh()  # now that nobody else can add to it
        return file

    def take_up(self) -> TurnFile:
        """The unfinished turn, to go on with.

        Raises:
            SessionBusyError: If it is being answered right now.
            AgentError: If there is none, or it is damaged.
        """
        file = self._left()
        if file is None:
            raise AgentError(f"The session {self.id} has no unfinished turn.", "Ask a question.")
        return file

    def _left(self) -> TurnFile | None:
        path = self.path.with_suffix(TURN_SUFFIX) if self.path else None
        if path is None or not path.is_file():
            return None
        # LangGraph takes a while to import, and most sessions have no unfinished turn.
        from ragkit.agent.checkpoints import TurnFile

        self.refresh()
        file = TurnFile(path)
        try:
            facts = file.fact("turn")
        except AgentError:
            file.close()
            raise
        if facts is None or facts["id"] in {answer.turn for answer in self.answers}:
            # It died before there was anything to keep, or after the answer was saved.
            file.remove()
            return None
        return file


def folder_of(home: str | Path) -> Path:
    """Where the sessions of a home folder are."""
    return Path(home).expanduser() / FOLDER


def session_path(home: str | Path, identity: str) -> Path:
    """The file of a session.

    Raises:
        UsageError: If the name has other characters than letters, digits, ``-`` and ``_``, begins with one of the
            latter two, or is longer than 64 characters.
    """
    allowed = f"Use letters, digits, - and _, at most {_NAME_CHARS}."
    if not isinstance(identity, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", identity):
        raise UsageError(f"Session name {str(identity)[:80]!r} is not allowed.", allowed)
    if len(identity) > _NAME_CHARS:
        raise UsageError(f"A session name of {len(identity):,} characters is too long: {identity[:20]}….", allowed)
    if identity[0] in "-_":
        raise UsageError(f"Session name {identity!r} begins with {identity[0]}.", "Begin it with a letter or a digit.")
    return folder_of(home) / f"{identity}.jsonl"


def _unfinished(file: TurnFile) -> UnfinishedTurn:
    facts, calls = file.fact("turn"), file.journal()
    unknown = tuple(f"{c.tool}({_shown(c.arguments)})" for c in calls if c.outcome == "unknown")
    return UnfinishedTurn(**facts, steps=len(calls) - len(unknown), unknown=unknown)


def _shown(arguments: dict[str, Any]) -> str:
    text = json.dumps(arguments, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:119]}…"


def _state(path: Path | None) -> tuple[int, int, int] | None:
    """What changes when a file does; None if it is not there, or no file: a device may have no end."""
    try:
        told = path.stat() if path else None
    except OSError:
        return None
    return (told.st_ino, told.st_size, told.st_mtime_ns) if told and stat.S_ISREG(told.st_mode) else None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


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
            answers.append(_past(record))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return answers


def _past(record: dict[str, Any]) -> PastAnswer:
    given = [{k: v for k, v in c.items() if k in _CITATION} for c in record["citations"]]
    return PastAnswer(
        record["question"],
        record["answer"],
        record["standalone"],
        tuple(Citation(**{**c, "heading": tuple(c["heading"])}) for c in given),
        bool(record.get("abstained", False)),
        str(record.get("model", "")),
        str(record.get("time", "")),
        str(record.get("turn", "")),
        dict(record.get("state") or {}),
        Spent(
            len(record.get("steps", ())),
            sum(record.get("usage", {}).values()),
            float(record.get("seconds", 0.0)),
            float(record.get("cost") or 0.0),
        ),
    )
