"""Feedback on disk: one JSON line a rating or a review, appended and synced, never rewritten.

A crash can cut at most the line being written; a cut line is ignored and the next one is not
glued to it. Writers hold a lock, readers need none. The file is private to its owner and keeps
texts as they were; personal data is taken out when they are exported (`ragkit.feedback.personal`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from filelock import FileLock, Timeout
from pydantic import Field, TypeAdapter, ValidationError

from ragkit.errors import FeedbackError, UsageError
from ragkit.feedback.records import Gold, Item, Record, Review, Status
from ragkit.index.fsops import append_line

_LOCK_SECONDS: Final = 10.0
_MIN_PREFIX: Final = 4
_LINE: Final[TypeAdapter[Record | Review]] = TypeAdapter(Annotated[Record | Review, Field(discriminator="kind")])
_log = logging.getLogger(__name__)


class FeedbackStore:
    """The ratings and reviews below a home.

    Args:
        home: ``$RAGKIT_HOME``; nothing is created before the first rating.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / "feedback" / "feedback.jsonl"

    def rate(self, record: Record) -> Record:
        """Keep a rating; one with the id of an earlier one takes its place and is unreviewed again.

        Raises:
            FeedbackError: If it cannot be written.
        """
        self._append(record)
        return record

    def review(
        self,
        identity: str,
        status: Status,
        answer: str | None = None,
        gold: tuple[Gold, ...] | None = None,
    ) -> Item:
        """Decide about a record.

        Args:
            identity: Its id, or the first characters of it (at least 4).
            status: ``accepted``, ``fixed``, ``dropped``, or ``new`` to take a decision back.
            answer: With ``fixed``: the right answer; None keeps the one that was given.
            gold: With ``fixed``: the right places; None keeps the citations of a good answer.

        Raises:
            UsageError: If there is no such record, or a fix changes nothing.
            FeedbackError: If it cannot be written.
        """
        if status == "fixed" and answer is None and gold is None:
            raise UsageError("A fix needs the right answer or its sources.", "Give an answer, or gold.")
        if status != "fixed" and (answer is not None or gold is not None):
            raise UsageError(f"A review that says {status} corrects nothing.", "Use fixed to correct an answer.")
        item = self.find(identity)
        self._append(Review(id=item.id, status=status, answer=answer, gold=gold))
        return self.find(item.id)

    def items(self) -> list[Item]:
        """All records as they stand, in the order in which they were first rated."""
        items: dict[str, Item] = {}
        for line in self._lines():
            if isinstance(line, Record):
                items[line.id] = Item(record=line)
            elif line.id in items:
                items[line.id] = Item(
                    record=items[line.id].record,
                    status=line.status,
                    corrected_answer=line.answer,
                    corrected_gold=line.gold,
                )
        return list(items.values())

    def find(self, identity: str) -> Item:
        """The record with this id, or with an id that begins so.

        Raises:
            UsageError: If there is none, or several.
        """
        items = self.items()
        found = [item for item in items if item.id == identity]
        if not found and len(identity) >= _MIN_PREFIX:
            found = [item for item in items if item.id.startswith(identity)]
        if len(found) != 1:
            what = "No feedback has" if not found else f"{len(found)} records have"
            raise UsageError(f"{what} the id {identity!r}.", "`ragkit feedback list` shows the ids.")
        return found[0]

    def _append(self, line: Record | Review) -> None:
        # Lone surrogates come in with file names and broken terminals; they are no UTF-8.
        data = json.dumps(line.model_dump(), ensure_ascii=False).encode("utf-8", "replace")
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(folder / "LOCK", timeout=_LOCK_SECONDS):
                append_line(self.path, data)
        except Timeout as exc:
            raise FeedbackError(f"Another process holds {folder / 'LOCK'}.", "Try again when it is done.") from exc
        except OSError as exc:
            raise FeedbackError(
                f"Cannot write {self.path}: {exc.strerror or exc}.", "Check RAGKIT_HOME and the free space."
            ) from exc

    def _lines(self) -> Iterator[Record | Review]:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as exc:
            raise FeedbackError(f"Cannot read {self.path}: {exc.strerror}.", "Check its permissions.") from exc
        for number, line in enumerate(raw.split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                yield _LINE.validate_json(line)
            except ValidationError:
                _log.warning("%s:%d is cut or malformed and is left out", self.path, number)
