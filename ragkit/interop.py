"""LangChain at the edge: anything that searches like an index, as a retriever and as a tool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import ConfigDict, field_validator

from ragkit.errors import UsageError
from ragkit.index.engine import Filter
from ragkit.retrieval.legs import Mode
from ragkit.retrieval.retriever import check_question
from ragkit.text.sanitize import clean_question
from ragkit.values import Hit

T = TypeVar("T")


def to_langchain(hit: Hit) -> LangChainDocument:
    """A hit as a LangChain document; place, score and legs go into the metadata."""
    legs = {name: None if leg is None else {"rank": leg.rank, "score": leg.score} for name, leg in hit.legs.items()}
    metadata: dict[str, Any] = {
        "source": hit.document,
        "heading": list(hit.heading),
        "start": hit.start,
        "end": hit.end,
        "start_line": hit.start_line,
        "end_line": hit.end_line,
        "page": hit.page,
        "end_page": hit.end_page,
        "score": hit.score,
        "rank": hit.rank,
        "legs": legs,
    }
    return LangChainDocument(id=hit.chunk.id, page_content=hit.text, metadata=metadata)


@runtime_checkable
class Searchable(Protocol):
    """What is needed of an index here."""

    def search(
        self, query: str, k: int = 5, mode: Mode = "hybrid", *, where: Filter | Mapping[str, Any] | None = None
    ) -> list[Hit]:
        """The `k` best chunks for a question."""
        ...


class IndexRetriever(BaseRetriever):
    """A ragkit index as a LangChain retriever.

    ``k`` and ``where`` can be given here or in each call: ``retriever.invoke(question, k=3, where={"tags": "work"})``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Searchable
    k: int = 5
    mode: Mode = "hybrid"
    where: Filter | None = None

    @field_validator("where", mode="before")
    @classmethod
    def _ready(cls, where: Filter | Mapping[str, Any] | None) -> Filter | None:
        return Filter.of(where)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        where: Filter | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[LangChainDocument]:
        k, where = self.k if k is None else k, self.where if where is None else where
        return [to_langchain(hit) for hit in self.index.search(query, k=k, mode=self.mode, where=where)]


def search_tool(index: Searchable, name: str = "search_notes", k: int = 5) -> BaseTool:
    """A LangChain tool that searches an index: text for the model, hits as the artifact.

    A question that cannot be searched for (an empty one) is answered by a text that says so: whichever loop of an
    agent calls the tool, its model can ask again.
    """

    def run(query: str) -> tuple[str, list[Hit]]:
        tell_model(lambda: check_question(clean_question(query)))
        hits = index.search(query, k=k)
        text = "\n\n".join(f"[{h.rank}] {h.where}\n{h.text}" for h in hits)
        return text or "No passage found.", hits

    return StructuredTool.from_function(
        run,
        name=name,
        description="Search the notes; returns numbered passages.",
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


def tell_model(check: Callable[[], T]) -> T:
    """What `check` returns; a question that it refuses is the model's to mend, not the program's.

    Raises:
        ToolException: Which LangChain makes the reply of a tool with ``handle_tool_error``.
    """
    try:
        return check()
    except UsageError as exc:
        raise ToolException(str(exc)) from exc
