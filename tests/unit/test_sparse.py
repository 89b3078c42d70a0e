"""BM25 and coverage, recomputed by hand and against rank_bm25."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from rank_bm25 import BM25Okapi

from ragkit.index.bm25 import Bm25, BM25Settings
from ragkit.index.postings import PostingsSegment
from ragkit.text.tokens import query_terms, tokenize

TOKENS = [["a", "b", "a"], ["b", "c"], ["c", "c", "c", "d"], ["e"]]
MEAN_LENGTH = (3 + 2 + 4 + 1) / 4
PASSAGES = [
    "梯度下降沿着负梯度的方向更新参数。",
    "Adam combines momentum with adaptive learning rates.",
    "LoRA 在注意力权重旁边加低秩矩阵，rank 通常取 8。",
    "注意力的复杂度是序列长度的平方。",
    "The KV cache stores keys and values of past tokens.",
    "学习率过大，梯度下降会发散；学习率过小，收敛很慢。",
    "Gradient descent follows the negative gradient.",
]
QUESTIONS = ["梯度下降的学习率", "attention 的复杂度", "KV cache", "gradient descent", "完全无关的问题", "LoRA rank 8"]


def bm25(tokens: Sequence[Sequence[str]], settings: BM25Settings | None = None) -> Bm25:
    return Bm25([PostingsSegment.build(tokens)], settings=settings)


def lucene_idf(df: int, size: int = 4) -> float:
    return math.log(1 + (size - df + 0.5) / (df + 0.5))


def lucene(tf: int, df: int, length: int, k1: float = 0.4, b: float = 0.3) -> float:
    return lucene_idf(df) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / MEAN_LENGTH))


def test_lucene_scores_equal_the_formula() -> None:
    ordinals, scores = bm25(TOKENS).search(["a", "b"], 10)
    expected = {
        0: lucene(tf=2, df=1, length=3) + lucene(tf=1, df=2, length=3),
        1: lucene(tf=1, df=2, length=2),
    }
    assert dict(zip(ordinals.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-6)


def test_k1_and_b_are_those_of_the_settings() -> None:
    _, scores = bm25(TOKENS, BM25Settings(k1=1.2, b=0.75)).search(["c"], 1)
    assert scores.tolist() == pytest.approx([lucene(tf=3, df=2, length=4, k1=1.2, b=0.75)], rel=1e-6)


def test_hits_come_best_first_and_ties_by_ordinal() -> None:
    index = bm25([["x"], ["x", "y"], ["x"], ["z"]])
    assert index.search(["x"], 10)[0].tolist() == [0, 2, 1]


def test_a_tie_at_the_cut_is_decided_by_ordinal() -> None:
    index = bm25([["x"] for _ in range(9)])
    assert index.search(["x"], 4)[0].tolist() == [0, 1, 2, 3]


def test_at_most_n_hits_come_back_and_they_are_the_best() -> None:
    index = bm25([tokenize(text) for text in PASSAGES])
    everything, _ = index.search(tokenize("梯度下降"), 10)
    assert index.search(tokenize("梯度下降"), 2)[0].tolist() == everything[:2].tolist()


def test_chunks_without_a_term_of_the_query_are_no_hits() -> None:
    assert bm25(TOKENS).search(["d"], 10)[0].tolist() == [2]
    assert bm25(TOKENS).search(["unseen"], 10)[0].tolist() == []


def test_a_repeated_query_term_counts_once() -> None:
    index = bm25(TOKENS)
    assert index.search(["a", "a"], 10)[1].tolist() == index.search(["a"], 10)[1].tolist()


def test_only_allowed_chunks_are_returned() -> None:
    allowed = np.array([True, False, True, True])
    assert bm25(TOKENS).search(["b", "c"], 10, allowed)[0].tolist() == [2, 0]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_variant_okapi_scores_like_rank_bm25(question: str) -> None:
    tokens = [tokenize(text) for text in PASSAGES]
    settings = BM25Settings(k1=1.5, b=0.75, variant="okapi")
    terms = query_terms(question)
    reference = BM25Okapi(tokens).get_scores(terms)
    ordinals, scores = bm25(tokens, settings).search(terms, 10)
    assert set(ordinals.tolist()) == {i for i, score in enumerate(reference) if score > 0}
    assert scores == pytest.approx(reference[ordinals], abs=1e-5)


def test_the_variant_okapi_scores_like_rank_bm25_on_random_tokens() -> None:
    chance = random.Random(5)
    tokens = [chance.choices("abcdefghijklmnop", k=chance.randint(1, 30)) for _ in range(60)]
    index = bm25(tokens, BM25Settings(k1=1.5, b=0.75, variant="okapi"))
    reference = BM25Okapi(tokens)
    for _ in range(30):
        terms = chance.sample("abcdefghijklmnopq", 4)
        ordinals, scores = index.search(terms, 60)
        expected = reference.get_scores(terms)
        assert scores == pytest.approx(expected[ordinals], abs=1e-5)
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
        assert set(np.flatnonzero(expected > 1e-6)) <= set(ordinals.tolist())


def test_coverage_is_the_share_of_the_idf_mass_of_the_query() -> None:
    coverage = bm25(TOKENS).coverage(["a", "b"], range(4))
    total = lucene_idf(df=1) + lucene_idf(df=2)
    assert coverage.tolist() == pytest.approx([1.0, lucene_idf(df=2) / total, 0.0, 0.0], rel=1e-6)


def test_an_unseen_term_stays_in_the_denominator_of_coverage() -> None:
    unseen = math.log(1 + (4 + 0.5) / 0.5)
    coverage = bm25(TOKENS).coverage(["a", "unseen"], range(4))
    assert coverage[0] == pytest.approx(lucene_idf(df=1) / (lucene_idf(df=1) + unseen), rel=1e-6)


def test_how_often_a_chunk_holds_a_term_does_not_change_its_coverage() -> None:
    coverage = bm25(TOKENS).coverage(["c"], range(4))
    assert coverage.tolist() == [0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("terms", [[], ["unseen"]])
def test_a_query_without_known_terms_is_covered_by_nothing(terms: list[str]) -> None:
    assert bm25(TOKENS).coverage(terms, range(4)).tolist() == [0.0] * 4


def test_coverage_of_the_variant_okapi_uses_an_idf_that_is_never_negative() -> None:
    index = bm25([["x"], ["x"], ["x", "y"]], BM25Settings(variant="okapi"))
    assert index.coverage(["x", "y"], [0])[0] == pytest.approx(
        math.log(1 + 0.5 / 3.5) / (math.log(1 + 0.5 / 3.5) + math.log(1 + 2.5 / 1.5)), rel=1e-6
    )


def test_idf_of_a_rarer_term_is_higher_and_of_an_unseen_one_the_highest() -> None:
    index = bm25(TOKENS)
    assert index.idf("a") == pytest.approx(lucene_idf(df=1), rel=1e-6)
    assert index.idf("b") < index.idf("a") < index.idf("unseen")


def test_settings_that_score_differently_have_different_fingerprints() -> None:
    settings = [BM25Settings(), BM25Settings(k1=1.2), BM25Settings(b=0.75), BM25Settings(variant="okapi")]
    assert len({item.fingerprint for item in settings}) == 4
