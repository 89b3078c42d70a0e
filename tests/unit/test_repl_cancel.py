"""Ctrl-C and failures stop one answer, never the conversation."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from rich.console import Console

from ragkit.agent.answer import Answer, Citation, Done, Event, Removed, Thought, Token, ToolCalled
from ragkit.agent.sessions import Session
from ragkit.agent.spec import load_agent
from ragkit.cli.ask import show_sources
from ragkit.cli.repl import commands
from ragkit.cli.repl.loop import Conversation, Repl
from ragkit.cli.repl.screen import Screen
from ragkit.errors import EndpointError
from ragkit.models.chat import ChatModel
from ragkit.settings import Settings


class FakeIndex:
    """As much of an index as the header shows."""

    manifest: ClassVar[dict[str, Any]] = {"roots": ["/tmp/notes"], "documents": 1, "folder": "/tmp/index"}
    model = SimpleNamespace(name="fake-embedding")

    def __len__(self) -> int:
        return 3


class FakeAgent:
    """Streams what each question's script says and remembers which streams were closed."""

    def __init__(self, **scripts: Callable[[], Iterator[Event]]) -> None:
        self._scripts = scripts
        self.closed: list[str] = []

    def stream(self, question: str) -> Iterator[Event]:
        try:
            yield from self._scripts[question]()
        finally:
            self.closed.append(question)

    def warm(self) -> None:
        pass


class ScriptedReader:
    """Hands out messages; an exception in the list is raised."""

    echo = False

    def __init__(self, *messages: str | BaseException) -> None:
        self._messages = list(messages)

    def read(self) -> str:
        if not self._messages:
            raise EOFError
        message = self._messages.pop(0)
        if isinstance(message, BaseException):
            raise message
        return message

    def silent(self) -> AbstractContextManager[None]:
        return nullcontext()


def done(text: str, **fields: Any) -> Iterator[Event]:
    values = dict(
        text=text, citations=(), abstained=False, steps=(), stop_reason="answered", question="q", standalone="q",
        model="fake", embedding_model="fake", usage={"prompt_tokens": 12, "completion_tokens": 3}, seconds=0.5,
    )  # fmt: skip
    yield Done(Answer(**{**values, **fields}))


def talk(
    agent: FakeAgent, *messages: str | BaseException, reader: ScriptedReader | None = None
) -> tuple[str, Conversation]:
    """Run a chat over scripted messages; returns what was shown."""
    out = io.StringIO()
    console = Console(file=out, highlight=False, markup=False, soft_wrap=True)
    chat = ChatModel("fake", cast(Any, object), tool_calling="native")
    spec = load_agent("interview")
    conversation = Conversation(cast(Any, FakeIndex()), Settings(), spec, chat, Session(), agent=agent)
    screen = Screen(interactive=True, out=console, err=console)
    Repl(conversation, screen, reader or ScriptedReader(*messages), commands.run).run()
    return out.getvalue(), conversation


def interrupted() -> Iterator[Event]:
    yield Token("half an ")
    raise KeyboardInterrupt


def test_interrupt_stops_the_answer_and_the_chat_goes_on() -> None:
    agent = FakeAgent(first=interrupted, second=lambda: done("whole answer"))
    shown, conversation = talk(agent, "first", "second")
    assert "half an \nstopped\n" in shown
    assert shown.index("stopped") < shown.index("whole answer")
    assert agent.closed == ["first", "second"]
    assert conversation.last is not None and conversation.last.text == "whole answer"


@pytest.mark.skipif(os.name == "nt", reason="signals are sent to this process")
def test_signal_while_the_stream_blocks_returns_within_300_ms() -> None:
    sent: list[float] = []

    def interrupt_twice() -> None:
        # An impatient user presses again; that must not hit the clearing up.
        for _ in range(2):
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.02)

    def blocks() -> Iterator[Event]:
        yield Thought("thinking")
        threading.Timer(0.2, interrupt_twice).start()
        threading.Event().wait(20)

    stopped: list[float] = []

    class Reader(ScriptedReader):
        def read(self) -> str:
            if sent and not stopped:
                stopped.append(time.monotonic())
                time.sleep(0.1)
            return super().read()

    before = signal.getsignal(signal.SIGINT)
    agent = FakeAgent(slow=blocks, second=lambda: done("whole answer"))
    shown, _ = talk(agent, reader=Reader("slow", "second"))
    assert stopped[0] - sent[0] < 0.3
    assert agent.closed == ["slow", "second"]
    assert "whole answer" in shown
    assert signal.getsignal(signal.SIGINT) is before


def test_interrupt_between_events_closes_the_iterator() -> None:
    agent = FakeAgent(first=lambda: iter([Thought("one"), Thought("two")]))

    class Impatient(Screen):
        def show(self, event: Event) -> None:
            raise KeyboardInterrupt

    out = io.StringIO()
    console = Console(file=out)
    chat = ChatModel("fake", cast(Any, object), tool_calling="native")
    conversation = Conversation(
        cast(Any, FakeIndex()), Settings(), load_agent("interview"), chat, Session(), agent=agent
    )
    screen = Impatient(interactive=True, out=console, err=console)
    Repl(conversation, screen, ScriptedReader("first"), commands.run).run()
    assert agent.closed == ["first"]
    assert "stopped" in out.getvalue()


def test_interrupt_at_the_prompt_says_how_to_leave() -> None:
    shown, _ = talk(FakeAgent(q=lambda: done("an answer")), KeyboardInterrupt(), "q")
    assert "Ctrl-D or /quit leaves" in shown
    assert "an answer" in shown


def test_errors_are_one_line_each_and_the_chat_goes_on() -> None:
    def refused() -> Iterator[Event]:
        raise EndpointError("The endpoint\nrefused.", "Check the key.")
        yield

    def broken() -> Iterator[Event]:
        raise ZeroDivisionError("division by zero")
        yield

    shown, _ = talk(FakeAgent(a=refused, b=broken, c=lambda: done("still here")), "a", "b", "c")
    assert "Error: The endpoint refused. Check the key.\n" in shown
    assert "Error: ZeroDivisionError: division by zero\n" in shown
    assert "Traceback" not in shown
    assert "still here" in shown


def test_background_failure_is_shown_before_the_next_prompt_once() -> None:
    class Cold(FakeAgent):
        def warm(self) -> None:
            raise EndpointError("cannot load")

    agent = Cold(q=lambda: done("an answer"))
    chat = ChatModel("fake", cast(Any, object), tool_calling="native")
    index = FakeIndex()
    index.search = lambda *args, **kwargs: []  # type: ignore[attr-defined]
    conversation = Conversation(cast(Any, index), Settings(), load_agent("interview"), chat, Session(), agent=agent)
    conversation.warm()
    deadline = time.monotonic() + 5
    while not (found := conversation.failures()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found == ["cannot load"]
    assert conversation.failures() == []


def test_streamed_answer_is_not_shown_twice() -> None:
    def streamed() -> Iterator[Event]:
        yield Token("位置信息")
        yield Token("[1]。")
        yield from done("位置信息。[1]")

    shown, _ = talk(FakeAgent(q=streamed), "q")
    assert shown.count("位置信息") == 1
    assert "fake · 0.5 s · 12+3 tokens" in shown


def test_changed_answer_is_shown_again_with_the_reason() -> None:
    def streamed() -> Iterator[Event]:
        yield Token("One. Two.")
        yield from done("One. [1]", removed=(Removed(sentence="Two.", reason="nothing supports it"),))

    shown, _ = talk(FakeAgent(q=streamed), "q")
    assert "checked: 1 sentence taken out" in shown
    assert "\nOne. [1]\n" in shown
    assert "removed (nothing supports it): Two." in shown


def test_text_before_a_tool_call_is_no_answer() -> None:
    def streamed() -> Iterator[Event]:
        yield Token("Let me look.")
        yield ToolCalled("search_notes", {"query": "x"})
        yield Token("Found. [1]")
        yield from done("Found. [1]")

    shown, _ = talk(FakeAgent(q=streamed), "q")
    assert "Let me look.\n→ search_notes" in shown
    assert "checked" not in shown


def test_thought_that_comes_late_does_not_cut_the_answer() -> None:
    def answered() -> Iterator[Event]:
        yield Token("Found.")
        yield Thought("late")
        yield Token(" [1]")
        yield from done("Found. [1]")

    def searched() -> Iterator[Event]:
        yield Token("Let me look.")
        yield Thought("late")
        yield ToolCalled("search_notes", {})
        yield from done("Found. [1]")

    shown, _ = talk(FakeAgent(a=answered, b=searched), "a", "b")
    assert "\nFound. [1]\nfake" in shown
    assert "Let me look.\n· late\n→ search_notes {}\n" in shown


def test_hostile_text_reaches_the_terminal_as_text() -> None:
    def streamed() -> Iterator[Event]:
        yield Thought("[red]markup[/red] :smile: \x1b[2J")
        yield Token("\x1b]0;title\x07[bold]x[/bold] ")
        yield from done("y \x1b[31m :smile:")

    shown, _ = talk(FakeAgent(q=streamed), "q")
    assert "\x1b" not in shown and "\x07" not in shown
    assert "[red]markup[/red] :smile:" in shown and "[bold]x[/bold]" in shown


def test_commands_before_any_answer_and_with_bad_arguments() -> None:
    shown, _ = talk(
        FakeAgent(), "/open 1", "/why", "/trace", "/sources", "/new now", "/sorces", "/etc", "/", "/exit", "never"
    )
    assert "The last answer has no sources. Usage: /open N" in shown
    assert "Usage: /why [N]" in shown and "Usage: /trace" in shown
    assert "cites nothing" in shown
    assert "It takes no argument. Usage: /new" in shown
    assert "Unknown command /sorces. Did you mean /sources?" in shown
    assert "Unknown command /etc." in shown
    assert "Unknown command /." in shown


def test_what_is_wrong_with_an_answer_is_shown_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    citation = Citation(
        marker=1, document="a.md", heading=(), start_line=3, end_line=3, start=0, end=5, quote="quote", verdict="partly",
        note="number 524288 is in no source",
    )  # fmt: skip
    fields: dict[str, Any] = {"citations": (citation,), "warnings": ("The session cannot be saved in x: full.",)}
    shown, conversation = talk(FakeAgent(q=lambda: done("It is 524288. [1]", **fields)), "q", "/sources")
    flag = "[1] a.md:3 (partly: number 524288 is in no source)"
    assert shown.count(flag) == 2, "below the answer and in /sources"
    assert shown.count("Warning: The session cannot be saved in x: full.") == 1
    assert conversation.last is not None
    show_sources(conversation.last)
    assert flag in capsys.readouterr().out


def test_a_question_from_a_terminal_that_sends_no_utf8_is_cleaned() -> None:
    agent = FakeAgent(quokka=lambda: done("whole answer"))
    shown, _ = talk(agent, "\udcff\udcfequokka")
    assert "whole answer" in shown
