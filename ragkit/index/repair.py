"""Check every file of an index, and rebuild from the chunk store what can be rebuilt from it.

The chunk store is the one source of truth: vectors, postings, rows and the language axis follow from
it and the model. A damaged chunk store or file of tombstones is left alone, because nothing in the
index could replace it; the notes can. Damaged files are kept aside as ``*.damaged-<time>``, save damaged
rows of the sentence vectors beside the index, which are embedded again in place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ragkit.errors import IndexCorruptError, IndexFailure
from ragkit.index import fsops
from ragkit.index.commit import collect_garbage, durably, scaled, with_contents
from ragkit.index.fingerprint import IndexSettings, Progress, check_fingerprint, counted
from ragkit.index.language_axis import LanguageAxis
from ragkit.index.legacy import damaged as damaged_in_format_1
from ragkit.index.manifest import (
    FORMAT,
    MANIFEST,
    REBUILD,
    FileSum,
    Manifest,
    SegmentEntry,
    fresh_name,
    read_manifest,
    write_manifest,
)
from ragkit.index.segment import STORE, Vectors, differs, measure, write_segment
from ragkit.index.sentence_care import repair_sentences, sentence_damage
from ragkit.index.sentences import FILE as SENTENCES
from ragkit.index.snapshot import Snapshot
from ragkit.index.store import ChunkStore
from ragkit.index.vector_segment import VectorSegment
from ragkit.index.writer import writer_lock
from ragkit.models.embeddings import EmbeddingModel


@dataclass(frozen=True)
class Damage:
    """A file of the index that is not what was written."""

    path: str
    """Within the index folder, with ``/``."""
    problem: str


@dataclass(frozen=True)
class Repair:
    """What `repair_index` did."""

    damaged: tuple[Damage, ...] = ()
    kept: tuple[str, ...] = ()
    """Where the damaged files stand now, within the index folder."""
    embedded_chunks: int = 0


def verify_index(folder: Path) -> list[Damage]:
    """Compare every file that the MANIFEST names with its checksum, and check the sentence vectors beside them.

    Returns:
        What is damaged; empty if the index is sound.

    Raises:
        IndexFailure: If there is no index, or its MANIFEST is damaged or from a newer ragkit.
    """
    problem = sentence_damage(folder)
    return _damaged_files(folder) + ([Damage(SENTENCES, problem)] if problem else [])


def _damaged_files(folder: Path) -> list[Damage]:
    manifest = _manifest(folder)
    if manifest.format < FORMAT:
        return [
            Damage(path.relative_to(folder).as_posix(), "differs from its checksum")
            for path in damaged_in_format_1(folder)
        ]
    found = [Damage(name, problem) for name, total in manifest.paths() if (problem := _problem(folder / name, total))]
    if not found and read_manifest(folder) != manifest:
        return _damaged_files(folder)  # a writer came between
    return found


def repair_index(
    folder: Path, model: EmbeddingModel, settings: IndexSettings, progress: Progress | None = None
) -> Repair:
    """Rebuild damaged vectors, postings, rows and language axis from the chunk store, in one commit.

    Damaged sentence vectors follow, which are no part of the commit.

    Raises:
        IndexCorruptError: If a chunk store or a file of tombstones is damaged; nothing is changed then.
        IndexMismatchError: If model, analyser or chunker differ from the index's.
        IndexLockedError: If another process is writing.
    """
    with writer_lock(folder):
        manifest = _manifest(folder)
        check_fingerprint(manifest, model, settings)
        damage = {item.path: item for item in verify_index(folder)}
        found = tuple(damage.values())
        beside = damage.pop(SENTENCES, None)
        if damage and manifest.format < FORMAT:
            raise IndexCorruptError(f"{folder / next(iter(damage))} is damaged, in an index of format 1.", REBUILD)
        for path in damage:
            if path.endswith(f"/{STORE}") or path.startswith("dead-"):
                raise IndexCorruptError(
                    f"{folder / path} is damaged; the rest of the index cannot replace it.", REBUILD
                )
        work = _Repair(folder, manifest, model, settings, progress)
        if damage:
            durably(folder, [work.generation], work.made, lambda: work.run(damage))
        if beside is not None and (engine := Snapshot.open(folder)) is not None:
            with closing(engine):
                embedded, aside = repair_sentences(folder, engine, model, progress)
            work.embedded += embedded
            work.kept += [aside] if aside else []
        return Repair(found, tuple(work.kept), work.embedded)


class _Repair:
    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        model: EmbeddingModel,
        settings: IndexSettings,
        progress: Progress | None,
    ) -> None:
        self._folder, self._manifest, self._model = folder, manifest, model
        self._settings, self._progress = settings, progress
        self.generation = fresh_name("gen")
        self.made: list[Path] = []
        self.kept: list[str] = []
        self.embedded = 0

    def run(self, damage: dict[str, Damage]) -> None:
        """Write what is damaged anew, keep the damaged files, switch."""
        files, name = dict(self._manifest.files), self._manifest.axis
        if name in damage:
            del files[name]
            axis, name = LanguageAxis.measure(self._model), fresh_name("axis") + ".npy"
            self._make(name, lambda path: fsops.write_file(path, axis.save))
            files[name] = measure(self._folder / name)
        else:
            axis = LanguageAxis.load(self._folder / name)
        segments = tuple(
            self._segment(entry, axis, damage)
            if any(f"{entry.name}/{file}" in damage for file in entry.files)
            else entry
            for entry in self._manifest.segments
        )
        suffix = f"damaged-{time.time_ns():020d}"
        for path in damage:
            if (file := self._folder / path).is_file() and not file.is_symlink():
                aside = f"{path.replace('/', '-')}.{suffix}"
                self._make(aside, lambda target, source=file: fsops.link(source, target))  # type: ignore[misc]
                self.kept.append(aside)
        manifest = replace(self._manifest, generation=self.generation, segments=segments, files=files, axis=name)
        write_manifest(self._folder, manifest, with_contents(self.made))
        collect_garbage(self._folder, manifest)

    def _make(self, name: str, make: Callable[[Path], object]) -> None:
        self.made.append(self._folder / name)
        make(self._folder / name)

    def _segment(self, entry: SegmentEntry, axis: LanguageAxis, damage: dict[str, Damage]) -> SegmentEntry:
        """The same documents under the same numbers in a new segment."""
        with closing(ChunkStore(self._folder / entry.name / STORE)) as store:
            entries = store.entries(range(entry.documents))
        texts = [chunk.search_text for item in entries for chunk in item.chunks]
        name = fresh_name("seg")
        self.made.append(self._folder / name)
        new = write_segment(
            self._folder,
            name,
            entries,
            self._vectors(entry, texts, damage),
            axis=axis,
            model=self._model.identity.fingerprint,
            factory=self._settings.factory,
        )
        return replace(new, dead=entry.dead, dead_documents=entry.dead_documents, dead_chunks=entry.dead_chunks)

    def _vectors(self, entry: SegmentEntry, texts: list[str], damage: dict[str, Damage]) -> Vectors:
        if not any(f"{entry.name}/{file}" in damage for file in entry.files if file.startswith("vectors.")):
            return VectorSegment.load(self._folder / entry.name).vectors(np.arange(entry.chunks))
        if not texts:
            return np.zeros((0, self._model.identity.dimension), dtype=np.float32)
        self.embedded += len(texts)
        return scaled(self._model.encode_documents(texts, counted(self._progress, len(texts))))


def _manifest(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    if manifest is None:
        raise IndexFailure(f"There is no index in {folder} ({MANIFEST} is missing).", "Build it: ragkit index NOTES.")
    return manifest


def _problem(path: Path, expected: FileSum) -> str:
    try:
        return differs(path, expected)
    except FileNotFoundError:
        return "is missing"
    except OSError as exc:
        return f"cannot be read: {exc.strerror}"
