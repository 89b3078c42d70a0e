"""``ragkit index --verify``, ``--repair`` and ``--compact``: care for an index that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import typer

from ragkit.cli.common import emit_json, note, notes_in_use, progress_bar, say, state
from ragkit.errors import UsageError
from ragkit.settings import Settings
from ragkit.text.sanitize import one_line

_INSTEAD: Final = {
    "verify": "`ragkit doctor` looks at the collection.",
    "repair": "`ragkit index NOTES --rebuild` fills the collection anew.",
    "compact": "It compacts by itself; `ragkit index NOTES` brings the collection up to date.",
}


def refuse_backend(settings: Settings, what: Literal["verify", "repair", "compact"]) -> None:
    """Refuse to care for an index that another engine keeps.

    Raises:
        UsageError: If the settings name a backend.
    """
    if settings.backend != "faiss":
        raise UsageError(
            f"Backend {settings.backend} keeps its own data; --{what} is for the embedded index.", _INSTEAD[what]
        )


def keep(settings: Settings, roots: Sequence[Path], what: Literal["verify", "repair", "compact"]) -> None:
    """Check, repair or compact the index of these notes, or the one in use.

    Raises:
        typer.Exit: With code 1 if a check finds damage.
    """
    from ragkit.opening import default_folder

    folder = settings.index or default_folder(settings, list(roots) or notes_in_use(settings))
    {"verify": _verify, "repair": _repair, "compact": _compact}[what](settings, folder)


def _verify(settings: Settings, folder: Path) -> None:
    from ragkit.index.repair import verify_index

    damage = verify_index(folder)
    if state.json:
        emit_json({"index": str(folder), "ok": not damage, "damaged": [asdict(item) for item in damage]})
    else:
        for item in damage:
            say(f"{folder / one_line(item.path)} {item.problem}", style="red")
        say(f"{folder}: {f'{len(damage)} file(s) damaged' if damage else 'every file is as it was written'}")
    if damage:
        note("Rebuild them: ragkit index --repair; or everything: ragkit index NOTES --rebuild.")
        raise typer.Exit(1)


def _repair(settings: Settings, folder: Path) -> None:
    from ragkit.index.model_choice import model_for
    from ragkit.index.repair import repair_index
    from ragkit.opening import index_settings

    model = model_for(folder, None, settings, rebuild=False)
    with progress_bar("Embedding") as report:
        done = repair_index(folder, model, index_settings(settings), report)
    if state.json:
        emit_json({"index": str(folder), **asdict(done)})
        return
    for item in done.damaged:
        say(f"rebuilt {one_line(item.path)}: it {item.problem}")
    for kept in done.kept:
        say(f"kept the damaged file as {folder / one_line(kept)}", style="dim")
    if not done.damaged:
        say("Nothing to repair.")


def _compact(settings: Settings, folder: Path) -> None:
    from ragkit.api import Index

    index = Index.open(None, folder, settings=settings)
    before = _bytes(folder)
    report = index.compact()
    fields: dict[str, Any] = {"documents": report.documents, "chunks": report.chunks, "seconds": report.seconds}
    if state.json:
        emit_json({"index": str(folder), **fields, "bytes_before": before, "bytes": _bytes(folder)})
        return
    say(f"{report.chunks} chunks in one segment ({before:,} bytes before, {_bytes(folder):,} now)")


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
