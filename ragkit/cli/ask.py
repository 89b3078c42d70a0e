"""``ragkit ask QUESTION``: one question, one answer with citations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ragkit.agent.answer import Answer, Done, Event, Thought, Token, ToolCalled
from ragkit.agent.approval import ApprovalAsked
from ragkit.agent.plan import Plan
from ragkit.cli.approve import ask_terminal, servers_of
from ragkit.cli.common import emit_json, note, open_index, progress_bar, say, state, stderr, stdout, warn
from ragkit.cli.plan_view import PlanView
from ragkit.text.sanitize import one_line, printable

if TYPE_CHECKING:
    from ragkit.agent.runtime import Agent
    from ragkit.agent.sessions import Session
    from ragkit.settings import Settings


def run(
    question: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    agent: Annotated[str | None, typer.Option(help="Name or file of the agent.")] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Conversation to go on with.")] = None,
    model: Annotated[str | None, typer.Option(help="Chat model, e.g. local, openai:NAME@URL, extractive.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Show the answer as it is written.")] = False,
) -> None:
    """Answer a question from the notes, with citations."""
    from ragkit.agent.runtime import Agent
    from ragkit.agent.sessions import Session

    if question == "-":
        import sys

        question = sys.stdin.read()
    settings = state.settings(chat_model=model, agent=agent)
    # What can be wrong with the words typed is said before anything slow begins.
    asked = Agent.check(question)
    kept = Session.open(settings.ensure_home(), session) if session else None
    left = kept.unfinished() if kept else None
    loaded = ready_agent(settings, settings.agent, model, kept)
    if left and left.question == asked and left.agent == loaded.spec.name:
        note(f"{one_line(str(left), 600)}; going on")
        events = loaded.resume()
    else:
        if left:
            note(f"{one_line(str(left), 600)}; dropped for the new question", style="yellow")
        events = loaded.stream(question)
    answer_and_show(events, stream)


def ready_agent(settings: Settings, agent: str, model: str | None, session: Session | None) -> Agent:
    """The agent with its notes and its chat model, loaded; what can be wrong with it is said first.

    Args:
        settings: With the options of the command line.
        agent: Name or file of the agent.
        model: Chat model as typed; None takes the agent file's, then the setting.
        session: The conversation; None keeps none.
    """
    from ragkit.agent.runtime import Agent
    from ragkit.agent.spec import load_agent, model_named
    from ragkit.models.chat import resolve_chat

    spec = load_agent(agent, settings.agents_dir)
    chosen = model or model_named(spec, agent, settings) or settings.chat_model
    with progress_bar("Preparing the chat model (MB)", unit=1_000_000) as report:
        chat = resolve_chat(chosen, settings, report)
        index = open_index(settings)
        if not chat.extractive:
            chat.model()
    loaded = Agent(spec, index, chat, session, servers=servers_of(spec, settings))
    # Whoever names a model wants its answer or none.
    loaded.quote_when_down = model is None
    return loaded


def answer_and_show(events: Iterator[Event], stream: bool) -> None:
    """Show the events of a question on stderr and its answer on stdout, as JSON if that was asked for."""
    answer: Answer | None = None
    streamed = ""
    drawn = stream and not state.json and state.verbosity >= 0 and stderr.is_terminal
    plan = PlanView(stderr if drawn else None, note)
    try:
        for event in events:
            match event:
                case Done():
                    answer = event.answer
                case ToolCalled():
                    note(f"· {event.tool} {one_line(str(event.arguments), 120)}")
                case ApprovalAsked():
                    plan.stop()
                    event.settle(ask_terminal(event.approval))
                case Plan():
                    plan.show(event)
                case Thought():
                    note(f"· {one_line(event.text, 160)}")
                case Token() if stream and not state.json:
                    streamed += event.text
                    stdout.print(printable(event.text), end="")
    finally:
        plan.stop()
    assert answer is not None
    if state.json:
        emit_json(answer.to_json())
    else:
        if streamed:
            say()
        if streamed.strip() != answer.text.strip():
            say(answer.text)
        show_sources(answer)
    for warning in answer.warnings:
        warn(warning)
    if answer.stop_reason == "endpoint_down":
        raise typer.Exit(1)


def show_sources(answer: Answer) -> None:
    """Citations and what was taken out, below an answer."""
    if answer.citations:
        say()
    for citation in answer.citations:
        line = f"[{citation.marker}] {one_line(citation.where)}{citation.flag}  {one_line(citation.quote, 120)}"
        say(line, style="yellow" if citation.flag else "dim")
    for memory in answer.memories:
        say(f"memory [{memory.marker}]: {one_line(memory.where)}", style="dim")
    if answer.agreement:
        say(str(answer.agreement), style="dim")
    for item in answer.removed:
        say(f"removed ({one_line(item.reason)}): {one_line(item.sentence, 160)}", style="yellow")
    for translation in answer.translations:
        say(f"translated from: {one_line(translation.original, 160)}", style="dim")
