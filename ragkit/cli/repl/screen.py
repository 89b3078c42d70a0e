"""What the chat shows: events as they come, answers with their sources, errors.

Text of notes, models and users is made safe and printed as it is, never read as markup. Answers go
to stdout; what is said about them goes there too on a terminal, and to stderr in a pipe.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ragkit.agent.answer import Answer, Done, Event, Observation, Thought, Token, ToolCalled
from ragkit.agent.plan import Plan
from ragkit.citations.markers import parse_answer
from ragkit.cli.common import stderr, stdout
from ragkit.cli.plan_view import PlanView, listed
from ragkit.text.sanitize import one_line, printable
from ragkit.values import source_place

if TYPE_CHECKING:
    from ragkit.agent.sessions import Session
    from ragkit.api import Index
    from ragkit.models.chat import ChatModel

_LINE = 160
_QUOTE = 100
_PLACES = 4
_PATIENCE = 0.3
"""Seconds before a line says that something is going on: faster answers need none."""


class Screen:
    """Prints the chat.

    Args:
        interactive: Whether somebody watches; otherwise only answers go to `out`.
        quiet: Leave out everything but answers, sources and errors.
        out: Console for answers.
        err: Console for errors.
    """

    def __init__(self, *, interactive: bool, quiet: bool = False, out: Console = stdout, err: Console = stderr) -> None:
        self._interactive = interactive
        self._quiet = quiet
        self._out = out
        self._err = err
        self._streamed = self._thought = ""
        self._waiting = _Waiting(out if interactive else None)
        self._lines = PlanView(None, self.aside)

    def line(self, text: str = "", style: str = "") -> None:
        """A line of an answer or of what a command shows."""
        self._out.print(Text(printable(text)), style=style)

    def aside(self, text: str, style: str = "dim") -> None:
        """A line about an answer, of which a pipe keeps its stdout free."""
        if not self._quiet:
            (self._out if self._interactive else self._err).print(Text(printable(text)), style=style)

    def hint(self, text: str) -> None:
        """A line that tells the user what to do instead."""
        self._err.print(Text(one_line(text, 600)), style="yellow")

    def error(self, text: str) -> None:
        """Something failed."""
        self._end_line()
        self._err.print(Text(f"Error: {one_line(text, 600)}"), style="red")

    def stopped(self) -> None:
        """The user stopped an answer."""
        self._end_line()
        self.aside("stopped")

    def asked(self, question: str) -> None:
        """A question that was not typed here."""
        self.line(f"› {one_line(question, 2000)}")

    def header(self, index: Index, chat: ChatModel, session: Session) -> None:
        """What this chat works with."""
        facts = index.manifest
        roots = ", ".join(root.rstrip("/\\").replace("\\", "/").rpartition("/")[2] for root in facts["roots"])
        size = f"{counted(facts['documents'], 'note')} · {counted(len(index), 'chunk')}"
        self.aside(f"notes    {one_line(roots or facts['folder'])} · {size}")
        self.aside(f"models   chat {one_line(chat.name)} · embedding {one_line(index.model.name)}")
        if chat.extractive:
            remedy = 'pip install "ragkit[local]" or set OPENAI_API_KEY'
            self.aside(f"         answers are quotes from the notes; to have them written: {remedy}", style="yellow")
        earlier = f" · {counted(len(session.answers), 'earlier turn')}" if session.answers else ""
        self.aside(f"session  {session.id}{earlier} · /help for commands")

    @contextmanager
    def turn(self, doing: Callable[[], str]) -> Iterator[None]:
        """Everything shown inside belongs to one question.

        Args:
            doing: Says what takes time, for the line shown meanwhile.
        """
        self._streamed = self._thought = ""
        self._waiting.above = ""
        self._lines = PlanView(None, self.aside)
        self._waiting.begin(doing)
        try:
            yield
        finally:
            self._waiting.pause()

    def show(self, event: Event) -> None:
        """Show what an agent reports; citations are shown with the answer."""
        match event:
            case Token(text):
                self._token(text)
            case Thought(text) if self._streamed:
                # A model's thought is known when its reply is: it belongs to a tool call, or says the answer again.
                self._thought = text
            case Thought(text):
                self._step(f"· {one_line(text, _LINE)}")
            case ToolCalled(tool, arguments):
                self._step(f"→ {call(tool, arguments)}")
            case Observation():
                self._step(f"← {seen(event)} ({event.seconds:.2f} s)")
            case Plan():
                self._end_line()
                self._plan(event)
            case Done(answer):
                self._answer(answer)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Nothing is drawn while somebody is asked something."""
        self._end_line()
        self._waiting.pause()
        try:
            yield
        finally:
            self._waiting.resume()

    def _plan(self, plan: Plan) -> None:
        if self._interactive:
            self._waiting.above = listed(plan.items)
            self._waiting.resume()
        else:
            self._lines.show(plan)

    def _token(self, text: str) -> None:
        if not self._streamed.strip():
            text = text.lstrip()
            if not text:
                return
            self._waiting.pause()
            self.line()
        self._streamed += text
        self._out.print(Text(printable(text)), end="")

    def _step(self, text: str) -> None:
        self._end_line()
        if self._thought:
            self.aside(f"· {one_line(self._thought, _LINE)}")
        self._thought = ""
        self.aside(text)
        self._waiting.resume()

    def _end_line(self) -> None:
        # What was streamed before a tool call was no answer.
        if self._streamed:
            self._out.print()
        self._streamed = ""

    def _answer(self, answer: Answer) -> None:
        self._waiting.pause()
        self._waiting.above = ""
        if answer.plan and self._interactive:
            self.aside(listed(answer.plan))
        streamed = self._streamed
        self._end_line()
        if not streamed:
            self.line()
            self.line(answer.text)
        elif not same_answer(streamed, answer.text):
            self.line(f"\nchecked: {changes(answer)}\n", style="dim")
            self.line(answer.text)
        if answer.citations:
            self.line()
        for citation in answer.citations:
            quote = one_line(citation.quote, _QUOTE)
            line = f'[{citation.marker}] {one_line(citation.where)}{citation.flag}  "{quote}"'
            self.line(line, style="yellow" if citation.flag else "dim")
        for memory in answer.memories:
            self.line(f"memory [{memory.marker}]: {one_line(memory.where)}", style="dim")
        if answer.agreement:
            self.line(str(answer.agreement), style="dim")
        for item in answer.removed:
            self.line(f"removed ({one_line(item.reason)}): {one_line(item.sentence, _LINE)}", style="yellow")
        for translation in answer.translations:
            self.line(f"translated from: {one_line(translation.original, _LINE)}", style="dim")
        self.aside(footer(answer))
        for warning in answer.warnings:
            self.hint(f"Warning: {warning}")
        self.line()


class _Waiting:
    """A line at the bottom that says that something is going on; nothing without a console."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._doing: Callable[[], str] = str
        self._began = 0.0
        self._live: Live | None = None
        self.above = ""
        """Shown above the line: the plan of a researcher."""

    def begin(self, doing: Callable[[], str]) -> None:
        self._doing, self._began = doing, time.monotonic()
        self.resume()

    def resume(self) -> None:
        if self._console is not None and self._live is None:
            self._live = Live(self, console=self._console, transient=True, refresh_per_second=4)
            self._live.start()

    def pause(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __rich__(self) -> Text:
        seconds = time.monotonic() - self._began
        line = "" if seconds < _PATIENCE else f"… {self._doing()}, {seconds:.0f} s (Ctrl-C stops)"
        return Text("\n".join(filter(None, (self.above, line))), style="dim")


def counted(number: int, thing: str) -> str:
    """``1 passage``, ``4 passages``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def call(tool: str, arguments: dict[str, Any], limit: int = _LINE) -> str:
    """A tool call on one line."""
    return one_line(f"{tool} {json.dumps(arguments, ensure_ascii=False, default=str)}", limit)


def seen(event: Observation) -> str:
    """An observation on one line: where the passages are, or what the tool said."""
    if not event.hits:
        return one_line(event.text, _LINE) or "nothing"
    places = list(
        dict.fromkeys(
            source_place(one_line(hit.document, 60), (hit.start_line,) * 2, (hit.page,) * 2) for hit in event.hits
        )
    )
    more = ", …" if len(places) > _PLACES else ""
    return f"{counted(len(event.hits), 'passage')}: {', '.join(places[:_PLACES])}{more}"


def same_answer(streamed: str, final: str) -> bool:
    """Whether two texts say the same with the same markers; where a marker stands around a full stop is no matter."""

    def parts(text: str) -> list[tuple[str, tuple[int, ...]]]:
        return [("".join(sentence.text.split()), sentence.markers) for sentence in parse_answer(printable(text))]

    return parts(streamed) == parts(final)


def changes(answer: Answer) -> str:
    """What the check of the citations did to the text that the model wrote."""
    if answer.abstained:
        return "no passage supports what stands above"
    moved = sum(citation.verdict == "misattributed" for citation in answer.citations)
    found = [
        (len(answer.removed), "sentence", "taken out"),
        (moved, "marker", "moved to the passage that says it"),
        (answer.unresolved_markers, "marker", "without a passage dropped"),
        (len(answer.translations), "sentence", "translated"),
    ]
    return ", ".join(f"{counted(n, thing)} {what}" for n, thing, what in found if n) or "markers set right"


def footer(answer: Answer) -> str:
    """Model, time and tokens of an answer."""
    parts = [one_line(answer.model), f"{answer.seconds:.1f} s"]
    read, written = answer.usage.get("prompt_tokens", 0), answer.usage.get("completion_tokens", 0)
    if read or written:
        parts.append(f"{read}+{written} tokens")
    if answer.stop_reason not in {"answered", "abstained"}:
        parts.append(answer.stop_reason)
    return " · ".join(parts)
