"""A question whose chat model cannot be reached, or breaks off: passages are quoted, and it is said why."""

from __future__ import annotations

import copy
from typing import Final

from ragkit.agent.parts import AgentParts
from ragkit.errors import EndpointDownError, ReplyCutError
from ragkit.models.chat import quoting

_PARTIAL_CHARS: Final = 1000


class StandIn:
    """Keeps why a run goes on without its chat model."""

    def __init__(self) -> None:
        self.said = ""
        """What the model had written of its answer, unchecked."""
        self.problem = ""
        """What a user must know; empty while the model works."""

    def parts(self, parts: AgentParts, exc: EndpointDownError) -> AgentParts:
        """The agent with passages quoted in place of its model.

        Raises:
            EndpointDownError: `exc`, if the agent is not to do so.
        """
        if not parts.quote_when_down:
            raise exc
        self.problem = str(exc)
        if (said := " ".join(self.said.split())) and isinstance(exc, ReplyCutError):
            self.problem += f" Its unfinished answer, unchecked: {said[:_PARTIAL_CHARS]} …(broken off)"
        other = copy.copy(parts)
        other.chat = quoting(parts.chat, exc.message)
        other.__post_init__()
        return other
