"""A remembered fact as a value: its text, where it came from, what became of it.

Text is one line without control characters, because it is shown to people and to models. An item is
stored as one document of one chunk in an index (`ragkit.memory.shelf`): those that hold below
``now/``, those that were superseded below ``old/``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from ragkit.errors import UsageError
from ragkit.memory.asking import without_asking
from ragkit.text.sanitize import clean_question
from ragkit.values import Document

Origin = Literal["user", "agent", "import"]
Trust = Literal["high", "medium", "low"]
ORIGINS: Final[tuple[Origin, ...]] = get_args(Origin)
TRUSTS: Final[tuple[Trust, ...]] = get_args(Trust)
TRUST_OF: Final[dict[Origin, Trust]] = {"user": "high", "agent": "medium", "import": "low"}
"""Typed by the user; written by the agent with the user's yes; read from a file."""
MAX_CHARS: Final = 500
CURRENT: Final = "now/"
SUPERSEDED: Final = "old/"
_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{0,64}")


@dataclass(frozen=True, kw_only=True)
class MemoryItem:
    """One remembered fact."""

    id: str
    """12 hexadecimal digits; stays the same while the item is confirmed, superseded or exported."""
    text: str
    """One line of at most 500 characters."""
    origin: Origin
    trust: Trust
    time: str
    """When it was remembered first: UTC, ISO 8601."""
    session: str = ""
    """Conversation it was said in; empty outside of one."""
    last: str = ""
    """When it was said last; the same as `time` unless it was said again."""
    said: int = 1
    """How often it was said."""
    superseded_by: str = ""
    """Id of the item that took its place; empty while it holds."""
    until: str = ""
    """When that was."""

    @property
    def current(self) -> bool:
        """Whether it still holds."""
        return not self.superseded_by

    @property
    def path(self) -> str:
        """Path of its document in the index."""
        return (CURRENT if self.current else SUPERSEDED) + self.id

    @property
    def rank(self) -> int:
        """Trust as a number, 0 (low) to 2 (high)."""
        return len(TRUSTS) - 1 - TRUSTS.index(self.trust)

    def to_json(self) -> dict[str, Any]:
        """Every field by name."""
        return asdict(self)

    def document(self) -> Document:
        """The item as a document; any change of a field changes its content hash."""
        metadata = {key: str(value) for key, value in asdict(self).items() if key != "text"}
        digest = hashlib.sha256("\0".join((self.text, *map(str, metadata.items()))).encode("utf-8")).hexdigest()
        return Document(path=self.path, text=self.text, content_hash=digest, metadata=metadata)

    @classmethod
    def of(cls, document: Document) -> MemoryItem:
        """The item that a document was made of."""
        known = {field.name for field in fields(cls)} - {"text", "said"}
        values: dict[str, Any] = {key: value for key, value in document.metadata.items() if key in known}
        return cls(text=document.text, said=int(document.metadata.get("said", 1)), **values)


def new_item(
    text: str, *, origin: Origin = "user", session: str = "", trust: Trust | None = None, time: str = ""
) -> MemoryItem:
    """A new fact.

    Args:
        text: Cleaned to one line.
        origin: Who said it.
        session: Name of the conversation.
        trust: None takes that of the origin.
        time: When it was said, ISO 8601; empty means now.

    Raises:
        UsageError: If the text is empty or too long, or a field has no allowed value.
    """
    line = clean_text(text)
    if origin not in ORIGINS:
        raise UsageError(f"Unknown origin {origin!r}.", f"Allowed: {', '.join(ORIGINS)}.")
    if trust is not None and trust not in TRUSTS:
        raise UsageError(f"Unknown trust {trust!r}.", f"Allowed: {', '.join(TRUSTS)}.")
    if _SESSION.fullmatch(session) is None:
        raise UsageError(f"Session name {session!r} is not allowed.", "Use letters, digits, - and _, at most 64.")
    moment = check_time(time) if time else now()
    digest = hashlib.blake2b(f"{line}\0{moment}".encode(), digest_size=6).hexdigest()
    return MemoryItem(
        id=digest,
        text=line,
        origin=origin,
        trust=trust or TRUST_OF[origin],
        time=moment,
        session=session,
        last=moment,
    )


def clean_text(text: str) -> str:
    """`text` as it is remembered: one line, nothing invisible, and not the words that ask to remember it.

    Raises:
        UsageError: If nothing is left, or more than 500 characters are.
    """
    line = without_asking(" ".join(clean_question(text).split()))
    if not re.search(r"\w", line):
        raise UsageError("There is nothing to remember in an empty text.", "Say a fact in words.")
    if len(line) > MAX_CHARS:
        raise UsageError(
            f"The text has {len(line):,} characters; a memory has at most {MAX_CHARS}.",
            "Say it in one sentence, or put it into a note and index it.",
        )
    return line


def now() -> str:
    """The time as items carry it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def check_time(text: str) -> str:
    """An ISO 8601 time as items carry it.

    Raises:
        UsageError: If it is none, or none in UTC: the first hours of the year 1 begin before it there.
    """
    try:
        moment = datetime.fromisoformat(text)
        aware = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise UsageError(f"{text[:40]!r} is no ISO 8601 time.", "Write it like 2026-11-22T13:00:00+00:00.") from exc
    return aware.isoformat(timespec="milliseconds")
