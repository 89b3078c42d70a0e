"""``ragkit index PATH...``: build an index of notes, or bring it up to date."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragkit.cli.common import emit_json, note, progress_bar, say, state, warn
from ragkit.errors import RagkitError, UsageError

if TYPE_CHECKING:
    from ragkit.api import Index
    from ragkit.values import IndexReport


def run(
    paths: Annotated[list[Path] | None, typer.Argument(metavar="PATH...", help="Folders or files of notes.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Index everything anew.")] = False,
) -> None:
    """Index notes; only what changed is embedded again. They become the notes in use."""
    from ragkit.api import Index, remember_notes

    settings = state.settings()
    roots = list(paths or ([settings.notes] if settings.notes else []))
    if not roots:
        raise UsageError("No notes were named.", "Usage: ragkit index PATH...")
    with progress_bar("Embedding") as report:
        index = Index.open(roots, settings.index, settings=settings, rebuild=rebuild, progress=report)
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
    _report(index, done)
    if unsaved:
        warn(unsaved)


def _report(index: Index, done: IndexReport) -> None:
    if state.json:
        fields = asdict(done)
        fields.pop("embedded_chunks")
        emit_json({**fields, "embedded_chunks": done.embedded_chunks, "index": _place(index)})
        return
    for item in done.skipped:
        note(f"skipped {item.path}: {item.reason}", style="yellow")
    for warned in done.warnings:
        note(f"warning {warned.path}: {warned.reason}", style="yellow")
    say(
        f"{done.documents} notes, {done.chunks} chunks: {done.added} added, {done.updated} updated, "
        f"{done.deleted} deleted, {done.unchanged} unchanged ({done.seconds:.1f} s)"
    )
    say(f"embedding model: {done.embedding_model}", style="dim")
    say(f"index: {_place(index)}", style="dim")


def _place(index: Index) -> str:
    facts = index.manifest
    return f"{facts['backend']} {facts['uri']} {facts['collection']}" if "backend" in facts else str(index.folder)
