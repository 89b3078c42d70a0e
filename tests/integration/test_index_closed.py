"""An index that was closed says so, whoever asks; what is on disk stays as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from index_kit import NOTES, answers, open_and_ask, write

from ragkit.api import Index
from ragkit.errors import IndexClosedError, UsageError
from ragkit.index.snapshot import Snapshot
from ragkit.index.writer import add_documents
from ragkit.ingest.loader import make_document
from ragkit.opening import index_settings
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder

READS: dict[str, Callable[[Index], object]] = {
    "search": lambda index: index.search("LSTM"),
    "search_sparse": lambda index: index.search("LSTM", mode="sparse"),
    "search_many": lambda index: index.search_many(["LSTM"]),
    "search_images": lambda index: index.search_images("a cat"),
    "plan": lambda index: index.plan("LSTM"),
    "confidence": lambda index: index.confidence([]),
    "nearness": lambda index: index.nearness(["LSTM"], ["GRU"]),
    "document": lambda index: index.document("rnn.md"),
    "documents": lambda index: index.documents(),
    "chunks": lambda index: index.chunks("rnn.md"),
    "passages_at": lambda index: index.passages_at("rnn.md", 1),
    "page": lambda index: index.page("rnn.pdf", 1),
    "staleness": lambda index: index.staleness("rnn.md"),
    "idf": lambda index: index.idf("lstm"),
    "unknown_names": lambda index: index.unknown_names("What is Mamba?"),
    "language": lambda index: index.language,
    "manifest": lambda index: index.manifest,
    "len": len,
    "retriever": lambda index: index.as_retriever().invoke("LSTM"),
    "tool": lambda index: index.as_tool().invoke({"query": "LSTM"}),
}
CHANGES: dict[str, Callable[[Index], object]] = {
    "add_documents": lambda index: index.add_documents([make_document("new.md", "LSTM")]),
    "remove": lambda index: index.remove("*"),
    "compact": lambda index: index.compact(),
}


@pytest.fixture
def index(notes: Path, folder: Path) -> Index:
    return Index.open(notes, folder, embedding=HashingEmbedder())


@pytest.mark.parametrize("name", [*READS, *CHANGES])
def test_whatever_reads_or_changes_a_closed_index_says_that_it_is_closed(name: str, index: Index, folder: Path) -> None:
    before = answers(index)
    index.close()
    index.close()
    with pytest.raises(IndexClosedError, match=r"This index is closed\. Open it again") as caught:
        {**READS, **CHANGES}[name](index)
    assert isinstance(caught.value, UsageError)
    assert open_and_ask(folder) == before


def test_adding_a_folder_to_a_closed_index_leaves_it_as_it_was(index: Index, folder: Path, tmp_path: Path) -> None:
    more = write(tmp_path / "more", {"m.md": "# M\n\nMamba\n"})
    index.close()
    with pytest.raises(IndexClosedError):
        index.add(more)
    assert set(Index.open(None, folder, embedding=HashingEmbedder()).documents()) == set(NOTES)


def test_a_writer_does_not_build_on_a_closed_state(index: Index, folder: Path) -> None:
    state = Snapshot.open(folder)
    assert state is not None
    state.close()
    with pytest.raises(IndexClosedError):
        add_documents(state, [make_document("n.md", "x")], model=index.model, settings=index_settings(load_settings()))
    assert set(Index.open(None, folder, embedding=HashingEmbedder()).documents()) == set(NOTES)


def test_an_index_that_is_closed_in_another_thread_loses_nothing(notes: Path, folder: Path) -> None:
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    expected = answers(index)
    failures: list[BaseException] = []

    def searching() -> None:
        try:
            while True:
                assert answers(index) == expected
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=searching) for _ in range(3)]
    for thread in threads:
        thread.start()
    index.close()
    for thread in threads:
        thread.join(30)
    assert [type(exc) for exc in failures] == [IndexClosedError] * 3
    assert open_and_ask(folder) == expected


def test_an_index_closed_while_it_is_changed_is_closed_after_the_change(
    index: Index, folder: Path, tmp_path: Path
) -> None:
    more = write(tmp_path / "more", {"m.md": "# M\n\nMamba\n"})
    closing = threading.Thread(target=index.close)
    index.add(more, progress=lambda done, total: None if closing.ident else closing.start())
    closing.join(30)
    with pytest.raises(IndexClosedError):
        index.documents()
    assert set(Index.open(None, folder, embedding=HashingEmbedder()).documents()) == {*NOTES, "more/m.md"}


def test_an_index_is_closed_at_the_end_of_its_block(notes: Path, folder: Path) -> None:
    with Index.open(notes, folder, embedding=HashingEmbedder()) as index:
        assert len(index.documents()) == len(NOTES)
    with pytest.raises(IndexClosedError):
        index.documents()
    with Index.open_many([folder], embedding=HashingEmbedder()) as several:
        assert several.search("LSTM")
    several.close()
    with pytest.raises(IndexClosedError):
        several.search("LSTM")
