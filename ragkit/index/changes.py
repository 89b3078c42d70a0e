"""How notes on disk or documents in memory differ from what an index holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ragkit.index.snapshot import Snapshot
from ragkit.ingest.loader import SourceFile, read_all, unread
from ragkit.values import Document, Skipped


@dataclass
class Changes:
    """How the documents differ from those of the index."""

    put: list[tuple[Document, int, int]] = field(default_factory=list)
    """New and changed ones with size in bytes and `ragkit.ingest.loader.changed_ns`."""
    touched: list[tuple[Document, int, int]] = field(default_factory=list)
    """Those whose file has another size or time of change, but the same content: rewritten only with others."""
    remove: frozenset[str] = frozenset()
    skipped: list[Skipped] = field(default_factory=list)
    everything: bool = False
    roots: list[str] | None = None
    """None keeps those of the index."""
    outside: dict[str, str] = field(default_factory=dict)
    """Absolute files of documents from outside the roots, by path, see `ragkit.index.outside`."""

    def __bool__(self) -> bool:
        return bool(self.put or self.remove or self.everything)


def new_ones(documents: Sequence[Document], old: Snapshot | None) -> Changes:
    """What of `documents` the index does not have, or not like this."""
    states = {d.path: old.state(d.path) for d in documents} if old is not None else {}
    changed = [d for d in documents if (s := states.get(d.path)) is None or s.content_hash != d.content_hash]
    return Changes(put=[(document, len(document.text), 0) for document in changed])


def compare(
    sources: Sequence[SourceFile],
    skipped: Sequence[Skipped],
    old: Snapshot | None,
    fresh: dict[str, Document | Skipped],
    refused: Path | None,
) -> Changes:
    """Read the files whose size or time of change differs from what was indexed, and tell what changed.

    Documents of a folder that cannot be looked into now stay as they are.

    `fresh` keeps what was read, for a second look under the lock; `refused` is that of `read_all`.
    """
    known = old.files() if old is not None else {}
    plan = Changes(skipped=list(skipped))
    changed = [s for s in sources if (k := known.get(s.path)) is None or (k.size, k.mtime_ns) != (s.size, s.mtime_ns)]
    present = {source.path for source in sources}
    fresh.update((s.path, found) for s, found in read_all([s for s in changed if s.path not in fresh], refused))
    for source in changed:
        result = fresh[source.path]
        if isinstance(result, Skipped):
            plan.skipped.append(result)
            present.discard(source.path)
            continue
        same = source.path in known and known[source.path].content_hash == result.content_hash
        (plan.touched if same else plan.put).append((result, source.size, source.mtime_ns))
    plan.remove = frozenset(path for path in known.keys() - present if not unread(path, skipped))
    return plan
