"""Chunks are verbatim slices that follow headings; nothing is lost, nothing whole is cut."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.ingest import blocks
from ragkit.ingest.blocks import OTHER_WEIGHT, parse_blocks, width
from ragkit.ingest.chunk_settings import ChunkSettings
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import make_document, read_all, scan
from ragkit.ingest.yaml_safe import split_front_matter
from ragkit.text.language import language_group
from ragkit.values import Chunk, Document

SMALL = ChunkSettings(target=60, maximum=120, minimum=15)


def chunks_of(text: str, sizes: ChunkSettings | None = None) -> list[Chunk]:
    return chunk_document(make_document("note.md", text), sizes)


# Markdown out of parts, so that examples look like notes and still meet every kind of block.
_words = st.text(alphabet="梯度下降注意力模型ab c1，。；.!", min_size=1, max_size=60)
_line = _words.map(str.strip).filter(bool)
_heading = st.builds(lambda level, title: "#" * level + " " + title, st.integers(1, 6), _line)
_paragraph = st.lists(_line, min_size=1, max_size=6).map("\n".join)
_code = st.builds(lambda body: "```python\n" + "\n".join(body) + "\n```", st.lists(_words, max_size=8))
_formula = st.builds(lambda body: "$$\n" + "\n".join(body) + "\n$$", st.lists(_line, min_size=1, max_size=6))
_table = st.builds(
    lambda rows: "| 甲 | b |\n|---|---|\n" + "\n".join(f"| {row} | 1 |" for row in rows), st.lists(_line, max_size=6)
)
_list = st.builds(
    lambda items, indent: "\n".join(" " * (indent * (i % 3)) + "- " + item for i, item in enumerate(items)),
    st.lists(_line, min_size=1, max_size=8),
    st.integers(0, 4),
)
_quote = _paragraph.map(lambda text: "> " + text.replace("\n", "\n> "))
_odd = st.sampled_from(
    ["---", "***", "[a]: http://b", "<div>\n块\n</div>", "    indented", "$$", "```", "===", "\t", "1) 项"]
)
_block = st.one_of(_heading, _paragraph, _code, _formula, _table, _list, _quote, _odd)
_front = st.sampled_from(["", "", "---\ntitle: 笔记\n---\n", "---\n\n文字。\n\n---\n"])
markdown = st.builds(
    lambda front, blocks, gaps: front + "".join(block + gap for block, gap in zip(blocks, gaps, strict=False)),
    _front,
    st.lists(_block, max_size=12),
    st.lists(st.sampled_from(["\n", "\n\n", "\n\n\n"]), min_size=12, max_size=12),
)


def assert_sound(document: Document, chunks: list[Chunk]) -> None:
    text = document.text
    at = split_front_matter(text)[1]
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.text == chunk.text.strip() != ""
        assert chunk.language == language_group(chunk.search_text)
        assert not text[at : chunk.start].strip(), "text between two chunks was lost"
        assert chunk.start >= at, "chunks overlap or stand in front matter"
        assert chunk.start_line == text.count("\n", 0, chunk.start) + 1
        assert chunk.end_line == text.count("\n", 0, chunk.end) + 1
        at = chunk.end
    assert not text[at:].strip(), "text behind the last chunk was lost"
    assert len({chunk.id for chunk in chunks}) == len(chunks)


@settings(max_examples=250)
@given(markdown)
def test_chunks_of_any_markdown_are_slices_that_together_lose_nothing(text: str) -> None:
    document = make_document("note.md", text)
    assert_sound(document, chunk_document(document, SMALL))


@given(st.text(alphabet="#`$|-> \n\t*[]()中a。0\u3000\x0b\x0c\u2028", max_size=200))
def test_chunks_of_any_text_are_slices_that_together_lose_nothing(text: str) -> None:
    document = make_document("note.md", text)
    assert_sound(document, chunk_document(document, SMALL))


def test_chunks_of_the_shipped_corpus_are_slices_that_together_lose_nothing(repository: Path) -> None:
    sources, skipped = scan([repository / "corpora" / "llm-interview"])
    assert sources
    assert not skipped
    for _, document in read_all(sources):
        assert isinstance(document, Document)
        assert_sound(document, chunk_document(document))


LINES = [f"第{i}行；x = {i}。" for i in range(11)]
WHOLE = {
    "code": "```python\n" + "\n".join(LINES) + "\n```",
    "table": "| 甲 | 乙 |\n|---|---|\n" + "\n".join(f"| {line} | 1 |" for line in LINES[:7]),
    "formula": "$$\n" + "\n".join(LINES) + "\n$$",
}
PROSE = "前面的一段文字，说明下面的内容。" * 6


@pytest.mark.parametrize("block", WHOLE.values(), ids=WHOLE.keys())
@pytest.mark.parametrize("gap", ["\n\n", "\n"], ids=["blank line before", "no blank line"])
@pytest.mark.parametrize("size", ["above the target", "within the target"])
def test_what_fits_into_a_chunk_is_never_cut(block: str, gap: str, size: str) -> None:
    sizes = SMALL if size == "above the target" else ChunkSettings(target=160, maximum=160, minimum=15)
    assert (width(block) > sizes.target) == (size == "above the target")
    assert width(block) <= sizes.maximum
    for lead in range(0, len(PROSE), 12):
        chunks = chunks_of(f"# 标题\n\n{PROSE[:lead]}{gap}{block}{gap}\n{PROSE}", sizes)
        assert sum(block in chunk.text for chunk in chunks) == 1


@pytest.mark.parametrize("block", WHOLE.values(), ids=WHOLE.keys())
def test_what_fits_is_not_cut_inside_a_list_that_is_opened(block: str) -> None:
    inside = block.replace("\n", "\n  ")
    chunks = chunks_of(f"- 第一项{PROSE}\n- 第二项\n\n  {inside}\n\n- 第三项{PROSE}", SMALL)
    assert len(chunks) > 2
    assert sum(inside in chunk.text for chunk in chunks) == 1


@pytest.mark.parametrize("block", ["code", "table"])
def test_what_does_not_fit_is_cut_at_line_ends(block: str) -> None:
    lines = [f"| {i} 行的文字 | 值 |" for i in range(60)]
    text = "```\n" + "\n".join(lines) + "\n```" if block == "code" else "| 甲 | 乙 |\n|---|---|\n" + "\n".join(lines)
    chunks = chunks_of(text, SMALL)
    assert len(chunks) > 1
    for line in lines:
        assert sum(line in chunk.text for chunk in chunks) == 1


def test_long_prose_is_cut_at_sentence_ends() -> None:
    sentences = [f"这是第{i}个句子，它有一些文字。" for i in range(40)]
    chunks = chunks_of("".join(sentences), SMALL)
    assert len(chunks) > 5
    assert all(chunk.text.endswith("。") and chunk.text.startswith("这是第") for chunk in chunks)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("so the transformer takes a sequence of tokens and attends to each of them " * 20, r"\w"),
        ("今天我们讲一下长短期记忆网络，它有三个门、遗忘门和输入门都在里面" * 10, "[，、]"),
        ("first we take the gates,then we close them;" * 20, r"[\w,;]"),
        ("我们用transformer模型处理sequence数据然后" * 20, r"transformer|sequence|[^a-z]"),
        ("0.125,37.5,10:30,1,000," * 30, "[0-9,:]"),
    ],
)
def test_a_sentence_wider_than_a_chunk_is_cut_at_a_pause_and_never_inside_a_word(text: str, ends: str) -> None:
    document = make_document("note.md", text)
    chunks = chunk_document(document, SMALL)
    assert_sound(document, chunks)
    assert len(chunks) > 4
    words = set(re.findall(r"[A-Za-z]+|[\d.]+", text))
    for chunk in chunks:
        assert set(re.findall(r"[A-Za-z]+|[\d.]+", chunk.text)) <= words
    for chunk in chunks[:-1]:
        assert re.search(rf"(?:{ends})\Z", chunk.text)


def test_a_word_wider_than_a_chunk_is_cut_where_the_chunk_is_full() -> None:
    chunks = chunks_of("a" + "字" * 200 + "x" * 1000, SMALL)
    assert "".join(chunk.text for chunk in chunks) == "a" + "字" * 200 + "x" * 1000
    assert max(width(chunk.text) for chunk in chunks) <= SMALL.target


def test_a_long_line_of_code_is_cut_between_its_words() -> None:
    line = "call(first_name, second_name, third_name); " * 30
    chunks = chunk_document(make_document("a.py", line), SMALL)
    assert len(chunks) > 4
    assert {word for chunk in chunks for word in chunk.text.split()} == set(line.split())


def test_no_chunk_of_prose_is_wider_than_its_heading_and_the_target() -> None:
    text = "# 标题\n\n" + "这是一个句子。" * 100 + "\n\n## 小节\n\n" + "Another sentence here. " * 100 + "字" * 500
    assert max(width(chunk.text) for chunk in chunks_of(text, SMALL)) <= width("## 小节\n\n") + SMALL.target


def test_width_counts_a_han_character_as_one_and_any_other_as_less() -> None:
    assert width("中文ab。") == 2 + OTHER_WEIGHT * 3


def test_heading_path_runs_from_the_outermost_to_the_innermost() -> None:
    body = "正文文字很长很长很长很长很长很长很长。"
    chunks = chunks_of(f"# 甲\n\n{body}\n\n## 乙\n\n{body}\n\n### 丙\n\n{body}\n\n## 丁\n\n{body}", SMALL)
    assert [chunk.heading for chunk in chunks] == [("甲",), ("甲", "乙"), ("甲", "乙", "丙"), ("甲", "丁")]


def test_markup_in_a_heading_is_left_out_of_the_path() -> None:
    [chunk] = chunks_of("# **KV** `cache` 与 [链接](http://x)\n\n正文")
    assert chunk.heading == ("KV cache 与 链接",)


def test_the_title_leads_the_path_where_the_note_has_no_top_heading() -> None:
    [chunk] = chunks_of("---\ntitle: 笔记\n---\n## 节\n\n正文")
    assert chunk.heading == ("笔记", "节")
    [chunk] = chunks_of("---\ntitle: 笔记\n---\n# 顶\n\n正文")
    assert chunk.heading == ("顶",)


def test_a_hash_in_a_code_block_is_no_heading() -> None:
    [chunk] = chunks_of("# 真\n\n```\n# 假\n```\n\n正文")
    assert chunk.heading == ("真",)


def test_a_bare_heading_stays_with_what_follows() -> None:
    [chunk] = chunks_of("# 甲\n\n## 乙\n\n正文")
    assert chunk.heading == ("甲", "乙")
    assert chunk.text == "# 甲\n\n## 乙\n\n正文"


def test_small_sections_under_one_parent_are_joined_under_the_parent() -> None:
    [chunk] = chunks_of("# 甲\n\n## 乙\n\n短。\n\n## 丙\n\n短。")
    assert chunk.heading == ("甲",)


def test_front_matter_is_in_no_chunk() -> None:
    [chunk] = chunks_of("---\ntitle: 笔记\n---\n正文")
    assert chunk.text == "正文"


def test_a_note_of_front_matter_alone_has_no_chunk() -> None:
    assert chunks_of("---\ntitle: 笔记\n---\n") == []


SECTIONS = "\n\n".join(f"## 第{i}节\n\n" + f"第{i}节的正文，足够长，自成一块。" * 3 for i in range(6))


def test_ids_survive_text_that_is_added_above() -> None:
    before = chunks_of(f"# 题\n\n{SECTIONS}", SMALL)
    after = chunks_of(f"# 题\n\n## 新的一节\n\n{'新的文字，也足够长。' * 4}\n\n{SECTIONS}", SMALL)
    assert len(before) == 6
    assert {chunk.id for chunk in before[1:]} < {chunk.id for chunk in after}
    assert before[-1].start != next(chunk.start for chunk in after if chunk.id == before[-1].id)


def test_the_same_text_twice_has_two_ids() -> None:
    section = "## 节\n\n" + "同样的文字，足够长，自成一块。" * 3
    chunks = chunks_of(f"{section}\n\n{section}", SMALL)
    assert [chunk.text for chunk in chunks] == [section, section]
    assert chunks[0].id != chunks[1].id


def test_the_same_text_in_another_note_has_another_id() -> None:
    one, two = (chunk_document(make_document(path, "正文"))[0].id for path in ("a.md", "b.md"))
    assert one != two


def test_a_chunk_knows_its_language_group() -> None:
    body = {"zh": "中文的正文，足够长，自成一块。" * 4, "other": "English text, long enough to stand alone. " * 4}
    for language, text in body.items():
        assert {chunk.language for chunk in chunks_of(text, SMALL)} == {language}


def test_search_text_is_the_heading_path_and_the_slice() -> None:
    [chunk] = chunks_of("# 甲\n\n## 乙\n\n正文")
    assert chunk.search_text == "甲 > 乙\n# 甲\n\n## 乙\n\n正文"


@pytest.mark.parametrize(
    "text", ["> " * 300 + "深", "- " * 300 + "深", "[" * 2000 + "深"], ids=["quotes", "lists", "brackets"]
)
def test_deep_nesting_neither_fails_nor_loses_the_text(text: str) -> None:
    assert "深" in "".join(chunk.text for chunk in chunks_of(text))


@given(st.text(alphabet="ab 你。\n\r\t#-+*1.)|`~<>$=_:[]\\&!\u3000\u00a0\u2028\x0b\ufeff", max_size=24))
@settings(max_examples=400, deadline=None)
def test_prose_has_the_blocks_that_the_parser_finds(text: str) -> None:
    document = make_document("a.md", text).text
    lines = document.split("\n")
    with pytest.MonkeyPatch.context() as patch:
        found = parse_blocks(document, lines, 300)
        patch.setattr(blocks, "_MARKED", re.compile(""))
        assert found == parse_blocks(document, lines, 300)


def test_other_sizes_are_another_fingerprint() -> None:
    prints = {ChunkSettings().fingerprint, SMALL.fingerprint, ChunkSettings(minimum=10).fingerprint}
    assert len(prints) == 3
