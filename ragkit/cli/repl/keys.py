"""The line editor of an interactive chat: history, completion, key bindings. Imports prompt_toolkit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output

from ragkit.agent.approval import Approval
from ragkit.cli.approve import ask_terminal

PROMPT = "› "
LEAVE = "Ctrl-D or /quit leaves"
MAX_PASTE = 20_000
"""A question may have 8,000 characters; drawing far more makes the editor hang."""

Values = Callable[[str], Sequence[tuple[str, str]]]


class Prompt:
    """Reads messages from a terminal.

    Args:
        home: Folder that keeps the history.
        commands: Slash commands with their help; one that takes an argument ends with a space.
        values: Gives what can be typed behind a command.
        hint: Shows a line above the prompt.
        input: Where keys come from; None takes the terminal.
        output: Where the prompt is drawn; None takes the terminal.
    """

    echo = False

    def __init__(
        self,
        home: Path,
        commands: Mapping[str, str],
        values: Values,
        hint: Callable[[str], None],
        *,
        input: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self._hint = hint
        self._interrupts = 0
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            multiline=True,
            prompt_continuation=" " * len(PROMPT),
            history=open_history(home / "history"),
            completer=SlashCompleter(commands, values),
            # The menu takes room below the prompt, which plain questions should not pay for.
            complete_while_typing=Condition(lambda: get_app().current_buffer.text.startswith("/")),
            reserve_space_for_menu=6,
            key_bindings=self._bindings(),
            enable_suspend=True,
            input=input,
            output=output,
        )
        self._session.default_buffer.on_text_changed += self._typed

    def read(self) -> str:
        """The next message, which may have several lines; EOFError on Ctrl-D."""
        self._interrupts = 0
        return self._session.prompt()

    def confirm(self, approval: Approval) -> bool:
        """Ask whoever types, below what is on the screen."""
        return ask_terminal(approval)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Keep what is typed during an answer out of it; the next prompt shows it."""
        if sys.platform == "win32":
            yield
            return
        import termios

        try:
            before = termios.tcgetattr(sys.stdin)
        except (OSError, ValueError, termios.error):
            yield
            return
        quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
        try:
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)

    def _typed(self, buffer: Buffer) -> None:
        self._interrupts = 0

    def _bindings(self) -> KeyBindings:
        keys = KeyBindings()
        editing = has_focus(DEFAULT_BUFFER)
        keys.add("enter", filter=editing)(_enter)
        keys.add("escape", "enter", filter=editing)(_new_line)
        keys.add("c-c", filter=editing)(self._interrupt)
        keys.add("<sigint>", filter=editing)(self._interrupt)
        keys.add(Keys.BracketedPaste, filter=editing)(self._paste)
        return keys

    def _interrupt(self, event: KeyPressEvent) -> None:
        """Clear the line; say how to leave if there was nothing to clear for the second time."""
        buffer = event.current_buffer
        count = self._interrupts + 1
        if buffer.text:
            buffer.reset()
        elif count > 1:
            run_in_terminal(lambda: self._hint(LEAVE))
        self._interrupts = count

    def _paste(self, event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        if len(text) > MAX_PASTE:
            message = f"{len(text):,} characters are too many to paste; put long text into a note and index it."
            run_in_terminal(lambda: self._hint(message))
            return
        event.current_buffer.insert_text(text)


class SlashCompleter(Completer):
    """Completes command names, and values behind those commands that have some."""

    def __init__(self, commands: Mapping[str, str], values: Values) -> None:
        self._commands = commands
        self._values = values

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What fits what was typed up to the cursor."""
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        name, space, begun = text.partition(" ")
        choices = self._values(name[1:]) if space else self._commands.items()
        typed = begun if space else name
        for value, meaning in choices:
            if value.startswith(typed) and value != typed:
                yield Completion(value, start_position=-len(typed), display_meta=meaning)


class _PrivateHistory(FileHistory):
    """A history file that never stops the chat: what cannot be written is not kept."""

    def store_string(self, string: str) -> None:
        # The terminal hands over bytes that are no UTF-8 as surrogates, which no file takes.
        try:
            super().store_string(string.encode("utf-8", "replace").decode("utf-8"))
        except OSError:
            return


def open_history(path: Path) -> History:
    """The history in `path`, readable by its owner only; in memory if the file cannot be used."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600))
    except OSError:
        return InMemoryHistory()
    return _PrivateHistory(str(path))


def _enter(event: KeyPressEvent) -> None:
    """Send the message, unless it goes on or a command still wants its argument."""
    buffer = event.current_buffer
    chosen = buffer.complete_state is not None and buffer.complete_state.current_completion is not None
    if buffer.document.text_before_cursor.endswith("\\") and buffer.document.is_cursor_at_the_end_of_line:
        buffer.delete_before_cursor()
        buffer.insert_text("\n")
    elif chosen and buffer.text.endswith((" ", ":")):
        buffer.complete_state = None
        buffer.start_completion()
    elif buffer.text.strip():
        buffer.validate_and_handle()


def _new_line(event: KeyPressEvent) -> None:
    event.current_buffer.insert_text("\n")
