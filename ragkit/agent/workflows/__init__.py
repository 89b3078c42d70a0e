"""Ways from a message to its answer, besides the plain one, by the name an agent file uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ragkit.agent.parts import AgentParts
from ragkit.agent.workflows.general import accepted, general
from ragkit.agent.workflows.quiz import quiz
from ragkit.agent.workflows.research import research
from ragkit.agent.workflows.task import Outcome, Task

WORKFLOWS: Final[dict[str, Callable[[Task], Outcome]]] = {"research": research, "quiz": quiz}


def workflow_for(parts: AgentParts, message: str) -> Callable[[Task], Outcome] | None:
    """How an agent goes about a message; None for the plain way."""
    return general if accepted(parts, message) else WORKFLOWS.get(parts.spec.header.workflow)
