"""One question from its reading to its checked answer: plan, loop, checks, events on the way.

`Run.go` is called in a thread of its own by `ragkit.agent.runtime.Agent`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage

from ragkit.agent.answer import Agreement, Answer, CitationFound, Done, Event, StopReason, Thought
from ragkit.agent.at_once import told_at_once
from ragkit.agent.budget import Budget
from ragkit.agent.caller import Caller
from ragkit.agent.checkpoints import Kept, TurnFile
from ragkit.agent.compose import Composed
from ragkit.agent.consistency import majority
from ragkit.agent.evidence import Judgement, evidence_of, judge_search
from ragkit.agent.examples import example_messages
from ragkit.agent.extractive import quote_passages
from ragkit.agent.finish import finish
from ragkit.agent.json_protocol import UNSEEN
from ragkit.agent.keeping import doubts, drop_changed, restore
from ragkit.agent.mounts import turn_graph
from ragkit.agent.new_turn import new_turn
from ragkit.agent.parts import AgentParts
from ragkit.agent.rating import Origin
from ragkit.agent.remembering import memories_used, recall_into, show_memories
from ragkit.agent.said import last_words, usable
from ragkit.agent.sessions import PastAnswer
from ragkit.agent.showing import Showing
from ragkit.agent.stand_in import StandIn
from ragkit.agent.turn import TurnState
from ragkit.agent.wording import DOING, as_asked
from ragkit.agent.workflows import workflow_for
from ragkit.agent.workflows.general import offered
from ragkit.agent.workflows.task import Outcome, Task
from ragkit.errors import AgentError, EndpointDownError
from ragkit.models.chat import endpoint_errors
from ragkit.retrieval.planner import Plan
from ragkit.retrieval.retriever import Query
from ragkit.retrieval.rewrite import Turn, is_follow_up
from ragkit.text.language import answer_language

_HISTORY_TURNS: Final = 3
CHANGED: Final = "{} passages changed in the notes since this turn began; nothing is cited from them."
_NODES_PER_STEP: Final = 50


class Run:
    """Answers one question.

    Args:
        parts: The agent. Its session gets the turn when it is done.
        question: Checked and cleaned.
        emit: Called with each event, in this thread or in that of a tool.
        cancelled: Set by whoever does not want the answer any more; the session stays as it was then.
        kept: An unfinished turn of the session to go on with, instead of a new one.
        alone: Whether the question has nothing to do with the conversation.
        budget: What the question is part of pays for it; None gives it a budget of its own.
        caller: Who asks, where the agent is a tool of another.
    """

    def __init__(
        self,
        parts: AgentParts,
        question: str,
        emit: Callable[[Event], None],
        cancelled: threading.Event,
        kept: Kept | None = None,
        *,
        alone: bool = False,
        budget: Budget | None = None,
        caller: Caller | None = None,
    ) -> None:
        self._parts = parts
        self._question = question
        self._emit = emit
        self._cancelled = cancelled
        self._caller = caller
        payer = caller.budget if caller else None
        most = parts.settings.max_question_steps
        parts.session.refresh()
        self._budget = budget or Budget(*parts.limits, parts.session.spent, parts.prices, payer=payer, most_steps=most)
        self._kept = kept
        self._file = kept if isinstance(kept, TurnFile) else None
        self._id = ""
        self._charged = False
        self._alone = alone
        self._down = StandIn()
        self._judged: dict[tuple[Query, ...], Judgement] = {}

    def go(self) -> None:
        """Emit the events of the turn, the last one `Done` unless it was cancelled.

        In a session on disk the turn is kept step by step until it is done or cancelled.

        Raises:
            EndpointError: If the chat model's endpoint refuses; while it is down, passages are quoted.
            ModelError: If it cannot be loaded or used.
            SessionBusyError: If another process is answering in the session.
        """
        parts = self._parts
        if self._kept is None:
            if told := told_at_once(parts, self._question, self._budget):
                self._emit(Done(told))
                return
            self._kept = self._file = parts.session.begin_turn(self._question, parts.spec.name, parts.chat.name)
        if self._file is not None:
            self._id = str(self._file.fact("turn")["id"])
        try:
            self._work()
        finally:
            self._charge()
            if self._cancelled.is_set():
                self.drop()
            elif self._file is not None:
                self._file.close()

    def _charge(self) -> None:
        """Let the session know, once, what was spent."""
        if not self._charged:
            self._charged = True
            self._parts.session.charge(self._budget.spent)

    def drop(self) -> None:
        """Keep nothing of the turn any more; safe to call while it runs."""
        if self._file is not None:
            # What cannot be removed has its id in the session, or is asked about when it is opened again.
            with suppress(AgentError):
                self._file.remove()

    def _work(self) -> None:
        parts = self._parts
        outcome = self._outcome()
        if self._cancelled.is_set():
            return
        turn, composed, warnings = outcome.turn, outcome.composed, list(outcome.warnings)
        if refusal := parts.guard.answer(composed.text):
            composed = Composed(refusal.text, (), composed.removed, composed.unresolved, abstained=True)
        stop: StopReason = "answered"
        if turn.cuts:
            warnings.append(turn.cuts.says(self._question, turn.window))
        if self._down.problem and not composed.abstained:
            stop = "endpoint_down"
        elif (ended := turn.stop or self._budget.stopped) is not None:
            stop = ended.reason
            warnings.append(ended.says(self._question))
        elif composed.abstained:
            stop = "abstained"
        for citation in composed.citations:
            self._emit(CitationFound(citation))
        answer = Answer(
            text=composed.text,
            citations=composed.citations,
            abstained=composed.abstained,
            steps=tuple(turn.steps),
            stop_reason=stop,
            question=self._question,
            standalone=outcome.standalone,
            model=parts.chat.name,
            embedding_model=parts.index.model.name,
            usage=self._budget.usage(turn.usage),
            seconds=self._budget.spent.seconds,
            cost=self._budget.spent.cost if self._priced() else None,
            removed=composed.removed,
            unresolved_markers=composed.unresolved,
            verdicts=composed.verdicts,
            translations=composed.translations,
            passages=tuple(turn.passages),
            notes=tuple(outcome.notes),
            memories=memories_used(turn, composed.citations),
            origin=self._origin(),
            evidence=evidence_of(turn, composed, parts),
            agreement=outcome.agreement,
            general=outcome.general,
            plan=outcome.plan,
            state=outcome.state,
        )
        if self._cancelled.is_set():
            return
        unsaved = parts.session.append(answer, self._id)
        self.drop()
        # Before the answer is out: the next question may come at once.
        self._charge()
        warnings += [turn.memory_trouble, *doubts(turn), unsaved]
        self._emit(Done(replace(answer, warnings=tuple(filter(None, warnings)))))

    def _priced(self) -> bool:
        settings = self._parts.settings
        return settings.price_read is not None or settings.price_written is not None

    def _chosen(self, turn: TurnState, final: AIMessage | None) -> tuple[Composed, Agreement | None]:
        """The checked answer; of several samples the one that most of them agree with."""
        composed = finish(turn, final, self._parts.chat)
        if not turn.samples:
            return composed, None
        checked = [composed, *(finish(turn, sample, self._parts.chat) for sample in turn.samples if usable(sample))]
        at, agreement = majority(checked, self._parts.index.model)
        self._emit(Thought(str(agreement)))
        return checked[at], agreement

    def _prepared(self) -> tuple[Plan, TurnState, list[str]]:
        """The plan, the turn as far as it is, and what a user must know of a turn that was resumed."""
        kept = self._kept
        plan: Plan | None = kept.fact("plan") if kept else None
        if plan is None or kept is None:
            plan = self._understand()
            if kept:
                kept.keep(plan=plan)
            turn = self._turn(plan)
            recall_into(turn)
            return plan, turn, []
        turn = self._turn(plan)
        if state := kept.fact("state"):
            restore(turn, state)
        else:
            recall_into(turn)
        # What was spent before the restart counts too; its seconds are not known.
        self._budget.add_tokens(turn.usage["prompt_tokens"], turn.usage["completion_tokens"])
        self._budget.add_step(turn.reserved)
        changed = drop_changed(turn)
        return plan, turn, [CHANGED.format(changed)] if changed else []

    def _outcome(self) -> Outcome:
        """What the workflow of the agent file makes of the question."""
        workflow = workflow_for(self._parts, self._question)
        if workflow is None:
            return offered(self._parts, self.answered())
        question, emit, cancelled = self._question, self._emit, self._cancelled
        return workflow(
            Task(
                parts=self._parts,
                question=question,
                emit=emit,
                cancelled=cancelled,
                turn=lambda: self._new_turn(question, (Query(question),)),
                answered=self._part,
                once=self._once,
            )
        )

    def _part(self, question: str, emit: Callable[[Event], None]) -> Outcome:
        """A part of the question in a run of its own; a part that was begun before a restart goes on."""
        kept = self._file.part(question) if self._file else None
        run = Run(
            self._parts, question, emit, self._cancelled, kept, alone=True, budget=self._budget, caller=self._caller
        )
        found = run.answered()
        self._down.problem = self._down.problem or run._down.problem
        return found

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        return self._file.once(name, make) if self._file else make()

    def answered(self) -> Outcome:
        """The question answered by tools and model, and checked."""
        try:
            plan, turn, warnings = self._prepared()
        except EndpointDownError as exc:
            self._parts = self._down.parts(self._parts, exc)
            plan, turn, warnings = self._prepared()
        try:
            final = self._final(turn)
        except EndpointDownError as exc:
            self._parts = self._down.parts(self._parts, exc)
            final = quote_passages(turn)
        if self._cancelled.is_set():
            return Outcome(Composed("", (), (), 0, abstained=True), turn, plan.standalone)
        composed, agreement = self._chosen(turn, final)
        return Outcome(
            composed,
            turn,
            plan.standalone,
            (*plan.notes, *map(str, plan.stages)),
            state=dict(turn.state),
            warnings=tuple(filter(None, [self._down.problem, *warnings, *turn.warnings])),
            agreement=agreement,
        )

    def _final(self, turn: TurnState) -> AIMessage | None:
        """Let the agent loop run; its last message, or None if the turn was cancelled."""
        final: AIMessage | None = None
        parts = self._parts
        graph = turn_graph(parts, turn, self._kept)
        showing = Showing(turn)
        # The loop ends by its budgets; this is far beyond them, whatever nodes middleware adds.
        config: dict[str, Any] = {"recursion_limit": _NODES_PER_STEP * (turn.max_steps + 3)}
        start: dict[str, Any] | None = {"messages": self._messages(turn)}
        if self._kept:
            config.update(self._kept.thread)
            if earlier := graph.get_state(config).values.get("messages"):
                start, final = None, last_words(earlier)
        # What is judged as a whole, or chosen among others, must not be on the screen before.
        unseen = parts.guard.judges_answers or parts.spec.header.samples > 1
        with endpoint_errors(parts.chat.name):
            for mode, part in graph.stream(
                start, config, stream_mode=["messages", "updates"], durability="sync" if self._kept else None
            ):
                if turn.cancelled.is_set():
                    return None
                if mode == "messages":
                    chunk = part[0]
                    hidden = unseen or chunk.additional_kwargs.get(UNSEEN)
                    if isinstance(chunk, AIMessageChunk) and chunk.text and not hidden:
                        self._down.said += chunk.text
                        showing.feed(chunk.text)
                    continue
                showing.close()
                if "__interrupt__" in part:
                    raise AgentError(
                        "A middleware interrupted the run to ask somebody; an interrupted run cannot go on here.",
                        "Decide about calls with approve=, see docs/agents.md.",
                    )
                for update in part.values():
                    for message in (update or {}).get("messages", []):
                        if isinstance(message, AIMessage):
                            final = message if not message.tool_calls else None
        return final

    def _understand(self) -> Plan:
        """The queries of the first search, and what the chat model adds to them."""
        parts, question, header = self._parts, self._question, self._parts.spec.header
        rewriting = parts.chat.sampled(header.sampling.rewrite)
        structured = rewriting.structured(self._budget.spend) if len(parts.index) else None
        leans = header.rewrite != "never" and self._leans()
        plan = parts.index.plan(
            question,
            rewrite=header.rewrite if structured else "never",
            translate=header.translate if structured else "never",
            hyde=header.hyde if structured else "never",
            history=tuple(Turn(a.question, a.text) for a in self._recent()) if leans else (),
            chat=structured,
            started=lambda name: self._emit(Thought(DOING[name][answer_language(question)])),
            unanswered=self._unanswered,
        )
        for note in plan.notes:
            self._emit(Thought(note))
        return plan

    def _unanswered(self, question: str, queries: Sequence[Query]) -> bool:
        """Whether the question will be declined on the search alone; the turn goes by the same judgement."""
        self._judged[tuple(queries)] = judgement = judge_search(self._parts.index, question, queries)
        return judgement.declined

    def _origin(self) -> Origin:
        index = self._parts.index
        return Origin(
            agent=self._parts.spec.name,
            index_generation=str(index.manifest["generation"]),
            history=tuple((a.question, a.text) for a in self._recent()) if self._leans() else (),
            home=index.settings.home,
        )

    def _leans(self) -> bool:
        """Whether the question is to be read in the light of the conversation."""
        return self._parts.spec.header.rewrite == "always" or is_follow_up(self._question)

    def _recent(self) -> list[PastAnswer]:
        return [] if self._alone else self._parts.session.answers[-_HISTORY_TURNS:]

    def _turn(self, plan: Plan) -> TurnState:
        return self._new_turn(plan.standalone, plan.queries)

    def _new_turn(self, standalone: str, queries: tuple[Query, ...]) -> TurnState:
        turn = new_turn(
            self._parts,
            self._question,
            standalone,
            queries,
            emit=self._emit,
            cancelled=self._cancelled,
            caller=self._caller,
        )
        turn.budget = self._budget
        turn.judged = self._judged.get(tuple(query for query in queries if not query.beside))
        return turn

    def _messages(self, turn: TurnState) -> list[BaseMessage]:
        json_protocol = self._parts.chat.tool_calling == "json"
        spec = self._parts.spec
        messages = example_messages(spec.examples, json_protocol=json_protocol, thoughts=spec.header.thought != "off")
        # Models behind an endpoint read history fast; for a local one it is seconds of prompt.
        if not self._parts.chat.local or self._leans():
            messages += self._conversation()
        messages.append(HumanMessage(f"{show_memories(turn)}{as_asked(turn.question, turn.standalone)}"))
        return messages

    def _conversation(self) -> list[BaseMessage]:
        """Earlier turns: the newest as they were, the others as a summary."""
        said: list[BaseMessage] = []
        for answer in [] if self._alone else self._parts.session.answers:
            said += [HumanMessage(answer.question), AIMessage(answer.text)]
        budget = self._parts.settings.conversation_tokens
        return self._parts.conversation.fit(said, budget, answer_language(self._question))
