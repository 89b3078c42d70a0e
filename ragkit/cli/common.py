"""What every command needs: settings, the index in use, output on the right stream."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ragkit.content import default_corpus
from ragkit.redact import RedactingFormatter
from ragkit.settings import Settings, load_settings
from ragkit.text.sanitize import escape_json, one_line, printable

if TYPE_CHECKING:
    from ragkit.api import Index

_COLORS: Final[Literal["auto"] | None] = None if os.environ.get("NO_COLOR") else "auto"
"""Rich itself leaves bold and dim where NO_COLOR asks for plain text; without a colour system it writes no style."""
stderr = Console(stderr=True, color_system=_COLORS, highlight=False, markup=False, emoji=False, soft_wrap=True)
stdout = Console(color_system=_COLORS, highlight=False, markup=False, emoji=False, soft_wrap=True)


def path_given(named: str | Path) -> Path:
    """What every option and argument that names a path is read by.

    Typer itself takes an empty path for the working folder, and a file that may not be read for wrong usage.

    Raises:
        UsageError: If it is empty.
    """
    if not str(named).strip():
        from ragkit.opening import given_path

        return given_path(named)
    return Path(named)


def ensure_streams() -> None:
    """Give standard input and output that are closed something harmless to stand for them.

    Otherwise the next file that is opened, such as the index, would take their place and get what
    is printed.
    """
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, encoding="utf-8", errors="replace", closefd=False))


def drop_closed_output() -> None:
    """Send to nowhere what would go to a reader that went away; the interpreter would complain at its exit."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


@dataclass
class Globals:
    """Global options of one invocation."""

    index: Path | None = None
    indexes: tuple[Path, ...] = ()
    """All that ``--index`` named; more than one only for ``search``."""
    config: Path | None = None
    notes: Path | None = None
    backend: str | None = None
    uri: str | None = None
    collection: str | None = None
    json: bool = False
    verbosity: int = 0
    debug: bool = False

    def settings(self, **overrides: Any) -> Settings:
        """Settings with the global options on top."""
        given = {"backend": self.backend, "backend_uri": self.uri, "backend_collection": self.collection}
        return load_settings(self.config, index=self.index, notes=self.notes, **{**given, **overrides})


state = Globals()
"""Filled by the root command before any other runs."""


def set_up_logging(verbosity: int) -> None:
    """Log to stderr: warnings by default, -v info, -vv debug, -q errors only."""
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=levels.get(verbosity, logging.DEBUG), handlers=[handler], force=True)
    if verbosity < 2:
        # Request logs of client libraries carry addresses and headers nobody asked for.
        for name in ("httpx", "httpcore", "openai", "urllib3", "markdown_it", "filelock", "matplotlib", "pinecone"):
            logging.getLogger(name).setLevel(logging.WARNING)


def emit_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout, nothing else."""
    # On a terminal with another encoding escapes are right where replacement signs would be wrong.
    plain = "utf" not in (sys.stdout.encoding or "").lower()
    text = escape_json(json.dumps(value, ensure_ascii=False, indent=2, default=str))
    if plain:
        text = json.dumps(json.loads(text), indent=2)
    sys.stdout.write(text + "\n")


def say(text: str = "", style: str | None = None) -> None:
    """A line on stdout, safe to print."""
    stdout.print(printable(text), style=style)


def note(text: str, style: str | None = "dim") -> None:
    """A line on stderr, silenced by -q."""
    if state.verbosity >= 0:
        stderr.print(printable(text), style=style)


def warn(text: str) -> None:
    """One line on stderr about something that went wrong beside the answer; -q does not silence it."""
    stderr.print(f"Warning: {one_line(text, 600)}", style="yellow")


@contextmanager
def progress_bar(what: str, unit: int = 1) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr that appears with the first report; yields ``report(done, total)``."""
    lock = threading.Lock()
    bar: Progress | None = None
    task: Any = None
    try:

        def report(done: int, total: int) -> None:
            nonlocal bar, task
            if state.verbosity < 0:
                return
            with lock:
                if bar is None:
                    bar = Progress(
                        TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=stderr
                    )
                    bar.start()
                    task = bar.add_task(what, total=total // unit)
                bar.update(task, completed=done // unit, total=total // unit)

        yield report
    finally:
        if bar is not None:
            bar.stop()


def notes_in_use(settings: Settings) -> list[Path]:
    """The notes that commands work on when none are named: the setting, those indexed last, the shipped ones."""
    from ragkit.api import remembered_notes

    if settings.notes is not None:
        return [settings.notes]
    return remembered_notes(settings) or [default_corpus()]


def open_index(settings: Settings, *, quiet: bool = False) -> Index:
    """The index in use, brought up to date first unless ``--index`` names one without notes.

    A backend's collection is read as it is: `ragkit index` alone writes to it, its readers may be many.
    """
    from ragkit.api import Index, default_folder
    from ragkit.errors import IndexLockedError
    from ragkit.index.manifest import read_manifest

    if settings.backend != "faiss":
        return Index.open(settings=settings)
    if settings.index is not None and settings.notes is None:
        return Index.open(index_dir=settings.index, settings=settings)
    notes = notes_in_use(settings)
    try:
        with progress_bar("Embedding") as report:
            index = Index.open(notes, settings.index, settings=settings, progress=report)
    except IndexLockedError as exc:
        # Another process is indexing these notes: what it committed last can be read meanwhile.
        folder = settings.index or default_folder(settings, notes)
        if read_manifest(folder) is None:
            raise
        note(f"{exc.message} Answering from what was indexed before.", style="yellow")
        return Index.open(index_dir=folder, settings=settings)
    done = index.report
    if done is not None and not quiet:
        for item in done.skipped:
            note(f"skipped {item.path}: {item.reason}", style="yellow")
        for warning in done.warnings:
            note(f"{warning.path}: {warning.reason}", style="yellow")
        if done.added or done.updated or done.deleted:
            note(
                f"indexed {done.documents} notes ({done.added} new, {done.updated} changed, {done.deleted} gone) "
                f"in {done.seconds:.1f} s"
            )
    return index
