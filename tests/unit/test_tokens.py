"""The analyser: one table for Chinese, English and mixtures of both."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.tokens import STOP_WORDS, fold, query_terms, tokenize

PASSAGES = {
    "梯度": ["梯", "度", "梯度"],
    "梯度下降": ["梯", "度", "下", "降", "梯度", "度下", "下降"],
    "机": ["机"],
    "gradient descents": ["gradient", "descent"],
    "LoRA 的 rank": ["lora", "的", "rank"],
    "用Transformer编码": ["用", "transform", "编", "码", "编码"],
    "bge-small-zh": ["bge-small-zh", "bge", "small", "zh"],
    "C++": ["c++"],
    "C#": ["c#"],
    "3.5": ["3.5"],
    "GPT-4o": ["gpt-4o", "gpt", "4o", "gpt4o"],
    "the model and its data": ["model", "data"],
    "hidden_size": ["hidden_s", "hidden", "size"],
    "第3章": ["第", "3", "章"],
    "un café naïve": ["un", "café", "naïv"],
    "Schlüssel größer": ["schlüssel", "größer"],
    "x\u0304": ["x\u0304"],
    "3÷4": ["3", "4"],
    "LoRAを使う": ["lora", "を", "使", "う"],
    "": [],
    "，。！？": [],
}
SAME = [
    ("機器學習", "机器学习"),
    ("ＧＰＴ－４", "GPT-4"),
    ("ｂｇｅ", "bge"),
    ("３．５", "3.5"),
    ("LSTM", "lstm"),
    ("ﬁne-tuning", "fine-tuning"),
    ("為什麼需要位置編碼", "为什么需要位置编码"),
    ("cafe\u0301", "café"),
    ("NAI\u0308VE", "naïve"),
    ("ｃａｆé", "café"),
    ("quok\u200bka", "quokka"),
    ("wid\u200cth\u2060", "width"),
    ("soft\u00adhyphen", "softhyphen"),
    ("\ufeff注\u200b意\u200d力", "注意力"),
    ("\x1b[31mRed\x1b[0m heading", "Red heading"),
    ("ﾄﾗﾝｽﾌｫｰﾏｰ", "トランスフォーマー"),
]
QUESTIONS = {
    "什么是梯度消失？": ["是", "梯", "度", "消", "失", "是梯", "梯度", "度消", "消失"],
    "為什麼需要殘差": ["需", "要", "残", "差", "需要", "要残", "残差"],
    "请问 LoRA 如何训练吗": ["lora", "训", "练", "训练"],
    "What is the KV cache?": ["kv", "cach"],
    "cache cache caches": ["cach"],
    "LSTM和GRU哪个快": ["lstm", "和", "gru", "快"],
}
ONLY_QUESTION_WORDS = ["为什么", "什么？", "what is it", "How?", "谁", "为什么呢 what"]


@pytest.mark.parametrize(("text", "tokens"), PASSAGES.items())
def test_a_passage_has_these_tokens(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


@pytest.mark.parametrize(("variant", "plain"), SAME)
def test_written_forms_of_one_text_have_the_same_tokens(variant: str, plain: str) -> None:
    assert tokenize(variant) == tokenize(plain)
    assert tokenize(plain)


@pytest.mark.parametrize(("question", "terms"), QUESTIONS.items())
def test_a_question_loses_its_question_phrases_and_repetitions(question: str, terms: list[str]) -> None:
    assert query_terms(question) == terms


def test_a_passage_keeps_the_phrases_that_a_question_loses() -> None:
    assert "什么" in tokenize("什么是梯度")
    assert "什么" not in query_terms("什么是梯度")


@pytest.mark.parametrize("question", ONLY_QUESTION_WORDS)
def test_a_question_of_question_words_alone_is_not_emptied(question: str) -> None:
    assert query_terms(question)


@pytest.mark.parametrize("question", ["为什么？", "谁", "怎么样"])
def test_a_question_of_question_phrases_alone_searches_for_what_passages_hold(question: str) -> None:
    assert query_terms(question) == tokenize(question)


@given(st.text(alphabet="什么为谁吗呢哪几whatisthe 0", min_size=1).filter(lambda text: text.strip()))
def test_no_text_with_a_letter_gives_an_empty_query(question: str) -> None:
    assert query_terms(question)


@given(st.text())
def test_the_terms_of_a_query_are_distinct(question: str) -> None:
    terms = query_terms(question)
    assert len(terms) == len(set(terms))


@pytest.mark.parametrize("word", ["the", "is", "of", "WHAT"])
def test_english_stop_words_are_no_tokens(word: str) -> None:
    assert word.lower() in STOP_WORDS
    assert tokenize(f"{word} zebra") == ["zebra"]


def test_a_traditional_character_folds_the_same_whatever_stands_beside_it() -> None:
    # OpenCC's phrase rules would turn 乾隆 and 乾燥 into different first characters.
    assert fold("乾隆")[0] == fold("乾燥")[0] == fold("乾")


def test_a_part_of_an_identifier_finds_the_identifier() -> None:
    assert set(query_terms("bge")) <= set(tokenize("模型 bge-small-zh-v1.5"))


def test_the_whole_identifier_is_a_token_of_its_own() -> None:
    assert "bge-small-zh-v1.5" in query_terms("bge-small-zh-v1.5 的维度")


def test_inflected_english_words_share_a_token() -> None:
    assert tokenize("training")[0] == tokenize("trained")[0] == tokenize("trains")[0]


@pytest.mark.parametrize(
    ("query", "passage"),
    [
        ("flash attention", "FlashAttention 的分块计算"),
        ("GraphRAG 的社区摘要", "graph-based rag"),
        ("3B 参数的模型", "参数量为 3 B 的小模型"),
        ("显存 24 GB", "一张 24GB 的卡"),
        ("延迟 10 ms", "延迟约 10ms"),
        ("1.5 TFLOPS", "1.5tflops of compute"),
        ("12V 电源", "12 V"),
        ("5 mg", "a dose of 5mg"),
        ("LSTM", "torch.nn.LSTMCell"),
        ("server", "HTTPServer"),
        ("GPT4", "GPT-4 的参数"),
        ("GPT-4", "GPT4"),
    ],
)
def test_parts_of_identifiers_and_units_meet(query: str, passage: str) -> None:
    latin = {term for term in query_terms(query) if term.isascii()}
    assert latin & set(tokenize(passage))


def test_camel_case_keeps_its_whole_and_gives_parts_of_three_letters() -> None:
    assert tokenize("FlashAttention") == ["flashattent", "flash", "attent"]
    assert tokenize("LoRA MoE LLMs iPhone") == ["lora", "moe", "llms", "iphon", "phone"]
    assert tokenize("ＦｌａｓｈＡｔｔｅｎｔｉｏｎ")[1:] == ["flash", "attent"]


def test_what_stands_behind_a_decimal_point_is_no_number_of_its_own() -> None:
    assert "7b" not in tokenize("Qwen3-1.7B")
    assert "1.7b" in tokenize("Qwen3-1.7B")


@pytest.mark.parametrize("word", ["几何", "几率", "几乎", "吗啡", "哪吒", "呢绒", "任何时候", "任何地方"])
def test_a_character_that_asks_elsewhere_is_part_of_its_word(word: str) -> None:
    assert query_terms(word) == list(dict.fromkeys(tokenize(word)))


def test_a_number_before_a_word_is_no_unit() -> None:
    assert tokenize("3 a day") == ["3", "day"]
    assert tokenize("3 big models, 5 GBs, v2 B") == ["3", "big", "model", "5", "gbs", "v2", "b"]


def test_long_runs_of_letters_take_linear_time() -> None:
    began = time.perf_counter()
    tokenize("a" * 200_000 + " " + "aB" * 50_000)
    assert time.perf_counter() - began < 5


def test_separators_of_thousands_are_no_part_of_a_number() -> None:
    assert tokenize("1,024 MB and 1,048,576 rows") == tokenize("1024 MB and 1048576 rows")
    assert tokenize("in 3,4 or [1,200,3]") == tokenize("in 3 4 or [1 200 3]")
