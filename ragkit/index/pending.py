"""Vectors that were embedded for a commit which is not done yet, so that a killed run need not embed them again.

One file in the index folder, of records: text hash, vector, checksum of both. It is written without
syncing, because every record is checked before it is used; it holds no text, and goes with the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import xxhash

Vectors = npt.NDArray[np.float32]

NAME: Final = "PENDING.vectors"
BLOCK: Final = 1024
"""Texts that are embedded between two looks at the disk; fewer texts than this are not written down."""
_HASH: Final = 16
_SUM: Final = 8


class Pending:
    """The vectors of an unfinished run in an index folder; used under the writer's lock."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._path = folder / NAME
        self._dimension = dimension
        self._size = _HASH + 4 * dimension + _SUM

    def read(self) -> dict[bytes, Vectors]:
        """The vectors by text hash (`ragkit.index.store.text_hash`); what is damaged is cut off."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return {}
        found: dict[bytes, Vectors] = {}
        sound = 0
        for at in range(0, len(data) - self._size + 1, self._size):
            body, total = data[at : at + self._size - _SUM], data[at + self._size - _SUM : at + self._size]
            if xxhash.xxh3_64_digest(body) != total:
                break
            found[body[:_HASH]] = np.frombuffer(body, dtype="<f4", offset=_HASH)
            sound = at + self._size
        if sound < len(data):
            with suppress(OSError), self._path.open("r+b") as file:
                file.truncate(sound)
        return found

    def append(self, hashes: Sequence[bytes], vectors: Vectors) -> None:
        """Write down a block; a disk that refuses only costs the next run its time."""
        bodies = [digest + row.astype("<f4").tobytes() for digest, row in zip(hashes, vectors, strict=True)]
        with suppress(OSError), self._path.open("ab") as file:
            file.write(b"".join(body + xxhash.xxh3_64_digest(body) for body in bodies))

    def clear(self) -> None:
        """The commit is done."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
