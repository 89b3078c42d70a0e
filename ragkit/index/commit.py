"""One commit: new documents, deleted ones and what is merged, switched to by one rename.

New files are written beside the old ones and synced; then the MANIFEST is replaced. Until that
rename the old state is the index, afterwards the new one is. What no MANIFEST names any more is
removed last; readers hold their files open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from ragkit.errors import IndexFailure
from ragkit.index import fsops
from ragkit.index.compaction import Size, choose
from ragkit.index.fingerprint import IndexSettings, Progress, counted
from ragkit.index.language_axis import LanguageAxis
from ragkit.index.legacy import convert
from ragkit.index.manifest import (
    Manifest,
    SegmentEntry,
    fresh_name,
    is_ours,
    read_manifest,
    write_manifest,
)
from ragkit.index.outside import OUTSIDE, outside_files
from ragkit.index.pending import BLOCK, Pending
from ragkit.index.segment import Mask, Vectors, measure, write_segment
from ragkit.index.snapshot import Part, Snapshot
from ragkit.index.store import DOCUMENT, Entry, text_hash
from ragkit.models.embeddings import EmbeddingModel, unit
from ragkit.text.tokens import ANALYSER_VERSION, tokenize
from ragkit.values import Chunk

_BLOCK: Final = 4096
_UNIT: Final = 1e-6
"""A vector whose length is this close to 1 is left as it is."""


@dataclass(frozen=True)
class Change:
    """What a commit does to the documents."""

    put: Sequence[Entry] = ()
    """New documents and those that replace one of the same path."""
    remove: frozenset[str] = frozenset()
    """Paths that go without a successor."""
    everything: bool = False
    """Merge all segments into one."""
    outside: Mapping[str, str] = field(default_factory=dict)
    """Which of `put` are notes from outside the roots, with their files."""


class Commit:
    """The new state of one index folder, under the writer's lock. Used once.

    Args:
        folder: Index folder.
        old: The state that is changed; None makes a new one.
        model: Embeds what is not embedded.
        settings: Of the index.
        embedded: A state of which nothing but its vectors is kept; None takes those of `old`.
    """

    def __init__(
        self,
        folder: Path,
        old: Snapshot | None,
        model: EmbeddingModel,
        settings: IndexSettings,
        embedded: Snapshot | None = None,
    ) -> None:
        self._folder, self._old, self._model, self._settings = folder, old, model, settings
        self._embedded = old or embedded
        self._made: list[Path] = []
        self._pending = Pending(folder, model.identity.dimension)

    def run(self, change: Change, roots: Sequence[str] | None, progress: Progress | None = None) -> int:
        """Make the change durable.

        Args:
            change: What is to be different.
            roots: Of the notes; None keeps them.
            progress: Told about embedding.

        Returns:
            How many texts were embedded.

        Raises:
            IndexFailure: If the disk refuses. The old state stays, unless the message says that the
                outcome is not known.
        """
        put = sorted(change.put, key=lambda entry: entry.document.path)
        vectors, embedded = self._embed([chunk for entry in put for chunk in entry.chunks], progress)
        axis = self._old.language_axis if self._old is not None else LanguageAxis.measure(self._model)
        gone = {entry.document.path for entry in put} | change.remove
        outside = {path: file for path, file in change.outside.items() if path in gone}
        if roots is None and self._old is not None:
            old = outside_files(self._old.manifest.extra)
            outside.update((path, file) for path, file in old.items() if path not in gone)
        roots = roots if roots is not None else self._old.manifest.roots if self._old is not None else []
        manifest = Manifest(
            generation=fresh_name("gen"),
            model=asdict(self._model.identity),
            analyser=ANALYSER_VERSION,
            chunker=self._settings.chunks.fingerprint,
            bm25=self._settings.bm25.fingerprint,
            roots=list(roots),
            documents=0,
            chunks=0,
            extra={OUTSIDE: outside} if outside else {},
        )
        durably(
            self._folder,
            [manifest.generation],
            self._made,
            lambda: self._write(manifest, put, vectors, axis, gone, everything=change.everything),
        )
        self._pending.clear()
        return embedded

    def _write(
        self,
        manifest: Manifest,
        put: list[Entry],
        vectors: Vectors,
        axis: LanguageAxis,
        gone: set[str],
        *,
        everything: bool,
    ) -> None:
        parts = self._old.parts if self._old is not None else []
        dead = [_dead(part, gone) for part in parts]
        sizes = [_size(part, mask) for part, mask in zip(parts, dead, strict=True)]
        new = len(put) + len(vectors)
        merged = choose(sizes, new, everything=everything)
        segments: list[SegmentEntry] = []
        files = {}
        for i, (part, mask) in enumerate(zip(parts, dead, strict=True)):
            if i in merged or not sizes[i].living:
                continue
            entry = self._buried(part, mask)
            if entry.dead:
                known = self._old.manifest.files if self._old is not None else {}
                files[entry.dead] = known.get(entry.dead) or measure(self._folder / entry.dead)
            segments.append(entry)
        if new or merged:
            sources = [(part, mask) for i, (part, mask) in enumerate(zip(parts, dead, strict=True)) if i in merged]
            segments.append(self._segment(put, vectors, sources, axis))
        if self._old is not None:
            name = self._old.manifest.axis
            files[name] = self._old.manifest.files[name]
        else:
            name = fresh_name("axis") + ".npy"
            self._file(name, axis.save)
            files[name] = measure(self._folder / name)
        manifest = replace(
            manifest,
            segments=tuple(segments),
            files=files,
            axis=name,
            documents=sum(entry.documents - entry.dead_documents for entry in segments),
            chunks=sum(entry.chunks - entry.dead_chunks for entry in segments),
        )
        write_manifest(self._folder, manifest, with_contents(self._made))
        collect_garbage(self._folder, manifest)
        if everything:  # deleted means gone: also from what a repair kept aside
            for path in self._folder.glob("*.damaged-*"):
                fsops.remove(path)

    def _file(self, name: str, write: Callable[[Path], object]) -> None:
        self._made.append(self._folder / name)
        fsops.write_file(self._folder / name, write)

    def _buried(self, part: Part, dead: Mask) -> SegmentEntry:
        """The part's entry in the new MANIFEST, with a new file of tombstones if there are more of them."""
        entry = part.segment.entry
        count = int(np.count_nonzero(dead))
        if count == entry.dead_documents:
            return entry
        numbers = np.flatnonzero(dead).astype(np.int32)
        name = fresh_name("dead") + ".npy"
        self._file(name, lambda path: np.save(path, numbers, allow_pickle=False))
        chunks = int(np.count_nonzero(dead[part.segment.rows[:, DOCUMENT]]))
        return replace(entry, dead=name, dead_documents=count, dead_chunks=chunks)

    def _segment(
        self, put: list[Entry], vectors: Vectors, sources: Sequence[tuple[Part, Mask]], axis: LanguageAxis
    ) -> SegmentEntry:
        """One new segment of the new documents and of what lives in `sources`."""
        name = fresh_name("seg")
        self._made.append(self._folder / name)
        bags = None
        if sources:
            put, vectors, bags = _merge(put, vectors, sources)
        return write_segment(
            self._folder,
            name,
            put,
            vectors,
            axis=axis,
            model=self._model.identity.fingerprint,
            factory=self._settings.factory,
            bags=bags,
        )

    def _embed(self, chunks: Sequence[Chunk], progress: Progress | None) -> tuple[Vectors, int]:
        """Vectors of the chunks; only texts that no segment has, living or dead, are embedded."""
        dimension = self._model.identity.dimension
        texts = [chunk.search_text for chunk in chunks]
        known: dict[str, tuple[Part, int]] = {}
        if self._embedded is not None and texts:
            model = self._model.identity.fingerprint
            hashes = {text_hash(model, text): text for text in texts}
            for part in self._embedded.parts:
                wanted = [digest for digest, text in hashes.items() if text not in known]
                found = part.segment.store.by_hash(wanted)
                known.update((hashes[digest], (part, local)) for digest, local in found.items())
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        encoded = self._encode(missing, progress) if missing else np.zeros((0, dimension), dtype=np.float32)
        if len(missing) == len(texts):
            return encoded, len(missing)
        vectors = np.zeros((len(texts), dimension), dtype=np.float32)
        row = {text: i for i, text in enumerate(missing)}
        fresh = [(i, row[text]) for i, text in enumerate(texts) if text in row]
        if fresh:
            vectors[[i for i, _ in fresh]] = encoded[[at for _, at in fresh]]
        for part in {id(part): part for part, _ in known.values()}.values():
            reused = [(i, known[text][1]) for i, text in enumerate(texts) if text in known and known[text][0] is part]
            if reused:
                vectors[[i for i, _ in reused]] = part.segment.vectors.vectors([local for _, local in reused])
        return vectors, len(missing)

    def _encode(self, texts: list[str], progress: Progress | None) -> Vectors:
        """Vectors of length 1; of a long run block by block, each written down for a run after this one is killed."""
        report = counted(progress, len(texts))
        report(0)
        identity = self._model.identity
        hashes = [text_hash(identity.fingerprint, text) for text in texts]
        known = self._pending.read()
        if not known and len(texts) <= BLOCK:
            return scaled(self._model.encode_documents(texts, report))
        vectors = np.zeros((len(texts), identity.dimension), dtype=np.float32)
        missing = [i for i, digest in enumerate(hashes) if digest not in known]
        for i, digest in enumerate(hashes):
            if digest in known:
                vectors[i] = known[digest]
        report(len(texts) - len(missing))
        for at in range(0, len(missing), BLOCK):
            some = missing[at : at + BLOCK]
            vectors[some] = scaled(self._model.encode_documents([texts[i] for i in some], report))
            self._pending.append([hashes[i] for i in some], vectors[some])
        return vectors


def migrate(folder: Path, manifest: Manifest) -> None:
    """Replace an index of format 1 by one of today's, under the writer's lock. Nothing is embedded.

    Raises:
        IndexFailure: If the disk refuses; the old index stays.
    """
    made: list[Path] = []
    generations: list[str] = []

    def write() -> None:
        before = set(folder.iterdir())
        try:
            new = convert(folder, manifest, folder)
        finally:
            made.extend(set(folder.iterdir()) - before)
        generations.append(new.generation)
        write_manifest(folder, new, with_contents(made))
        collect_garbage(folder, new)

    durably(folder, generations, made, write)


def leftovers(folder: Path, manifest: Manifest | None) -> list[Path]:
    """Entries of an index folder that a writer made and that `manifest` does not name."""
    named: set[str] = set()
    if manifest is not None:
        named = {manifest.generation} if manifest.format == 1 else set(manifest.files)
        named |= {entry.name for entry in manifest.segments}
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name not in named and is_ours(path.name)]


def collect_garbage(folder: Path, manifest: Manifest | None) -> None:
    """Remove what a writer made and `manifest` does not name; needs the writer's lock."""
    for path in leftovers(folder, manifest):
        fsops.remove(path)


def durably(folder: Path, generations: Sequence[str], made: list[Path], write: Callable[[], None]) -> None:
    """Run a commit; if it fails before the switch, remove what it made.

    Args:
        folder: Index folder.
        generations: What the MANIFEST is of after the switch.
        made: New files and folders; grows while `write` runs.
        write: Writes them, switches the MANIFEST and removes what it names no more.

    Raises:
        IndexFailure: If the disk refuses.
    """
    try:
        fsops.with_disk_errors(folder, write)
    except BaseException as exc:
        current = read_manifest(folder)
        if current is None or current.generation not in generations:
            for path in made:
                fsops.remove(path)
            raise
        if not isinstance(exc, IndexFailure):
            raise
        # Once the MANIFEST is switched, the new state is the index, whatever fails after that.
        raise IndexFailure(
            f"The index in {folder} is written, but the disk did not confirm it: {exc.message}",
            "Check the disk; after a power failure the index may be the one before.",
        ) from exc


def with_contents(made: Sequence[Path]) -> list[Path]:
    """Files and folders, and the files in the folders."""
    inside = [file for path in made if path.is_dir() for file in sorted(path.iterdir())]
    return [*inside, *made]


def _dead(part: Part, gone: set[str]) -> Mask:
    """Which documents of a part are dead after the commit, by number."""
    store = part.segment.store
    dead = np.zeros(store.documents, dtype=np.bool_) if part.dead_documents is None else part.dead_documents.copy()
    dead[store.numbers(gone)] = True
    return dead


def _size(part: Part, dead: Mask) -> Size:
    store = part.segment.store
    if not dead.any():
        return Size(store.documents + store.size, 0)
    chunks = int(np.count_nonzero(dead[part.segment.rows[:, DOCUMENT]]))
    return Size(store.documents + store.size, int(np.count_nonzero(dead)) + chunks)


def _merge(
    put: list[Entry], vectors: Vectors, sources: Sequence[tuple[Part, Mask]]
) -> tuple[list[Entry], Vectors, list[list[str]]]:
    """New documents and those that live in `sources`, in the order of their paths, and the tokens of their chunks."""
    entries, matrices = list(put), [vectors]
    bags = [tokenize(chunk.search_text) for entry in put for chunk in entry.chunks]
    for part, dead in sources:
        segment = part.segment
        entries.extend(segment.store.entries([int(number) for number in np.flatnonzero(~dead)]))
        locals_ = np.flatnonzero(~dead[segment.rows[:, DOCUMENT]])
        matrices.append(segment.vectors.vectors(locals_))
        everything = segment.postings.chunk_tokens()
        bags.extend(everything[local] for local in locals_)
    firsts = np.cumsum([0] + [len(entry.chunks) for entry in entries])
    order = sorted(range(len(entries)), key=lambda i: entries[i].document.path)
    rows = [row for i in order for row in range(int(firsts[i]), int(firsts[i + 1]))]
    return [entries[i] for i in order], np.concatenate(matrices)[rows], [bags[row] for row in rows]


def scaled(vectors: Vectors) -> Vectors:
    """Rows of length 1; those that have it already keep every bit, so that rebuilding gives the same scores."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    copied = False
    for at in range(0, len(vectors), _BLOCK):
        block = vectors[at : at + _BLOCK]
        scaled = unit(block)  # also refuses what is not finite
        off = np.abs(np.linalg.norm(block, axis=1) - 1) > _UNIT
        if off.any():
            if not copied:
                vectors, copied = vectors.copy(), True
            vectors[at : at + _BLOCK][off] = scaled[off]
    return vectors
