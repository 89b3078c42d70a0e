"""``ragkit index PATH...``: build an index of notes, or bring it up to date."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ragkit.cli.common import emit_json, note, path_given, progress_bar, say, state, warn
from ragkit.cli.index_care import keep, refuse_backend
from ragkit.errors import ModelError, RagkitError, UsageError

if TYPE_CHECKING:
    from ragkit.api import Index
    from ragkit.retrieval.enrich import EnrichReport
    from ragkit.values import IndexReport


def run(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH...",
            help="Folders or files: notes, PDF, Word, PowerPoint, HTML, EPUB, Jupyter, code.",
            parser=path_given,
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Index everything anew; vectors of the same model are kept.")
    ] = False,
    enrich: Annotated[
        bool | None,
        typer.Option("--enrich/--no-enrich", help="Let the chat model write the questions that each chunk answers."),
    ] = None,
    enrich_limit: Annotated[
        int | None, typer.Option("--enrich-limit", min=1, help="At most so many chunks; the next run goes on.")
    ] = None,
    compact: Annotated[
        bool, typer.Option("--compact", help="Merge all segments and drop for good what was deleted.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Only check every file of the index.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Only rebuild damaged files from the text in the index.")
    ] = False,
) -> None:
    """Index notes and documents; only what changed is embedded again. They become the notes in use."""
    from ragkit.api import Index, remember_notes
    from ragkit.ingest.loader import distinct_roots
    from ragkit.models.chat import resolve_chat

    settings = state.settings()
    roots, twice = distinct_roots(list(paths or ([settings.notes] if settings.notes else [])))
    for line in twice:
        note(line, style="yellow")
    if verify or repair or compact:
        care: Literal["verify", "repair", "compact"] = "verify" if verify else "repair" if repair else "compact"
        refuse_backend(settings, care)
        if care != "compact" or not roots:
            keep(settings, roots, care)
            return
    if not roots:
        raise UsageError("No notes were named.", "Usage: ragkit index PATH...")
    # A limit says that it is wanted, too.
    wanted = enrich if enrich is not None else settings.enrich or enrich_limit is not None
    if wanted and resolve_chat(settings.chat_model, settings).extractive:
        raise ModelError("--enrich needs a chat model.", "Set chat_model, or install ragkit[local].")
    with progress_bar("Embedding") as report:
        index = Index.open(roots, settings.index, settings=settings, rebuild=rebuild, progress=report)
    if compact:
        index.compact()
    unsaved = ""
    if settings.index is None and settings.backend == "faiss":
        try:
            remember_notes(settings, roots)
        except (OSError, RagkitError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            unsaved = f"The notes are indexed, but {settings.home} cannot keep them as the notes in use: {reason}. "
            unsaved += "Name them with --notes, or set RAGKIT_HOME to a folder you may write to."
    done = index.report
    assert done is not None
    enriched = None
    if wanted:
        with progress_bar("Writing questions") as report:
            enriched = index.enrich(limit=enrich_limit, progress=report)
    _report(index, done, enriched)
    if unsaved:
        warn(unsaved)


def _report(index: Index, done: IndexReport, enriched: EnrichReport | None) -> None:
    if state.json:
        fields = asdict(done)
        fields.pop("embedded_chunks")
        extra = {} if enriched is None else {"enriched": asdict(enriched)}
        emit_json({**fields, "embedded_chunks": done.embedded_chunks, "index": _place(index), **extra})
        return
    for item in done.skipped:
        note(f"skipped {item.path}: {item.reason}", style="yellow")
    for warned in done.warnings:
        note(f"warning {warned.path}: {warned.reason}", style="yellow")
    say(
        f"{done.documents} notes, {done.chunks} chunks: {done.added} added, {done.updated} updated, "
        f"{done.deleted} deleted, {done.unchanged} unchanged ({done.seconds:.1f} s)"
    )
    if enriched is not None:
        failed = f", {enriched.failed} failed" if enriched.failed else ""
        say(
            f"{enriched.enriched} of {enriched.chunks} chunks have questions: {enriched.written} written now{failed} "
            f"({enriched.seconds:.1f} s)"
        )
    say(f"embedding model: {done.embedding_model}", style="dim")
    say(f"index: {_place(index)}", style="dim")


def _place(index: Index) -> str:
    facts = index.manifest
    return f"{facts['backend']} {facts['uri']} {facts['collection']}" if "backend" in facts else str(index.folder)
