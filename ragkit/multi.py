"""One search over several indexes. Each keeps its own statistics; what they find is put in one order.

That is sound because the fused score is absolute: a calibrated cosine plus the share of the
question that a chunk covers, not a rank within one list. All indexes must have been built with the
same embedding model. A document is named by its index and its path there, ``work/todo.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from ragkit.errors import IndexMismatchError, UsageError
from ragkit.index.engine import Filter, fits_path
from ragkit.models.embeddings import Vectors
from ragkit.opened import Opened
from ragkit.opening import given_path
from ragkit.retrieval.legs import Mode
from ragkit.retrieval.planner import Plan
from ragkit.retrieval.retriever import Query, check_k, check_mode
from ragkit.retrieval.stages import Source, Stages
from ragkit.values import Document, Hit


class Searched(Protocol):
    """What `MultiIndex` needs of each index; `ragkit.api.Index` has it."""

    def plan(self, query: str, *, rewrite: bool = False, hyde: bool = False) -> Plan: ...

    def candidates(
        self, queries: Sequence[Query], k: int, mode: Mode = "hybrid", where: Filter | None = None
    ) -> tuple[list[Hit], Source]: ...

    def stages(self, rerank: str = "", merge: bool | None = None) -> Stages: ...

    def document(self, path: str) -> Document | None: ...

    def documents(self) -> dict[str, str]: ...

    def __len__(self) -> int: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=Searched)


class _Sources:
    """The states of several indexes, by name, as the source of hits whose documents begin with that name."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    def vectors(self, hits: Sequence[Hit]) -> Vectors:
        rows: dict[int, Vectors] = {}
        for name, source in self._sources.items():
            here = [at for at, hit in enumerate(hits) if hit.document.startswith(f"{name}/")]
            chunks = [replace(hits[at].chunk, document=hits[at].document[len(name) + 1 :]) for at in here]
            own = [replace(hits[at], chunk=chunk) for at, chunk in zip(here, chunks, strict=True)]
            rows.update(zip(here, source.vectors(own), strict=True))
        return np.stack([rows[at] for at in range(len(hits))]) if rows else np.zeros((0, 0), dtype=np.float32)

    def text(self, path: str) -> str | None:
        name, _, rest = path.partition("/")
        return self._sources[name].text(rest)


class MultiIndex(Opened):
    """Several opened indexes by name, searched as one. Made by `Index.open_many`."""

    def __init__(self, indexes: Mapping[str, Searched]) -> None:
        self.indexes = dict(indexes)

    def search(
        self,
        query: str,
        k: int = 5,
        mode: Mode = "hybrid",
        *,
        rerank: bool = False,
        merge: bool | None = None,
        where: Filter | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> list[Hit]:
        """The `k` best chunks of all indexes, best first; equal scores in the order of the indexes.

        Args:
            query: The question.
            k: Number of hits, at least 1.
            mode: ``hybrid``, ``dense`` or ``sparse``; BM25 scores alone compare only roughly between indexes.
            rerank: Let the reranker of the settings put the best candidates of all indexes in order.
            merge: As of `Index.search`.
            where: Which chunks may be returned; its documents are paths as hits show them (``work/todo.md``,
                ``work/*``) or as the index has them (``todo.md``).
            options: As of `Index.search`: rewrite, hyde, history, translate.
        """
        where = Filter.of(where)
        check_mode(mode)
        check_k(k)
        plan = self.plan(query, **options)
        asked = plan.standalone if rerank else ""
        return self.search_queries(plan.queries, k=k, mode=mode, where=where, rerank=asked, merge=merge)

    def search_many(self, queries: Sequence[str], k: int = 5, mode: Mode = "hybrid") -> list[list[Hit]]:
        """The `k` best chunks of all indexes for each question, see `search` and `Index.search_many`.

        Raises:
            UsageError: If a question is empty, too long or no text, or k or mode is wrong.
        """
        if isinstance(queries, str):
            raise UsageError("search_many takes a list of questions.", "Pass a single one to search.")
        return [self.search(query, k, mode, rewrite=False, hyde=False, translate=False) for query in queries]

    def plan(self, query: str, **options: Any) -> Plan:
        """The queries that `search` would run, as the first index plans them."""
        return next(iter(self.indexes.values())).plan(query, **options)

    def search_queries(
        self,
        queries: Sequence[Query],
        k: int = 5,
        mode: Mode = "hybrid",
        where: Filter | Mapping[str, Any] | None = None,
        *,
        rerank: str = "",
        merge: bool | None = None,
    ) -> list[Hit]:
        """Run prepared queries; the first one is the user's own. The stages of the first index follow."""
        check_k(k)
        stages, where = next(iter(self.indexes.values())).stages(rerank, merge), Filter.of(where)
        depth = stages.depth(k)
        one_by_one = {
            name: index.candidates(queries, depth, mode, _within(name, where)) for name, index in self.indexes.items()
        }
        found = [
            replace(hit, chunk=replace(hit.chunk, document=f"{name}/{hit.document}"))
            for name, (hits, _) in one_by_one.items()
            for hit in hits
        ]
        found.sort(key=lambda hit: -hit.score)
        # A copy of a passage that stands in several indexes is shown once, before its copies.
        first = {hit.text: i for i, hit in reversed(list(enumerate(found)))}
        order = sorted(range(len(found)), key=lambda i: (first[found[i].text] != i, i))
        best = [replace(found[i], rank=rank) for rank, i in enumerate(order[:depth], start=1)]
        return stages.run(best, _Sources({name: source for name, (_, source) in one_by_one.items()}), k)

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
        """Give back the open files of all; see `Index.close`."""
        with ExitStack() as closing:
            for index in self.indexes.values():
                closing.callback(index.close)


def _within(name: str, where: Filter | None) -> Filter | None:
    """The conditions on what is shown as ``name/path``, as conditions on the path within the index of this name."""
    if where is None or not where.documents:
        return where
    inside = dict.fromkeys(part for pattern in where.documents for part in (pattern, *_rest(name, pattern)))
    return replace(where, documents=tuple(inside))


def _rest(name: str, pattern: str) -> Iterator[str]:
    """What may be left of a pattern for paths once it has matched ``name/``."""
    if pattern.startswith(f"{name}/"):
        yield pattern[len(name) + 1 :]
    for at, sign in enumerate(pattern):
        # Signs match the stroke, too; of a star more may be left than what stands behind it.
        if sign in "/?" and fits_path(name, pattern[:at]):
            yield pattern[at + 1 :]
        elif sign == "*" and fits_path(f"{name}/", pattern[: at + 1]):
            yield pattern[at:]


def names_for(folders: Sequence[str | Path] | Mapping[str, str | Path]) -> dict[str, Path]:
    """Index folders by name, as given or after their last part.

    Raises:
        UsageError: If there is none, a path is empty, two have the same name, or a name has a ``/``.
    """
    if isinstance(folders, (str, Path)):  # a text would be taken letter by letter
        folders = [folders]
    paths = folders.values() if isinstance(folders, Mapping) else folders
    given = [given_path(path) for path in paths]
    names = folders if isinstance(folders, Mapping) else [path.resolve().name for path in given]
    named = dict(zip(names, given, strict=True))
    if not named or len(named) < len(folders) or any("/" in name for name in named):
        raise UsageError(
            f"{len(folders)} index folder(s) with {len(named)} different name(s) were given.",
            "Pass at least one, and names without / for those that are called alike: {'work': DIR, 'home': DIR}.",
        )
    return named


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
