"""Which queries a question becomes: the user's own, and what a chat model adds where it is expected to pay.

Three policies decide, each ``never``, ``auto`` or ``always``:

* ``rewrite``: a follow-up is made self-contained (``auto``: if it leans on the conversation), and
  differently worded queries are added (``auto``: not at all, since nothing was ever gained by them:
  of 16 dev questions 12 were found without and 11 with those of the bundled model);
* ``translate``: a question is put into the notes' language (``auto``: unless the first search is very
  sure), or into their other one if both are at home there (``auto``: if passages in it are about as
  near as those in its own, unless the first search is quite unsure); there a translation
  counts the more, the surer both searches are and the less of the question the first one covered;
* ``hyde``: a hypothetical passage is searched for too (``auto``: if the first search is unsure).

How sure the first search is says `ragkit.retrieval.confidence`. The question itself always takes
part with full weight; only a follow-up that was made self-contained stands behind its new form. A
transform that fails, or takes longer than its time, adds nothing and never fails the search: the
plan says what ran, why, how long it took and whether the reply was kept from before.
"""

from __future__ import annotations

import contextvars
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from ragkit.errors import RagkitError
from ragkit.models.cache import CachedCompletions
from ragkit.retrieval.confidence import Confidence
from ragkit.retrieval.retriever import Query
from ragkit.retrieval.rewrite import (
    StructuredModel,
    Turn,
    hypothetical_passage,
    is_follow_up,
    resolve_follow_up,
    translate,
    variants,
)
from ragkit.text.language import Language, answer_language
from ragkit.text.tokens import fold, query_terms

log = logging.getLogger(__name__)

Policy = Literal["auto", "always", "never"]
Name = Literal["resolve", "translate", "variants", "hyde"]
T = TypeVar("T")

HYDE_WEIGHT: Final = 0.5
"""An invented passage guides the search; it must not outvote the question."""
VARIANT_WEIGHT: Final = 0.5
MIXED: Final = 0.1
"""Share of the chunks from which a language is at home in the notes."""
_BARE_WEIGHT: Final = 0.3
"""Of a follow-up as it was typed, which has little to search for."""


@dataclass(frozen=True)
class Policies:
    """When each transform is used."""

    rewrite: Policy = "never"
    translate: Policy = "never"
    hyde: Policy = "never"

    @property
    def wanted(self) -> bool:
        """Whether a chat model may be asked at all."""
        return {self.rewrite, self.translate, self.hyde} != {"never"}


@dataclass(frozen=True)
class Stage:
    """What became of one transform."""

    name: Name
    ran: bool
    """Whether the model was asked."""
    reason: str
    """Why it was asked or not, or what went wrong."""
    seconds: float = 0.0
    cached: bool = False
    """The reply was kept from an earlier time."""

    def __str__(self) -> str:
        took = " (kept from before)" if self.cached else f" ({self.seconds:.1f} s)" if self.ran else ""
        return f"{self.name} {'ran' if self.ran else 'left out'}: {self.reason}{took}"


@dataclass(frozen=True)
class Plan:
    """What will be searched for, and where each query came from."""

    queries: tuple[Query, ...]
    standalone: str
    """The question as one that can be understood without the conversation."""
    notes: tuple[str, ...] = field(default=())
    """One line for each text that a transform added."""
    stages: tuple[Stage, ...] = ()
    """Every transform whose policy allows it, in the order in which they were decided."""


@dataclass
class Planner:
    """Decides for one question after the other.

    Args:
        model: Loads the chat model when the first transform needs it; None if there is none.
        language: Main language of the notes.
        mixed: Whether the notes hold much text in the other language too.
        policies: When each transform is used.
        first_pass: Searches for the queries so far and says how sure the result is; asked once a
            question, and only where an ``auto`` depends on it.
        seconds: Time of one transform.
        started: Told about a transform before the model is asked.
        unanswered: Whether notes of both languages do not answer a question, by its text and its queries so far; asked
            once a question. ``auto`` does not translate it then.
    """

    model: Callable[[], StructuredModel] | None
    language: Language
    policies: Policies
    first_pass: Callable[[Sequence[Query]], Confidence]
    seconds: float = 15.0
    mixed: bool = False
    started: Callable[[Name], None] = lambda name: None
    unanswered: Callable[[str, Sequence[Query]], bool] = lambda question, queries: False

    def plan(self, question: str, history: Sequence[Turn] = ()) -> Plan:
        """The queries for `question`, its own words first.

        A follow-up that no model makes self-contained is run together with the question before it.
        """
        return _Planning(self, question, tuple(history)).run()


class _Planning:
    """One question on its way to a plan."""

    def __init__(self, planner: Planner, question: str, history: tuple[Turn, ...]) -> None:
        self._planner, self._question, self._history = planner, question, history
        self._standalone = question
        self._queries = [Query(question)]
        self._notes: list[str] = []
        self._stages: list[Stage] = []
        self._sure: Confidence | None = None

    def run(self) -> Plan:
        policies, ours = self._planner.policies, self._planner.language
        if self._history:
            self._resolve(policies.rewrite)
        question = self._standalone
        theirs = answer_language(question)
        other: Language = "en" if theirs == "zh" else "zh"
        mixed = self._planner.mixed
        applies, why_not = mixed or theirs != ours, "the notes are in its language"
        if mixed and policies.translate == "auto" and self._planner.unanswered(question, self._queries):
            applies, why_not = False, "the first search finds no answer to it"
        if self._decide(
            "translate", policies.translate, lambda sure: sure.low_across(mixed), applies=applies, why_not=why_not
        ):
            translated = self._ask("translate", lambda model: translate(question, other, model))
            if translated and fold(translated) != fold(question):
                query = Query(translated, self._worth_of(translated), beside=True) if mixed else Query(translated)
                self._add(f"translated: {translated}", query)
        if self._decide("variants", "always" if policies.rewrite == "always" else "never"):
            for text in self._ask("variants", lambda model: variants(question, ours, model)) or []:
                self._add(f"variant: {text}", Query(text, weight=VARIANT_WEIGHT))
        if self._decide("hyde", policies.hyde):
            passage = self._ask("hyde", lambda model: hypothetical_passage(question, ours, model))
            if passage:
                self._add(f"hypothetical passage: {passage}", Query(passage, weight=HYDE_WEIGHT, passage=True))
        return Plan(self._distinct(), question, tuple(self._notes), tuple(self._stages))

    def _resolve(self, policy: Policy) -> None:
        question, before = self._question, self._history[-1].question
        leans = is_follow_up(question)
        if policy == "always":
            self._stages.append(Stage("resolve", True, "always"))
        elif policy == "auto" and leans:
            self._stages.append(Stage("resolve", True, "the question leans on the conversation"))
        elif policy == "auto":
            self._stages.append(Stage("resolve", False, "the question stands by itself"))
        said: str | None = None
        joined = f"{before} {question}"
        asked = policy == "always" or (policy == "auto" and leans)
        if asked:
            said = self._ask("resolve", lambda model: resolve_follow_up(question, self._history, model))
        if said is not None and fold(said) in {fold(turn.question) for turn in self._history}:
            # A small model sometimes returns the earlier question; asked again it would answer that one.
            said = joined
        if leans and (said is None or fold(said) == fold(question)):
            # No model made it self-contained, or it returned what leans on the conversation as it was.
            said = joined
        if said is None or fold(said) == fold(question):
            return
        # The bare follow-up ("那它的缺点呢？") has little to search for; its rewriting leads.
        self._standalone = said
        # Where the model kept all its words, the bare question would only draw the search to what else has them;
        # one that stands by itself is what the user asks, whatever the model makes of it.
        kept = leans and said != joined and set(query_terms(question)) <= set(query_terms(said))
        bare = Query(question, weight=_BARE_WEIGHT if leans else 1.0)
        self._queries = [*([] if kept else [bare]), Query(said)]
        if asked:
            self._notes.append(f"rewritten: {said}")

    def _decide(
        self,
        name: Name,
        policy: Policy,
        worth: Callable[[Confidence], bool] = lambda sure: sure.low,
        applies: bool = True,
        why_not: str = "",
    ) -> bool:
        """Whether to ask the model; says so in the trace, unless the transform is switched off.

        Args:
            name: The transform.
            policy: When it is used.
            worth: Whether ``auto`` uses it after such a first search.
            applies: Whether it can be used at all.
            why_not: What the trace says if not.
        """
        if policy == "never":
            return False
        if not applies or self._planner.model is None:
            self._stages.append(Stage(name, False, _NO_MODEL if applies else why_not))
            return False
        if policy == "always":
            self._stages.append(Stage(name, True, "always"))
            return True
        wanted = worth(self._first_search())
        self._stages.append(Stage(name, wanted, f"the first search has a confidence of {self._first_search()}"))
        return wanted

    def _first_search(self) -> Confidence:
        """How sure the search for the question as it came is; searched for once."""
        if self._sure is None:
            self._sure = self._planner.first_pass(self._queries)
        return self._sure

    def _worth_of(self, translated: str) -> float:
        """Weight (0..1) of a translation where the notes have the question's own language, too.

        It must not outvote the question if it is wrong, as those of questions in everyday words often are, nor where
        notes in the question's language say the same.
        """
        first, second = self._first_search(), self._planner.first_pass([Query(translated)])
        return first.value * second.value * math.sqrt(1 - first.coverage)

    def _ask(self, name: Name, transform: Callable[[StructuredModel], T]) -> T | None:
        """Run a transform that was decided on, and complete the trace; None if it failed."""
        reason = self._stages[-1].reason
        if self._planner.model is None:
            self._stages[-1] = Stage(name, False, _NO_MODEL)
            return None
        self._planner.started(name)
        try:
            model = self._planner.model()
        except RagkitError as exc:
            log.warning("query transform left out: %s", exc)
            self._stages[-1] = Stage(name, False, str(exc))
            return None
        computed = model.computed if isinstance(model, CachedCompletions) else -1
        began = time.monotonic()
        reply, problem = _within(self._planner.seconds, lambda: transform(model))
        seconds = time.monotonic() - began
        if problem:
            log.warning("query transform left out: %s", problem)
        cached = not problem and isinstance(model, CachedCompletions) and model.computed == computed
        self._stages[-1] = Stage(name, True, problem or reason, seconds, cached)
        return reply

    def _add(self, note: str, query: Query) -> None:
        self._queries.append(query)
        self._notes.append(note)

    def _distinct(self) -> tuple[Query, ...]:
        first = {fold(query.text): query for query in reversed(self._queries)}
        return tuple(query for query in self._queries if first[fold(query.text)] is query)


_NO_MODEL: Final = "there is no chat model"


def _within(seconds: float, action: Callable[[], T]) -> tuple[T | None, str]:
    """What `action` returns, or None and what went wrong; it goes on unseen if its time is over."""
    result: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            result.append(action())
        except BaseException as exc:  # handed to the caller, who is in another thread
            failure.append(exc)

    context = contextvars.copy_context()  # where the model's client finds the trace it belongs to
    thread = threading.Thread(target=context.run, args=(work,), daemon=True, name="ragkit-transform")
    thread.start()
    thread.join(seconds)
    if result:
        return result[0], ""
    if not failure:
        return None, f"not done after {seconds:g} s (setting transform_seconds)"
    if isinstance(failure[0], RagkitError):
        return None, str(failure[0])
    raise failure[0]
