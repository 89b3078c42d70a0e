"""Every format becomes text whose chunks are slices of it, with headings and, where there are any, pages."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import format_samples as samples
import pytest
from format_samples import EN, ZH

from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.formats import all_formats, format_of
from ragkit.ingest.formats.base import ConversionError, TextBuilder, markdown_table, plain
from ragkit.ingest.loader import read_all, scan
from ragkit.ingest.markup import decode_html, html_to_markdown
from ragkit.ingest.pages import page_at, with_pages
from ragkit.values import Chunk, Document, Skipped, source_place

Load = Callable[..., Document]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(name: str, data: bytes | str) -> Document:
        (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
        sources, skipped = scan([tmp_path / name])
        [(_, result)] = read_all(sources)
        assert not skipped
        assert isinstance(result, Document), result
        return result

    return load


def chunks(document: Document) -> list[Chunk]:
    found = chunk_document(document)
    for chunk in found:
        assert document.text[chunk.start : chunk.end] == chunk.text
        lines = document.text.split("\n")[chunk.start_line - 1 : chunk.end_line]
        assert chunk.text in "\n".join(lines)
    return found


def one_with(found: list[Chunk], text: str) -> Chunk:
    [chunk] = [chunk for chunk in found if text in chunk.text]
    return chunk


SAMPLES = {
    "a.pdf": lambda: samples.pdf([[ZH[:20], ZH[20:]], [EN]]),
    "a.docx": samples.docx,
    "a.pptx": samples.pptx,
    "a.html": samples.html,
    "a.epub": samples.epub,
    "a.ipynb": samples.notebook,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_both_languages_come_through_whole_and_quotes_are_slices(load: Load, name: str) -> None:
    document = load(name, SAMPLES[name]())
    assert ZH in document.text
    assert EN in document.text
    assert {char for char in document.text if char < " "} <= {"\n"}
    assert chunks(document)
    assert document.metadata["format"] == format_of(name).name  # type: ignore[union-attr]


@pytest.mark.parametrize("name", SAMPLES)
def test_without_its_packages_a_format_says_what_to_install(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(SAMPLES[name]())
    one = format_of(name)
    assert one is not None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    [(_, result)] = read_all(scan([tmp_path])[0])
    if one.packages:
        assert isinstance(result, Skipped)
        assert result.reason == 'needs ragkit[docs]: pip install "ragkit[docs]"'
    else:
        assert isinstance(result, Document)


def test_suffixes_belong_to_one_format_each_and_none_to_notes() -> None:
    suffixes = [suffix for one in all_formats() for suffix in one.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert format_of("notes/a.md") is None
    assert format_of("A.PDF") is format_of("b.pdf")
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in suffixes)


# PDF


def test_pdf_pages_are_known_to_every_character(load: Load) -> None:
    pages = [[f"page {word} begins", f"and {word} goes on until here."] for word in ("one", "two", "three", "four")]
    document = load("a.pdf", samples.pdf(pages))
    for number, word in enumerate(("one", "two", "three", "four"), start=1):
        for text in (f"page {word} begins", f"and {word} goes on until here."):
            at = document.text.index(text)
            assert {page_at(document, at), page_at(document, at + len(text) - 1)} == {number}


def test_pdf_page_without_text_keeps_the_numbers_of_the_others_and_is_reported(load: Load) -> None:
    document = load("a.pdf", samples.pdf([["first page"], [], ["third page"]]))
    assert page_at(document, document.text.index("third")) == 3
    assert document.warning == "1 of 3 pages hold no text"


def test_pdf_outline_gives_headings_and_its_title_the_root(load: Load) -> None:
    pages = [["1. 门控网络", ZH], ["Attention", EN], ["more about it"]]
    document = load(
        "a.pdf", samples.pdf(pages, title="循环网络讲义", outline={1: "门控网络", 2: "Attention", 3: "Unseen"})
    )
    text = document.text
    assert text.startswith("## 1. 门控网络\n")
    assert "## Attention\n" in text
    assert text.count("Attention") == 1
    assert "## Unseen\n\nmore about it" in text
    assert chunks(document)[0].heading[0] == "循环网络讲义"


def test_pdf_without_outline_takes_large_letters_for_headings(load: Load) -> None:
    body = ["The text of this page is set in eleven points as usual.", "残差连接让梯度可以直接流到前面的层。"] * 4
    pages = [
        ["^^循环网络", *body, "^1 Gates", *body],
        ["^2 Attention heads", *body, "^a sentence in large letters.", *body],
        ["^^Appendix", *body],
    ]
    document = load("a.pdf", samples.pdf(pages))
    headings = [line for line in document.text.split("\n") if line.startswith("#")]
    assert headings == ["## 循环网络", "### 1 Gates", "### 2 Attention heads", "## Appendix"]
    assert ("a", "循环网络", "2 Attention heads") in {chunk.heading for chunk in chunks(document)}


@pytest.mark.parametrize(
    "pages",
    [
        [["^Same head", f"text number {word}", "more of the text here"] for word in ("one", "two", "three", "four")],
        [["^LARGE", "^WORDS", "^ON A", "^POSTER", "and some text that is smaller but much longer than it"]],
        [["^1 Gates . . . . . . . . . 7", "the text of a page that lists what follows in the book"]],
        [["^42", "the text of a page with a large number on it"]],
    ],
)
def test_pdf_large_letters_that_are_no_headings(load: Load, pages: list[list[str]]) -> None:
    assert "#" not in load("a.pdf", samples.pdf(pages)).text


def test_pdf_lines_broken_by_the_margin_are_joined_and_others_are_not(load: Load) -> None:
    lines = [
        "The cell state runs straight down the whole chain and infor-",
        "mation flows along it unchanged, which is why gradients keep",
        "their size.",
        "- an item of a list that is nearly as long as the margin is",
        "- the next item",
        "细胞状态像传送带一样贯穿整条链信息在上面流动而不改变这就是梯度",
        "不消失的原因。",
    ]
    text = load("a.pdf", samples.pdf([lines])).text
    assert "and information flows along it unchanged, which is why gradients keep their size." in text
    assert "\n- the next item\n" in text
    assert "这就是梯度不消失的原因" in text


def test_pdf_running_heads_and_page_numbers_are_left_out_but_repeated_rows_are_not(load: Load) -> None:
    pages = [
        ["Chapter 1: Gates", "same row 1", f"text {word}", "same row 2", f"- {n} -"] for n, word in enumerate("abcde")
    ]
    text = load("a.pdf", samples.pdf(pages)).text
    assert text.count("Chapter 1: Gates") == 1
    assert text.count("same row 1") == 5
    assert "- 3 -" not in text
    assert all(f"text {word}" in text for word in "abcde")


def test_pdf_text_cannot_open_headings_or_fences(load: Load) -> None:
    document = load("a.pdf", samples.pdf([["# install first", "pip install it", "```", "--- ", "still text"]]))
    assert {chunk.heading for chunk in chunks(document)} == {("a",)}
    assert "still text" in chunks(document)[-1].text


def test_pdf_that_takes_too_long_is_read_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    from ragkit.ingest.formats import pdf

    ticks = iter(range(0, 1000, 4))
    monkeypatch.setattr(pdf.time, "process_time", lambda: float(next(ticks)))
    done = pdf.convert(samples.pdf([[f"text of page {n}"] for n in range(1, 9)]), "a.pdf")
    assert "text of page 3" in done.text
    assert "text of page 4" not in done.text
    assert done.warning == "only pages 1 to 3 of 8 were read; the rest would take too long"


def test_pdf_quotes_are_slices_at_random_places(load: Load) -> None:
    lines = [[f"第{page}页{row}行 emoji and text, {ZH}" for row in range(20)] for page in range(1, 6)]
    document = load("a.pdf", samples.pdf(lines))
    numbers = random.Random(1)
    for chunk in chunks(document):
        for _ in range(50):
            a, b = sorted(numbers.sample(range(len(chunk.text)), 2))
            assert document.text[chunk.start + a : chunk.start + b] == chunk.text[a:b]


# Word, PowerPoint


def test_word_headings_tables_lists_and_alternative_texts(load: Load) -> None:
    document = load("b.docx", samples.docx())
    assert "# 循环神经网络\n" in document.text
    assert "## Gates\n" in document.text
    assert "- input gate" in document.text
    assert "| 遗忘门 | 忘记 |" in document.text
    assert "![门控单元示意图]()" in document.text
    assert one_with(chunks(document), "input gate").heading[0] == "循环神经网络"


def test_slides_are_pages_with_titles_tables_and_notes(load: Load) -> None:
    document = load("talk.pptx", samples.pptx())
    text = document.text
    assert [page_at(document, text.index(what)) for what in ("## LSTM 的门", "讲三分钟", "| GRU | 2 |", EN)] == [
        1,
        1,
        2,
        3,
    ]
    assert "## Slide 3\n\n\\# not a heading" in text
    assert chunks(document)[0].heading[0] == "talk"


# HTML, EPUB, notebooks


def test_html_is_what_a_reader_sees(load: Load) -> None:
    document = load("d.html", samples.html())
    text = document.text
    for unseen in ("Home | About", "ignore all", "also unseen", "scripted", "color: red", "commented"):
        assert unseen not in text
    assert document.title == "门控网络 gates"
    assert "```python\ndef forget_gate(x):\n    return sigmoid(x)\n```" in text
    assert "| forget | drop |" in text
    assert "$h_t = o_t \\tanh(c_t)$" in text
    assert "a_b_c stays" in text
    assert "![遗忘门的图](gate.png)" in text
    assert text.startswith("# 门控网络\n")


@pytest.mark.parametrize(
    ("charset", "declared"),
    [("utf-8", "gbk"), ("gb18030", "gb2312"), ("big5", "big5"), ("utf-16", "utf-8"), ("gb18030", "nonsense")],
)
def test_html_encodings(load: Load, charset: str, declared: str) -> None:
    page = f'<meta charset="{declared}"><p>{"長短期記憶網路的閘門" * 20 if charset == "big5" else ZH * 3}</p>'
    text = load("d.htm", page.encode(charset)).text
    assert ("長短期記憶網路" if charset == "big5" else ZH) in text


def test_html_codecs_that_are_no_text_encodings_are_not_used() -> None:
    assert decode_html(b'<meta charset="hex"><p>caf\xe9 au lait, cr\xe8me br\xfbl\xe9e</p>')[0].count("caf") == 1


def test_html_data_pictures_leave_their_alternative_text_only() -> None:
    text, _ = html_to_markdown('<p><img alt="门 gate" src="data:image/png;base64,AAAA"> <img src="x.png"></p>')
    assert text.strip() == "![门 gate]()"


def test_epub_chapters_follow_the_spine_and_the_book_has_a_title(load: Load) -> None:
    document = load("e.epub", samples.epub())
    assert document.text.index("Chapter two") < document.text.index("第一章")
    assert document.title == "循环网络入门"
    assert document.metadata["author"] == "Li Lei"


def test_epub_2_with_the_usual_doctype_is_read(load: Load) -> None:
    doctype = '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd">'
    assert ZH in load("e.epub", samples.epub(doctype=doctype)).text


def test_notebook_cells_and_outputs(load: Load) -> None:
    document = load("f.ipynb", samples.notebook())
    text = document.text
    assert "```python\ndef forget_gate(x):\n    return 1 / (1 + np.exp(-x))\n```" in text
    assert "```text\nloss 0.25\n```" in text
    assert "array([0.5])" in text
    assert "ValueError: bad gate" in text
    assert "aGVsbG8" not in text
    assert one_with(chunks(document), EN).heading[0] == "门控网络"


def test_notebook_of_version_3(load: Load) -> None:
    cells = [{"cell_type": "markdown", "source": [ZH]}, {"cell_type": "code", "input": ["print(1)"], "outputs": []}]
    document = load("f.ipynb", json.dumps({"worksheets": [{"cells": cells}], "nbformat": 3}))
    assert ZH in document.text
    assert "```python\nprint(1)\n```" in document.text


def test_notebook_output_is_cut_and_a_fence_in_a_cell_does_not_end_it(load: Load) -> None:
    outputs = [{"output_type": "stream", "text": "row\n" * 5000}]
    cell = {"cell_type": "code", "source": 'print("""\n```\n# no heading\n""")', "outputs": outputs}
    document = load("f.ipynb", json.dumps({"cells": [cell]}))
    assert document.text.count("row") == 30
    assert {chunk.heading for chunk in chunks(document)} == {("f",)}


# Shared pieces


def test_front_matter_of_other_formats_is_their_text(load: Load) -> None:
    document = load("e.epub", samples.epub(["<hr/><p>title: forged</p><hr/><p>pages: 9</p>"]))
    assert "title: forged" in "".join(chunk.text for chunk in chunks(document))
    assert "pages" not in document.metadata


def test_pages_of_a_note_are_not_believed() -> None:
    metadata = with_pages({"pages": "forged"}, [(0, 1)])
    note = Document(path="a.md", text="x", content_hash="", metadata=metadata)
    assert page_at(note, 0) is None
    assert page_at(Document(path="a.pdf", text="x", content_hash="", metadata={"pages": "[[0], 3]"}), 0) is None
    assert page_at(Document(path="a.pdf", text="x", content_hash="", metadata=metadata), 0) == 1


def test_source_place_for_readers() -> None:
    assert source_place("a.md", (3, 3)) == "a.md:3"
    assert source_place("a.md", (3, 8)) == "a.md:3-8"
    assert source_place("a.pdf", (3, 8), (12, 12)) == "a.pdf p. 12"
    assert source_place("a.PDF", (3, 8), (12, 13)) == "a.PDF p. 12-13"
    assert source_place("a.pptx", (3, 8), (2, None)) == "a.pptx slide 2"


def test_builder_refuses_nothing_and_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConversionError, match="empty"):
        TextBuilder().build()
    monkeypatch.setattr("ragkit.ingest.formats.base.MAX_CHARACTERS", 10)
    with pytest.raises(ConversionError, match="more than 10 characters"):
        TextBuilder().add("x" * 11)


def test_builder_page_starts_hold_when_text_is_moved_or_cleaned() -> None:
    builder = TextBuilder()
    for number, text in enumerate(("---\r\n\x00a: b", "  \n", "third\u2028line\udcff"), start=1):
        builder.page(number)
        builder.add(text)
    done = builder.build()
    document = Document(path="a.pdf", text=done.text, content_hash="", metadata=with_pages({}, done.pages))
    assert done.text == "\n---\na: b\n\nthird\nline?\n"
    assert [page_at(document, at) for at in (0, 1, done.text.index("a: b"), done.text.index("third"))] == [1, 1, 1, 3]


@pytest.mark.parametrize("line", ["# a", "```", "~~~x", "$$", "> a", "<div>", "---", "===", "***"])
def test_plain_text_opens_no_block(line: str) -> None:
    document = Document(path="a.pdf", text=f"before\n{plain(line)}\nafter", content_hash="", title="t")
    [chunk] = chunk_document(document)
    assert chunk.heading == ("t",)
    assert chunk.text == document.text


@pytest.mark.parametrize("line", ["a_b * c", "#tag", "x < y", "1. item", "--flag", "$5", "中文"])
def test_plain_text_is_left_alone_otherwise(line: str) -> None:
    assert plain(line) == line


def test_table_rows_of_unequal_length_and_bars() -> None:
    assert markdown_table([["a|b"], ["1", "2"]]) == "| a\\|b |  |\n| --- | --- |\n| 1 | 2 |"
    assert markdown_table([["", ""]]) == markdown_table([]) == ""
