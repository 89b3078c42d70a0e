"""One search over several indexes. Each keeps its own statistics; what they find is put in one order.

That is sound because the fused score is absolute: a calibrated cosine plus the share of the
question that a chunk covers, not a rank within one list. All indexes must have been built with the
same embedding model. A document is named by its index and its path there, ``work/todo.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ragkit.errors import IndexMismatchError, UsageError
from ragkit.index.engine import Filter
from ragkit.retrieval.planner import Plan
from ragkit.retrieval.retriever import Mode, Query
from ragkit.values import Document, Hit


class Searched(Protocol):
    """What `MultiIndex` needs of each index; `ragkit.api.Index` has it."""

    def plan(self, query: str, *, rewrite: bool = False, hyde: bool = False) -> Plan: ...

    def search_queries(
        self, queries: Sequence[Query], k: int = 5, mode: Mode = "hybrid", where: Filter | None = None
    ) -> list[Hit]: ...

    def document(self, path: str) -> Document | None: ...

    def documents(self) -> dict[str, str]: ...

    def __len__(self) -> int: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=Searched)


class MultiIndex:
    """Several opened indexes by name, searched as one. Made by `Index.open_many`."""

    def __init__(self, indexes: Mapping[str, Searched]) -> None:
        self.indexes = dict(indexes)

    def search(
        self, query: str, k: int = 5, mode: Mode = "hybrid", *, where: Filter | None = None, **options: Any
    ) -> list[Hit]:
        """The `k` best chunks of all indexes, best first; equal scores in the order of the indexes.

        Args:
            query: The question.
            k: Number of hits, at least 1.
            mode: ``hybrid``, ``dense`` or ``sparse``; BM25 scores alone compare only roughly between indexes.
            where: Which chunks may be returned; its documents are paths within an index.
            options: As of `Index.search`: rewrite, hyde, history, translate.
        """
        return self.search_queries(self.plan(query, **options).queries, k=k, mode=mode, where=where)

    def plan(self, query: str, **options: Any) -> Plan:
        """The queries that `search` would run, as the first index plans them."""
        return next(iter(self.indexes.values())).plan(query, **options)

    def search_queries(
        self, queries: Sequence[Query], k: int = 5, mode: Mode = "hybrid", where: Filter | None = None
    ) -> list[Hit]:
        """Run prepared queries; the first one is the user's own."""
        found = [
            replace(hit, chunk=replace(hit.chunk, document=f"{name}/{hit.document}"))
            for name, index in self.indexes.items()
            for hit in index.search_queries(queries, k=k, mode=mode, where=where)
        ]
        found.sort(key=lambda hit: -hit.score)
        # A copy of a passage that stands in several indexes is shown once, before its copies.
        first = {hit.text: i for i, hit in reversed(list(enumerate(found)))}
        order = sorted(range(len(found)), key=lambda i: (first[found[i].text] != i, i))
        best = [found[i] for i in order[:k]]
        return [replace(hit, rank=rank) for rank, hit in enumerate(best, start=1)]

    def document(self, path: str) -> Document | None:
        """A document by its index and its path there, or None."""
        name, _, rest = path.partition("/")
        found = self.indexes[name].document(rest) if name in self.indexes else None
        return replace(found, path=path) if found is not None else None

    def documents(self) -> dict[str, str]:
        """Title of every document, by index and path."""
        return {f"{n}/{path}": title for n, index in self.indexes.items() for path, title in index.documents().items()}

    def __len__(self) -> int:
        return sum(map(len, self.indexes.values()))

    def close(self) -> None:
        """Give back open files."""
        for index in self.indexes.values():
            index.close()


def names_for(folders: Sequence[str | Path] | Mapping[str, str | Path]) -> dict[str, Path]:
    """Index folders by name, as given or after their last part.

    Raises:
        UsageError: If there is none, two have the same name, or a name has a ``/``.
    """
    named = dict(folders) if isinstance(folders, Mapping) else {Path(f).resolve().name: f for f in folders}
    if not named or len(named) < len(folders) or any("/" in name for name in named):
        raise UsageError(
            f"{len(folders)} index folder(s) with {len(named)} different name(s) were given.",
            "Pass at least one, and names without / for those that are called alike: {'work': DIR, 'home': DIR}.",
        )
    return {name: Path(folder).expanduser() for name, folder in named.items()}


def open_all(folders: Mapping[str, Path], opened: Callable[[Path, S | None], S]) -> MultiIndex:
    """Open index folders; if one cannot be opened, those before it are closed again.

    Args:
        folders: By name.
        opened: Opens one; it is given the first one, whose embedding model all must share.

    Raises:
        IndexMismatchError: If one was built with another model.
    """
    indexes: dict[str, S] = {}
    with ExitStack() as undo:
        for name, folder in folders.items():
            try:
                indexes[name] = opened(folder, next(iter(indexes.values()), None))
            except IndexMismatchError as exc:
                raise IndexMismatchError(f"{folder}: {exc.message}", exc.remedy) from exc
            undo.callback(indexes[name].close)
        undo.pop_all()
    return MultiIndex(indexes)
