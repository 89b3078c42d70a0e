"""LangChain's own contract suite over our retriever, and the search tool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import RetrieversIntegrationTests

from ragkit.api import Index
from ragkit.errors import UsageError
from ragkit.interop import IndexRetriever
from ragkit.testing import HashingEmbedder
from ragkit.values import Hit


@pytest.fixture
def index(tmp_path: Path) -> Index:
    for number in range(6):
        (tmp_path / f"{number}.md").write_text(
            f"# 注意力\n\n## 其{number}\n\n注意力的第{number}个方面。\n", encoding="utf-8"
        )
    return Index.open(tmp_path, tmp_path / "index", embedding=HashingEmbedder())


class TestRetrieverContract(RetrieversIntegrationTests):
    """The suite that LangChain gives to authors of retrievers."""

    @pytest.fixture(autouse=True)
    def use_index(self, index: Index) -> None:
        self.index = index

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return IndexRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"index": self.index}

    @property
    def retriever_query_example(self) -> str:
        return "注意力的方面"


def test_the_retriever_returns_the_hits_of_the_index_with_their_places(index: Index) -> None:
    hits = index.search("注意力", k=4, mode="sparse")
    found = index.as_retriever(k=4, mode="sparse").invoke("注意力")
    assert [(d.id, d.page_content) for d in found] == [(hit.chunk.id, hit.text) for hit in hits]
    for document, hit in zip(found, hits, strict=True):
        assert document.metadata["source"] == hit.document
        assert document.metadata["heading"] == list(hit.heading)
        assert (document.metadata["start"], document.metadata["end"]) == (hit.start, hit.end)
        assert (document.metadata["start_line"], document.metadata["end_line"]) == (hit.start_line, hit.end_line)
        assert (document.metadata["rank"], document.metadata["score"]) == (hit.rank, hit.score)
        assert hit.legs["sparse"] is not None
        assert document.metadata["legs"] == {
            "dense": None,
            "sparse": {"rank": hit.rank, "score": hit.legs["sparse"].score},
        }


def test_a_retrieved_document_survives_json(index: Index) -> None:
    document = index.as_retriever().invoke("注意力")[0]
    assert Document.model_validate_json(document.model_dump_json()) == document


@pytest.mark.parametrize("k", [0, -1])
def test_a_retriever_refuses_the_k_that_a_search_refuses(index: Index, k: int) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        index.as_retriever().invoke("注意力", k=k)


def test_a_retriever_runs_in_a_chain(index: Index) -> None:
    chain = index.as_retriever(k=2) | (lambda documents: len(documents))
    assert chain.invoke("注意力") == 2


def test_the_tool_gives_text_to_the_model_and_hits_to_the_program(index: Index) -> None:
    tool = index.as_tool(k=3)
    assert isinstance(tool, BaseTool)
    reply = tool.invoke({"name": tool.name, "args": {"query": "注意力"}, "id": "call-1", "type": "tool_call"})
    assert isinstance(reply, ToolMessage)
    assert reply.tool_call_id == "call-1"
    assert reply.artifact == index.search("注意力", k=3)
    for hit in reply.artifact:
        assert isinstance(hit, Hit)
        assert f"[{hit.rank}] {hit.document}:{hit.start_line}-{hit.end_line}\n{hit.text}" in reply.content


@pytest.mark.parametrize(
    ("query", "said"), [("", "is empty"), (" \n", "is empty"), ("猫" * 90_000, "has 90,000 characters")]
)
def test_the_tool_tells_the_model_what_is_wrong_with_a_question(index: Index, query: str, said: str) -> None:
    tool = index.as_tool()
    assert said in tool.invoke({"query": query})
    reply = tool.invoke({"name": tool.name, "args": {"query": query}, "id": "call-1", "type": "tool_call"})
    assert (reply.status, reply.artifact) == ("error", None) and said in reply.content


def test_the_tool_declares_its_name_and_its_one_argument(index: Index) -> None:
    tool = index.as_tool(name="find")
    assert tool.name == "find"
    assert list(tool.args) == ["query"]
    assert tool.args["query"]["type"] == "string"


def test_a_retriever_searches_what_its_filter_allows(index: Index) -> None:
    def found(**options: Any) -> set[str]:
        return {d.metadata["source"] for d in retriever.invoke("注意力", **options)}

    retriever = index.as_retriever(k=6, where={"documents": ["1.md", "2.md"]})
    assert found() == {"1.md", "2.md"}
    assert found(where={"documents": "3.md"}) == {"3.md"}
    assert IndexRetriever(index=index, where={"documents": "4.md"}).invoke("注意力")[0].metadata["source"] == "4.md"  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no filter"):
        index.as_retriever(where={"folder": "x"})
