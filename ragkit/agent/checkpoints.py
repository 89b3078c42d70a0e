"""The turn that is being answered, on disk step by step, so that a killed run can go on where it was.

One SQLite file for each conversation (``ID.turn``), there only while a turn is unfinished: the
checkpoints of LangGraph, the question with its plan, the state of the turn, and a journal of tool
calls. A call is entered in the journal before it runs and closed with its result; one that was
never closed has an unknown outcome, and no effect is tried a second time.

The file belongs to one process at a time. A killed process lets go of it at once.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from langgraph.checkpoint.sqlite import SqliteSaver

from ragkit.agent.plain import PlainSerializer, dumps, loads
from ragkit.errors import AgentError, RagkitError, SessionBusyError
from ragkit.index.fsops import fsync_folder

log = logging.getLogger(__name__)

_PARTS: Final = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps beside the file itself."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS tool_calls (id TEXT PRIMARY KEY, call BLOB NOT NULL, result BLOB);
"""


@dataclass(frozen=True)
class JournalEntry:
    """One tool call that was begun in an unfinished turn."""

    tool: str
    arguments: dict[str, Any]
    outcome: Literal["done", "unknown"]


class TurnFile:
    """The file of one unfinished turn, held by this process.

    A disk that takes nothing never costs an answer: the file is removed then, and the turn goes on
    without it. Only where it cannot even be removed is a tool with effects not called.

    Args:
        path: The file; made if it is not there.

    Raises:
        SessionBusyError: If another process holds it.
        AgentError: If it cannot be opened, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._gone = False
        self._stuck: AgentError | None = None
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make(path)
            before = path.stat().st_ino
            self._db = sqlite3.connect(path, timeout=0.2, check_same_thread=False)
        except (OSError, sqlite3.Error) as exc:
            raise AgentError(f"{path} cannot be opened: {exc}.", "Check the folder's permissions.") from exc
        try:
            # Held until it is closed: nobody takes a running turn for one that was broken off.
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            # Enough against a killed process; `begin` waits for the disk itself.
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)
            self.saver = _Saver(self._db, self)
            moved = path.stat().st_ino != before
        except FileNotFoundError:
            moved = True
        except sqlite3.Error as exc:
            self._db.close()
            if path.exists():
                raise _unusable(path, exc) from exc
            moved = True
        if moved:
            # Its process finished while we opened it: what we hold is not in the folder any more.
            self._db.close()
            raise _busy(path)

    @property
    def thread(self) -> dict[str, Any]:
        """LangGraph's configuration: one thread, the turn."""
        return {"configurable": {"thread_id": "turn"}}

    @property
    def held(self) -> bool:
        """Whether the turn is still kept: neither over nor given up."""
        return not self._gone

    def part(self, name: str) -> TurnPart:
        """What one part of a workflow keeps in this file."""
        return TurnPart(self, name)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The plain value that was kept under a name; made and kept if there is none.

        Raises:
            AgentError: If it is damaged.
        """
        known = self.fact(name)
        if known is None:
            known = make()
            self.keep(**{name: known})
        return known

    def keep(self, **facts: object) -> None:
        """Write named values, all or none."""
        self._write(lambda: [_fact(name, value) for name, value in facts.items()])

    def fact(self, name: str) -> Any:
        """A value that was kept, or None.

        Raises:
            AgentError: If it is damaged.
        """
        found = self._read("SELECT value FROM facts WHERE name = ?", name)
        return loads(found[0][0]) if found else None

    def begin(self, identity: str, tool: str, arguments: dict[str, Any]) -> None:
        """Enter a tool call that has effects; it is on the disk when this returns.

        Raises:
            AgentError: If neither can it be written nor an older state be taken away.
        """
        self._write(lambda: [_call(identity, tool, arguments, None)], synced=True)
        if self._stuck is not None:
            raise self._stuck

    def done(
        self,
        identity: str,
        tool: str,
        arguments: dict[str, Any],
        result: object,
        state: Callable[[], object],
        name: str = "state",
    ) -> None:
        """Close a tool call with its result, together with the state of the turn after it, under `name`.

        The state is taken when its turn to be written has come: of calls that end side by side the one
        that writes last must not write what was true before the other ended.
        """
        self._write(lambda: [_call(identity, tool, arguments, dumps(result)), _fact(name, state())])

    def result(self, identity: str) -> tuple[bool, Any]:
        """Whether a call was begun, and its result; None if it was never closed.

        Raises:
            AgentError: If it is damaged.
        """
        found = self._read("SELECT result FROM tool_calls WHERE id = ?", identity)
        return bool(found), loads(found[0][0]) if found and found[0][0] is not None else None

    def journal(self) -> list[JournalEntry]:
        """Every tool call with its outcome, in the order in which they were entered.

        Raises:
            AgentError: If it is damaged.
        """
        entries = []
        for call, unclosed in self._read("SELECT call, result IS NULL FROM tool_calls ORDER BY rowid"):
            value = loads(call)
            entries.append(JournalEntry(value["tool"], value["arguments"], "unknown" if unclosed else "done"))
        return entries

    def close(self) -> None:
        """Let go of the file and leave it: the turn can be taken up by whoever opens it next."""
        with self._lock:
            self._gone = True
            with suppress(sqlite3.Error):
                self._db.close()

    def remove(self) -> None:
        """The turn is over: nothing of it stays.

        Raises:
            AgentError: If the file cannot be removed.
        """
        with self._lock:
            # Another turn may have begun since this one was closed; its file is not ours.
            if not self._gone:
                self.close()
                remove_turn(self.path)

    def _give_up(self, reason: Exception) -> None:
        """What is kept is not the state of the turn any more, so it must not be resumed from."""
        log.warning("this turn is not kept for a restart: %s", reason)
        try:
            self.remove()
        except AgentError as exc:
            self._stuck = exc

    def _read(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self._lock:
            if self._gone:
                return []
            try:
                with self.saver.lock:
                    return self._db.execute(query, values).fetchall()
            except sqlite3.Error as exc:
                raise _unusable(self.path, exc) from exc

    def _write(self, rows: Callable[[], list[tuple[str, tuple[Any, ...]]]], synced: bool = False) -> None:
        with self._lock:
            if self._gone:
                return
            try:
                statements = rows()
                if synced:
                    self._db.execute("PRAGMA synchronous=FULL")
                with self.saver.lock, self._db:
                    for statement, values in statements:
                        self._db.execute(statement, values)
                if synced:
                    self._db.execute("PRAGMA synchronous=NORMAL")
            except (sqlite3.Error, RagkitError) as exc:
                self._give_up(exc)


class TurnPart:
    """One part of a workflow in the file of its turn: checkpoints, plan and state of its own, and the one journal.

    Args:
        whole: The file.
        name: Of the part; the same when the turn is resumed.
    """

    def __init__(self, whole: TurnFile, name: str) -> None:
        self._whole = whole
        self._name = name
        self.saver = whole.saver

    @property
    def thread(self) -> dict[str, Any]:
        """LangGraph's configuration: one thread, the part."""
        return {"configurable": {"thread_id": f"part {self._name}"}}

    def keep(self, **facts: object) -> None:
        """See `TurnFile.keep`."""
        self._whole.keep(**{self._scoped(name): value for name, value in facts.items()})

    def fact(self, name: str) -> Any:
        """See `TurnFile.fact`."""
        return self._whole.fact(self._scoped(name))

    def done(
        self, identity: str, tool: str, arguments: dict[str, Any], result: object, state: Callable[[], object]
    ) -> None:
        """See `TurnFile.done`."""
        self._whole.done(self._scoped(identity), tool, arguments, result, state, self._scoped("state"))

    def begin(self, identity: str, tool: str, arguments: dict[str, Any]) -> None:
        """See `TurnFile.begin`."""
        self._whole.begin(self._scoped(identity), tool, arguments)

    def result(self, identity: str) -> tuple[bool, Any]:
        """See `TurnFile.result`."""
        return self._whole.result(self._scoped(identity))

    # Ids of calls are unique within a transcript, and every part has its own.
    def _scoped(self, name: str) -> str:
        return f"part {self._name}/{name}"


Kept = TurnFile | TurnPart
"""Where a turn, or a part of it, is kept."""


class _Saver(SqliteSaver):
    """LangGraph's saver on the file of a turn, under its rules for what goes wrong."""

    def __init__(self, db: sqlite3.Connection, file: TurnFile) -> None:
        super().__init__(db, serde=PlainSerializer())
        self.setup()
        self._file = file

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        self._guarded(lambda: super(_Saver, self).put(config, checkpoint, metadata, new_versions))
        return {"configurable": {**config["configurable"], "checkpoint_id": checkpoint["id"]}}

    def put_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        self._guarded(lambda: super(_Saver, self).put_writes(config, writes, task_id, task_path))

    def _guarded(self, write: Callable[[], object]) -> None:
        with self._file._lock:
            if self._file.held:
                try:
                    write()
                except (sqlite3.Error, RagkitError) as exc:
                    self._file._give_up(exc)


def open_new_turn(path: Path, facts: dict[str, str]) -> TurnFile | None:
    """Begin to keep a turn; what an earlier one left is removed.

    Args:
        path: The file.
        facts: What `ragkit.agent.sessions.UnfinishedTurn` says of it.

    Returns:
        The file; None if the disk takes nothing.

    Raises:
        SessionBusyError: If another process holds it.
    """
    try:
        if path.exists():
            _let_go(path)
        file = TurnFile(path)
        file.keep(turn=facts)
    except SessionBusyError:
        raise
    except AgentError:
        return None
    return file if file.held else None


def remove_turn(path: Path) -> None:
    """Remove the file of a turn and what SQLite keeps beside it.

    Raises:
        AgentError: If the folder does not allow it.
    """
    try:
        for part in _PARTS:
            path.with_name(path.name + part).unlink(missing_ok=True)
        if path.parent.is_dir():
            fsync_folder(path.parent)
    except OSError as exc:
        raise AgentError(f"{path} cannot be removed: {exc.strerror}.", "Remove it, then ask again.") from exc


def _make(path: Path) -> None:
    """Make the file if it is not there: SQLite would let others read it.

    One that is there must not be opened: closing it again would drop the locks this process has on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _busy(path: Path) -> SessionBusyError:
    return SessionBusyError(
        f"Another question is being answered in this session ({path.name}).", "Wait for it, or use another session."
    )


def _let_go(path: Path) -> None:
    """Remove what an earlier turn left, damaged or not, unless its process still runs."""
    try:
        TurnFile(path).remove()
    except SessionBusyError:
        raise
    except AgentError:
        remove_turn(path)


def _fact(name: str, value: object) -> tuple[str, tuple[Any, ...]]:
    return "INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, dumps(value))


def _call(identity: str, tool: str, arguments: dict[str, Any], result: bytes | None) -> tuple[str, tuple[Any, ...]]:
    call = dumps({"tool": tool, "arguments": arguments})
    return "INSERT OR REPLACE INTO tool_calls VALUES (?, ?, ?)", (identity, call, result)


def _unusable(path: Path, exc: sqlite3.Error) -> AgentError:
    if "locked" in str(exc) or "busy" in str(exc):
        return _busy(path)
    return AgentError(f"{path} cannot be read: {exc}.", "Remove it: the turn it holds must be asked again.")
