"""Whether a passage says what a sentence says, and where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.citations.support import PARTLY, SUPPORTED, Support, best_span, content_terms, is_quoted, support
from ragkit.citations.verdicts import Span
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import make_document
from ragkit.text.tokens import tokenize
from ragkit.values import Chunk

TEXT = """# LSTM

LSTM 有三个门。遗忘门决定丢弃哪些记忆。
输入门决定写入哪些新信息。输出门决定输出什么。

它由 Hochreiter 于 1997 年提出。
"""


def even(term: str) -> float:
    return 1.0


def chunk_of(text: str = TEXT) -> Chunk:
    [chunk] = chunk_document(make_document("a.md", text))
    return chunk


def test_share_is_the_idf_mass_of_the_terms_that_the_passage_holds() -> None:
    weights = {"gate": 3.0, "forget": 2.0, "banana": 5.0}
    found = support("forget gate banana", "The forget gate decides.", lambda term: weights[term])
    assert found.share == pytest.approx((3 + 2) / (3 + 2 + 5))


def test_a_sentence_of_the_passage_is_supported() -> None:
    assert support("遗忘门决定丢弃哪些记忆。", TEXT, even) == Support(1.0)


def test_a_sentence_about_something_else_is_unsupported() -> None:
    assert support("香蕉富含钾元素，适合早餐食用。", TEXT, even).verdict == "unsupported"


@pytest.mark.parametrize(
    ("share", "missing", "verdict"),
    [
        (SUPPORTED, (), "supported"),
        (SUPPORTED - 0.01, (), "partly"),
        (PARTLY, (), "partly"),
        (PARTLY - 0.01, (), "unsupported"),
        (1.0, ("12",), "partly"),
        (SUPPORTED - 0.01, ("12",), "unsupported"),
    ],
)
def test_verdict_follows_from_share_and_missing_numbers(share: float, missing: tuple[str, ...], verdict: str) -> None:
    assert Support(share, missing).verdict == verdict


@pytest.mark.parametrize(
    ("sentence", "passage", "missing"),
    [
        ("LSTM 于 1998 年提出。", TEXT, ("1998",)),
        ("LSTM 于1997年提出。", TEXT, ()),
        ("模型共有12层。", "模型共有24层。", ("12",)),
        ("模型共有24层。", "模型共有24层。", ()),
        ("It has 12 layers.", "It has 24 layers.", ("12",)),
        ("误差为3.5%。", "误差为 3.5% 左右。", ()),
        ("误差为35%。", "误差为 3.5% 左右。", ("35%",)),
        ("约５０％。", "约50%。", ()),
        ("LLaMA2 很好。", "LLaMA 很好。", ()),
    ],
)
def test_numbers_of_the_sentence_must_stand_in_the_passage(
    sentence: str, passage: str, missing: tuple[str, ...]
) -> None:
    assert support(sentence, passage, even).missing_numbers == missing


def test_a_sentence_without_terms_is_not_supported() -> None:
    assert support("……！", TEXT, even) == Support(0.0)


def test_single_han_characters_carry_no_meaning_unless_there_is_nothing_else() -> None:
    assert content_terms("遗忘门") == ["遗忘", "忘门"]
    assert content_terms("门") == ["门"]
    assert content_terms("a rank r") == ["rank", "r"]


def test_the_span_is_the_source_sentence_that_carries_the_answer() -> None:
    assert best_span(["遗忘门负责丢弃记忆。"], chunk_of(), even).quote == "遗忘门决定丢弃哪些记忆。"


def test_the_span_of_two_sentences_reaches_from_the_first_to_the_last() -> None:
    span = best_span(["遗忘门负责丢弃记忆。", "输出门决定输出什么。"], chunk_of(), even)
    assert span.quote == "遗忘门决定丢弃哪些记忆。\n输入门决定写入哪些新信息。输出门决定输出什么。"
    assert (span.start_line, span.end_line) == (3, 4)


def test_the_span_counts_in_characters_and_lines_of_the_document() -> None:
    text = f"# 前言\n\n{'别的内容，写满一块。' * 50}\n\n{TEXT}"
    chunk = chunk_document(make_document("a.md", text))[-1]
    span = best_span(["1997 年由 Hochreiter 提出"], chunk, even)
    assert span.quote == "它由 Hochreiter 于 1997 年提出。"
    assert text[span.start : span.end] == span.quote
    assert text.split("\n")[span.start_line - 1] == span.quote
    assert span.end_line == span.start_line


@given(st.lists(st.text(max_size=30), max_size=3), st.text(alphabet="甲乙ab。.\n 1", min_size=1).filter(str.strip))
def test_every_span_is_a_verbatim_slice(sentences: list[str], text: str) -> None:
    document = make_document("a.md", text)
    for chunk in chunk_document(document):
        span = best_span(sentences, chunk, even)
        assert span.quote
        assert document.text[span.start : span.end] == span.quote
        assert span.start_line == document.text.count("\n", 0, span.start) + 1
        assert span.end_line == document.text.count("\n", 0, span.end) + 1


@given(st.text(max_size=60), st.text(max_size=60))
def test_share_is_between_0_and_1(sentence: str, passage: str) -> None:
    found = support(sentence, passage, even)
    assert 0.0 <= found.share <= 1.0
    assert found.share == 0.0 or set(content_terms(sentence)) & set(tokenize(passage))


def test_a_heading_is_no_quote_while_something_stands_below_it() -> None:
    text = "### LSTM 与 GRU 对比\n\n| 项目 | LSTM | GRU |\n|---|---|---|\n| 门数 | 3 | 2 |\n\n参数量 GRU 更少。\n"
    assert best_span(["LSTM 与 GRU 对比"], chunk_of(text), even).quote == "| 项目 | LSTM | GRU |"
    assert best_span(["LSTM 与 GRU 对比里 GRU 参数量更少"], chunk_of(text), even).quote == "参数量 GRU 更少。"


def test_an_underlined_heading_is_a_heading_too() -> None:
    text = "LSTM 与 GRU 对比\n===\n\n参数量 GRU 更少。\n"
    assert best_span(["LSTM 与 GRU 对比"], chunk_of(text), even).quote == "参数量 GRU 更少。"


def test_a_heading_is_the_quote_where_there_is_nothing_else() -> None:
    assert best_span(["LSTM"], chunk_of("### LSTM\n"), even).quote == "### LSTM"


@pytest.mark.parametrize(
    ("sentence", "quoted"),
    [
        ("- 遗忘门决定丢弃哪些记忆。", True),
        ("遗忘门决定丢弃哪些记忆。\n输入门决定写入哪些新信息。", True),
        ("997 年提出。", False),
        ("遗忘门决定保留哪些记忆。", False),
        ("门", False),
    ],
)
def test_a_quote_is_known_as_such(sentence: str, quoted: bool) -> None:
    assert is_quoted(sentence, TEXT) is quoted


def test_the_line_with_a_number_of_the_sentence_belongs_to_its_quote() -> None:
    text = "XGrammar 把词表分成 context-independent token 和必须看栈内容的 context-dependent token；后者通常不到 1%，绝大部分掩码可以缓存。"
    chunk, sentence = chunk_of(text), "XGrammar 里的 context-dependent token 不到词表的 1%。"
    place = Span(start=0, end=len(text), start_line=1, end_line=1, quote=text)

    def idf(term: str) -> float:
        return 5.0 if term.isalpha() and term.isascii() else 0.1

    assert "1%" not in best_span([sentence], chunk, idf).quote
    assert "1%" in best_span([sentence], chunk, idf, places=[place]).quote
