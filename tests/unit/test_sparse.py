"""BM25 and coverage, recomputed by hand and against rank_bm25."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
from rank_bm25 import BM25Okapi

from ragkit.errors import IndexCorruptError
from ragkit.index.sparse import BM25Settings, SparseIndex
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


def lucene_idf(df: int, size: int = 4) -> float:
    return math.log(1 + (size - df + 0.5) / (df + 0.5))


def lucene(tf: int, df: int, length: int, k1: float = 0.4, b: float = 0.3) -> float:
    return lucene_idf(df) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / MEAN_LENGTH))


def test_lucene_scores_equal_the_formula() -> None:
    ordinals, scores = SparseIndex.build(TOKENS).search(["a", "b"], 10)
    expected = {
        0: lucene(tf=2, df=1, length=3) + lucene(tf=1, df=2, length=3),
        1: lucene(tf=1, df=2, length=2),
    }
    assert dict(zip(ordinals.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-6)


def test_k1_and_b_are_those_of_the_settings() -> None:
    _, scores = SparseIndex.build(TOKENS, BM25Settings(k1=1.2, b=0.75)).search(["c"], 1)
    assert scores.tolist() == pytest.approx([lucene(tf=3, df=2, length=4, k1=1.2, b=0.75)], rel=1e-6)


def test_hits_come_best_first_and_ties_by_ordinal() -> None:
    index = SparseIndex.build([["x"], ["x", "y"], ["x"], ["z"]])
    assert index.search(["x"], 10)[0].tolist() == [0, 2, 1]


def test_a_tie_at_the_cut_is_decided_by_ordinal() -> None:
    index = SparseIndex.build([["x"] for _ in range(9)])
    assert index.search(["x"], 4)[0].tolist() == [0, 1, 2, 3]


def test_at_most_n_hits_come_back_and_they_are_the_best() -> None:
    index = SparseIndex.build([tokenize(text) for text in PASSAGES])
    everything, _ = index.search(tokenize("梯度下降"), 10)
    assert index.search(tokenize("梯度下降"), 2)[0].tolist() == everything[:2].tolist()


def test_chunks_without_a_term_of_the_query_are_no_hits() -> None:
    assert SparseIndex.build(TOKENS).search(["d"], 10)[0].tolist() == [2]
    assert SparseIndex.build(TOKENS).search(["unseen"], 10)[0].tolist() == []


def test_a_repeated_query_term_counts_once() -> None:
    index = SparseIndex.build(TOKENS)
    assert index.search(["a", "a"], 10)[1].tolist() == index.search(["a"], 10)[1].tolist()


def test_only_allowed_chunks_are_returned() -> None:
    allowed = np.array([True, False, True, True])
    assert SparseIndex.build(TOKENS).search(["b", "c"], 10, allowed)[0].tolist() == [2, 0]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_variant_okapi_scores_like_rank_bm25(question: str) -> None:
    tokens = [tokenize(text) for text in PASSAGES]
    settings = BM25Settings(k1=1.5, b=0.75, variant="okapi")
    terms = query_terms(question)
    reference = BM25Okapi(tokens).get_scores(terms)
    ordinals, scores = SparseIndex.build(tokens, settings).search(terms, 10)
    assert set(ordinals.tolist()) == {i for i, score in enumerate(reference) if score > 0}
    assert scores == pytest.approx(reference[ordinals], abs=1e-5)


def test_the_variant_okapi_scores_like_rank_bm25_on_random_tokens() -> None:
    chance = random.Random(5)
    tokens = [chance.choices("abcdefghijklmnop", k=chance.randint(1, 30)) for _ in range(60)]
    index = SparseIndex.build(tokens, BM25Settings(k1=1.5, b=0.75, variant="okapi"))
    reference = BM25Okapi(tokens)
    for _ in range(30):
        terms = chance.sample("abcdefghijklmnopq", 4)
        ordinals, scores = index.search(terms, 60)
        expected = reference.get_scores(terms)
        assert scores == pytest.approx(expected[ordinals], abs=1e-5)
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
        assert set(np.flatnonzero(expected > 1e-6)) <= set(ordinals.tolist())


def test_coverage_is_the_share_of_the_idf_mass_of_the_query() -> None:
    coverage = SparseIndex.build(TOKENS).coverage(["a", "b"])
    total = lucene_idf(df=1) + lucene_idf(df=2)
    assert coverage.tolist() == pytest.approx([1.0, lucene_idf(df=2) / total, 0.0, 0.0], rel=1e-6)


def test_an_unseen_term_stays_in_the_denominator_of_coverage() -> None:
    unseen = math.log(1 + (4 + 0.5) / 0.5)
    coverage = SparseIndex.build(TOKENS).coverage(["a", "unseen"])
    assert coverage[0] == pytest.approx(lucene_idf(df=1) / (lucene_idf(df=1) + unseen), rel=1e-6)


def test_how_often_a_chunk_holds_a_term_does_not_change_its_coverage() -> None:
    coverage = SparseIndex.build(TOKENS).coverage(["c"])
    assert coverage.tolist() == [0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("terms", [[], ["unseen"]])
def test_a_query_without_known_terms_is_covered_by_nothing(terms: list[str]) -> None:
    assert SparseIndex.build(TOKENS).coverage(terms).tolist() == [0.0] * 4


def test_coverage_of_the_variant_okapi_uses_an_idf_that_is_never_negative() -> None:
    index = SparseIndex.build([["x"], ["x"], ["x", "y"]], BM25Settings(variant="okapi"))
    assert index.coverage(["x", "y"])[0] == pytest.approx(
        math.log(1 + 0.5 / 3.5) / (math.log(1 + 0.5 / 3.5) + math.log(1 + 2.5 / 1.5)), rel=1e-6
    )


def test_idf_of_a_rarer_term_is_higher_and_of_an_unseen_one_the_highest() -> None:
    index = SparseIndex.build(TOKENS)
    assert index.idf("a") == pytest.approx(lucene_idf(df=1), rel=1e-6)
    assert index.idf("b") < index.idf("a") < index.idf("unseen")


def test_what_is_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    index = SparseIndex.build([tokenize(text) for text in PASSAGES])
    index.save(tmp_path)
    loaded = SparseIndex.load(tmp_path)
    assert len(loaded) == len(PASSAGES)
    for question in QUESTIONS:
        terms = query_terms(question)
        assert [part.tolist() for part in loaded.search(terms, 5)] == [part.tolist() for part in index.search(terms, 5)]
        assert loaded.coverage(terms).tolist() == index.coverage(terms).tolist()


def test_an_index_of_chunks_without_tokens_is_saved_and_loaded(tmp_path: Path) -> None:
    SparseIndex.build([[], []]).save(tmp_path)
    loaded = SparseIndex.load(tmp_path)
    assert len(loaded) == 2
    assert loaded.search(["a"], 5)[0].tolist() == []


def test_terms_that_do_not_fit_the_postings_are_refused(tmp_path: Path) -> None:
    SparseIndex.build(TOKENS).save(tmp_path)
    with (tmp_path / "terms.txt").open("a", encoding="utf-8") as file:
        file.write("\nzz")
    with pytest.raises(IndexCorruptError, match="do not fit together"):
        SparseIndex.load(tmp_path)


def test_settings_that_score_differently_have_different_fingerprints() -> None:
    settings = [BM25Settings(), BM25Settings(k1=1.2), BM25Settings(b=0.75), BM25Settings(variant="okapi")]
    assert len({item.fingerprint for item in settings}) == 4
