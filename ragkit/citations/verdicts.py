"""What is said of a sentence and its citations."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

VerdictName = Literal["supported", "partly", "unsupported", "misattributed", "stitched"]
ORDER: Final[tuple[VerdictName, ...]] = ("supported", "misattributed", "partly", "stitched", "unsupported")
"""From strong to weak."""

ReasonKind = Literal[
    "number", "unit", "name", "term", "negation", "opposite", "denial", "quote",
    "absent", "moved", "pieces", "language", "marker", "judge",
]  # fmt: skip
UNDECIDED: Final[frozenset[ReasonKind]] = frozenset({"term", "denial"})
"""Kinds that a judge may settle: a word for another, and a negation of what the source says nothing of."""


@dataclass(frozen=True)
class Span:
    """A verbatim slice of the source, in characters and lines of the document."""

    start: int
    end: int
    start_line: int
    end_line: int
    quote: str
    passage: int = 0
    """Number of the passage, from 1; 0 where there is only one."""
    document: str = ""


@dataclass(frozen=True)
class Reason:
    """Why a sentence is not simply supported."""

    kind: ReasonKind
    """``number``, ``unit``, ``name``, ``term``: it says another one than the source, or one that is in none.
    ``negation``, ``opposite``: it says the contrary. ``quote``: its quoted words stand nowhere. ``absent``: no
    source says it. ``moved``: another source says it. ``pieces``: it joins what never stood together. ``language``:
    the source is in another language, so only numbers and names were compared. ``marker``: a marker without passage.
    ``judge``: what the entailment judge said."""
    text: str
    """For a reader, one line."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One sentence of an answer, checked."""

    sentence: str
    """Without markers."""
    markers: tuple[int, ...]
    """Passages that it named, those that there are; from 1."""
    verdict: VerdictName
    sources: tuple[int, ...] = ()
    """Passages that say it: `markers`, or where it was re-pointed to; empty if none does."""
    spans: tuple[Span, ...] = ()
    """Where it stands, verbatim; one for each of `sources`, two or more for what was stitched together."""
    reasons: tuple[Reason, ...] = ()
    share: float = 0.0
    """0..1 of what the sentence's words weigh that its best place holds."""
    decided: bool = True
    """Whether comparison of words was enough; False asks for an entailment judge."""

    @property
    def ok(self) -> bool:
        """Whether the sentence can stand as it is, with its own or a corrected marker."""
        return self.verdict in ("supported", "misattributed")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        value = asdict(self)
        return {**value, "share": round(self.share, 3)}
