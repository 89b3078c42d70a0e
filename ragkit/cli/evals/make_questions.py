"""``ragkit eval make-questions`` and ``ragkit eval review-questions``: a question set for notes of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragkit.cli.common import emit_json, note, path_given, progress_bar, say, state
from ragkit.errors import ModelError, UsageError
from ragkit.text.sanitize import one_line

if TYPE_CHECKING:
    from ragkit.evaluation.drafts import Draft
    from ragkit.evaluation.review_questions import Decision


def make(
    notes: Annotated[Path, typer.Argument(help="Folder or file of notes.", parser=path_given)],
    out: Annotated[
        Path, typer.Option("--out", help="Drafts file (JSONL); an existing one is gone on with.", parser=path_given)
    ],
    count: Annotated[int, typer.Option("--count", min=1, max=10_000, help="Drafts wanted in the file.")] = 50,
    model: Annotated[str | None, typer.Option("--model", help="Chat model, e.g. local, openai:NAME@URL.")] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against", help="Question set whose questions are not asked again; repeatable.", parser=path_given
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice of passages.")] = 0,
) -> None:
    """Draft questions about notes with the chat model; review-questions then accepts or rejects them."""
    from ragkit.api import index_settings
    from ragkit.evaluation.datasets import json_lines
    from ragkit.evaluation.make_questions import in_turn, make_questions, note_chunks
    from ragkit.models.chat import resolve_chat

    settings = state.settings(chat_model=model)
    existing = [str(row.get("question", "")) for path in against or [] for _, row in json_lines(path)]
    chunks = note_chunks(notes, index_settings(settings).chunks)
    with progress_bar("Preparing the chat model (MB)", unit=1_000_000) as report:
        chat = resolve_chat(settings.chat_model, settings, report)
        structured = chat.structured()
        if structured is None:
            raise ModelError("Drafting questions needs a chat model.", "Name one with --model, e.g. --model local.")
        chat.model()
    with progress_bar("Drafting questions") as tick:
        made = make_questions(in_turn(chunks, seed), structured, out, count=count, existing=existing, tick=tick)
    if state.json:
        emit_json({"out": str(out), "drafts": made.drafts, "new": made.new, "dropped": made.dropped})
        return
    say(f"{made.new} new drafts, {made.drafts} in {out}")
    for reason, number in made.dropped.items():
        say(f"{number} passages without one: {reason}", style="dim")
    if made.drafts < count:
        more = (
            "run the same command again to go on" if made.new or made.dropped else "every passage has been asked about"
        )
        note(f"{count} were asked for; {more}", style="yellow")
    if made.drafts:
        say(f"Decide about them: ragkit eval review-questions {out} --into questions.jsonl", style="dim")


def review(
    drafts: Annotated[Path, typer.Argument(help="File that make-questions wrote.", parser=path_given)],
    into: Annotated[
        Path, typer.Option("--into", help="Question set (JSONL) that accepted ones are appended to.", parser=path_given)
    ],
    accept_all: Annotated[
        bool, typer.Option("--accept-all", help="Accept every open draft unread; the set is then no gold standard.")
    ] = False,
) -> None:
    """Accept, edit, reject or skip each draft; only accepted ones enter the question set."""
    from ragkit.evaluation.review_questions import review as decide_all

    if state.json and not accept_all:
        raise UsageError("--json leaves no place to ask.", "Review without --json, or accept unread with --accept-all.")
    counts = decide_all(drafts, into, _accept if accept_all else _ask)
    if state.json:
        emit_json({"into": str(into), **counts})
        return
    say(", ".join(f"{number} {name}" for name, number in counts.items()))
    if into.is_file():
        say(f"questions in {into}", style="dim")


def _accept(draft: Draft, number: int, total: int) -> tuple[Decision, Draft]:
    return "accept", draft


def _ask(draft: Draft, number: int, total: int) -> tuple[Decision, Draft]:
    say()
    say(f"{number}/{total} {one_line(draft.file)}  {one_line(' > '.join(draft.heading), 100)}", style="dim")
    decisions: dict[str, Decision] = {"a": "accept", "d": "reject", "s": "skip", "q": "quit"}
    while True:
        say(f"Q [{draft.type}, {draft.language}]: {one_line(draft.question, 300)}", style="bold")
        say(f"A: {one_line(draft.answer, 300)}")
        say(f"Quote: {one_line(draft.quote, 400)}")
        try:
            reply = input("(a)ccept, (e)dit the question, (d)iscard, (s)kip, (q)uit: ").strip().lower()[:1]
            question = one_line(input("New question: "), 1000) if reply == "e" else ""
        except EOFError:
            return "quit", draft
        if question:
            return "accept", draft.asked(question)
        if reply in decisions:
            return decisions[reply], draft
