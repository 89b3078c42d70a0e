"""What an agent is made of: everything that outlives one question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragkit.agent.approval import Approve
from ragkit.agent.budget import Limits, limits_of, prices_of
from ragkit.agent.context import ContextWindow
from ragkit.agent.sessions import Session
from ragkit.agent.spec import AgentSpec
from ragkit.api import Index
from ragkit.memory.conversation import ConversationMemory
from ragkit.memory.long_term import Memory
from ragkit.models.chat import ChatModel
from ragkit.safety.guard import SafetyGuard
from ragkit.settings import Settings

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.tools import BaseTool


@dataclass(eq=False, repr=False)
class AgentParts:
    """What a run reads and never changes, apart from adding its turn to the session."""

    spec: AgentSpec
    index: Index
    chat: ChatModel
    session: Session
    settings: Settings
    guard: SafetyGuard
    tools: Sequence[BaseTool] = field(default=())
    """Tools of the program's own, beside those that the agent file names."""
    middleware: Sequence[AgentMiddleware[Any, Any]] = field(default=())
    """LangChain middleware of the program's own."""
    approve: Approve | None = None
    """Decides about effects of tools; None asks whoever reads the events."""
    quote_when_down: bool = True
    """Whether passages are quoted where the chat model cannot be reached; otherwise that is an error."""
    conversation: ConversationMemory = field(default_factory=ConversationMemory)
    """Shortens earlier turns for the next question."""
    memory: Memory | None = None
    """What is remembered of the user; None where nothing is to be."""

    def __post_init__(self) -> None:
        self.prices = prices_of(self.settings, self.limits, free=self.chat.local or self.chat.extractive)
        self.window = ContextWindow(self.chat, self.settings, self.spec.header.max_answer_tokens)

    @property
    def limits(self) -> tuple[Limits, Limits]:
        """What a question, and what the session, may spend."""
        return limits_of(self.spec.header, self.settings)
