"""BERTScore with the bundled model: contextual vectors that still read the order of the words."""

from __future__ import annotations

import random
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from ragkit.evaluation.text_metrics import BertScore
from ragkit.models.token_vectors import token_vectors

DATA = Path(__file__).resolve().parents[1] / "data" / "zh_sentences.txt"
SENTENCES = [line.split("/") for line in DATA.read_text(encoding="utf-8").splitlines()]
RIGHT = ["".join(words) for words in SENTENCES]


@pytest.fixture(scope="module")
def score(bundled_e5: Any) -> BertScore:
    return BertScore(bundled_e5, RIGHT)


@pytest.mark.parametrize("unit", ["words", "characters"])
def test_a_shuffled_chinese_answer_scores_far_below_the_right_one(score: BertScore, unit: str) -> None:
    chance = random.Random(7)
    wrong = []
    for words, right in zip(SENTENCES, RIGHT, strict=True):
        parts = list(words) if unit == "words" else list(right)
        chance.shuffle(parts)
        wrong.append(score.score("".join(parts), right))
    assert fmean(score.score(right, right) for right in RIGHT) == pytest.approx(1, abs=0.01)
    assert fmean(wrong) <= 0.6


def test_other_words_for_the_same_score_above_their_shuffled_characters(score: BertScore) -> None:
    reference = "LoRA 冻结原权重，只训练两个低秩矩阵，所以可训练参数很少。"
    answer = "LoRA 不更新原模型参数，只学习两个低秩矩阵，因此要训练的参数非常少。"
    characters = list(answer)
    random.Random(0).shuffle(characters)
    assert score.score(answer, reference) > 2 * score.score("".join(characters), reference)


def test_token_vectors_are_one_row_a_token_without_special_ones(bundled_e5: Any) -> None:
    one, two = token_vectors(bundled_e5, ["模型", "模型 模型"]) or []
    assert one.shape[1] == two.shape[1] == 384
    assert 0 < len(one) < len(two)
    assert one.dtype == np.float32 and np.isfinite(two).all()


def test_the_report_says_which_vectors_were_matched(score: BertScore) -> None:
    assert score.units == "3-token means of the middle layer"
