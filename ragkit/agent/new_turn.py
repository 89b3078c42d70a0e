"""The state a turn begins with."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ragkit.agent.answer import Event
from ragkit.agent.caller import Caller
from ragkit.agent.parts import AgentParts
from ragkit.agent.requests import SPECIAL, asked_for, may_need
from ragkit.agent.tools import NOTE_TOOLS
from ragkit.agent.turn import TurnState
from ragkit.retrieval.retriever import Query


def new_turn(
    parts: AgentParts,
    question: str,
    standalone: str,
    queries: tuple[Query, ...],
    *,
    emit: Callable[[Event], None] = lambda event: None,
    cancelled: threading.Event | None = None,
    caller: Caller | None = None,
) -> TurnState:
    """The state a turn begins with, its limits from the agent file."""
    header = parts.spec.header
    small = parts.chat.tool_calling == "json"
    steps = parts.limits[0].steps or 0
    # The memory and the list say something that the notes do not only where the question is for them.
    other_tools = bool(parts.tools) or bool(set(header.tools) - NOTE_TOOLS - (SPECIAL - asked_for(question)))
    turn = TurnState(
        index=parts.index,
        question=question,
        standalone=standalone,
        queries=queries,
        instructions=parts.spec.prompt,
        emit=emit,
        passages_per_search=header.passages,
        max_passages=header.max_passages,
        max_steps=min(steps, header.max_steps_json) if small else steps,
        memory=parts.memory,
        session=parts.session.id,
        unknown_names=tuple(parts.index.unknown_names(standalone)),
        evidence_tokens=header.evidence_tokens_json if small else None,
        enough_coverage=header.enough_coverage if small and not other_tools else 2.0,
        other_tools=other_tools,
        personal=not small and "recall" in header.tools and "recall" in may_need(question),
        state=dict(parts.session.answers[-1].state) if parts.session.answers else {},
        cancelled=cancelled or threading.Event(),
        caller=caller,
    )
    turn.structured = parts.chat.structured(lambda read, written, told: turn.budget.spend(read, written, told))
    return turn
