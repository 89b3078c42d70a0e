"""The slash commands: one function each, a table of them, and what can be typed behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from ragkit.agent.answer import Citation
from ragkit.agent.session_store import list_sessions
from ragkit.agent.spec import available_agents
from ragkit.cli.repl import memory
from ragkit.cli.repl.loop import Conversation
from ragkit.cli.repl.rating import rates
from ragkit.cli.repl.screen import Screen, call, counted
from ragkit.text.sanitize import one_line
from ragkit.values import Hit

_CONTEXT = 4
"""Lines shown above and below a cited place."""
_LONG_LINE = 2000
_MODELS = {
    "auto": "an endpoint if one is configured, else the local model, else quotes",
    "local": "bundled 1.5B model",
    "local-small": "bundled 0.5B model",
    "extractive": "quotes, no model",
    "openai:": "NAME, or NAME@BASE_URL",
    "gguf:": "path of a model file",
}


class _Refused(Exception):
    """The argument of a command cannot be used; the text says why."""


@dataclass(frozen=True)
class Command:
    """A slash command."""

    name: str
    argument: str
    """As shown in the help; ``[..]`` if it may be left out, empty if there is none."""
    help: str
    run: Callable[[Conversation, Screen, str], None]

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.argument}".rstrip()


def run(conversation: Conversation, screen: Screen, line: str) -> bool:
    """Run the command on a line that begins with a slash; returns whether to leave."""
    typed, argument = ([*line[1:].split(maxsplit=1), "", ""])[:2]
    name, argument = typed.lower(), argument.strip()
    command = next((command for command in COMMANDS if command.name == name), None)
    if name == "exit":
        return True
    if command is None:
        near = get_close_matches(name, [command.name for command in COMMANDS], n=3, cutoff=0.6)
        remedy = f"Did you mean {' or '.join(f'/{match}' for match in near)}?" if near else "/help lists the commands."
        screen.hint(f"Unknown command /{one_line(typed, 60)}. {remedy}")
        return False
    try:
        if argument and not command.argument:
            raise _Refused("It takes no argument.")
        command.run(conversation, screen, argument)
    except _Refused as exc:
        screen.hint(f"{exc} Usage: {command.usage}")
    return command.name == "quit"


def summaries() -> dict[str, str]:
    """Every command with its help; a name that takes an argument ends with a space."""
    return {f"/{command.name}{' ' if command.argument else ''}": command.help for command in COMMANDS}


def values(conversation: Conversation, name: str) -> list[tuple[str, str]]:
    """What can be typed behind a command: values with an explanation."""
    if name in {"open", "why"}:
        return [(str(n), place) for n, place in _places(conversation).items()]
    if name == "model":
        return list(_MODELS.items())
    if name == "agent":
        return [
            (agent, str(path)) for agent, path in sorted(available_agents(conversation.settings.agents_dir).items())
        ]
    return []


def _help(conversation: Conversation, screen: Screen, argument: str) -> None:
    for command in COMMANDS:
        screen.line(f"{command.usage:16}{command.help}")
    screen.line("Enter sends · Alt+Enter, or \\ at the end: new line · Ctrl-C stops an answer · Ctrl-D leaves", "dim")


def _sources(conversation: Conversation, screen: Screen, argument: str) -> None:
    citations = _citations(conversation)
    for citation in citations:
        screen.line(f"[{citation.marker}] {one_line(citation.where)}{citation.flag}", "bold")
        if citation.heading:
            screen.line(f"    {_heading(citation.heading)}", "dim")
        for line in citation.quote.splitlines():
            screen.line(f"    {line}")
    if not citations:
        screen.line("The last answer cites nothing.", "dim")
    cited = {citation.marker for citation in citations}
    rest = [(n, hit) for n, hit in enumerate(_passages(conversation), start=1) if n not in cited]
    if rest:
        screen.line("Retrieved, not cited:", "dim")
    for n, hit in rest:
        screen.line(f"[{n}] {_place(hit)}  {_heading(hit.heading)}", "dim")


def _open(conversation: Conversation, screen: Screen, argument: str) -> None:
    n = _number(conversation, argument)
    citation = next((c for c in _citations(conversation) if c.marker == n), None)
    source = citation or _passages(conversation)[n - 1]
    document = conversation.index.document(source.document)
    if document is None:
        raise _Refused(f"{one_line(source.document)} is not in the index any more.")
    lines = document.text.split("\n")
    first, last = max(1, source.start_line - _CONTEXT), min(len(lines), source.end_line + _CONTEXT)
    screen.line(f"[{n}] {_place(source)}  {_heading(source.heading)}", "bold")
    for number in range(first, last + 1):
        cited = source.start_line <= number <= source.end_line
        text = lines[number - 1]
        shown = text if len(text) <= _LONG_LINE else f"{text[:_LONG_LINE]}…"
        screen.line(f"{'>' if cited else ' '} {number:>{len(str(last))}}  {shown}", "" if cited else "dim")


def _why(conversation: Conversation, screen: Screen, argument: str) -> None:
    passages = _passages(conversation)
    if not passages:
        raise _Refused("No passages of an answer are at hand; ask something first.")
    chosen = [_number(conversation, argument)] if argument else list(range(1, len(passages) + 1))
    cited = {citation.marker for citation in _citations(conversation)}
    for n in chosen:
        hit = passages[n - 1]
        screen.line(f"[{n}] {_place(hit)}  {_heading(hit.heading)}{'' if n in cited else '  (not cited)'}", "bold")
        legs = [f"{leg} {f'#{s.rank} ({s.score:.3g})' if s else 'did not propose it'}" for leg, s in hit.legs.items()]
        screen.line(f"    score {hit.score:.2f} · contains {hit.coverage:.0%} of the question · {' · '.join(legs)}")
        if hit.query:
            screen.line(f"    query: {one_line(hit.query)}", "dim")


def _trace(conversation: Conversation, screen: Screen, argument: str) -> None:
    answer = conversation.last
    if answer is None:
        raise _Refused("No question was answered yet.")
    screen.line(f"question: {one_line(answer.question, 300)}")
    if answer.standalone != answer.question:
        screen.line(f"understood as: {one_line(answer.standalone, 300)}")
    for query in dict.fromkeys(hit.query for hit in answer.passages if hit.query):
        screen.line(f"query: {one_line(query, 300)}", "dim")
    for note in answer.notes:
        screen.line(f"note: {one_line(note, 300)}", "dim")
    for n, step in enumerate(answer.steps, start=1):
        screen.line(f"{n}. {one_line(step.thought) or '(no thought)'}")
        screen.line(f"   → {call(step.tool, step.arguments, 400)}")
        screen.line(f"   ← {one_line(step.observation, 400)} ({step.seconds:.2f} s)", "dim")
    screen.line(f"{answer.stop_reason} after {counted(len(answer.steps), 'step')}, {answer.seconds:.1f} s", "dim")


def _model(conversation: Conversation, screen: Screen, argument: str) -> None:
    if argument:
        conversation.use_model(argument)
    chat = conversation.chat
    how = "quotes only" if chat.extractive else f"function calls: {chat.tool_calling_note}"
    screen.line(f"chat model: {one_line(chat.name)} ({how})")
    if not argument:
        screen.line(f"others: {', '.join(_MODELS)}", "dim")


def _agent(conversation: Conversation, screen: Screen, argument: str) -> None:
    if argument:
        conversation.use_agent(argument)
    screen.line(f"agent: {conversation.spec.name} ({conversation.spec.path}), model {one_line(conversation.chat.name)}")
    if not argument:
        screen.line(f"available: {', '.join(sorted(available_agents(conversation.settings.agents_dir)))}", "dim")


def _new(conversation: Conversation, screen: Screen, argument: str) -> None:
    conversation.start_over()
    screen.line(f"new session {conversation.session.id}", "dim")


def _session(conversation: Conversation, screen: Screen, argument: str) -> None:
    session = conversation.session
    screen.line(f"session {session.id}, {counted(len(session.answers), 'turn')}")
    screen.line(str(session.path) if session.answers else f"{session.path} (written with the first answer)", "dim")


def _sessions(conversation: Conversation, screen: Screen, argument: str) -> None:
    found = list_sessions(conversation.settings.home)
    for info in found[:20]:
        mark = " (unfinished)" if info.unfinished else ""
        turns = counted(info.turns, "turn")
        screen.line(f"{info.id}  {turns}{mark}  {one_line(info.first_question, 60)}")
    hint = "ragkit chat --session ID goes on with one" if found else "no session was kept yet"
    screen.line(hint, "dim")


def _notes(conversation: Conversation, screen: Screen, argument: str) -> None:
    documents = conversation.index.documents()
    for path, title in sorted(documents.items()):
        screen.line(f"{one_line(path)}  {one_line(title)}")
    screen.line(counted(len(documents), "note"), "dim")


COMMANDS = (
    Command("help", "", "this list", _help),
    Command("sources", "", "quotes behind the last answer, and what was found besides", _sources),
    Command("open", "N", "source N in its surroundings", _open),
    Command("why", "[N]", "why passages were found: ranks and scores", _why),
    Command("trace", "", "every step of the last answer", _trace),
    Command("good", "[REASON]", "the last answer was good: keep it as an example", rates("good")),
    Command("bad", "[REASON]", "the last answer was bad, and why", rates("bad")),
    Command("remember", "TEXT", "keep a fact about you over conversations", memory.remember),
    Command("memory", "[WORDS]", "what is remembered of you, or what of it fits", memory.show),
    Command("forget", "ID", "forget an item for good", memory.forget),
    Command("model", "[NAME]", "show or switch the chat model", _model),
    Command("agent", "[NAME]", "show or switch the agent", _agent),
    Command("new", "", "begin a new session", _new),
    Command("session", "", "name and file of this session", _session),
    Command("sessions", "", "earlier sessions", _sessions),
    Command("resume", "", "go on with the turn that was broken off", lambda conversation, screen, argument: None),
    Command("notes", "", "the indexed notes", _notes),
    Command("quit", "", "leave; /exit and Ctrl-D do too", lambda conversation, screen, argument: None),
)


def _citations(conversation: Conversation) -> tuple[Citation, ...]:
    """Those of the last answer, also when it was given before this session was opened again."""
    if conversation.last is not None:
        return conversation.last.citations
    answers = conversation.session.answers
    return answers[-1].citations if answers else ()


def _passages(conversation: Conversation) -> tuple[Hit, ...]:
    return conversation.last.passages if conversation.last is not None else ()


def _places(conversation: Conversation) -> dict[int, str]:
    """Where each passage of the last answer is, by number."""
    places = {n: _place(hit) for n, hit in enumerate(_passages(conversation), start=1)}
    return dict(sorted((places | {c.marker: c.where for c in _citations(conversation)}).items()))


def _number(conversation: Conversation, argument: str) -> int:
    known = _places(conversation)
    if not known:
        raise _Refused("The last answer has no sources.")
    text = argument.strip("[]")
    if not text.isdecimal() or int(text) not in known:
        raise _Refused(f"The sources are {', '.join(map(str, known))}.")
    return int(text)


def _place(source: Citation | Hit) -> str:
    return one_line(source.where)


def _heading(heading: tuple[str, ...]) -> str:
    return one_line(" > ".join(heading), 120)
