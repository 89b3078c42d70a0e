"""``ragkit feedback``: look through rated answers, decide about them, export them as data."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ragkit.cli.common import emit_json, note, notes_in_use, path_given, say, state
from ragkit.errors import FeedbackError, IngestError, UsageError
from ragkit.feedback.export import Exported, Row, check_form, export
from ragkit.feedback.notes import NotesNow
from ragkit.feedback.records import RATINGS, STATUSES, Gold, Item
from ragkit.feedback.store import FeedbackStore
from ragkit.index.fsops import write_text_atomically
from ragkit.text.sanitize import one_line

app = typer.Typer(no_args_is_help=True, help="Rated answers: list, review, export.", rich_markup_mode=None)
_SHOWN_ANSWER = 1200
_KEYS = "[a]ccept  [f]ix  [d]rop  [s]kip  [q]uit"


@app.command("list")
def list_feedback(
    status: Annotated[str | None, typer.Option(help="Only new, accepted, fixed or dropped ones.")] = None,
    rating: Annotated[str | None, typer.Option(help="Only good or bad ones.")] = None,
) -> None:
    """Show what was rated, and what became of it."""
    for value, allowed in ((status, STATUSES), (rating, RATINGS)):
        if value is not None and value not in allowed:
            raise UsageError(f"Unknown value {value!r}.", f"Allowed: {', '.join(allowed)}.")
    items = [
        item
        for item in _store().items()
        if (status is None or item.status == status) and (rating is None or item.record.rating == rating)
    ]
    if state.json:
        emit_json({"feedback": [item_json(item) for item in items]})
        return
    for item in items:
        record = item.record
        reason = f"  ({one_line(record.reason, 60)})" if record.reason else ""
        facts = f"{item.id}  {record.time[:10]}  {record.rating:4}  {item.status:8}"
        say(f"{facts}  {one_line(record.question, 80)}{reason}")
    if not items:
        say("No feedback. In `ragkit chat`, /good and /bad rate the last answer.", style="dim")


@app.command("review")
def review(
    accept: Annotated[list[str] | None, typer.Option("--accept", metavar="ID", help="The rating is right.")] = None,
    drop: Annotated[list[str] | None, typer.Option("--drop", metavar="ID", help="Leave this record out.")] = None,
    fix: Annotated[str | None, typer.Option("--fix", metavar="ID", help="Correct this record.")] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", metavar="TEXT", help="With --fix: the right answer.")
    ] = None,
    gold: Annotated[
        list[str] | None,
        typer.Option(
            "--gold",
            metavar="N|FILE:QUOTE|none",
            help="With --fix: number of a retrieved passage, or a verbatim quote of a note; repeatable.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was reviewed before.")] = False,
) -> None:
    """Accept, fix or drop rated answers: one by one on a terminal, or by id with the options."""
    store = _store()
    if fix is None and (answer is not None or gold):
        raise UsageError("--answer and --gold belong to --fix.", "Name the record with --fix ID.")
    if accept or drop or fix:
        # Every id is looked up before the first decision is written.
        known = {given: store.find(given) for given in [*(accept or []), *(drop or []), *([fix] if fix else [])]}
        right = None if not gold or fix is None else _gold(gold, known[fix])
        done = [store.review(known[given].id, "accepted") for given in accept or []]
        done += [store.review(known[given].id, "dropped") for given in drop or []]
        if fix is not None:
            done.append(store.review(known[fix].id, "fixed", answer, right))
        if state.json:
            emit_json({"reviewed": [item_json(item) for item in done]})
        for item in done if not state.json else []:
            say(f"{item.id} {item.status}")
        return
    waiting = [item for item in store.items() if everything or item.status == "new"]
    if not waiting and not state.json:
        say("Nothing to review.")
        return
    if state.json or not (sys.stdin is not None and sys.stdin.isatty()):
        raise UsageError(
            "Reviewing one by one needs a terminal.", "Use --accept ID, --drop ID, or --fix ID --answer TEXT."
        )
    _one_by_one(store, waiting)


@app.command("export")
def export_feedback(
    form: Annotated[str, typer.Option("--as", help="eval, pairs or sft.")] = "eval",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="JSONL file; else standard output.", parser=path_given)
    ] = None,
    include_new: Annotated[bool, typer.Option("--include-new", help="Good answers that nobody reviewed too.")] = False,
) -> None:
    """Export reviewed feedback as questions, training pairs or chat examples, without personal data.

    Questions whose quotes the notes (--notes, else those indexed last) no longer hold are left out.
    """
    chosen = check_form(form)
    items = _store().items()
    notes = _notes(shipped=False) if chosen == "eval" else None
    if chosen == "eval" and notes is None and items:
        note("the notes are not at hand (--notes DIR); whether they still hold the quotes is not checked", "yellow")
    result = export(items, chosen, include_new=include_new, notes=notes)
    if not items:
        note("no feedback yet: in `ragkit chat`, /good and /bad rate the last answer")
    if out is not None:
        write_lines(out, result.rows)
    if state.json:
        facts: dict[str, Any] = {"form": chosen, "written": len(result.rows), "skipped": dict(result.skipped)}
        facts["masked"] = dict(result.masked)
        emit_json({**facts, "out": str(out)} if out is not None else {**facts, "rows": list(result.rows)})
        return
    if out is None:
        sys.stdout.write("".join(f"{_line(row)}\n" for row in result.rows))
    _account(result, out)


def item_json(item: Item) -> dict[str, Any]:
    """A record and its review in JSON."""
    return {
        **item.record.model_dump(mode="json", exclude={"kind"}),
        "status": item.status,
        "corrected_answer": item.corrected_answer,
        "corrected_gold": None if item.corrected_gold is None else [g.model_dump() for g in item.corrected_gold],
    }


def write_lines(path: Path, rows: tuple[Row, ...]) -> None:
    """Replace `path` by these rows, one JSON object a line, in one step.

    Raises:
        FeedbackError: If it cannot be written.
    """
    try:
        write_text_atomically(path, "".join(f"{_line(row)}\n" for row in rows))
    except OSError as exc:
        raise FeedbackError(f"Cannot write {path}: {exc.strerror}.", "Choose another file with --out.") from exc


def _store() -> FeedbackStore:
    return FeedbackStore(state.settings().home)


def _notes(*, shipped: bool) -> NotesNow | None:
    """The notes in use; None if nobody knows them.

    Args:
        shipped: Take the notes that come with ragkit if no others were named or indexed.
    """
    from ragkit.api import remembered_notes

    settings = state.settings()
    if settings.index is not None and settings.notes is None:
        return None
    try:
        if not shipped and settings.notes is None and not remembered_notes(settings):
            return None
        return NotesNow(notes_in_use(settings))
    except IngestError:
        return None


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace").decode()


def _account(result: Exported, out: Path | None) -> None:
    note(f"{len(result.rows)} rows{f' in {out}' if out else ''}")
    for reason, number in sorted(result.skipped.items()):
        note(f"left out: {number} ({reason})")
    if result.masked:
        note("replaced: " + ", ".join(f"{number} {kind}" for kind, number in sorted(result.masked.items())))


def _gold(given: list[str], item: Item) -> tuple[Gold, ...]:
    """The places named by passage number or as ``FILE:QUOTE``; ``none``: the notes do not answer it."""
    if given == ["none"]:
        return ()
    passages = item.record.passages
    places = []
    for text in given:
        number = text.strip().strip("[]")
        if number.isdecimal() and 1 <= int(number) <= len(passages):
            passage = passages[int(number) - 1]
            places.append(Gold(file=passage.document, quote=passage.text))
        elif place := _place(text, item):
            places.append(place)
        else:
            numbers = f"a number from 1 to {len(passages)}, " if passages else ""
            raise UsageError(f"{text!r} names no passage.", f"Give {numbers}FILE:QUOTE, or none.")
    return tuple(dict.fromkeys(places))


def _place(text: str, item: Item) -> Gold | None:
    """The place that ``FILE:QUOTE`` names; None if it has another form.

    Raises:
        UsageError: If neither a retrieved passage nor a note holds the quote.
    """
    # The name of a file may hold a colon, a quote may too.
    cuts = [at for at, char in enumerate(text) if char == ":"]
    forms = [Gold(file=text[:at].strip(), quote=text[at + 1 :].strip()) for at in cuts]
    forms = [place for place in forms if place.file and place.quote]
    if not forms:
        return None
    retrieved = [(passage.document, passage.text) for passage in item.record.passages]
    notes = _notes(shipped=True)
    for place in forms:
        if any(file == place.file and place.quote in held for file, held in retrieved):
            return place
        if notes is not None and notes.says(place.file, place.quote):
            return place
    where = f"the notes in {notes.where}" if notes is not None else "what was retrieved"
    raise UsageError(
        f"{forms[0].file!r} in {where} does not hold {one_line(forms[0].quote, 80)!r}.",
        "Copy the quote as it stands in the file; --notes DIR names other notes.",
    )


def _one_by_one(store: FeedbackStore, items: list[Item]) -> None:
    done = 0
    for number, item in enumerate(items, start=1):
        _show(item, number, len(items))
        key = ""
        while key not in {"a", "f", "d", "s", "q"}:
            key = typer.prompt(_KEYS, default="s", show_default=False).strip().lower()[:1]
        if key == "q":
            break
        if key == "f":
            done += _fix(store, item)
        elif key == "a" and item.ambiguous:
            done += _accept_quotes(store, item)
        elif key in "ad":
            store.review(item.id, "accepted" if key == "a" else "dropped")
            done += 1
    say(f"{done} reviewed; ragkit feedback export --as eval|pairs|sft takes them out.", style="dim")


def _accept_quotes(store: FeedbackStore, item: Item) -> int:
    """Accept an answer that only quotes: which quote answers must be said, or it is no evaluation question."""
    say("It quotes several passages. Numbers of those that answer, with spaces between; empty leaves it open.")
    try:
        given = typer.prompt("gold", default="", show_default=False).split()
        if given:
            store.review(item.id, "fixed", None, _gold(given, item))
        else:
            store.review(item.id, "accepted")
    except UsageError as exc:
        note(str(exc), style="yellow")
        return 0
    return 1


def _fix(store: FeedbackStore, item: Item) -> int:
    say("The right answer (empty keeps the one given):")
    answer = typer.prompt("answer", default="", show_default=False).strip() or None
    say("Where it stands: passage numbers with spaces between, FILE:QUOTE, none, or empty to keep the citations.")
    places = typer.prompt("gold", default="", show_default=False).strip()
    try:
        # A quote may contain spaces, numbers do not.
        given = places.split() if all(part.strip("[]").isdecimal() for part in places.split()) else [places]
        store.review(item.id, "fixed", answer, _gold(given, item) if places else None)
    except UsageError as exc:
        note(str(exc), style="yellow")
        return 0
    return 1


def _show(item: Item, number: int, total: int) -> None:
    record = item.record
    say()
    status = "" if item.status == "new" else f" · {item.status}"
    say(f"{number}/{total}  {item.id} · {record.time} · {record.rating}{status}", style="bold")
    if record.reason:
        say(f"reason: {one_line(record.reason, 400)}", style="yellow")
    for turn in record.history:
        say(f"before: {one_line(turn.question, 160)}", style="dim")
    say(f"question: {one_line(record.question, 400)}")
    say(f"answer: {item.answer[:_SHOWN_ANSWER]}")
    cited = {(c.document, c.quote) for c in record.citations}
    for document, quote in sorted(cited):
        say(f"  cited {one_line(document)}: {one_line(quote, 120)}", style="dim")
    for n, passage in enumerate(record.passages, start=1):
        say(f"  [{n}] {one_line(passage.document)}:{passage.start_line}  {one_line(passage.text, 100)}", style="dim")
    if record.rating == "bad":
        say("A bad answer is exported only when it is fixed.", style="dim")
