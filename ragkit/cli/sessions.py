"""``ragkit sessions``: conversations that were kept; go on with one, delete it, take it elsewhere."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ragkit.cli.common import emit_json, note, path_given, say, state
from ragkit.errors import AgentError, UsageError
from ragkit.text.sanitize import one_line

app = typer.Typer(
    no_args_is_help=True, help="Conversations: list, show, resume, delete, export.", rich_markup_mode=None
)
_Id = Annotated[str, typer.Argument(metavar="ID", help="Session, as `ragkit sessions list` names it.")]


@app.command("list")
def list_all() -> None:
    """Show the conversations that were kept, the newest first."""
    from ragkit.agent.session_store import list_sessions

    found = list_sessions(state.settings().home)
    if state.json:
        emit_json({"sessions": [asdict(info) for info in found]})
        return
    for info in found:
        turns = f"{info.turns} turn{'' if info.turns == 1 else 's'}"
        say(f"{info.id:22} {turns:>9}  {info.changed[:16].replace('T', ' ')}  {one_line(info.first_question, 60)}")
        if info.unfinished:
            say(f"{'':22} unfinished: {one_line(info.unfinished, 60)}", style="yellow")
    if not found:
        note("no session was kept yet: `ragkit chat` keeps them, `ragkit ask --session NAME` too")


@app.command("show")
def show(session: _Id) -> None:
    """Show the questions and answers of a conversation, with their sources."""
    from ragkit.agent.session_store import as_json, known_session

    kept = known_session(state.settings().home, session)
    left = kept.unfinished()
    if state.json:
        turns = [as_json(answer) for answer in kept.answers]
        emit_json({"id": kept.id, "turns": turns, "unfinished": asdict(left) if left else None})
        return
    for answer in kept.answers:
        say(f"› {one_line(answer.question, 2000)}", style="bold")
        say(answer.text)
        for citation in answer.citations:
            say(f"[{citation.marker}] {one_line(citation.where)}{citation.flag}", style="dim")
        say()
    if left:
        say(f"{one_line(str(left), 600)}. Go on with it: ragkit sessions resume {kept.id}", style="yellow")


@app.command("resume")
def resume(
    session: _Id,
    model: Annotated[str | None, typer.Option(help="Chat model, e.g. local, openai:NAME@URL, extractive.")] = None,
    agent: Annotated[str | None, typer.Option(help="File of the agent, if it is not found by its name.")] = None,
) -> None:
    """Go on with the turn of a conversation that was broken off; what it did already is not done again."""
    from ragkit.agent.session_store import known_session
    from ragkit.cli.ask import answer_and_show, ready_agent

    settings = state.settings(chat_model=model, agent=agent)
    kept = known_session(settings.home, session)
    left = kept.unfinished()
    if left is None:
        raise AgentError(
            f"The session {session} has no unfinished turn.", f"Go on talking: ragkit chat --session {session}."
        )
    note(f"{one_line(str(left), 600)}; going on")
    loaded = ready_agent(settings, agent or left.agent, model, kept)
    answer_and_show(loaded.resume(), stream=False)


@app.command("delete")
def delete(
    sessions: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Sessions to delete.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete every session.")] = False,
) -> None:
    """Delete conversations for good; rated answers and memories stay, see `feedback` and `memory`."""
    from ragkit.agent.session_store import delete_session, list_sessions

    home = state.settings().home
    if bool(sessions) == everything:
        raise UsageError("Name the sessions to delete, or --all.", "ragkit sessions list shows them.")
    names = [info.id for info in list_sessions(home)] if everything else list(dict.fromkeys(sessions or ()))
    for name in names:
        delete_session(home, name)
    if state.json:
        emit_json({"deleted": names})
    else:
        say(f"deleted {', '.join(names) or 'nothing'}")


@app.command("export")
def export(
    session: _Id,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write it here instead of to the screen.", parser=path_given)
    ] = None,
) -> None:
    """Write a conversation as Markdown, with every citation and its quote."""
    from ragkit.agent.session_store import known_session, to_markdown
    from ragkit.index.fsops import write_text_atomically

    text = to_markdown(known_session(state.settings().home, session))
    if out is not None:
        try:
            write_text_atomically(out, text)
        except OSError as exc:
            raise AgentError(f"{out} cannot be written: {exc.strerror}.", "Name another file.") from exc
    if state.json:
        emit_json({"id": session, "markdown": text, "file": str(out) if out else None})
    elif out is None:
        sys.stdout.write(text)
    else:
        note(f"written to {out}")
