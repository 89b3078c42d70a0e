"""``ragkit verify ANSWER.md``: does every sentence of a text stand in the notes, and where?"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ragkit.cli.common import emit_json, note, notes_in_use, path_given, say, state
from ragkit.errors import IngestError, UsageError
from ragkit.text.sanitize import one_line

_MOST_BYTES = 2_000_000
_STYLES = {
    "supported": "green",
    "misattributed": "yellow",
    "partly": "yellow",
    "stitched": "yellow",
    "unsupported": "red",
}


def run(
    answer: Annotated[str, typer.Argument(metavar="ANSWER.md", help="Text to check; - reads it from standard input.")],
) -> None:
    """Check every sentence of a text, and the sources it names, against the notes.

    Sources are a list at the end ([1] path.md:12-20) or path.md:12 inside a sentence; what names none is looked for in
    all notes. Exit code 1 if a sentence stands nowhere.
    """
    from ragkit.citations.notes import Notes, verify_notes
    from ragkit.ingest.chunker import chunk_document
    from ragkit.ingest.loader import nothing_readable, read_all, scan
    from ragkit.values import Document

    text = sys.stdin.read() if answer == "-" else _read(path_given(answer))
    began = time.monotonic()
    roots = notes_in_use(state.settings())
    files, skipped = scan([Path(root) for root in roots])
    read = [document for _, document in read_all(files)]
    documents = {document.path: document for document in read if isinstance(document, Document)}
    if not documents:
        raise nothing_readable([str(root) for root in roots], skipped)
    notes = Notes(documents, [chunk for document in documents.values() for chunk in chunk_document(document)])
    verdicts = verify_notes(text, notes)
    counts: Counter[str] = Counter(verdict.verdict for verdict in verdicts)
    if state.json:
        emit_json(
            {
                "answer": answer,
                "sentences": [verdict.to_json() for verdict in verdicts],
                "counts": {name: counts.get(name, 0) for name in _STYLES},
                "seconds": round(time.monotonic() - began, 3),
            }
        )
    else:
        for verdict in verdicts:
            say(f"{verdict.verdict:13} {one_line(verdict.sentence, 160)}", style=_STYLES[verdict.verdict])
            for reason in verdict.reasons:
                say(f"{'':13} {one_line(reason.text, 160)}")
            for span in verdict.spans:
                say(
                    f"{'':13} {one_line(f'{span.document}:{span.start_line}')}  {one_line(span.quote, 120)}",
                    style="dim",
                )
        note(", ".join(f"{counts[name]} {name}" for name in _STYLES if counts[name]) or "Nothing to check.")
    if counts["unsupported"]:
        raise typer.Exit(1)


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{file} is larger than {_MOST_BYTES:,} bytes.", "Check a part of it.")
        return file.read_text(encoding="utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as exc:
        raise IngestError(f"{file} cannot be read: {exc.strerror}.", "Check the path.") from exc
