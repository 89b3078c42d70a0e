"""Which language a passage and a question are in."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.language import ZH_SHARE, answer_language, cjk_share, count_cjk, is_cjk, language_group

GROUPS = {
    "梯度下降是一种优化算法。": "zh",
    "Gradient descent is an optimiser.": "other",
    "LoRA 的秩 r 控制容量": "zh",
    "The term 注意力 appears once in this long English sentence about attention.": "other",
    "": "other",
    "12345": "other",
    "注意力 (attention)": "zh",
}
ANSWERS = {
    "什么是注意力？": "zh",
    "LoRA 的 rank 是什么": "zh",
    "FlashAttention vs PagedAttention 区别": "zh",
    "What is attention?": "en",
    "What does 注意力 mean in the transformer paper?": "en",
    "BLEU?": "en",
    "": "en",
}


@pytest.mark.parametrize(("text", "group"), GROUPS.items())
def test_group_of_a_passage(text: str, group: str) -> None:
    assert language_group(text) == group


@pytest.mark.parametrize(("question", "language"), ANSWERS.items())
def test_language_of_the_answer_to_a_question(question: str, language: str) -> None:
    assert answer_language(question) == language


def test_share_counts_han_characters_over_characters_that_are_not_white_space() -> None:
    assert cjk_share("中 a\nb c") == 1 / 4


def test_exactly_the_limit_is_not_chinese_yet() -> None:
    text = "中文字" + "a" * 17
    assert cjk_share(text) == 3 / 20 == ZH_SHARE
    assert language_group(text) == "other"
    assert language_group("中文字" + "a" * 16) == "zh"


@pytest.mark.parametrize(
    ("char", "han"), [("中", True), ("㐀", True), ("𠀀", True), ("あ", False), ("。", False), ("a", False)]
)
def test_han_characters_are_told_from_other_characters(char: str, han: bool) -> None:
    assert is_cjk(char) is han


@given(st.text(alphabet="a 中\u3000\x1c\u2028\u200b\U00020001字\uf900\u33ff\u3400\u9fff\ua000\n"))
def test_counting_agrees_with_asking_for_each_character(text: str) -> None:
    solid = [char for char in text if not char.isspace()]
    assert count_cjk(text) == sum(map(is_cjk, text))
    assert cjk_share(text) == (sum(map(is_cjk, solid)) / len(solid) if solid else 0.0)


def test_counting_is_quick() -> None:
    began = time.process_time()
    for _ in range(20):
        count_cjk("中文 mixed " * 25_000)
    assert time.process_time() - began < 2  # character by character: 4 s and more
