"""One rated answer with everything it was made from, and the reviews that follow it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Rating = Literal["good", "bad"]
Status = Literal["new", "accepted", "fixed", "dropped"]
RATINGS: tuple[Rating, ...] = get_args(Rating)
STATUSES: tuple[Status, ...] = get_args(Status)
QUOTES_ONLY: Final = "extractive"
"""Name of the chat model that is none: its answers are quotes under a notice, no example of an answer."""


def now() -> str:
    """The time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Line(BaseModel):
    # A newer version may add keys; an older one must still read the rest.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Exchange(_Line):
    """An earlier turn that the question leans on."""

    question: str
    answer: str


class Quote(_Line):
    """A verbatim place of a note: ``document.text[start:end] == quote``."""

    document: str
    start: int
    end: int
    quote: str


class Passage(_Line):
    """A chunk that was retrieved; marker n of the answer is the nth of these."""

    document: str
    start: int
    end: int
    text: str
    sha256: str
    """SHA-256 (hex) of `text`: tells whether the note still says this."""
    heading: tuple[str, ...] = ()
    start_line: int = 0
    end_line: int = 0

    @property
    def search_text(self) -> str:
        """What the embedding model saw: heading path, then the text."""
        path = " > ".join(self.heading)
        return f"{path}\n{self.text}" if path else self.text


class Versions(_Line):
    """What gave the answer."""

    ragkit: str = ""
    chat_model: str = ""
    embedding_model: str = ""
    index_generation: str = ""
    agent: str = ""


class Gold(_Line):
    """A place that answers the question, in the form of a question set: `quote` stands in `file`."""

    file: str
    quote: str


class Record(_Line):
    """One rated answer. Offsets count characters of the note, see `ragkit.values`."""

    kind: Literal["rating"] = "rating"
    id: str
    time: str = Field(default_factory=now)
    rating: Rating
    reason: str = ""
    question: str
    standalone: str = ""
    """The question as it was understood, follow-ups made self-contained."""
    history: tuple[Exchange, ...] = ()
    answer: str
    abstained: bool = False
    citations: tuple[Quote, ...] = ()
    passages: tuple[Passage, ...] = ()
    versions: Versions = Versions()


class Review(_Line):
    """What a reviewer decided about the record `id`; a later one takes the place of an earlier one."""

    kind: Literal["review"] = "review"
    id: str
    time: str = Field(default_factory=now)
    status: Status
    answer: str | None = None
    """The corrected answer; None keeps the one that was given."""
    gold: tuple[Gold, ...] | None = None
    """The right places; None keeps the citations that were given."""


class Item(_Line):
    """A record as it stands after its last review."""

    record: Record
    status: Status = "new"
    corrected_answer: str | None = None
    corrected_gold: tuple[Gold, ...] | None = None

    @property
    def id(self) -> str:
        """Identity of the record."""
        return self.record.id

    @property
    def answer(self) -> str:
        """The corrected answer if there is one, else the one that was given."""
        return self.record.answer if self.corrected_answer is None else self.corrected_answer

    @property
    def gold(self) -> tuple[Gold, ...]:
        """The right places: corrected ones, else what a good answer cited; empty if nobody knows."""
        if self.corrected_gold is not None:
            return self.corrected_gold
        if self.record.rating == "bad":
            # The citations of a bad answer may be what was bad about it.
            return ()
        return tuple(dict.fromkeys(Gold(file=c.document, quote=c.quote) for c in self.record.citations))

    @property
    def ambiguous(self) -> bool:
        """Whether the answer only quotes several passages, and nobody said which of them answers.

        Without a chat model the best passages are quoted whether or not they answer; that one of
        them did makes none of the others right.
        """
        return self.corrected_gold is None and self.record.versions.chat_model == QUOTES_ONLY and len(self.gold) > 1
