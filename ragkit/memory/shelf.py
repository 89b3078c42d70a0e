"""One namespace on disk: a real index of both legs, changed by one commit at a time.

Nothing here knows what a fact means. The folder is an index as `ragkit.index` writes it, with one chunk
for each item, so every promise about commits, crashes, damage and checksums holds for it too. No
embedding model is loaded before a text must be embedded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ragkit.errors import IndexCorruptError, IndexFailure, IndexMismatchError, MemoryFailure
from ragkit.index.commit import Change, Commit, collect_garbage
from ragkit.index.fingerprint import IndexSettings, check_fingerprint
from ragkit.index.manifest import MANIFEST, read_manifest
from ragkit.index.snapshot import Snapshot
from ragkit.index.store import Entry
from ragkit.index.writer import writer_lock
from ragkit.ingest.chunk_settings import ChunkSettings
from ragkit.memory.items import MAX_CHARS, MemoryItem
from ragkit.models.embeddings import EmbeddingModel, ModelIdentity, Progress, Vectors
from ragkit.text.language import language_group
from ragkit.values import Chunk

WAIT: Final = 10.0
"""Seconds that a writer waits for another one."""
_SETTINGS: Final = IndexSettings(chunks=ChunkSettings(target=4 * MAX_CHARS, maximum=4 * MAX_CHARS))
"""Not the user's: how notes are cut and scored says nothing about memories, which are one chunk each."""

Items = dict[str, MemoryItem]


@dataclass(frozen=True)
class State:
    """What a namespace holds at one moment."""

    items: Items
    """By id."""
    snapshot: Snapshot | None
    """None while nothing was ever remembered."""


class Shelf:
    """The items of one namespace. Safe to use from several threads and processes.

    Args:
        folder: Created with the first commit.
        model: Gives the embedding model; called when one is needed.
    """

    def __init__(self, folder: Path, model: Callable[[], EmbeddingModel]) -> None:
        self.folder = folder
        self._model = model
        self._state: State | None = None
        self._lock = threading.RLock()

    def exists(self) -> bool:
        """Whether anything was ever remembered here; one look at the disk."""
        return (self.folder / MANIFEST).is_file()

    def state(self) -> State:
        """What is committed now.

        Raises:
            MemoryFailure: If it is damaged.
        """
        with self._lock, self._told():
            manifest = read_manifest(self.folder)
            if manifest is None:
                return State({}, None)
            if self._state is None or self._state.snapshot is None or self._state.snapshot.manifest != manifest:
                return self._take()
            return self._state

    def searchable(self) -> State:
        """What is committed now, after a look whether the model in use is the one it was embedded with.

        Raises:
            MemoryFailure: If it is not, or the namespace is damaged.
        """
        with self._lock, self._told():
            state = self.state()
            if state.snapshot is not None:
                check_fingerprint(state.snapshot.manifest, self._model(), _SETTINGS)
            return state

    def change(
        self,
        plan: Callable[[State], Items | None],
        vectors: Mapping[str, Vectors] | None = None,
        *,
        everything: bool = False,
        anew: bool = False,
    ) -> State:
        """Make the items what `plan` says, in one durable commit; nothing happens if it says None.

        Args:
            plan: Given what is committed, under the writer's lock; returns all items that are to be there.
            vectors: Of texts that were embedded already.
            everything: Drop for good what was deleted, now and before.
            anew: Embed everything with the model in use, whatever it was embedded with.

        Raises:
            MemoryFailure: If the namespace is damaged or was embedded with another model.
            IndexLockedError: If another process writes for longer than 10 seconds.
            IndexFailure: If the disk refuses.
        """
        with self._lock, self._told(), self._writing():
            before = self.state() if anew else self.searchable()
            wanted = plan(before)
            if wanted is None:
                return before
            old = None if anew else before.snapshot
            model = self._model()
            known = {} if anew else {item.path: item for item in before.items.values()}
            after = {item.path: item for item in wanted.values()}
            put = [_entry(item) for path, item in after.items() if known.get(path) != item]
            change = Change(put, frozenset(known.keys() - after.keys()), everything)
            if put or change.remove or everything or anew:
                Commit(self.folder, old, _Known(model, vectors or {}), _SETTINGS).run(change, [])
                _private(self.folder)
            elif old is not None:
                collect_garbage(self.folder, old.manifest)
            return self._take(wanted)

    def close(self) -> None:
        """Give back open files."""
        with self._lock:
            self._state = None

    def _take(self, items: Items | None = None) -> State:
        """Open what is committed; `items`, if they are known, spare reading all of it.

        The snapshot before is not closed: a search may still run over it.
        """
        snapshot = Snapshot.open(self.folder, self._state.snapshot if self._state else None)
        if items is None:
            entries = [e for p in snapshot.parts for e in p.segment.store.entries(p.living())] if snapshot else []
            items = {item.id: item for item in (MemoryItem.of(entry.document) for entry in entries)}
        ordered = sorted(items.values(), key=lambda item: (item.time, item.id))
        self._state = State({item.id: item for item in ordered}, snapshot)
        return self._state

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The writer's lock; another process holds it for the milliseconds of a commit."""
        with suppress(OSError):
            self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with writer_lock(self.folder, WAIT):
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What is wrong with an index of notes is remedied by building it again; memories have no notes."""
        try:
            yield
        except IndexCorruptError as exc:
            raise MemoryFailure(
                f"The memory in {self.folder} is damaged: {exc.message}",
                "Delete that folder, then `ragkit memory import` an export.",
            ) from exc
        except IndexMismatchError as exc:
            raise MemoryFailure(
                f"The memory in {self.folder}: {exc.message}",
                "Embed it anew with `ragkit memory rebuild`, or go back to the setting it was made with.",
            ) from exc
        except IndexFailure as exc:
            if "--index" not in exc.remedy:
                raise
            raise IndexFailure(exc.message, "Set RAGKIT_HOME to a folder you may write to.") from exc


class _Known:
    """An embedding model with some texts embedded already."""

    def __init__(self, model: EmbeddingModel, vectors: Mapping[str, Vectors]) -> None:
        self._model, self._vectors = model, vectors
        self.name, self.temperature, self.relevance_floor = model.name, model.temperature, model.relevance_floor

    @property
    def identity(self) -> ModelIdentity:
        return self._model.identity

    def encode_documents(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        missing = [text for text in texts if text not in self._vectors]
        fresh = dict(zip(missing, self._model.encode_documents(missing, progress), strict=True)) if missing else {}
        rows = [self._vectors[text] if text in self._vectors else fresh[text] for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.identity.dimension), dtype=np.float32)

    def encode_query(self, text: str) -> Vectors:
        return self._model.encode_query(text)


def _entry(item: MemoryItem) -> Entry:
    chunk = Chunk(
        id=item.id,
        document=item.path,
        heading=(),
        text=item.text,
        start=0,
        end=len(item.text),
        start_line=1,
        end_line=1,
        language=language_group(item.text),
    )
    return Entry(item.document(), len(item.text), 0, (chunk,))


def _private(folder: Path) -> None:
    """Memories are for their owner's eyes, whatever the umask says."""
    for path in (folder, *folder.rglob("*")):
        with suppress(OSError):
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)
