"""A note that was edited, moved or deleted between indexing and citing is said to be so, by the hash of its content."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ragkit import Agent, Index, load_settings
from ragkit.agent.answer import Answer, Citation, Done
from ragkit.cli.ask import show_sources
from ragkit.cli.repl.screen import Screen
from ragkit.ingest.loader import make_document
from ragkit.testing import HashingEmbedder

CACHE = "# KV cache\n\nThe KV cache keeps the keys and values of earlier tokens.\n"
NOTES = {"cache.md": CACHE, "rnn.md": "# RNN\n\nRNN 的缺点是梯度消失。\n"}
QUESTION = "What does the KV cache keep?"


@pytest.fixture
def notes(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Path:
    return make_notes(tmp_path / "notes", NOTES)


@pytest.fixture
def index(tmp_path: Path, notes: Path) -> Index:
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def ask(index: Index) -> Answer:
    answer = Agent.load("interview", index=index, model="extractive").ask(QUESTION)
    assert cited(answer).verdict == "supported"
    return answer


def cited(answer: Answer) -> Citation:
    return next(citation for citation in answer.citations if citation.document == "cache.md")


def edit(file: Path) -> None:
    file.write_text(CACHE.replace("keys and values", "queries only"), encoding="utf-8")


def edit_below(file: Path) -> None:
    file.write_text(f"{CACHE}\nMore.\n", encoding="utf-8")


def edit_secretly(file: Path) -> None:
    """With the same size and the same time."""
    before = file.stat()
    file.write_text(CACHE.replace("earlier", "another"), encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def move(file: Path) -> None:
    (file.parent / "deep").mkdir()
    file.rename(file.parent / "deep" / "kv.md")


def become_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def lose_the_folder(file: Path) -> None:
    file.parent.rename(file.parent.parent / "elsewhere")


HAPPENED: dict[Callable[[Path], Any], str] = {
    lambda file: None: "",
    os.utime: "",
    edit: "changed since it was indexed; the quote no longer stands in it",
    edit_below: "changed since it was indexed; the quote still stands in it",
    edit_secretly: "changed since it was indexed; the quote no longer stands in it",
    move: "moved to deep/kv.md",
    Path.unlink: "no longer among the notes",
    become_a_pipe: "no longer among the notes",
    lose_the_folder: "no longer among the notes",
}


@pytest.mark.parametrize(("happen", "said"), HAPPENED.items())
def test_between_opening_and_answering(index: Index, notes: Path, happen: Callable[[Path], Any], said: str) -> None:
    happen(notes / "cache.md")
    citation = cited(ask(index))
    assert citation.stale == said
    assert citation.flag == (f" (source {said})" if said else "")
    assert "earlier tokens" in citation.quote


@pytest.mark.parametrize(("happen", "said"), [(edit, "changed"), (move, "moved"), (Path.unlink, "no longer")])
def test_between_indexing_and_opening(
    index: Index, notes: Path, happen: Callable[[Path], Any], said: str, tmp_path: Path
) -> None:
    happen(notes / "cache.md")
    opened = Index.open(None, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())
    assert cited(ask(opened)).stale.startswith(said)


def test_with_several_roots_and_a_single_file(tmp_path: Path, notes: Path) -> None:
    other = tmp_path / "other.md"
    other.write_text("# Other\n\nSomething else.\n", encoding="utf-8")
    index = Index.open([notes, other], tmp_path / "two", embedding=HashingEmbedder(), settings=load_settings())
    assert index.staleness("notes/cache.md") == "" == index.staleness("other.md")
    other.write_text("changed", encoding="utf-8")
    (notes / "cache.md").unlink()
    assert index.staleness("other.md").startswith("changed")
    assert index.staleness("notes/cache.md") == "no longer among the notes"


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "gbk"
    folder.mkdir()
    file = Path(os.fsdecode(os.fsencode(folder) + b"/" + "缓存.md".encode("gbk")))
    file.write_text(CACHE, encoding="utf-8")
    index = Index.open(folder, tmp_path / "i", embedding=HashingEmbedder(), settings=load_settings())
    assert index.staleness("缓存.md") == ""
    file.write_text("other", encoding="utf-8")
    assert index.staleness("缓存.md").startswith("changed")


def test_texts_that_never_were_files_are_not_looked_for(tmp_path: Path, index: Index) -> None:
    made = Index.from_documents(
        [make_document("cache.md", CACHE)], tmp_path / "m", embedding=HashingEmbedder(), settings=load_settings()
    )
    assert cited(ask(made)).stale == ""
    index.add_documents([make_document("typed.md", "typed")])
    assert index.staleness("typed.md") == "" == index.staleness("nowhere.md")


def test_no_path_of_an_index_leads_out_of_the_notes(tmp_path: Path, notes: Path) -> None:
    from ragkit.ingest.staleness import staleness

    (tmp_path / "secret.md").write_text("s", encoding="utf-8")
    for path in ("../secret.md", str(tmp_path / "secret.md")):
        assert staleness(make_document(path, "s"), "", [str(notes)]) == "no longer among the notes"


def test_every_output_says_it(index: Index, notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(notes / "cache.md")
    answer = ask(index)
    said = "(source changed since it was indexed; the quote no longer stands in it)"
    show_sources(answer)
    assert said in capsys.readouterr().out
    Screen(interactive=True).show(Done(answer))
    assert said in capsys.readouterr().out
    told = {citation["document"]: citation for citation in answer.to_json()["citations"]}
    assert told["cache.md"]["stale"].startswith("changed") and told["cache.md"]["verdict"] == "supported"
    assert all(citation["stale"] == "" for document, citation in told.items() if document != "cache.md")
