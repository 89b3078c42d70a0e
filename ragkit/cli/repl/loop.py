"""The conversation (notes, agent, chat model, session) and the loop that reads, answers and reads again.

Nothing that goes wrong with one question ends the loop. The chat model loads in a thread, so that
the prompt does not wait for it.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from ragkit.agent.answer import Answer, Done, Event
from ragkit.agent.approval import Approval, ApprovalAsked
from ragkit.agent.sessions import Session
from ragkit.agent.spec import AgentSpec, load_agent, model_named
from ragkit.cli.approve import servers_of
from ragkit.cli.common import progress_bar
from ragkit.cli.repl.screen import Screen
from ragkit.errors import RagkitError
from ragkit.models.bundled import BUNDLED_CHAT
from ragkit.models.chat import ChatModel, resolve_chat
from ragkit.redact import redacted
from ragkit.settings import Settings
from ragkit.text.sanitize import clean_question, one_line, printable

if TYPE_CHECKING:
    from ragkit.agent.mcp import McpTools
    from ragkit.api import Index


class Answering(Protocol):
    """What the loop needs of an agent."""

    def stream(self, question: str) -> Iterator[Event]:
        """Events of one question, the last one `Done`; closing the iterator cancels."""
        ...

    def resume(self) -> Iterator[Event]:
        """Events of the turn of the session that was broken off."""
        ...

    def warm(self) -> None:
        """Load the chat model."""
        ...


class Reader(Protocol):
    """Where questions come from."""

    echo: bool
    """Whether what was read must be printed, because nobody typed it on this screen."""

    def read(self) -> str:
        """The next message; raises EOFError at the end and KeyboardInterrupt on Ctrl-C."""
        ...

    def confirm(self, approval: Approval) -> bool:
        """Asks for a yes to something with an effect; no where nobody can be asked."""
        ...

    def silent(self) -> AbstractContextManager[None]:
        """Keeps keys that are typed meanwhile off the screen; the next `read` still gets them."""
        ...


def ready_chat(spec: str, settings: Settings) -> ChatModel:
    """Resolve a chat model string; a bundled model is joined first, with a progress bar.

    Raises:
        ModelError: If the string names no model that can be used here.
    """
    chat = resolve_chat(spec, settings)
    for bundled in BUNDLED_CHAT.values():
        if chat.local and chat.name == bundled.name and not bundled.path(settings.home).is_file():
            with progress_bar("Preparing the chat model (MB)", unit=1_000_000) as report:
                bundled.prepare(settings.ensure_home(), report)
    return chat


@dataclass
class Conversation:
    """What is being talked about, with whom, and what was said last."""

    index: Index
    settings: Settings
    spec: AgentSpec
    chat: ChatModel
    session: Session
    model_named: bool = False
    """Whether the user chose the chat model; otherwise an agent file may."""
    last: Answer | None = None
    agent: Answering | None = None
    """Made at first use: its libraries take longer to import than the index to open."""
    servers: McpTools | None = None
    """The MCP servers of the agent file, running."""
    _failures: list[str] = field(default_factory=list)
    _warming: threading.Thread | None = None

    def stream(self, question: str) -> Iterator[Event]:
        """Events of the next turn."""
        # Ctrl-C in the middle of an import would leave half a module behind; waiting for the thread
        # that imports can be interrupted at any time.
        while self._warming is not None and self.agent is None and self._warming.is_alive():
            self._warming.join(0.05)
        return self._made_agent().stream(question)

    def resume(self) -> Iterator[Event]:
        """Events of the turn that was broken off."""
        return self._made_agent().resume()

    def warm(self) -> None:
        """Load embedding and chat model in a thread; `failures` tells what went wrong."""
        chat = self.chat

        def work() -> None:
            try:
                agent = self._made_agent()
                self.index.search("warm", k=1)
                if self.chat is chat:
                    agent.warm()
            except RagkitError as exc:
                self._failures.append(str(exc))
            except Exception as exc:
                self._failures.append(f"{type(exc).__name__}: {exc}")

        self._warming = threading.Thread(target=work, daemon=True, name="ragkit-warm")
        self._warming.start()

    def failures(self, *, shown: str = "") -> list[str]:
        """What went wrong in the background since the last call, without the message `shown` already."""
        found, self._failures = self._failures, []
        return [failure for failure in found if failure != shown]

    def doing(self) -> str:
        """What takes time at the moment."""
        loading = self._warming is not None and self._warming.is_alive()
        return f"loading {self.chat.name}" if loading else "working"

    def use_model(self, spec: str) -> None:
        """Go on with another chat model."""
        self.chat = ready_chat(spec, self.settings)
        self.model_named, self.agent = True, None
        self.warm()

    def use_agent(self, name: str) -> None:
        """Go on with another agent, and with its chat model unless the user named one."""
        spec = load_agent(name, self.settings.agents_dir)
        named = model_named(spec, name, self.settings) if not self.model_named else None
        chat = ready_chat(named, self.settings) if named else self.chat
        before, servers = self.servers, servers_of(spec, self.settings)
        # Nothing is changed before everything that can fail is done.
        self.spec, self.chat, self.servers, self.agent = spec, chat, servers, None
        if before is not None:
            before.close()
        self.warm()

    def start_over(self) -> None:
        """Begin a new session."""
        self.session, self.last, self.agent = Session.start(self.settings.ensure_home()), None, None

    def _made_agent(self) -> Answering:
        if self.agent is None:
            from ragkit.agent.runtime import Agent

            self.agent = Agent(self.spec, self.index, self.chat, self.session, servers=self.servers)
        return self.agent


Dispatch = Callable[[Conversation, Screen, str], bool]
"""Runs a slash command; returns whether to leave."""


class Repl:
    """Reads, answers and reads again until the end of input or a command that leaves."""

    def __init__(
        self, conversation: Conversation, screen: Screen, reader: Reader, dispatch: Dispatch, *, debug: bool = False
    ) -> None:
        self._conversation = conversation
        self._screen = screen
        self._reader = reader
        self._dispatch = dispatch
        self._debug = debug

    def run(self) -> None:
        """Talk until the user leaves.

        Raises:
            KeyboardInterrupt: On Ctrl-C when questions come from a pipe.
        """
        self._screen.header(self._conversation.index, self._conversation.chat, self._conversation.session)
        self._tell_unfinished()
        while True:
            for failure in self._conversation.failures():
                self._screen.error(failure)
            try:
                typed = self._reader.read().strip()
                if typed and self._reader.echo:
                    self._screen.asked(typed)
                message = clean_question(typed).strip()
                if message and self._handle(message):
                    return
            except EOFError:
                return
            except KeyboardInterrupt:
                if self._reader.echo:
                    raise
                self._screen.hint("Ctrl-D or /quit leaves")

    def _handle(self, message: str) -> bool:
        """Run a command or answer a question; returns whether to leave."""
        with _one_interrupt():
            try:
                if message.lower() == "/resume":
                    self._show(self._conversation.resume)
                    return False
                if message.startswith("/"):
                    return self._dispatch(self._conversation, self._screen, message)
                self._answer(message)
            except KeyboardInterrupt:
                self._screen.stopped()
                if self._reader.echo:
                    raise
            except BrokenPipeError:
                raise
            except Exception as exc:
                text = str(exc) if isinstance(exc, RagkitError) else redacted(f"{type(exc).__name__}: {exc}")
                self._screen.error(text)
                self._conversation.failures(shown=text)
                if self._debug:
                    sys.stderr.write(redacted(printable(traceback.format_exc())))
        return False

    def _tell_unfinished(self) -> None:
        try:
            left = self._conversation.session.unfinished()
        except RagkitError as exc:
            self._screen.error(str(exc))
            return
        if left:
            self._screen.hint(f"{one_line(str(left), 600)}. /resume goes on with it; another question drops it.")

    def _answer(self, question: str) -> None:
        self._show(lambda: self._conversation.stream(question))

    def _show(self, begin: Callable[[], Iterator[Event]]) -> None:
        """Show the events of a turn as they come."""
        events: Iterator[Event] | None = None
        try:
            with self._reader.silent(), self._screen.turn(self._conversation.doing):
                events = begin()
                for event in events:
                    if isinstance(event, Done):
                        self._conversation.last = event.answer
                    if isinstance(event, ApprovalAsked):
                        with self._screen.asking():
                            event.settle(self._reader.confirm(event.approval))
                        continue
                    self._screen.show(event)
        finally:
            # An interrupt between two events leaves the iterator open; closing it is what cancels the run.
            if close := getattr(events, "close", None):
                close()


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Let the first Ctrl-C through and ignore the next ones, so that they cannot hit the clearing up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def once(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
