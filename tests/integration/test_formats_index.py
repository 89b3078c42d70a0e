"""Documents of every format in a real index: found, cited with their pages, kept up to date."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import format_samples as samples
import pytest
from format_samples import EN, ZH

from ragkit import Agent, Index, load_settings
from ragkit.cli import search as command
from ragkit.cli.common import state
from ragkit.index import manifest
from ragkit.ingest import conversion
from ragkit.interop import to_langchain
from ragkit.testing import HashingEmbedder, ScriptedChatModel

BOOK = [
    ["Recurrent networks read one word after the other."],
    ["The update gate of a GRU mixes old and new states."],
    ["残差连接让梯度可以直接流到前面的层。"],
]
FILES: dict[str, Callable[[], bytes]] = {
    "book.pdf": lambda: samples.pdf(BOOK, title="Book"),
    "talk.pptx": samples.pptx,
    "paper.docx": samples.docx,
    "page.html": samples.html,
    "novel.epub": samples.epub,
    "run.ipynb": samples.notebook,
    "code/gates.py": lambda: b"def squash_activation(x):\n    return 1 / (1 + exp(-x))\n",
    "note.md": lambda: "# 图\n\n下面是示意图。\n\n![遗忘门与输入门的结构图](img/gate.png)\n".encode(),
}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    for name, make in FILES.items():
        file = tmp_path / "notes" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(make())
    return tmp_path / "notes"


@pytest.fixture
def open_index(tmp_path: Path, notes: Path) -> Callable[..., Index]:
    def open_index(**settings: Any) -> Index:
        return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings(**settings))

    return open_index


def test_every_format_is_found_and_its_hit_is_a_slice(open_index: Callable[..., Index]) -> None:
    index = open_index()
    assert index.report is not None
    assert (index.report.added, index.report.skipped) == (len(FILES), ())
    for query, document in [
        ("update gate GRU mixes", "book.pdf"),
        ("残差连接", "book.pdf"),
        ("squash activation", "code/gates.py"),
        ("讲三分钟", "talk.pptx"),
        ("门控单元示意图", "paper.docx"),
        ("a_b_c stays", "page.html"),
        ("Chapter two", "novel.epub"),
        ("loss 0.25", "run.ipynb"),
    ]:
        hit = index.search(query, k=1, mode="sparse")[0]
        assert hit.document == document
        source = index.document(document)
        assert source is not None
        assert source.text[hit.start : hit.end] == hit.text


def test_hits_know_their_pages_in_python_json_and_langchain(open_index: Callable[..., Index]) -> None:
    index = open_index()
    [hit] = [hit for hit in index.search("update gate GRU", k=20) if hit.document == "book.pdf"]
    assert (hit.page, hit.end_page, hit.where) == (1, 3, "book.pdf p. 1-3")
    assert command.hit_json(hit)["page"] == to_langchain(hit).metadata["page"] == 1
    [note] = [hit for hit in index.search("示意图", k=20) if hit.document == "note.md"]
    assert (note.page, note.where) == (None, "note.md:1-5")
    assert command.hit_json(note)["page"] is None
    assert index.passages_at("book.pdf", 1)[0].page == 1
    assert index.page("talk.pptx", 10**9) == 3
    assert index.page("gone.pdf", 0) is None


def test_citations_name_the_page_of_the_quote(open_index: Callable[..., Index]) -> None:
    index = open_index()
    reply = {
        "thought": "想",
        "action": {"tool": "answer", "sentences": [{"text": "残差连接让梯度直接流到前面的层。", "sources": [1]}]},
    }
    model = ScriptedChatModel(replies=[json.dumps(reply, ensure_ascii=False)])
    bot = Agent.load("interview", index=index, model=model, settings=load_settings(tool_calling="json"))
    answer = bot.ask("残差连接有什么用，梯度怎么流到前面的层？")
    [citation] = answer.citations
    source = index.document("book.pdf")
    assert source is not None
    assert (citation.document, citation.page, citation.where) == ("book.pdf", 3, "book.pdf p. 3")
    assert source.text[citation.start : citation.end] == citation.quote
    assert answer.to_json()["citations"][0]["page"] == 3


def test_hit_says_which_pictures_it_shows(open_index: Callable[..., Index]) -> None:
    hit = open_index().search("遗忘门与输入门的结构图", k=1, mode="sparse")[0]
    assert command.hit_json(hit)["images"] == [{"path": "img/gate.png", "alt": "遗忘门与输入门的结构图", "line": 5}]


def test_unchanged_documents_are_not_converted_again_and_changed_ones_once(
    open_index: Callable[..., Index], notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_index()
    asked: list[str] = []
    ask = conversion.Converter._ask

    def counting(self: conversion.Converter, request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request["name"])
        return ask(self, request)

    monkeypatch.setattr(conversion.Converter, "_ask", counting)
    again = open_index().report
    assert again is not None
    assert (again.unchanged, asked) == (len(FILES), [])
    (notes / "book.pdf").write_bytes(samples.pdf([*BOOK, ["A page about dropout was added."]]))
    (notes / "talk.pptx").unlink()
    index = open_index()
    assert index.report is not None
    assert (index.report.updated, index.report.deleted, asked) == (1, 1, ["book.pdf"])
    hit = index.search("page about dropout", k=1, mode="sparse")[0]
    source = index.document("book.pdf")
    assert source is not None
    assert index.page("book.pdf", source.text.index("dropout")) == hit.end_page == 4


def test_a_document_that_breaks_is_skipped_and_the_others_stay(open_index: Callable[..., Index], notes: Path) -> None:
    open_index()
    (notes / "book.pdf").write_bytes(b"%PDF-1.7 broken")
    index = open_index()
    assert index.report is not None
    assert [item.path for item in index.report.skipped] == ["book.pdf"]
    assert "book.pdf" not in index.documents()
    assert (index.report.unchanged, index.report.deleted) == (len(FILES) - 1, 1)


def test_a_document_that_takes_too_much_is_remembered_with_the_index(
    open_index: Callable[..., Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: conversion.Converter, request: dict[str, Any]) -> dict[str, Any]:
        raise conversion.LimitError("takes longer than 60 s")

    monkeypatch.setattr(conversion.Converter, "_ask", fail)
    first = open_index().report
    monkeypatch.setattr(conversion.Converter, "_ask", lambda *_: pytest.fail("tried again"))
    second = open_index().report
    assert first is not None and second is not None
    assert first.skipped == second.skipped
    assert len(first.skipped) == 5
    assert (tmp_path / "index" / ".refused.json").is_file()
    with pytest.raises(pytest.fail.Exception, match="tried again"):
        Index.open(
            tmp_path / "notes", tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings(), rebuild=True
        )


def test_an_index_that_shares_its_folder_with_notes_does_not_index_itself(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Note\n\ntext of the note", encoding="utf-8")
    for _ in range(2):
        index = Index.open(tmp_path, tmp_path, embedding=HashingEmbedder(), settings=load_settings())
        assert set(index.documents()) == {"a.md"}
    assert manifest.MANIFEST == "MANIFEST.json"


def test_terminal_output_names_pages(open_index: Callable[..., Index], capsys: pytest.CaptureFixture[str]) -> None:
    state.json = False
    for hit in open_index().search(EN + ZH, k=20):
        command.show_hit(hit)
    shown = capsys.readouterr().out
    assert "book.pdf p. 1-3" in shown
    assert "talk.pptx slide 1-3" in shown
    assert "note.md:1-5" in shown
