"""What an agent gives back: the answer with its citations, and the events on the way there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from ragkit.agent.approval import ApprovalAsked
from ragkit.agent.plan import Plan, PlanItem
from ragkit.agent.rating import Origin, rate
from ragkit.citations.verdicts import Verdict, VerdictName
from ragkit.feedback.records import Rating, Record
from ragkit.settings import Settings
from ragkit.text.sanitize import one_line
from ragkit.values import Hit, source_place

StopReason = Literal[
    "answered",
    "abstained",
    "max_steps",
    "max_tokens",
    "max_seconds",
    "max_cost",
    "session_steps",
    "session_tokens",
    "session_seconds",
    "session_cost",
    "cancelled",
    "error",
    "endpoint_down",
]
"""Why a turn ended. ``max_*``: that budget of the question was used up first; ``session_*``: that of the session.
``endpoint_down``: the chat model could not be reached, passages are quoted."""


@dataclass(frozen=True, kw_only=True)
class Citation:
    """One marker of an answer, resolved to a verbatim span of a source."""

    marker: int
    document: str
    heading: tuple[str, ...]
    start_line: int
    end_line: int
    start: int
    """Character offset into the source text, see `ragkit.values`."""
    end: int
    quote: str
    verdict: VerdictName
    note: str = ""
    """Why it is not simply right, if there is more to say: which numbers or names are in no source, what it denies."""
    page: int | None = None
    """Page or slide that the quote begins on, from 1; None for documents without pages."""
    stale: str = ""
    """What happened to the source since it was indexed, see `ragkit.ingest.staleness`; empty if nothing did."""

    @property
    def flag(self) -> str:
        """What a reader must know of a citation that is not simply right: `` (partly: ...)``; else empty."""
        stale = f" (source {one_line(self.stale)})" if self.stale else ""
        if self.verdict == "supported":
            return stale
        return (f" ({self.verdict}: {self.note})" if self.note else f" ({self.verdict})") + stale

    @property
    def where(self) -> str:
        """``file:line``, ``file:first-last`` or ``file.pdf p. 12``."""
        return source_place(self.document, (self.start_line, self.end_line), (self.page, self.page))


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call of a tool."""

    thought: str
    tool: str
    arguments: dict[str, Any]
    observation: str
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether the call gave no result."""
        return self.observation.startswith("Error")


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A sentence that the model wrote and that is not part of the answer, and why."""

    sentence: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A sentence of an answer that was put into the language of the question after it was checked."""

    sentence: str
    original: str
    """What was checked against the sources, in their language."""


@dataclass(frozen=True)
class Agreement:
    """How the answers that were sampled agree."""

    samples: int
    groups: tuple[int, ...]
    """Sizes of the groups of answers that say the same, the largest first."""

    @property
    def share(self) -> float:
        """Of the samples, how many agree with the answer that is given (0..1]."""
        return self.groups[0] / self.samples

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` gives it."""
        return {"samples": self.samples, "groups": list(self.groups), "share": round(self.share, 3)}

    def __str__(self) -> str:
        return f"{self.groups[0]} of {self.samples} sampled answers agree"


@dataclass(frozen=True, kw_only=True)
class MemoryUsed:
    """A memory that an answer rests on."""

    marker: int
    """The number it is cited with."""
    id: str
    text: str
    origin: str
    trust: str
    time: str
    session: str

    @property
    def where(self) -> str:
        """Whose word it is and since when: ``you said, 2026-11-22``."""
        whose = {"user": "you said", "agent": "noted with your yes", "import": "imported"}
        return f"{whose.get(self.origin, self.origin)}, {self.time[:10]}"

    def to_json(self) -> dict[str, Any]:
        """Every field by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Why a question was answered or declined, see `ragkit.agent.evidence`."""

    score: float
    """Estimated probability (0..1) that the notes bear the answer out: the search's, moved by the checks."""
    retrieval: float
    """What the first search alone says, 0..1."""
    threshold: float
    """Scores below it are declined."""
    signals: dict[str, float]
    """See `ragkit.retrieval.answerable.Signals`; empty where nothing was found."""
    searched: tuple[str, ...]
    """The queries that were run."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one question."""

    text: str
    citations: tuple[Citation, ...]
    abstained: bool
    steps: tuple[Step, ...]
    stop_reason: StopReason
    question: str
    standalone: str
    """The question as it was understood, follow-ups made self-contained."""
    model: str
    embedding_model: str
    usage: dict[str, int]
    seconds: float
    cost: float | None = None
    """In the currency of the prices in the settings; None if none is set."""
    removed: tuple[Removed, ...] = ()
    """Sentences that failed verification, and why; with ``on_unsupported = strike`` they stand in `text`, struck."""
    verdicts: tuple[Verdict, ...] = ()
    """Every sentence as the model wrote it, checked: its markers, spans and reasons."""
    translations: tuple[Translation, ...] = ()
    """Sentences of `text` that were checked in another language and then translated."""
    unresolved_markers: int = 0
    """Markers that pointed to no retrieved passage."""
    passages: tuple[Hit, ...] = ()
    """Everything retrieved in this turn; marker n is passage n."""
    notes: tuple[str, ...] = ()
    """What became of each query transform: what it added, whether it ran, why, and how long it took."""
    warnings: tuple[str, ...] = ()
    """What went wrong beside the answer, such as a session that cannot be saved."""
    memories: tuple[MemoryUsed, ...] = ()
    """What was remembered of the user and is cited here."""
    origin: Origin = field(default_factory=Origin)
    evidence: Evidence | None = None
    """None where nothing was searched for."""
    agreement: Agreement | None = None
    """How the sampled answers agree, where the agent file asks for several."""
    general: bool = False
    """Whether it is general knowledge of the model, which the user said yes to: nothing in it is cited or checked."""
    plan: tuple[PlanItem, ...] = ()
    """What a researcher set out to find, and what became of each part."""
    state: dict[str, Any] = field(default_factory=dict)
    """What the next turn of the session must know, such as the question of a quiz; JSON values by workflow."""

    def feedback(self, rating: Rating, reason: str = "", settings: Settings | None = None) -> Record:
        """Keep what a user thought of this answer, ``good`` or ``bad``; see `ragkit.agent.rating.rate`."""
        return rate(self, rating, reason, settings)

    def to_json(self) -> dict[str, Any]:
        """The fields of the command line's ``--json`` contract."""
        return {
            "answer": self.text,
            "abstained": self.abstained,
            "general": self.general,
            "evidence": asdict(self.evidence) if self.evidence else None,
            "citations": [{**asdict(citation), "heading": list(citation.heading)} for citation in self.citations],
            "steps": [asdict(step) for step in self.steps],
            "stop_reason": self.stop_reason,
            "removed": [asdict(item) for item in self.removed],
            "translations": [asdict(item) for item in self.translations],
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "unresolved_markers": self.unresolved_markers,
            "memories": [memory.to_json() for memory in self.memories],
            "warnings": list(self.warnings),
            "agreement": self.agreement.to_json() if self.agreement else None,
            "plan": [asdict(item) for item in self.plan],
            "model": self.model,
            "embedding_model": self.embedding_model,
            "usage": self.usage,
            "cost": self.cost,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Thought:
    """The model, or the framework on its behalf, says what it is about to do."""

    text: str
    type: ClassVar[str] = "thought"


@dataclass(frozen=True)
class ToolCalled:
    """A tool is about to run."""

    tool: str
    arguments: dict[str, Any]
    type: ClassVar[str] = "tool_call"


@dataclass(frozen=True)
class Observation:
    """A tool returned."""

    tool: str
    text: str
    seconds: float
    hits: tuple[Hit, ...] = field(default=())
    type: ClassVar[str] = "observation"


@dataclass(frozen=True)
class Token:
    """The next piece of the answer as the model writes it."""

    text: str
    type: ClassVar[str] = "token"


@dataclass(frozen=True)
class SentenceChecked:
    """A sentence that was shown is complete and verified; its marks follow as a `Token`."""

    verdict: Verdict
    type: ClassVar[str] = "sentence"


@dataclass(frozen=True)
class CitationFound:
    """A marker was resolved and checked."""

    citation: Citation
    type: ClassVar[str] = "citation"


@dataclass(frozen=True)
class Done:
    """The turn is over; `answer` holds everything."""

    answer: Answer
    type: ClassVar[str] = "done"


Event = Thought | ToolCalled | Observation | Token | SentenceChecked | CitationFound | Plan | ApprovalAsked | Done
