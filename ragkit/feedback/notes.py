"""The notes as they stand now: does one still say what a quote says?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ragkit.ingest.loader import SourceFile, read, scan


class NotesNow:
    """Texts of notes by path, read from their files when they are asked for.

    Args:
        roots: Folders or files of notes, as they are indexed.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = list(roots)
        self._texts: dict[str, str | None] = {}

    @property
    def where(self) -> str:
        """The roots, to be named in messages."""
        return ", ".join(str(root) for root in self._roots)

    def says(self, file: str, quote: str) -> bool | None:
        """Whether `quote` stands in the note `file`; None if there is no such note.

        Raises:
            IngestError: If a root does not exist.
        """
        if file not in self._texts:
            source = self._sources.get(file)
            self._texts[file] = None if source is None else _text(source)
        text = self._texts[file]
        return None if text is None else quote in text

    @cached_property
    def _sources(self) -> dict[str, SourceFile]:
        return {source.path: source for source in scan(self._roots)[0]}


def _text(source: SourceFile) -> str | None:
    try:
        return read(source).text
    except (OSError, ValueError):
        return None
