"""What cannot be meant is refused where it is handed over, with what is expected instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_kit import NOTES, write
from langchain_core.documents import Document as LangChainDocument

from ragkit.agent.runtime import Agent
from ragkit.api import Index
from ragkit.citations.verify import verify
from ragkit.errors import UsageError
from ragkit.ingest.loader import make_document
from ragkit.testing import HashingEmbedder

SECRET = {"secret.md": "# S\n\nNobody asked to index this.\n"}


@pytest.fixture
def index(notes: Path, folder: Path) -> Index:
    return Index.open(notes, folder, embedding=HashingEmbedder())


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "add an empty path": (lambda i: i.add(""), "The path is empty"),
    "add an empty path among others": (lambda i: i.add([".", " "]), "The path is empty"),
    "add nothing": (lambda i: i.add([]), "No notes were given"),
    "add None": (lambda i: i.add(None), "No notes were given"),
    "add a number": (lambda i: i.add(3), "must be a text or a Path"),
    "open an empty path": (lambda i: Index.open(""), "The path is empty"),
    "open an empty folder name": (lambda i: Index.open(index_dir=""), "The path is empty"),
    "open many empty": (lambda i: Index.open_many([""]), "The path is empty"),
    "a document without a path": (lambda i: make_document("", "text"), "path of a document is empty"),
    "a document without a text": (lambda i: make_document("a.md", None), "a path and a text"),  # type: ignore[arg-type]
    "a mapping as a document": (lambda i: i.add_documents([{"path": "a.md", "text": "b"}]), r"a dict.*make_document"),
    "an empty mapping": (lambda i: i.add_documents([{}]), "a dict"),
    "a document of LangChain": (lambda i: i.add_documents([LangChainDocument("x")]), r"a Document.*make_document"),
    "a lone document": (lambda i: i.add_documents("text"), "a str"),
    "no documents": (lambda i: i.add_documents(None), "a NoneType"),
    "k as a text": (lambda i: i.search("LSTM", k="3"), "whole number, not '3'"),
    "k as a fraction": (lambda i: i.search("LSTM", k=2.5), "whole number, not 2.5"),
    "k as a truth": (lambda i: i.search("LSTM", k=True), "whole number, not True"),
    "k of prepared queries": (lambda i: i.search_queries(i.plan("LSTM").queries, k="3"), "whole number"),
    "k of many": (lambda i: i.search_many(["LSTM"], k=None), "whole number"),
    "k of pictures": (lambda i: i.search_images("a cat", k="3"), "whole number"),
    "k of a retriever": (lambda i: i.as_retriever().invoke("LSTM", k="3"), "whole number"),
    "no question": (lambda i: i.search(None), "must be a text, not None"),
    "bytes as a question": (lambda i: i.search(b"LSTM"), "must be a text"),
    "no question of many": (lambda i: i.search_many(["LSTM", None]), "must be a text"),
    "one question to many": (lambda i: i.search_many("LSTM"), "list of questions"),
    "an unknown policy": (lambda i: i.search("LSTM", rewrite="sometimes"), r"'sometimes'.*'auto', 'always', 'never'"),
    "a number as a policy": (lambda i: i.search("LSTM", hyde=1), "cannot be 1"),
    "no answer": (lambda i: verify(None, ["x"]), "must be a text, not None"),  # type: ignore[arg-type]
    "no passages": (lambda i: verify("x", None), "NoneType without text"),  # type: ignore[arg-type]
    "no index": (lambda i: Agent.load(index="notes", model="extractive"), "one Index, not from a str"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_meant_is_refused(case: str, index: Index, notes: Path) -> None:
    write(Path(), SECRET)  # in the working directory, which an empty path would stand for
    call, message = WRONG[case]
    with pytest.raises(UsageError, match=message) as caught:
        call(index)
    assert "\n" not in str(caught.value)
    assert set(index.documents()) == set(NOTES)


def test_numbers_of_numpy_count_as_whole_numbers(index: Index) -> None:
    assert len(index.search("LSTM", k=np.int64(2))) == 2  # type: ignore[arg-type]


def test_adding_no_documents_changes_nothing(index: Index) -> None:
    before = index.manifest
    assert index.add_documents([]).added == 0
    assert index.manifest == before


@pytest.mark.parametrize(
    "passage",
    [
        "The LSTM has three gates.",
        {"text": "The LSTM has three gates."},
        LangChainDocument("The LSTM has three gates."),
        make_document,
    ],
)
def test_a_lone_passage_is_the_only_one(passage: Any, index: Index) -> None:
    if passage is make_document:
        index.add_documents([make_document("n.md", "The LSTM has three gates.")])
        passage = index.search("three gates", k=1)[0]
    answer = "The LSTM has three gates [1]."
    assert verify(answer, passage) == verify(answer, [passage])
    assert [verdict.verdict for verdict in verify(answer, passage)] == ["supported"]
