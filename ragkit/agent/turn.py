"""The state of one question on its way to an answer: evidence, steps, budget, calls already made.

A turn belongs to one question and dies with it. Passages get their number once and keep it, so
that a marker means the same in the prompt, on the screen and in the citations.
"""

from __future__ import annotations

import bisect
import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage

from ragkit.agent.answer import Event, Observation, Step
from ragkit.agent.budget import Budget, Stop
from ragkit.agent.evidence import Judgement, judge_search
from ragkit.agent.excerpt import excerpts
from ragkit.agent.provenance import Provenance
from ragkit.agent.requests import asks_a_tool, named, names_a_file
from ragkit.agent.spotlight import Spotlight
from ragkit.api import Index
from ragkit.citations.markers import without_markers
from ragkit.memory.items import MemoryItem
from ragkit.memory.long_term import Memory
from ragkit.models.chat import StructuredChat
from ragkit.retrieval.retriever import Query
from ragkit.text.tokens import query_terms
from ragkit.values import Hit

if TYPE_CHECKING:
    from ragkit.agent.caller import Caller
    from ragkit.agent.fitting import Cuts

WEAK_COVERAGE: Final = 0.35
"""Coverage below which the best passage is not about what the question asks."""
PASSAGE_CHARS: Final = 1600
"""Longest text of one passage shown to a model."""
_SHORT_PATH: Final = 2
_SEARCHES: Final = frozenset({"search_notes", "recall"})
_ROUNDING: Final = 0.05
"""How far a rounded result may be from the exact one, relative to it."""


class TurnCancelled(Exception):
    """The reader of the events went away."""


@dataclass
class TurnState:
    """Everything that happens while one question is answered."""

    index: Index
    question: str
    standalone: str
    queries: tuple[Query, ...]
    passages_per_search: int
    max_steps: int
    max_passages: int
    unknown_names: tuple[str, ...] = ()
    """Names in the question that the notes never mention."""
    enough_coverage: float = 2.0
    """From this coverage on only answering remains; above 1 the model may always go on searching."""
    evidence_tokens: int | None = None
    """About how many tokens of its passages one search shows, see `ragkit.agent.excerpt`; None shows them whole."""
    memory: Memory | None = None
    """What is remembered of the user; None where nothing is to be."""
    memories: dict[str, MemoryItem] = field(default_factory=dict)
    """Those that stand among the passages, by id."""
    memory_trouble: str = ""
    """Why nothing was recalled, if something went wrong; empty otherwise."""
    warnings: list[str] = field(default_factory=list)
    """What else the user must know of how the turn went."""
    session: str = ""
    """Name of the conversation; empty if it is not kept."""
    other_tools: bool = False
    """Whether tools may answer what the notes do not: nothing is given up then because of the notes alone."""
    personal: bool = False
    """Whether the question speaks of the user, and the model can look up what is remembered of them."""
    instructions: str = ""
    """The system prompt of the agent file, which no answer repeats."""
    state: dict[str, Any] = field(default_factory=dict)
    """What tools keep for the next turn of the session, JSON values by tool."""
    structured: StructuredChat | None = None
    """The chat model, for tools that ask it; None without one."""
    emit: Callable[[Event], None] = lambda event: None
    passages: list[Hit] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    spotlight: Spotlight = field(default_factory=Spotlight)
    provenance: Provenance = field(init=False)
    calls: dict[str, str] = field(default_factory=dict)
    """Fingerprint of each call made -> its observation."""
    running: set[str] = field(default_factory=set)
    """Fingerprints of calls that are not done yet."""
    ran: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Arguments that a call under way runs with, by its identity."""
    model_calls: int = 0
    malformed: int = 0
    """Malformed tool calls of a native model so far."""
    reserved: int = 0
    """Tool calls begun, counted before they run because calls of one reply run side by side."""
    empty_replies: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Identity of a call that is not run -> why."""
    order: dict[str, int] = field(default_factory=dict)
    """Identity of a call -> its place among all calls of the turn."""
    budget: Budget = field(default_factory=Budget)
    stop: Stop | None = None
    """The budget that ended the turn."""
    cuts: Cuts | None = None
    """What was left out of the last prompt that had to be shortened."""
    window: int = 0
    """Context window, in tokens, that it was shortened for."""
    caller: Caller | None = None
    """Who asks, where the agent is a tool of another; None where the user does."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    exhausted: set[str] = field(default_factory=set)
    """Tools that left the schema because the model repeated a call to them."""
    thought: str = ""
    samples: list[AIMessage] = field(default_factory=list)
    """Further final messages over the same evidence, where the agent file asks for several."""
    unseen: set[int] = field(default_factory=set)
    """Numbers of passages whose text no finished call has shown, or not all of it."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    judged: Judgement | None = None
    """See `judgement`."""
    _places: list[int] = field(default_factory=list)
    usage: Counter[str] = field(default_factory=Counter)
    """prompt_tokens and completion_tokens, summed over the model calls."""

    def __post_init__(self) -> None:
        self.provenance = self.caller.provenance.handed_on() if self.caller else Provenance(self.question)

    def add(self, hits: Sequence[Hit]) -> list[tuple[int, Hit, bool]]:
        """Number new passages; returns ``(number, hit, is new)`` for each of `hits`."""
        with self.lock:
            return self._number(hits)

    def add_result(self, hit: Hit) -> list[tuple[int, Hit, bool]]:
        """Number what a tool said, see `add`: two results of one tool are two sources, wherever they begin."""
        with self.lock:
            if len(self.passages) >= self.max_passages:
                return []
            self.passages.append(hit)
            return [(len(self.passages), hit, True)]

    def excerpts(self, questions: Sequence[str], numbered: Sequence[tuple[int, Hit, bool]]) -> dict[int, str]:
        """What is shown of the new ones of `numbered` instead of their whole texts; they may be shown once more."""
        passages = {number: hit for number, hit, new in numbered if new}
        if self.evidence_tokens is None or not passages:
            return {}
        shown = excerpts(self.index, questions, passages, self.evidence_tokens)
        with self.lock:
            self.unseen.update(shown)
        return shown

    def _number(self, hits: Sequence[Hit]) -> list[tuple[int, Hit, bool]]:
        numbered: list[tuple[int, Hit, bool]] = []
        for hit in hits:
            known = next((i for i, p in enumerate(self.passages, 1) if _contains(p, hit)), None)
            if known is None and len(self.passages) < self.max_passages:
                self.passages.append(hit)
                numbered.append((len(self.passages), hit, True))
            elif known is not None:
                numbered.append((known, hit, known in self.unseen))
                self.unseen.discard(known)
        return numbered

    @property
    def wordings(self) -> list[str]:
        """The question as the first search puts it, without passages that were imagined for it."""
        return [query.text for query in self.queries if not query.passage]

    @property
    def only_answering(self) -> bool:
        """Whether the tools are closed: enough evidence, or no step or room for evidence left."""
        return self.spent or (self.best_coverage >= self.enough_coverage and not asks_a_tool(self.question))

    @property
    def spent(self) -> bool:
        """Whether no step or no room for evidence is left."""
        return len(self.steps) >= self.max_steps or len(self.passages) >= self.max_passages

    @property
    def judgement(self) -> Judgement:
        """What the first search says of the question; computed once."""
        if self.judged is None:
            self.judged = judge_search(self.index, self.standalone, self.queries)
        return self.judged

    @property
    def hopeless(self) -> bool:
        """Whether the question is declined on the search alone: no model need read the passages."""
        if self.other_tools or self.personal or self.memories or asks_a_tool(self.question) or self.named:
            return False
        return self.off_topic or self.about_the_unknown or self.judgement.declined

    @property
    def named(self) -> list[str]:
        """Notes whose file the question names."""
        return named(self.question, self.index.documents()) if names_a_file(self.question) else []

    @property
    def off_topic(self) -> bool:
        """Whether even the best passage has nothing to do with the question."""
        if self.other_tools or self.memories:
            return False
        floor = self.index.model.relevance_floor
        cosines = [leg.score for hit in self.passages if (leg := hit.legs.get("dense")) is not None]
        return not self.passages or (floor is not None and bool(cosines) and max(cosines) < floor)

    @property
    def about_the_unknown(self) -> bool:
        """Whether the question is about a name that the notes never mention, not merely beside one."""
        if self.other_tools:
            return False
        numbered = any(char.isdigit() for name in self.unknown_names for char in name)
        return numbered or (bool(self.unknown_names) and self.best_coverage < WEAK_COVERAGE)

    @property
    def best_coverage(self) -> float:
        """Largest share of the question's idf mass that one passage contains."""
        return best_coverage(self.passages)

    def computed(self, number: str) -> bool:
        """Whether a number as it is written in an answer is the result of a calculation of this turn.

        It may be rounded ("1.07" for 1.0737), grouped ("524,288") or a percentage.
        """
        share, plain = number.endswith("%"), number.removesuffix("%").replace(",", "")
        try:
            digits, stated = len(plain.partition(".")[2]), float(plain)
            results = [
                float(step.observation.rpartition("=")[2]) * scale
                for step in self.steps
                if step.tool == "calculate" and not step.failed
                for scale in ((1, 100) if share else (1,))
            ]
            return any(round(r, digits) == stated and math.isclose(r, stated, rel_tol=_ROUNDING) for r in results)
        except (ValueError, OverflowError):
            return False

    def claim(self, key: str) -> bool:
        """Whether a call is for the claimer to make: it was not made, and is not being made, by another."""
        with self.lock:
            if key in self.calls or key in self.running:
                return False
            self.running.add(key)
            return True

    def made(self, key: str, observation: str) -> None:
        """Keep the observation of a call that was claimed."""
        with self.lock:
            self.running.discard(key)
            self.calls[key] = observation

    def forget(self, key: str) -> None:
        """Take back the claim of a call that ended without a result; it may be made again."""
        with self.lock:
            self.running.discard(key)

    def reserve(self) -> bool:
        """Take one of the steps that are left; False if there is none."""
        with self.lock:
            if self.reserved >= self.max_steps or not self.budget.take_step():
                return False
            self.reserved += 1
        return True

    def record(
        self,
        tool: str,
        arguments: dict[str, Any],
        observation: str,
        seconds: float,
        hits: Sequence[Hit] = (),
        place: int | None = None,
    ) -> None:
        """Keep a finished tool call and tell whoever listens.

        Steps stand in the order of their `place`, not in the order in which calls that run side by
        side end; None puts a step last.
        """
        observation = self.spotlight.plain(observation)
        step = Step(thought=self.thought, tool=tool, arguments=arguments, observation=observation, seconds=seconds)
        with self.lock:
            place = len(self.order) if place is None else place
            at = bisect.bisect_right(self._places, place)
            self._places.insert(at, place)
            self.steps.insert(at, step)
            self.thought = ""
        self.emit(Observation(tool, observation, seconds, tuple(hits)))


def _contains(passage: Hit, hit: Hit) -> bool:
    """Whether a passage is the hit, or was merged from chunks that include all of it."""
    return passage.document == hit.document and passage.start <= hit.start and hit.end <= passage.end


def best_coverage(hits: Sequence[Hit]) -> float:
    """Largest coverage of the question among `hits`, 0 if there are none."""
    return max((hit.coverage for hit in hits), default=0.0)


def call_key(tool: str, arguments: dict[str, Any]) -> str:
    """Fingerprint of a call: two searches of the notes, or of the memory, for the same terms are the same call."""
    if tool in _SEARCHES and set(arguments) == {"query"} and isinstance(arguments["query"], str):
        return f"{tool}:{' '.join(sorted(query_terms(arguments['query'])))}"
    return f"{tool}:{json.dumps(arguments, ensure_ascii=False, sort_keys=True, default=str)}"


def show_passages(
    numbered: Sequence[tuple[int, Hit, bool]], spotlight: Spotlight, excerpts: Mapping[int, str] = MappingProxyType({})
) -> str:
    """Passages as a model reads them: number, place, text; what stands in them cannot pass for another passage.

    Args:
        numbered: Number, passage, and whether its text is to be shown.
        spotlight: Marks what is shown.
        excerpts: What is shown instead of a whole text, by number.
    """
    if not numbered:
        return "No passage found."
    parts = []
    for number, hit, new in numbered:
        # Where every token counts, the place in the note is said by its last two headings.
        path = hit.heading[-_SHORT_PATH:] if number in excerpts else hit.heading
        heading = spotlight.name(without_markers(" > ".join(path)))
        place = f"[{number}] {spotlight.name(hit.document)}:{hit.start_line}-{hit.end_line}"
        place = spotlight.head(place + (f" | {heading}" if heading else ""))
        if not new:
            parts.append(f"{place} (shown above)")
            continue
        text = excerpts.get(number) or hit.text
        text = text if len(text) <= PASSAGE_CHARS else text[:PASSAGE_CHARS] + " …(cut)"
        parts.append(f"{place}\n{spotlight.data(text)}")
    return "\n\n".join(parts)
