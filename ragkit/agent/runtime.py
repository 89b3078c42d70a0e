"""The agent: a question in, events and an answer out, over LangChain's ReAct loop.

One generator, `Agent.stream`, is the agent; `ask`, the REPL and the tests drain it. The loop runs
in a thread of its own and in the context of the caller, see `ragkit.agent.reading`.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage

from ragkit.agent.answer import Answer, Done, Event
from ragkit.agent.approval import Approve
from ragkit.agent.caller import CALLER, Caller, Either
from ragkit.agent.coroutines import turn_context
from ragkit.agent.json_protocol import ENDS, JsonProtocolModel
from ragkit.agent.line_answers import rules
from ragkit.agent.middleware.hooks import check_hooks
from ragkit.agent.middleware.tool_guard import SECONDS
from ragkit.agent.mounts import answers_from_sheets, turn_model, turn_tools
from ragkit.agent.new_turn import new_turn
from ragkit.agent.parts import AgentParts
from ragkit.agent.reading import MakeRun, aread, read
from ragkit.agent.run import Run
from ragkit.agent.sessions import Session, UnfinishedTurn
from ragkit.agent.spec import AgentSpec, load_agent, model_named
from ragkit.agent.spotlight import HEADED
from ragkit.agent.tools.own import check_name
from ragkit.agent.tools.permission import as_tools, several, with_permission
from ragkit.api import Index
from ragkit.errors import AgentError, RagkitError, UsageError
from ragkit.interop import tell_model
from ragkit.memory.conversation import ConversationMemory
from ragkit.memory.long_term import Memory, beside
from ragkit.models.chat import ChatModel, resolve_chat, wrap_chat
from ragkit.retrieval.retriever import Query, check_question
from ragkit.safety.guard import open_guard
from ragkit.settings import Settings
from ragkit.text.sanitize import clean_question

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.tools import BaseTool

    from ragkit.agent.checkpoints import TurnFile
    from ragkit.agent.mcp import McpTools

MAX_QUESTION_CHARS: Final = 8_000
_LONGEST_CALL: Final = 3600.0
"""Seconds of a question that an agent is asked as a tool, where nothing else limits it."""
_ENDLESS: Final = ("The run ended without an answer.", "Ask again.")


class Agent(AgentParts):
    """Answers questions over one index and remembers the conversation.

    Args:
        spec: What the agent file says.
        index: The notes.
        chat: Chat model; ``extractive`` works without any.
        session: Where the conversation is kept; None keeps it in memory only.
        settings: None takes the index's.
        tools: Typed functions and LangChain tools beside those that the agent file names, see
            `ragkit.agent.tools.permission.as_tools`.
        middleware: LangChain middleware; sees the model and tool calls that are made, after
            ragkit's own limits.
        memory: What is remembered of the user; None takes what the settings say.
        approve: Decides about calls of tools that write or reach the network, and about new MCP servers; a function
            or a coroutine function. Only True is a yes; an error is a no, and a warning of the answer.
            None: whoever reads the events of a question may answer `ApprovalAsked`, otherwise it is a no.
        servers: The running MCP servers of the agent file; None starts them.
    """

    def __init__(
        self,
        spec: AgentSpec,
        index: Index,
        chat: ChatModel,
        session: Session | None = None,
        settings: Settings | None = None,
        *,
        tools: Sequence[BaseTool | Callable[..., Any]] | BaseTool | Callable[..., Any] = (),
        middleware: Sequence[AgentMiddleware[Any, Any]] | AgentMiddleware[Any, Any] = (),
        approve: Approve | None = None,
        servers: McpTools | None = None,
        memory: Memory | None = None,
    ) -> None:
        _check_index(index)
        if session is not None and not isinstance(session, Session):
            raise UsageError(f"The session is a {type(session).__name__}.", "Pass Session.open(home, name).")
        if memory is not None and not isinstance(memory, Memory):
            raise UsageError(
                f"The memory is a {type(memory).__name__}: {memory!r:.80}.", 'Pass Memory.open(user="ann"), or None.'
            )
        tools, middleware = several(tools), several(middleware)
        settings = settings or index.settings
        guard = open_guard(settings, index.model)
        if servers is None and spec.header.mcp:
            from ragkit.agent.mcp import McpTools

            servers = McpTools.open(spec, settings, approve)
        self.servers = servers
        try:
            check_hooks(middleware)
            taken = {*spec.header.tools, *HEADED, *ENDS}
            own = as_tools([*tools, *(servers.tools if servers else ())], taken=taken)
            if memory is None and settings.memory == "on":
                memory = beside(index.model, settings, chat.structured())
        except RagkitError:
            if servers is not None:
                servers.close()
            raise
        super().__init__(
            spec,
            index,
            chat,
            session or Session(),
            settings,
            guard,
            tools=own,
            middleware=tuple(middleware),
            approve=approve,
            conversation=ConversationMemory(chat.structured),
            memory=memory,
        )

    @classmethod
    def load(
        cls,
        agent: str | Path = "interview",
        *,
        index: Index,
        model: str | BaseChatModel | None = None,
        settings: Settings | None = None,
        session: Session | str | None = None,
        tools: Sequence[BaseTool | Callable[..., Any]] | BaseTool | Callable[..., Any] = (),
        middleware: Sequence[AgentMiddleware[Any, Any]] | AgentMiddleware[Any, Any] = (),
        memory: Memory | None = None,
        approve: Approve | None = None,
    ) -> Agent:
        """Make an agent.

        Args:
            agent: Name of a shipped agent, or path to an agent file.
            index: The notes it answers from.
            model: Chat model string or LangChain chat model; None takes the agent file's, then
                the setting.
            settings: None takes the index's.
            session: A conversation to go on with, or its name below the home folder of the settings.
            tools: Typed functions and LangChain tools beside those that the agent file names.
            middleware: LangChain middleware around the model and tool calls.
            memory: What is remembered of the user; None takes that of the setting ``memory_user``, unless ``memory``
                is off.
            approve: Decides about effects, see `Agent`.

        Raises:
            AgentError: If the agent file is missing or wrong, or its MCP servers are not approved.
            UsageError: If something in `tools` cannot be a tool, or index, model or session are something else.
            ModelError: If the model string names nothing that can be used here.
        """
        _check_index(index)
        settings = settings or index.settings
        tools = several(tools)
        own = [str(getattr(each, "name", None) or getattr(each, "__name__", "")) for each in tools]
        spec = load_agent(agent, settings.agents_dir, own)
        if not isinstance(model, str | None) and not callable(getattr(model, "invoke", None)):
            raise UsageError(
                f"The model is a {type(model).__name__}: {model!r:.80}.",
                'Pass a model string such as "openai:NAME@URL", or a LangChain chat model.',
            )
        chosen = model or model_named(spec, agent, settings) or settings.chat_model
        if isinstance(session, str):
            session = Session.open(settings.home, session)
        chat = resolve_chat(chosen, settings) if isinstance(chosen, str) else wrap_chat(chosen, settings)
        return cls(
            spec,
            index,
            chat,
            session,
            settings,
            tools=tools,
            middleware=middleware,
            approve=approve,
            memory=memory,
        )

    def ask(self, question: str) -> Answer:
        """Answer a question; a follow-up is understood from the conversation so far.

        Raises:
            UsageError: If the question is empty or longer than 8,000 characters.
            EndpointError: If the chat model fails.
        """
        return _answer(self.stream(question))

    async def aask(self, question: str) -> Answer:
        """Async twin of `ask`; one that is cancelled keeps nothing and makes no further call."""
        async with aclosing(self._astream(question)) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event.answer
        raise RagkitError(*_ENDLESS)

    def stream(self, question: str) -> Iterator[Event]:
        """Answer a question as a stream of typed events, the last one `Done`.

        Closing the iterator cancels the run; the conversation then stays as it was before.
        """
        return self._stream(self.check(question), threading.Event())

    @staticmethod
    def check(question: str) -> str:
        """The question, cleaned, without white space around it.

        Raises:
            UsageError: If it is empty or longer than 8,000 characters.
        """
        text = clean_question(question).strip()
        check_question(text, MAX_QUESTION_CHARS)
        return text

    def astream(self, question: str) -> AsyncIterator[Event]:
        """Async twin of `stream`. Tools that are coroutines are awaited on the event loop that reads the events."""
        return self._astream(question)

    def close(self) -> None:
        """End the MCP servers of the agent file, if it names some."""
        if self.servers is not None:
            self.servers.close()

    def unfinished(self) -> UnfinishedTurn | None:
        """The turn of the session whose process ended before it was answered, if there is one.

        Raises:
            SessionBusyError: If it is being answered right now.
            AgentError: If what was kept of it is damaged.
        """
        return self.session.unfinished()

    def resume(self) -> Iterator[Event]:
        """Go on with the unfinished turn of the session, as a stream of events like that of `stream`.

        Tool calls that were finished are not made again. A call with effects that was broken off is
        not either: its outcome is not known, and the answer's `warnings` say so.

        Raises:
            SessionBusyError: If it is being answered right now.
            AgentError: If there is none, it is damaged, or another agent began it.
        """
        kept = self.session.take_up()
        facts = kept.fact("turn")
        if facts["agent"] != self.spec.name:
            kept.close()
            raise AgentError(
                f"The unfinished turn was begun by the agent {facts['agent']!r}, not {self.spec.name!r}.",
                f"Go on with it by --agent {facts['agent']}.",
            )
        return self._stream(str(facts["question"]), threading.Event(), kept)

    def new_session(self) -> None:
        """Forget the conversation."""
        self.session = Session()

    def as_tool(self, name: str = "ask_notes") -> BaseTool:
        """A LangChain tool that asks this agent; its artifact is the `Answer`.

        Each call is a conversation of its own. As a tool of another agent it is paid from that one's budgets and
        ends with it, and what it is asked counts as written by a model: for its tools with effects somebody must
        be there to say yes (`approve`), unless their arguments are the user's own words.

        Raises:
            UsageError: If no model can call a tool of this name.
        """
        check_name(name, 'Give it another one: as_tool("ask_notes").')
        from langchain_core.tools import StructuredTool

        def run(question: str) -> tuple[str, Answer]:
            caller = CALLER.get() or Caller()
            helper = copy.copy(self)
            helper.session = Session()
            asked = tell_model(lambda: self.check(question))
            answer = _answer(helper._stream(asked, Either(caller.cancelled), caller=caller))
            sources = "\n".join(f"[{c.marker}] {c.where}" for c in answer.citations)
            return f"{answer.text}\n\n{sources}".strip(), answer

        made = StructuredTool.from_function(
            run,
            name=name,
            description=self.spec.header.description,
            response_format="content_and_artifact",
            # Its own budgets, and those of whoever asks, end a call.
            metadata={SECONDS: self.limits[0].seconds or _LONGEST_CALL},
            handle_tool_error=True,
        )
        return with_permission(made, "read")

    def warm(self) -> None:
        """Load the chat model and let it read the system prompt, so that the first answer starts sooner."""
        if self.chat.extractive:
            return
        inner = self.chat.model()
        if not self.chat.local:
            return
        tools = list(turn_tools(self, new_turn(self, "", "", (Query("-"),))).values())
        said = [SystemMessage(self.spec.prompt), HumanMessage("…")]
        model = turn_model(self, tools)
        # One token is no reply; what counts is that the server keeps the state of the prompt that turns begin with.
        if isinstance(model, JsonProtocolModel):
            begins = [rules(self.spec.prompt), said[-1]]
            prompt = begins if answers_from_sheets(self) else model.prompt(said, (), cited=True)
            inner.bind(max_tokens=1).invoke(prompt)
        else:
            inner.bind_tools(tools, max_tokens=1).invoke(said)

    def _stream(
        self,
        question: str,
        cancelled: threading.Event,
        kept: TurnFile | None = None,
        caller: Caller | None = None,
    ) -> Iterator[Event]:
        # No generator itself: the context is that of whoever asks, and the events may be read elsewhere.
        return read(self._maker(question, cancelled, kept, caller), cancelled, turn_context())

    def _astream(self, question: str) -> AsyncGenerator[Event]:
        cancelled = threading.Event()
        return aread(self._maker(self.check(question), cancelled), cancelled, turn_context())

    def _maker(
        self, question: str, cancelled: threading.Event, kept: TurnFile | None = None, caller: Caller | None = None
    ) -> MakeRun:
        return lambda emit: Run(self, question, emit, cancelled, kept, caller=caller)


def _check_index(index: object) -> None:
    if not isinstance(index, Index):
        raise UsageError(
            f"An agent answers from one Index, not from a {type(index).__name__}.",
            "Several folders of notes go into one: Index.open([NOTES, MORE_NOTES]).",
        )


def _answer(events: Iterator[Event]) -> Answer:
    for event in events:
        if isinstance(event, Done):
            return event.answer
    raise RagkitError(*_ENDLESS)
