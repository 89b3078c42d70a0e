"""Text metrics: values worked out by hand, and the shuffled answer that none of them may like."""

from __future__ import annotations

import random
import sys
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest

from ragkit.errors import ModelError
from ragkit.evaluation.text_metrics import (
    BertScore,
    LexicalMetrics,
    TextMetrics,
    TextScores,
    as_dict,
    unrelated_sentences,
)
from ragkit.models.embeddings import WrappedEmbedder
from ragkit.testing import HashingEmbedder

DATA = Path(__file__).resolve().parents[1] / "data" / "zh_sentences.txt"
SENTENCES = [line.split("/") for line in DATA.read_text(encoding="utf-8").splitlines()]
RIGHT = ["".join(words) for words in SENTENCES]


@pytest.fixture(scope="module")
def lexical() -> LexicalMetrics:
    return LexicalMetrics()


@pytest.fixture(scope="module")
def metrics() -> TextMetrics:
    return TextMetrics(WrappedEmbedder(HashingEmbedder(dimension=256)), RIGHT)


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence_of_characters(lexical: LexicalMetrics) -> None:
    # 梯度消失 against 梯度会消失: all 4 of 4, and 4 of 5.
    precision, recall = 4 / 4, 4 / 5
    assert lexical.rouge_l("梯度消失", "梯度会消失") == pytest.approx(2 * precision * recall / (precision + recall))


def test_rouge_l_reads_words_of_latin_text_and_no_punctuation(lexical: LexicalMetrics) -> None:
    # LoRA trains two matrices / LoRA trains matrices: 3 of 4 and 3 of 3; the full stop is no word.
    assert lexical.rouge_l("LoRA trains two matrices.", "LoRA trains matrices") == pytest.approx(6 / 7)


def test_width_case_and_traditional_characters_make_no_difference(lexical: LexicalMetrics) -> None:
    assert lexical.rouge_l("注意力機制，ＬＳＴＭ", "注意力机制,lstm") == 1
    assert lexical.bleu("注意力機制，ＬＳＴＭ", "注意力机制,lstm") == pytest.approx(1)


def test_bleu_is_the_geometric_mean_of_character_precisions_and_brevity(lexical: LexicalMetrics) -> None:
    # Of its 6, 5, 4, 3 n-grams 6, 3, 2, 1 are in the reference, which is one character longer.
    from math import exp, prod

    shared = [6 / 6, 3 / 5, 2 / 4, 1 / 3]
    assert lexical.bleu("甲乙丙丁己戊", "甲乙丙丁戊己庚") == pytest.approx(exp(1 - 7 / 6) * prod(shared) ** 0.25)


def test_short_and_empty_answers_have_a_score(lexical: LexicalMetrics) -> None:
    assert lexical.bleu("三个", "三个") == pytest.approx(1)
    assert lexical.bleu("", "三个") == lexical.rouge_l("", "三个") == 0
    assert lexical.corpus_bleu([], []) == 0
    assert lexical.corpus_bleu(RIGHT, RIGHT) == pytest.approx(1)


@pytest.mark.parametrize("unit", ["words", "characters"])
@pytest.mark.parametrize("metric", list(TextScores.__dataclass_fields__))
def test_a_shuffled_chinese_answer_scores_far_below_the_right_one(metrics: TextMetrics, metric: str, unit: str) -> None:
    assert len(SENTENCES) >= 20
    chance = random.Random(7)
    shuffled = []
    for words in SENTENCES:
        parts = list(words) if unit == "words" else list("".join(words))
        chance.shuffle(parts)
        shuffled.append("".join(parts))
    right = fmean(as_dict(metrics.score(text, text))[metric] for text in RIGHT)
    wrong = fmean(as_dict(metrics.score(bad, text))[metric] for bad, text in zip(shuffled, RIGHT, strict=True))
    assert right == pytest.approx(1, abs=1e-6)
    assert wrong <= 0.6 * right


def test_two_unrelated_sentences_have_a_bert_score_near_nothing(metrics: TextMetrics) -> None:
    assert fmean(metrics.bert.score(a, b) for a, b in pairwise(RIGHT)) < 0.1


def test_rescaling_moves_the_baseline_to_zero() -> None:
    score = BertScore(WrappedEmbedder(HashingEmbedder(dimension=256)), RIGHT)
    base = score.baseline["zh"]
    assert 0 < base < 0.5
    half = (1 + base) / 2  # a raw score half way between the baseline and 1 becomes 1/2
    score._raw = lambda answer, reference: half  # type: ignore[method-assign]
    assert score.score("x", "梯度") == pytest.approx(1 / 2)


def test_a_language_with_too_few_sentences_takes_the_baseline_of_all() -> None:
    score = BertScore(WrappedEmbedder(HashingEmbedder()), RIGHT[:5])
    assert score.baseline["en"] == score.baseline["zh"]


def test_the_units_say_that_windows_are_embedded_where_no_token_vectors_are(metrics: TextMetrics) -> None:
    assert metrics.describe()["bert_score_units"] == "4-token windows embedded as texts"


def test_an_answer_without_words_scores_nothing(metrics: TextMetrics) -> None:
    assert metrics.score(" 。 ", "三个门") == TextScores(0, 0, 0)


def test_bert_score_without_sentences_for_its_baseline_is_refused() -> None:
    with pytest.raises(ModelError, match="three"):
        BertScore(WrappedEmbedder(HashingEmbedder()), RIGHT[:2])


@pytest.mark.parametrize("package", ["rouge_score.rouge_scorer", "sacrebleu.metrics"])
def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=r"ragkit\[eval\]"):
        LexicalMetrics()


def test_unrelated_sentences_are_the_same_for_the_same_texts() -> None:
    english = [f"Sentence number {n} is about something else." for n in range(100)]
    drawn = unrelated_sentences([*RIGHT, *english, "短"])
    assert drawn == unrelated_sentences([*reversed(english), *RIGHT])
    assert len(drawn) == len(RIGHT) + 40 and "短" not in drawn
