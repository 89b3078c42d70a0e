r"""The values that move between layers: frozen, compared by content, free of behaviour.

A score never sits on a chunk: it belongs to the `Hit` that one search produced.
Offsets count Unicode characters of the source text with newlines normalised to ``\\n``;
lines count from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Document:
    """A source text as it was read."""

    path: str
    """Path relative to the indexed root, with ``/``."""
    text: str
    """Decoded text with newlines normalised to ``\\n``; no byte order mark."""
    content_hash: str
    """SHA-256 (hex) of the file's bytes."""
    title: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    warning: str = ""
    """What had to be guessed or replaced to read the file (`ragkit.ingest.decode`); empty if nothing."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A verbatim slice of a document: ``document.text[start:end] == chunk.text``."""

    id: str
    """Hash of (document path, text, nth occurrence): stable when text above it changes."""
    document: str
    heading: tuple[str, ...]
    """Heading path from the outermost heading to the innermost."""
    text: str
    start: int
    end: int
    start_line: int
    end_line: int
    language: str = "other"
    """``zh`` or ``other``, see `ragkit.text.language.language_group`."""

    @property
    def search_text(self) -> str:
        """The text that is embedded and analysed: heading path, then the slice itself."""
        return search_text(self.heading, self.text)


def search_text(heading: Sequence[str], text: str) -> str:
    """What is embedded and analysed of a slice under a path of headings."""
    path = " > ".join(heading)
    return f"{path}\n{text}" if path else text


@dataclass(frozen=True)
class LegScore:
    """What one leg said about a chunk."""

    rank: int
    """From 1."""
    score: float
    """Cosine with the centred question (dense, questions; about 0.2 to 0.4 with E5) or BM25 (sparse)."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A chunk that a search returned, with the reason why it stands where it stands."""

    chunk: Chunk
    rank: int
    score: float
    legs: dict[str, LegScore | None]
    """``dense`` and ``sparse``; None where the leg did not propose the chunk. In an enriched index also
    ``questions``: the best question that was written about the chunk."""
    coverage: float = 0.0
    """Share (0..1) of the question's idf mass that the chunk contains."""
    sentence: float | None = None
    """Centred cosine of the chunk's best sentence; None where the search had no sentence vectors."""
    query: str = ""
    """The query that ranked this chunk best, when several were run."""
    page: int | None = None
    """Page (PDF) or slide (PowerPoint) that the chunk begins on, from 1; None for documents without pages."""
    end_page: int | None = None
    """Page or slide that it ends on."""

    @property
    def document(self) -> str:
        return self.chunk.document

    @property
    def heading(self) -> tuple[str, ...]:
        return self.chunk.heading

    @property
    def text(self) -> str:
        return self.chunk.text

    @property
    def start(self) -> int:
        return self.chunk.start

    @property
    def end(self) -> int:
        return self.chunk.end

    @property
    def start_line(self) -> int:
        return self.chunk.start_line

    @property
    def end_line(self) -> int:
        return self.chunk.end_line

    @property
    def where(self) -> str:
        """Place for a reader, see `source_place`."""
        return source_place(self.document, (self.start_line, self.end_line), (self.page, self.end_page))


MEMORY: Final = "memory:"
"""Begins the document name of a memory that stands among passages."""


def source_place(document: str, lines: tuple[int, int], pages: tuple[int | None, int | None] = (None, None)) -> str:
    """Where something stands: ``file.md:3``, ``file.md:3-8``, ``file.pdf p. 12``, ``file.pptx slide 3-4``.

    Args:
        document: Path of the document.
        lines: First and last line.
        pages: First and last page; None for documents without pages.
    """
    if document.startswith(MEMORY):
        return document
    first, last = lines if pages[0] is None else (pages[0], pages[1] or pages[0])
    numbers = f"{first}" if first == last else f"{first}-{last}"
    if pages[0] is None:
        return f"{document}:{numbers}"
    return f"{document} {'p.' if document.lower().endswith('.pdf') else 'slide'} {numbers}"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture that a note shows."""

    path: str
    """Relative to the indexed root, with ``/``; an address if it lies on the web."""
    alt: str
    """Alternative text; often empty."""
    line: int
    """Line of the note that shows it, from 1."""


@dataclass(frozen=True, kw_only=True)
class PictureHit:
    """A picture that a text found, at its place in a note."""

    rank: int
    score: float
    """Cosine of the text and the picture in the CLIP model's space."""
    path: str
    alt: str
    document: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A file that was not read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SkippedFolder(Skipped):
    """A folder that could not be looked into: nobody knows whether what was indexed from it is still there."""


@dataclass(frozen=True, kw_only=True)
class Warned:
    """A file that was read and indexed, but not quite as it stands, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class IndexReport:
    """What `Index.update` did. Counts are documents unless the name says otherwise."""

    documents: int
    chunks: int
    added: int
    updated: int
    deleted: int
    unchanged: int
    skipped: tuple[Skipped, ...]
    warnings: tuple[Warned, ...] = ()
    """Of every document in the index, unchanged ones too, sorted by path."""
    embedding_model: str
    embedded_chunks: int
    seconds: float
