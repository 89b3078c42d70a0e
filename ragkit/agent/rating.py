"""From an answer to a feedback record: what was asked, said, cited and retrieved, and by what."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import UsageError
from ragkit.feedback.records import RATINGS, Exchange, Passage, Quote, Rating, Record, Versions
from ragkit.feedback.store import FeedbackStore
from ragkit.settings import Settings, load_settings

if TYPE_CHECKING:
    from ragkit.agent.answer import Answer

MAX_REASON = 4000


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What an answer came from besides its passages; kept for feedback."""

    agent: str = ""
    index_generation: str = ""
    history: tuple[tuple[str, str], ...] = ()
    """Earlier (question, answer) turns that the question was read with."""
    home: Path | None = None
    """``$RAGKIT_HOME`` of the index that answered."""


def rate(answer: Answer, rating: Rating, reason: str = "", settings: Settings | None = None) -> Record:
    """Keep what a user thought of `answer`; rating the same answer again replaces the first rating.

    Args:
        answer: As the agent gave it.
        rating: ``good`` or ``bad``.
        reason: In the user's words, at most 4,000 characters.
        settings: Whose home keeps it; None takes that of the index that answered.

    Raises:
        UsageError: If the rating is neither, or the reason is too long.
        FeedbackError: If it cannot be written.
    """
    if rating not in RATINGS:
        raise UsageError(f"Unknown rating {rating!r}.", f"Allowed: {', '.join(RATINGS)}.")
    reason = reason.strip()
    if len(reason) > MAX_REASON:
        raise UsageError(f"The reason has {len(reason):,} characters; at most {MAX_REASON:,} are kept.", "Shorten it.")
    record = Record(
        id=_identity(answer),
        rating=rating,
        reason=reason,
        question=answer.question,
        standalone=answer.standalone,
        history=tuple(Exchange(question=question, answer=text) for question, text in answer.origin.history),
        answer=answer.text,
        abstained=answer.abstained,
        citations=tuple(Quote(document=c.document, start=c.start, end=c.end, quote=c.quote) for c in answer.citations),
        passages=tuple(
            Passage(
                document=hit.document,
                start=hit.start,
                end=hit.end,
                text=hit.text,
                sha256=hashlib.sha256(hit.text.encode("utf-8", "replace")).hexdigest(),
                heading=hit.heading,
                start_line=hit.start_line,
                end_line=hit.end_line,
            )
            for hit in answer.passages
        ),
        versions=Versions(
            ragkit=_version(),
            chat_model=answer.model,
            embedding_model=answer.embedding_model,
            index_generation=answer.origin.index_generation,
            agent=answer.origin.agent,
        ),
    )
    home = None if settings is not None else answer.origin.home
    return FeedbackStore(home or (settings or load_settings()).ensure_home()).rate(record)


def _identity(answer: Answer) -> str:
    """The same for the same answer object, another for every run: the time a run took is never twice the same."""
    parts = [answer.question, answer.standalone, answer.text, answer.model, repr(answer.seconds)]
    parts += [hit.chunk.id for hit in answer.passages]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _version() -> str:
    from ragkit import __version__

    return str(__version__)
