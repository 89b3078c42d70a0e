"""What an opened index offers besides its own `search` and `close`: blocks, async, LangChain."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

from ragkit.index.engine import Filter
from ragkit.retrieval.legs import Mode
from ragkit.values import Hit

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import BaseTool

    from ragkit.interop import Searchable


class Closable(Protocol):
    """What gives back its files."""

    def close(self) -> None: ...


class Opened:
    """The part that `ragkit.api.Index` and `ragkit.multi.MultiIndex` have in common."""

    async def asearch(self: Searchable, *args: Any, **kwargs: Any) -> list[Hit]:
        """Async twin of `search` (runs in a thread)."""
        return await asyncio.to_thread(self.search, *args, **kwargs)

    def as_retriever(
        self: Searchable, k: int = 5, mode: Mode = "hybrid", where: Filter | Mapping[str, Any] | None = None
    ) -> BaseRetriever:
        """A LangChain ``BaseRetriever`` that searches with these arguments, see `search`.

        Raises:
            UsageError: If `where` is no filter.
        """
        from ragkit.interop import IndexRetriever

        return IndexRetriever(index=self, k=k, mode=mode, where=Filter.of(where))

    def as_tool(self: Searchable, name: str = "search_notes", k: int = 5) -> BaseTool:
        """A LangChain tool that searches this index; its artifact is the list of hits."""
        from ragkit.interop import search_tool

        return search_tool(self, name=name, k=k)

    def __enter__(self) -> Self:
        return self

    def __exit__(self: Closable, *_: object) -> None:
        self.close()
