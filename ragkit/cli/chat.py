"""``ragkit chat``: a conversation with the notes. Puts the parts of `ragkit.cli.repl` together."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from ragkit.cli.common import drop_closed_output, open_index, state
from ragkit.errors import UsageError

if TYPE_CHECKING:
    from ragkit.agent.approval import Approval
    from ragkit.cli.repl.loop import Reader


def run(
    agent: Annotated[str | None, typer.Option(help="Name or file of the agent.")] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Conversation to go on with.")] = None,
    model: Annotated[str | None, typer.Option(help="Chat model, e.g. local, openai:NAME@URL, extractive.")] = None,
) -> None:
    """Talk with the notes; reads one question a line when standard input is no terminal."""
    if state.json:
        raise UsageError("ragkit chat is interactive and has no --json.", "Use: ragkit ask --json QUESTION")
    # A library that draws a progress bar while the prompt is up would write into the user's line.
    os.environ.setdefault("TQDM_DISABLE", "1")
    from ragkit.agent.sessions import Session
    from ragkit.agent.spec import load_agent, model_named
    from ragkit.cli.approve import servers_of
    from ragkit.cli.repl import commands
    from ragkit.cli.repl.loop import Conversation, Repl, ready_chat
    from ragkit.cli.repl.screen import Screen

    settings = state.settings(chat_model=model, agent=agent)
    home = settings.ensure_home()
    kept = Session.open(home, session) if session else Session.start(home)
    spec = load_agent(settings.agent, settings.agents_dir)
    chat = ready_chat(model or model_named(spec, settings.agent, settings) or settings.chat_model, settings)
    servers = servers_of(spec, settings)
    index = open_index(settings)
    conversation = Conversation(index, settings, spec, chat, kept, model_named=model is not None, servers=servers)
    conversation.warm()

    interactive = _is_interactive()
    screen = Screen(interactive=interactive, quiet=state.verbosity < 0)
    reader: Reader
    if interactive:
        from ragkit.cli.repl.keys import Prompt

        reader = Prompt(home, commands.summaries(), lambda name: commands.values(conversation, name), screen.hint)
    else:
        reader = PlainReader()
    try:
        Repl(conversation, screen, reader, commands.run, debug=state.debug).run()
    except KeyboardInterrupt:
        _leave(130)
        raise
    except (BrokenPipeError, SystemExit):
        # Whoever read the answers went away.
        drop_closed_output()
        _leave(0)
        raise
    _leave(0)


def _leave(code: int) -> None:
    """End the process here if a turn that was stopped, or the loading of a model, still runs.

    The interpreter would wait at its exit for the threads of the libraries in use, and these for
    an endpoint that may take minutes. Nothing is lost: sessions are synced turn by turn.
    """
    if any(thread.name.startswith("ragkit-") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _is_interactive() -> bool:
    terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    return terminal and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}


class PlainReader:
    """One question a line from standard input, for pipes and terminals without cursor control."""

    def __init__(self) -> None:
        self._typed = sys.stdin is not None and sys.stdin.isatty()
        self.echo = not (self._typed and sys.stdout.isatty())

    def read(self) -> str:
        """The next line; bytes that are not UTF-8 are replaced."""
        if self._typed and not self.echo:
            sys.stdout.write("› ")
            sys.stdout.flush()
        line = b""
        try:
            line = sys.stdin.buffer.readline() if sys.stdin is not None else b""
        finally:
            if self._typed and not line:
                # Neither Ctrl-C nor Ctrl-D ends the line that the prompt stands on.
                sys.stdout.write("\n")
        if not line:
            raise EOFError
        return line.decode("utf-8", "replace").lstrip("\ufeff")

    def silent(self) -> AbstractContextManager[None]:
        """Nothing to do."""
        return nullcontext()

    def confirm(self, approval: Approval) -> bool:
        """Ask whoever types; the next line of a pipe is a question, not an answer to this."""
        from ragkit.cli.approve import ask_terminal

        return self._typed and ask_terminal(approval)
