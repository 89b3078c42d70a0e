"""``ragkit memory``: look at what is remembered, find it, forget it, carry it to another machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragkit.cli.common import emit_json, note, path_given, say, state
from ragkit.errors import IngestError, MemoryFailure, UsageError
from ragkit.text.sanitize import one_line

if TYPE_CHECKING:
    from ragkit.memory.items import MemoryItem
    from ragkit.memory.judging import Added
    from ragkit.memory.long_term import Memory

app = typer.Typer(
    no_args_is_help=True, help="What is remembered of you: list, search, forget, export.", rich_markup_mode=None
)
User = Annotated[str | None, typer.Option("--user", metavar="NAME", help="Whose memories; else the setting.")]
_MAX_BYTES = 64 * 1024 * 1024


@app.command("list")
def list_items(
    user: User = None,
    history: Annotated[bool, typer.Option("--history", help="Also what was superseded.")] = False,
) -> None:
    """Show what is remembered, the oldest first."""
    memory = _open(user)
    items = memory.items(history=history)
    if state.json:
        evicted = memory.evictions()
        emit_json({"user": memory.user, "items": [item.to_json() for item in items], "evicted": evicted})
        return
    for item in items:
        say(line(item), style=None if item.current else "dim")
    if not items:
        say("Nothing is remembered. In `ragkit chat`: /remember TEXT.", style="dim")


@app.command("search")
def search(
    query: Annotated[str, typer.Argument(help="What the memories are to be about.")],
    k: Annotated[int, typer.Option("-k", help="At most so many.")] = 5,
    user: User = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="NAME=VALUE", help="origin, trust, session, after or before; repeatable."),
    ] = None,
) -> None:
    """Find memories by meaning and by words."""
    memory = _open(user)
    found = memory.search(query, k, where=dict(_pair(text) for text in where or []))
    if state.json:
        hits = [{"rank": r.rank, "score": r.score, "coverage": r.hit.coverage, **r.item.to_json()} for r in found]
        emit_json({"user": memory.user, "query": query, "hits": hits})
        return
    for hit in found:
        say(f"{hit.score:6.2f}  {line(hit.item)}")
    if not found:
        say("No memory.", style="dim")


@app.command("add")
def add(
    text: Annotated[str, typer.Argument(help="One fact, in one sentence.")],
    user: User = None,
    session: Annotated[str, typer.Option(metavar="ID", help="Conversation it was said in.")] = "",
) -> None:
    """Remember a fact."""
    added = _open(user).add(text, session=session)
    if state.json:
        emit_json(added_json(added))
        return
    say(told(added))


@app.command("forget")
def forget(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids, or their first 4 digits.")] = None,
    user: User = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is remembered.")] = False,
) -> None:
    """Forget for good, with what it superseded; the bytes leave the disk."""
    if everything == bool(ids):
        raise UsageError("Name ids, or --all.", "`ragkit memory list` shows the ids.")
    memory = _open(user)
    if everything:
        count = memory.clear()
        forgotten: list[str] = []
    else:
        forgotten = [item.id for item in memory.forget(*(ids or []))]
        count = len(forgotten)
    if state.json:
        emit_json({"user": memory.user, "forgotten": count, "ids": forgotten})
        return
    say(f"Forgotten: {count}.")


@app.command("export")
def export(
    user: User = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="JSON file; else standard output.", parser=path_given)
    ] = None,
) -> None:
    """Write everything that is remembered as JSON."""
    memory = _open(user)
    data = memory.export()
    if out is None:
        emit_json(data)
        return
    from ragkit.index.fsops import write_json_atomically

    try:
        write_json_atomically(out, data)
        out.chmod(0o600)
    except OSError as exc:
        raise MemoryFailure(f"Cannot write {out}: {exc.strerror}.", "Choose another file with --out.") from exc
    if state.json:
        emit_json({"user": memory.user, "items": len(data["items"]), "out": str(out)})
        return
    note(f"{len(data['items'])} memories written to {out}")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="What `export` wrote; - reads standard input.", parser=path_given)],
    user: User = None,
) -> None:
    """Take in an export; what it says is trusted less than what you said here."""
    memory = _open(user)
    added = memory.load(_read(file))
    names = ("added", "merged", "superseded", "outranked", "outdated")
    counts = {name: sum(one.outcome == name for one in added) for name in names}
    counts["evicted"] = sum(len(one.evicted) for one in added)
    if state.json:
        emit_json({"user": memory.user, **counts})
        return
    say(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "Nothing to take in.")


@app.command("rebuild")
def rebuild(user: User = None) -> None:
    """Embed all memories anew, with the embedding model of the settings."""
    memory = _open(user)
    count = memory.rebuild()
    if state.json:
        emit_json({"user": memory.user, "items": count})
        return
    say(f"{count} memories embedded.")


def line(item: MemoryItem) -> str:
    """An item on one line."""
    facts = f"{item.id}  {item.time[:10]}  {item.origin:6}  {item.trust:6}"
    more = "" if item.current else f"  (superseded by {item.superseded_by})"
    return f"{facts}  {one_line(item.text, 500)}{more}"


def told(added: Added) -> str:
    """What adding a fact did, on one line."""
    what = {"merged": "Known already", "outranked": "Kept aside", "outdated": "Kept aside"}
    text = f"{what.get(added.outcome, 'Remembered')}: {one_line(added.item.text, 500)} ({added.item.id})"
    if added.replaced:
        text += f"; it replaces: {'; '.join(one_line(item.text, 500) for item in added.replaced)}"
    return text


def added_json(added: Added) -> dict[str, Any]:
    """What adding a fact did, as JSON values."""
    return {
        "outcome": added.outcome,
        "item": added.item.to_json(),
        "replaced": [item.to_json() for item in added.replaced],
        "evicted": [item.id for item in added.evicted],
    }


def _open(user: str | None) -> Memory:
    from ragkit.memory.long_term import Memory

    settings = state.settings()
    return Memory.open(settings.home, user, settings=settings)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--where {text[:60]!r} is no NAME=VALUE.", "For example --where origin=user.")
    return name, value


def _read(file: Path) -> Any:
    try:
        if str(file) == "-":
            raw = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                raw = opened.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise IngestError(f"{file} cannot be read: {exc.strerror}.", "Check the path.") from exc
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"{file} is larger than {_MAX_BYTES // 1024 // 1024} MiB.", "Is it an export of memories?")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{file} is no JSON: {exc}.", "Use what `ragkit memory export` wrote.") from exc
