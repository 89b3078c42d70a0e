"""The agent: a question in, events and an answer out, over LangChain's ReAct loop.

One generator, `Agent.stream`, is the agent; `ask`, the REPL and the tests drain it. The loop runs
in a thread of its own so that whoever reads the events can walk away at any time.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from ragkit.agent.answer import Answer, CitationFound, Done, Event, StopReason, Thought, Token
from ragkit.agent.compose import Composed, wordless
from ragkit.agent.extractive import NoModel, quote_passages
from ragkit.agent.finish import finish
from ragkit.agent.json_protocol import JsonProtocolModel, to_plain_messages
from ragkit.agent.middleware.turn_control import TurnControl
from ragkit.agent.rating import Origin
from ragkit.agent.sessions import PastAnswer, Session
from ragkit.agent.spec import AgentSpec, load_agent
from ragkit.agent.tools import TOOLS
from ragkit.agent.turn import TurnState
from ragkit.api import Index
from ragkit.errors import RagkitError
from ragkit.models.chat import ChatModel, endpoint_errors, resolve_chat, wrap_chat
from ragkit.retrieval.planner import Name, Plan
from ragkit.retrieval.retriever import Query, check_question
from ragkit.retrieval.rewrite import Turn, is_follow_up
from ragkit.safety.guard import open_guard
from ragkit.settings import Settings
from ragkit.text.language import answer_language
from ragkit.text.sanitize import clean_question
from ragkit.text.tokens import query_terms

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

MAX_QUESTION_CHARS: Final = 8_000
_HISTORY_TURNS: Final = 3
_HISTORY_CHARS: Final = 300
_DOING: Final[dict[Name, dict[str, str]]] = {
    "resolve": {"zh": "联系上文理解追问…", "en": "reading the question in the light of the conversation…"},
    "translate": {"zh": "把问题译成笔记的语言…", "en": "putting the question into the notes' language…"},
    "variants": {"zh": "换种说法再检索…", "en": "putting the question into other words…"},
    "hyde": {"zh": "设想一段答案再检索…", "en": "imagining what an answer would look like…"},
}
_LANGUAGE_LINE: Final = {"zh": "请用中文回答。", "en": "Answer in English."}


class Agent:
    """Answers questions over one index and remembers the conversation.

    Args:
        spec: What the agent file says.
        index: The notes.
        chat: Chat model; ``extractive`` works without any.
        session: Where the conversation is kept; None keeps it in memory only.
    """

    def __init__(
        self,
        spec: AgentSpec,
        index: Index,
        chat: ChatModel,
        session: Session | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.spec = spec
        self.index = index
        self.chat = chat
        self.session = session or Session()
        self._guard = open_guard(settings or index.settings, index.model)

    @classmethod
    def load(
        cls,
        agent: str | Path = "interview",
        *,
        index: Index,
        model: str | BaseChatModel | None = None,
        settings: Settings | None = None,
        session: Session | None = None,
    ) -> Agent:
        """Make an agent.

        Args:
            agent: Name of a shipped agent, or path to an agent file.
            index: The notes it answers from.
            model: Chat model string or LangChain chat model; None takes the agent file's, then
                the setting.
            settings: None takes the index's.
            session: An earlier conversation to go on with.

        Raises:
            AgentError: If the agent file is missing or wrong.
            ModelError: If the model string names nothing that can be used here.
        """
        settings = settings or index.settings
        spec = load_agent(agent)
        chosen = model or spec.header.model or settings.chat_model
        chat = resolve_chat(chosen, settings) if isinstance(chosen, str) else wrap_chat(chosen, settings)
        return cls(spec, index, chat, session, settings)

    def ask(self, question: str) -> Answer:
        """Answer a question; a follow-up is understood from the conversation so far.

        Raises:
            UsageError: If the question is empty or longer than 8,000 characters.
            EndpointError: If the chat model fails.
        """
        for event in self.stream(question):
            if isinstance(event, Done):
                return event.answer
        raise RagkitError("The run ended without an answer.", "Ask again.")

    async def aask(self, question: str) -> Answer:
        """Async twin of `ask` (runs in a thread)."""
        return await asyncio.to_thread(self.ask, question)

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

    async def astream(self, question: str) -> AsyncIterator[Event]:
        """Async twin of `stream`."""
        cancelled = threading.Event()
        events = self._stream(self.check(question), cancelled)
        end = object()
        try:
            while (event := await asyncio.to_thread(next, events, end)) is not end:
                yield event  # type: ignore[misc]
        finally:
            # The generator may be running in its thread right now, so it cannot be closed from here.
            cancelled.set()

    def new_session(self) -> None:
        """Forget the conversation."""
        self.session = Session()

    def as_tool(self, name: str = "ask_notes") -> BaseTool:
        """A LangChain tool that asks this agent; its artifact is the `Answer`."""
        from langchain_core.tools import StructuredTool

        def run(question: str) -> tuple[str, Answer]:
            answer = self.ask(question)
            sources = "\n".join(f"[{c.marker}] {c.where}" for c in answer.citations)
            return f"{answer.text}\n\n{sources}".strip(), answer

        return StructuredTool.from_function(
            run, name=name, description=self.spec.header.description, response_format="content_and_artifact"
        )

    def warm(self) -> None:
        """Load the chat model and let it read the system prompt, so that the first answer starts sooner."""
        if self.chat.extractive:
            return
        model = self.chat.model()
        if not self.chat.local:
            return
        turn = self._turn("", "", (Query("-"),), lambda event: None)
        tools = [convert_to_openai_tool(TOOLS[name](turn))["function"] for name in self.spec.header.tools]
        prompt = to_plain_messages([SystemMessage(self.spec.prompt), HumanMessage("…")], tools, cited=True)
        # One token is no reply; what counts is that the server keeps the prompt's state.
        model.bind(max_tokens=1).invoke(prompt)

    def _stream(self, question: str, cancelled: threading.Event) -> Iterator[Event]:
        events: queue.Queue[Event | BaseException | None] = queue.Queue()

        def work() -> None:
            try:
                self._run(question, events.put, cancelled)
            except BaseException as exc:  # handed to the reader, who is in another thread
                events.put(exc)
            finally:
                events.put(None)

        threading.Thread(target=work, daemon=True, name="ragkit-turn").start()
        try:
            while (event := events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            cancelled.set()

    def _run(self, question: str, emit: Any, cancelled: threading.Event) -> None:
        began = time.monotonic()
        if told := self._told_at_once(question):
            emit(Done(told))
            return
        plan = self._understand(question, emit)
        turn = self._turn(question, plan.standalone, plan.queries, emit)
        turn.cancelled = cancelled
        stop: StopReason = "answered"
        final = self._final(turn, emit)
        if cancelled.is_set():
            return
        composed = finish(turn, final, self.chat)
        if refusal := self._guard.answer(composed.text):
            composed = Composed(refusal.text, (), composed.removed, composed.unresolved, abstained=True)
        if turn.out_of_steps:
            stop = "max_steps"
        elif composed.abstained:
            stop = "abstained"
        for citation in composed.citations:
            emit(CitationFound(citation))
        answer = Answer(
            text=composed.text,
            citations=composed.citations,
            abstained=composed.abstained,
            steps=tuple(turn.steps),
            stop_reason=stop,
            question=question,
            standalone=plan.standalone,
            model=self.chat.name,
            embedding_model=self.index.model.name,
            usage=dict(turn.usage),
            seconds=time.monotonic() - began,
            removed=composed.removed,
            unresolved_markers=composed.unresolved,
            passages=tuple(turn.passages),
            notes=(*plan.notes, *map(str, plan.stages)),
            origin=self._origin(question),
        )
        if cancelled.is_set():
            return
        unsaved = self.session.append(answer)
        emit(Done(replace(answer, warnings=(unsaved,)) if unsaved else answer))

    def _final(self, turn: TurnState, emit: Any) -> AIMessage | None:
        """Let the agent loop run; its last message, or None if the turn was cancelled."""
        final: AIMessage | None = None
        graph = self._graph(turn)
        config = {"recursion_limit": 4 * self.spec.header.max_steps + 20}
        with endpoint_errors(self.chat.name):
            for mode, part in graph.stream(
                {"messages": self._messages(turn)}, config, stream_mode=["messages", "updates"]
            ):
                if turn.cancelled.is_set():
                    return None
                if mode == "messages":
                    chunk = part[0]
                    # What is judged as a whole must not be on the screen before.
                    if isinstance(chunk, AIMessageChunk) and chunk.text and not self._guard.judges_answers:
                        emit(Token(chunk.text))
                    continue
                for update in part.values():
                    for message in (update or {}).get("messages", []):
                        if isinstance(message, AIMessage):
                            _count(turn, message)
                            final = message if not message.tool_calls else None
        return final

    def _told_at_once(self, question: str) -> Answer | None:
        """What is said without looking for anything; the conversation does not keep it."""
        text = ""
        if not query_terms(question):
            # Punctuation or emoji only: dense retrieval would find something near to it all the same.
            text = wordless(question)
        elif refusal := self._guard.question(question):
            text = refusal.text
        if not text:
            return None
        return Answer(
            text=text,
            citations=(),
            abstained=True,
            steps=(),
            stop_reason="abstained",
            question=question,
            standalone=question,
            model=self.chat.name,
            embedding_model=self.index.model.name,
            usage={},
            seconds=0.0,
        )

    def _understand(self, question: str, emit: Any) -> Plan:
        """The queries of the first search, and what the chat model adds to them."""
        header = self.spec.header
        structured = self.chat.structured()
        leans = header.rewrite != "never" and self._leans(question)
        plan = self.index.plan(
            question,
            rewrite=header.rewrite if structured else "never",
            translate=header.translate if structured else "never",
            hyde=header.hyde if structured else "never",
            history=tuple(Turn(a.question, a.text) for a in self._recent()) if leans else (),
            chat=structured,
            started=lambda name: emit(Thought(_DOING[name][answer_language(question)])),
        )
        for note in plan.notes:
            emit(Thought(note))
        return plan

    def _origin(self, question: str) -> Origin:
        return Origin(
            agent=self.spec.name,
            index_generation=str(self.index.manifest["generation"]),
            history=tuple((a.question, a.text) for a in self._recent()) if self._leans(question) else (),
            home=self.index.settings.home,
        )

    def _leans(self, question: str) -> bool:
        """Whether a question is to be read in the light of the conversation."""
        return self.spec.header.rewrite == "always" or is_follow_up(question)

    def _recent(self) -> list[PastAnswer]:
        return self.session.answers[-_HISTORY_TURNS:]

    def _turn(self, question: str, standalone: str, queries: tuple[Query, ...], emit: Any) -> TurnState:
        header = self.spec.header
        small = self.chat.tool_calling == "json"
        return TurnState(
            index=self.index,
            question=question,
            standalone=standalone,
            queries=queries,
            emit=emit,
            passages_per_search=header.passages,
            max_passages=header.max_passages,
            max_steps=min(header.max_steps, header.max_steps_json) if small else header.max_steps,
            unknown_names=tuple(self.index.unknown_names(standalone)),
            enough_coverage=header.enough_coverage if small else 2.0,
        )

    def _graph(self, turn: TurnState) -> Any:
        header = self.spec.header
        tools = [TOOLS[name](turn) for name in header.tools]
        if self.chat.extractive:
            model: BaseChatModel = NoModel()
        elif self.chat.tool_calling == "json":
            model = JsonProtocolModel(inner=self.chat.model(), max_tokens=header.max_answer_tokens)
        else:
            model = self.chat.model()
        control = TurnControl(turn, quote_passages if self.chat.extractive else None)
        return create_agent(model, tools, system_prompt=self.spec.prompt, middleware=[control])

    def _messages(self, turn: TurnState) -> list[BaseMessage]:
        messages: list[BaseMessage] = []
        # Models behind an endpoint read history fast; for a local one it is seconds of prompt.
        for answer in self._recent() if not self.chat.local or self._leans(turn.question) else []:
            messages.append(HumanMessage(answer.question[:_HISTORY_CHARS]))
            messages.append(AIMessage(answer.text[:_HISTORY_CHARS]))
        asked = turn.question
        if turn.standalone != turn.question:
            asked = f"{turn.question}\n({turn.standalone})"
        messages.append(HumanMessage(f"{asked}\n{_LANGUAGE_LINE[answer_language(turn.question)]}"))
        return messages


def _count(turn: TurnState, message: AIMessage) -> None:
    if message.usage_metadata:
        turn.usage["prompt_tokens"] += message.usage_metadata["input_tokens"]
        turn.usage["completion_tokens"] += message.usage_metadata["output_tokens"]
