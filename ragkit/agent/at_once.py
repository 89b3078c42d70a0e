"""What is said to a question without looking for anything: budgets that are used up, no words, a refusal."""

from __future__ import annotations

from ragkit.agent.answer import Answer, StopReason
from ragkit.agent.budget import Budget
from ragkit.agent.compose import wordless
from ragkit.agent.parts import AgentParts
from ragkit.agent.workflows.general import accepted
from ragkit.text.tokens import query_terms


def told_at_once(parts: AgentParts, question: str, budget: Budget) -> Answer | None:
    """The answer to a question that needs no search, None to any other; the conversation does not keep it."""
    text = ""
    reason: StopReason = "abstained"
    if stop := budget.over():
        text, reason = stop.says(question), stop.reason
    elif not query_terms(question) and not accepted(parts, question):
        # Punctuation or emoji only: dense retrieval would find something near to it all the same.
        text = wordless(question)
    elif refusal := parts.guard.question(question):
        text = refusal.text
    if not text:
        return None
    return Answer(
        text=text,
        citations=(),
        abstained=True,
        steps=(),
        stop_reason=reason,
        question=question,
        standalone=question,
        model=parts.chat.name,
        embedding_model=parts.index.model.name,
        usage={},
        seconds=0.0,
    )
