"""The MANIFEST: which files an index consists of, with their checksums, and how it was made.

It is the only file that is ever replaced. A commit writes new files beside the old ones and then
switches the MANIFEST by an atomic rename; what no MANIFEST names is garbage. The MANIFEST carries a
checksum of itself, and every name in it is checked before a path is made of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ragkit.errors import IndexCorruptError, IndexFailure
from ragkit.index import fsops

FORMAT: Final = 2
MANIFEST: Final = "MANIFEST.json"
REBUILD: Final = "Rebuild it: ragkit index NOTES --rebuild."
_NAME: Final = re.compile(r"(seg|dead|axis|gen)-\d{20}-[0-9a-f]{6}(\.npy)?")
_FILE: Final = re.compile(r"[a-z0-9_]+\.[a-z0-9]+")


@dataclass(frozen=True)
class FileSum:
    """Size and XXH3-128 (hex) of a file."""

    bytes: int
    xxh3: str


@dataclass(frozen=True)
class SegmentEntry:
    """An immutable segment as the MANIFEST names it."""

    name: str
    documents: int
    chunks: int
    """Counts include what is deleted."""
    files: dict[str, FileSum]
    dead: str = ""
    """File with the numbers of the deleted documents; empty if none is."""
    dead_documents: int = 0
    dead_chunks: int = 0


@dataclass(frozen=True)
class Manifest:
    """What a committed index consists of and how it was made."""

    generation: str
    """Changes with every commit."""
    model: dict[str, Any]
    """name, revision, dimension, prompts of the embedding model."""
    analyser: str
    chunker: str
    bm25: str
    roots: list[str]
    documents: int
    chunks: int
    """Counts of what is not deleted."""
    segments: tuple[SegmentEntry, ...] = ()
    files: dict[str, FileSum] = field(default_factory=dict)
    """Language axis and tombstones, by name."""
    axis: str = ""
    format: int = FORMAT
    extra: dict[str, Any] = field(default_factory=dict)

    def paths(self) -> Iterator[tuple[str, FileSum]]:
        """Every file with its path in the index folder."""
        for entry in self.segments:
            yield from ((f"{entry.name}/{name}", total) for name, total in entry.files.items())
        yield from self.files.items()


def fresh_name(kind: str) -> str:
    """A name that no other commit uses: kind, time in ns, nonce."""
    return f"{kind}-{time.time_ns():020d}-{secrets.token_hex(3)}"


def is_ours(name: str) -> bool:
    """Whether an entry of an index folder was made by a commit, whichever."""
    return _NAME.fullmatch(name) is not None or (name.startswith(f".{MANIFEST}.") and name.endswith(".tmp"))


def seal(data: dict[str, Any]) -> dict[str, Any]:
    """Manifest data with the checksum of itself as ``seal``."""
    body = json.dumps({key: value for key, value in data.items() if key != "seal"}, ensure_ascii=False, sort_keys=True)
    return {**data, "seal": hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of an index folder; None if nothing was committed there yet.

    One of format 1 comes back without segments; its files are read by `ragkit.index.legacy`.

    Raises:
        IndexCorruptError: If it cannot be parsed or differs from its checksum.
        IndexFailure: If a newer ragkit wrote it, or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("no object")
        if data.get("format", 0) > FORMAT:
            raise IndexFailure(f"{path} was written by a newer ragkit (format {data['format']}).", "Upgrade ragkit.")
        if seal(data) != data:
            raise IndexCorruptError(f"{path} differs from its checksum.", REBUILD)
        del data["seal"]
        if data["format"] == 1:
            return Manifest(**{key: value for key, value in data.items() if key != "files"})
        segments = tuple(SegmentEntry(**{**entry, "files": _sums(entry["files"])}) for entry in data.pop("segments"))
        manifest = Manifest(**{**data, "segments": segments, "files": _sums(data["files"])})
        _check_names(manifest)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise IndexFailure(
            f"{path} cannot be read: {exc.strerror}.",
            "Check its permissions, or choose another index folder with --index.",
        ) from exc
    except (ValueError, TypeError, AttributeError, KeyError) as exc:
        raise IndexCorruptError(f"{path} is damaged.", REBUILD) from exc
    return manifest


def write_manifest(folder: Path, manifest: Manifest, new: Sequence[Path]) -> None:
    """Make `manifest` the state of the index, in one step.

    Args:
        folder: Index folder.
        manifest: The new state.
        new: Files and folders that were written for it; they are synced first.

    Raises:
        OSError: If the disk refuses. The state is then the old one, unless only the folder could not be
            synced after the rename: `read_manifest` tells.
    """
    fsops.write_json_atomically(folder / MANIFEST, seal(asdict(manifest)), [*new, folder] if new else [])


def _sums(data: dict[str, Any]) -> dict[str, FileSum]:
    return {name: FileSum(**value) for name, value in data.items()}


def _check_names(manifest: Manifest) -> None:
    names = [entry.name for entry in manifest.segments] + list(manifest.files)
    inside = [name for entry in manifest.segments for name in entry.files]
    if not all(map(_NAME.fullmatch, names)) or not all(map(_FILE.fullmatch, inside)):
        raise ValueError("a name that no commit gives")
    if not {manifest.axis, *(entry.dead for entry in manifest.segments if entry.dead)} <= manifest.files.keys():
        raise ValueError("a file without checksum")
