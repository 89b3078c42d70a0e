"""Whether a question is answered or declined: one score, before the model is asked and after it has written.

Before: `ragkit.retrieval.answerable` on the first search. After: the same log-odds, moved by how much of what the
model wrote the retrieved passages bear out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from ragkit.agent.answer import Evidence
from ragkit.retrieval.answerable import Fit, Signals, fit_for, signals_of
from ragkit.retrieval.confidence import LOOKED_AT

if TYPE_CHECKING:
    from ragkit.agent.compose import Composed
    from ragkit.agent.parts import AgentParts
    from ragkit.agent.turn import TurnState
    from ragkit.api import Index
    from ragkit.retrieval.retriever import Query

SUPPORT: Final = 2.0
"""Log-odds between an answer of which half was taken out or is only partly borne out, and one that is borne out whole.
Not fitted: that takes a run of a chat model over the questions, see ``docs/abstention.md``."""


@dataclass(frozen=True)
class Judgement:
    """What the first search says of a question."""

    signals: Signals | None
    """None where nothing was found."""
    probability: float
    """Estimated probability (0..1) that the notes answer the question."""
    fit: Fit

    @property
    def declined(self) -> bool:
        """Whether it is declined on this alone."""
        return self.probability < self.fit.threshold


def judge_search(index: Index, question: str, queries: Sequence[Query]) -> Judgement:
    """Score the first search of a turn; a search that finds nothing, or nothing near, scores 0.

    Args:
        index: That is searched.
        question: As one that can be understood without the conversation.
        queries: That are run for it; those that stand beside it take no part.
    """
    fit = fit_for(index.model.name)
    hits = index.search_queries([query for query in queries if not query.beside], k=LOOKED_AT, merge=False)
    if not hits:
        return Judgement(None, 0.0, fit)
    signals = signals_of(question, hits, index.idf, index.model.temperature)
    floor = index.model.relevance_floor
    cosines = [leg.score for hit in hits if (leg := hit.legs.get("dense")) is not None]
    off = floor is not None and bool(cosines) and max(cosines) < floor
    return Judgement(signals, 0.0 if off else fit.probability(signals), fit)


def verified(probability: float, verdicts: Sequence[str], removed: int, support: float = SUPPORT) -> float:
    """The probability after the answer was checked.

    Args:
        probability: Of the first search, 0..1.
        verdicts: On the citations of the answer.
        removed: Sentences that no passage supports.
        support: What an answer that is wholly borne out adds to the log odds, twice.

    Returns:
        A probability 0..1; the same for an answer of which half is borne out.
    """
    total = len(verdicts) + removed
    if not total:
        return probability
    worth = sum({"supported": 1.0, "misattributed": 1.0, "partly": 0.5}.get(name, 0.0) for name in verdicts)
    p = min(max(probability, 1e-6), 1 - 1e-6)
    logit = math.log(p / (1 - p)) + support * (worth / total - 0.5)
    return 1 / (1 + math.exp(-logit))


def searched(turn: TurnState) -> tuple[str, ...]:
    """The queries of a turn that were run, in order, each once."""
    texts = turn.wordings
    texts += [str(step.arguments["query"]) for step in turn.steps if "query" in step.arguments]
    # The first search has the question itself as its argument; what it runs are the queries above.
    return tuple(dict.fromkeys(text for text in texts if text))


def evidence_of(turn: TurnState, composed: Composed, parts: AgentParts) -> Evidence | None:
    """What an answer says about its own score.

    Args:
        turn: Finished.
        composed: Its answer.
        parts: The agent that answered. Without a model quotes always hold, so their support says nothing.

    Returns:
        None where an answer does not hang on the search of its question, as in a quiz.
    """
    if parts.spec.header.workflow != "answer":
        return None
    judged = turn.judgement
    removed = len(composed.removed)
    final = verified(judged.probability, [citation.verdict for citation in composed.citations], removed)
    final = judged.probability if parts.chat.extractive else final
    signals: dict[str, float] = asdict(judged.signals) if judged.signals else {}
    return Evidence(
        score=final,
        retrieval=judged.probability,
        threshold=judged.fit.threshold,
        signals={name: round(float(value), 4) for name, value in signals.items()},
        searched=searched(turn),
    )
