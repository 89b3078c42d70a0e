"""BM25 over segments and tombstones against the formula written out, and against one index built at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from ragkit.errors import IndexCorruptError
from ragkit.index import bm25, postings
from ragkit.index.bm25 import Bm25, BM25Settings
from ragkit.index.bm25_reference import RankBm25, open_bm25
from ragkit.index.postings import PostingsSegment

Mask = npt.NDArray[np.bool_]
Chunks = list[list[str]]


def zipf_chunks(count: int, seed: int, words: int = 300) -> Chunks:
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(2, 2 + words)
    return [
        [f"词{i}" if i % 3 else f"word{i}" for i in rng.choice(words, rng.integers(0, 40), p=share / share.sum())]
        for _ in range(count)
    ]


CHUNKS = zipf_chunks(900, 0)
DEAD = np.random.default_rng(5).random(900) < 0.2
QUERIES = [chunk[3:12] for chunk in zipf_chunks(40, 1)] + [["词1", "词2"], ["词290"], ["unseen", "word3"], []]


def by_formula(chunks: Chunks, terms: Sequence[str], setting: BM25Settings) -> npt.NDArray[np.float64]:
    """Lucene's BM25, one chunk after the other."""
    average = sum(map(len, chunks)) / len(chunks)
    out = np.zeros(len(chunks))
    for term in dict.fromkeys(terms):
        df = sum(term in chunk for chunk in chunks)
        idf = math.log(1 + (len(chunks) - df + 0.5) / (df + 0.5))
        for i, chunk in enumerate(chunks):
            tf = chunk.count(term)
            norm = setting.k1 * (1 - setting.b + setting.b * len(chunk) / average)
            out[i] += idf * tf * (setting.k1 + 1) / (tf + norm) if tf else 0
    return out


def segmented(chunks: Chunks, dead: Mask | None, cuts: Sequence[int], setting: BM25Settings | None = None) -> Bm25:
    spans = list(zip([0, *cuts], [*cuts, len(chunks)], strict=True))
    segments = [PostingsSegment.build(chunks[a:b]) for a, b in spans]
    return Bm25(segments, None if dead is None else [dead[a:b] for a, b in spans], setting)


@pytest.fixture(autouse=True)
def prune_short_lists_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small corpora must run through what is meant for large ones."""
    monkeypatch.setattr(bm25, "_LONG", 4)


@pytest.mark.parametrize("setting", [BM25Settings(), BM25Settings(k1=1.5, b=0.75), BM25Settings(k1=0.0, b=0.0)])
@pytest.mark.parametrize("n", [1, 10, 10_000])
def test_the_best_chunks_are_those_of_the_formula(setting: BM25Settings, n: int) -> None:
    engine = segmented(CHUNKS, None, [], setting)
    for terms in QUERIES:
        expected = by_formula(CHUNKS, terms, setting)
        ordinals, scores = engine.search(terms, n)
        assert scores == pytest.approx(expected[ordinals], rel=1e-6)
        assert scores == pytest.approx(np.sort(expected[expected > 0])[::-1][:n], rel=1e-6)
        assert ordinals.tolist() == ordinals[np.lexsort((ordinals, -scores))].tolist()


@pytest.mark.parametrize("variant", ["lucene", "okapi"])
def test_segments_with_tombstones_score_to_the_bit_as_the_living_chunks_indexed_at_once(variant: str) -> None:
    setting = BM25Settings(variant=variant)  # type: ignore[arg-type]
    living = np.flatnonzero(~DEAD)
    at_once = segmented([CHUNKS[i] for i in living], None, [], setting)
    for cuts in ([], [450], [10, 11, 600], [0, 900]):
        parts = segmented(CHUNKS, DEAD, cuts, setting)
        for terms in QUERIES:
            ordinals, scores = parts.search(terms, 20)
            expected = at_once.search(terms, 20)
            assert ordinals.tolist() == living[expected[0]].tolist()
            assert scores.tolist() == expected[1].tolist()
            assert [parts.idf(term) for term in terms] == [at_once.idf(term) for term in terms]
            assert parts.coverage(terms, living).tolist() == at_once.coverage(terms, range(len(living))).tolist()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_segments_and_any_tombstones_equal_one_index(data: st.DataObject) -> None:
    chunks = data.draw(st.lists(st.lists(st.sampled_from("abcdeé词\ud800"), max_size=9), min_size=1, max_size=25))
    dead = np.array(data.draw(st.lists(st.booleans(), min_size=len(chunks), max_size=len(chunks))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(chunks)), max_size=3)))
    terms = data.draw(st.lists(st.sampled_from("abcdeé词\ud800x"), max_size=6))
    n = data.draw(st.integers(0, 30))
    living = np.flatnonzero(~dead)
    parts = segmented(chunks, dead, cuts)
    at_once = segmented([chunks[i] for i in living], None, [])
    expected = at_once.search(terms, n)
    ordinals, scores = parts.search(terms, n)
    assert ordinals.tolist() == living[expected[0]].tolist()
    assert scores.tolist() == expected[1].tolist()


@pytest.mark.parametrize("share", [0.5, 0.02, 0.0])
def test_only_allowed_chunks_are_found_and_they_are_the_best_of_those(share: float) -> None:
    allowed = np.random.default_rng(8).random(900) < share
    engine = segmented(CHUNKS, DEAD, [300])
    for terms in QUERIES:
        every, values = engine.search(terms, 900)
        keep = allowed[every]
        ordinals, scores = engine.search(terms, 7, allowed)
        assert ordinals.tolist() == every[keep][:7].tolist()
        assert scores.tolist() == values[keep][:7].tolist()


def test_a_search_leaves_nothing_behind_for_the_next() -> None:
    engine = segmented(CHUNKS, None, [450])
    first = [engine.search(terms, 5)[1].tolist() for terms in QUERIES]
    assert [engine.search(terms, 5)[1].tolist() for terms in QUERIES] == first


@pytest.mark.parametrize("kind", ["okapi", "rank-bm25"])
def test_scores_of_rank_bm25_are_reproduced_over_the_living_chunks(kind: str) -> None:
    setting = BM25Settings(k1=1.5, b=0.75, variant=kind)  # type: ignore[arg-type]
    living = np.flatnonzero(~DEAD)
    reference = BM25Okapi([CHUNKS[i] for i in living])
    spans = [(0, 400), (400, 900)]
    segments = [PostingsSegment.build(CHUNKS[a:b]) for a, b in spans]
    engine = open_bm25(segments, [DEAD[a:b] for a, b in spans], setting)
    assert isinstance(engine, RankBm25) == (kind == "rank-bm25")
    for terms in QUERIES:
        expected = reference.get_scores(list(dict.fromkeys(terms)))
        ordinals, scores = engine.search(terms, 900)
        assert set(ordinals.tolist()) == set(living[expected > 1e-9].tolist())
        assert scores == pytest.approx(expected[np.searchsorted(living, ordinals)], rel=1e-5)


def test_a_term_in_most_chunks_scores_as_rank_bm25_floors_it() -> None:
    chunks = [["x"], ["x"], ["x", "y"], ["z", "x"]]
    reference = BM25Okapi(chunks, k1=0.4, b=0.3).get_scores(["x", "y"])
    ordinals, scores = segmented(chunks, None, [2], BM25Settings(variant="okapi")).search(["x", "y"], 9)
    assert dict(zip(ordinals.tolist(), scores.tolist(), strict=True)) == pytest.approx(
        {i: s for i, s in enumerate(reference.tolist()) if s > 0}, rel=1e-6
    )


@pytest.mark.parametrize("kind", ["lucene", "okapi", "rank-bm25"])
def test_nothing_is_found_where_nothing_lives(kind: str) -> None:
    setting = BM25Settings(variant=kind)  # type: ignore[arg-type]
    for chunks, dead in (([], None), ([[], []], None), ([["a"]], np.array([True]))):
        engine = open_bm25([PostingsSegment.build(chunks)] if chunks else [], dead if dead is None else [dead], setting)
        assert engine.search(["a"], 5)[0].tolist() == []
        assert "a" not in engine
        assert engine.like("a") == []


def test_a_term_that_lives_in_no_chunk_is_unknown_and_has_the_highest_idf() -> None:
    engine = segmented([["only", "b"], ["b"], ["c"]], np.array([True, False, False]), [1])
    assert "only" not in engine and "b" in engine
    assert engine.idf("only") == engine.idf("unseen") == math.log(1 + (2 + 0.5) / 0.5)
    assert engine.idf("b") == math.log(1 + (2 - 1 + 0.5) / (1 + 0.5))


def test_coverage_of_given_chunks_is_their_share_of_the_idf_mass() -> None:
    engine = segmented([["a", "b"], ["b"], ["c"]], None, [2])
    a, b, unseen = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5), math.log(1 + 3.5 / 0.5)
    assert engine.coverage(["a", "b", "unseen"], [1, 2, 0]).tolist() == pytest.approx(
        [b / (a + b + unseen), 0.0, (a + b) / (a + b + unseen)], rel=1e-6
    )
    assert engine.coverage([], [1]).tolist() == [0.0]


def test_latin_terms_of_about_the_same_length_are_like_a_term() -> None:
    engine = segmented(
        [["lstm", "GRU", "transformer", "词", "1998", "naïve"], ["gru", "lstms", "dead"]], np.array([False, True]), [1]
    )
    assert engine.like("lstn") == ["GRU", "lstm"]


def test_postings_hold_what_was_counted_in_small_blocks_and_large(monkeypatch: pytest.MonkeyPatch) -> None:
    large = PostingsSegment.build(CHUNKS)
    monkeypatch.setattr(postings, "_BLOCK", 97)
    small = PostingsSegment.build(iter(CHUNKS))
    for segment in (large, small):
        assert segment.lengths.tolist() == [len(chunk) for chunk in CHUNKS]
        assert segment.tokens == sum(map(len, CHUNKS))
        terms = [segment.term(row) for row in range(segment.terms)]
        assert terms == sorted({term for chunk in CHUNKS for term in chunk}, key=str.encode)
        for row, term in enumerate(terms):
            ids, tf = segment.postings(row)
            counted = {i: chunk.count(term) for i, chunk in enumerate(CHUNKS) if term in chunk}
            assert dict(zip(ids.tolist(), tf.tolist(), strict=True)) == counted
            assert segment.max_tf[row] == max(counted.values())
            assert segment.min_length[row] == min(len(CHUNKS[i]) for i in counted)
    assert [Counter(bag) for bag in large.chunk_tokens()] == [Counter(chunk) for chunk in CHUNKS]


def test_a_term_that_fills_a_chunk_is_counted_beyond_a_byte() -> None:
    segment = PostingsSegment.build([["a"] * 70_000 + ["b"], ["b"]])
    assert segment.postings(segment.row("a"))[1].tolist() == [70_000]


def test_a_saved_segment_is_mapped_and_scores_the_same(tmp_path: Path) -> None:
    built = PostingsSegment.build(CHUNKS)
    assert built.save(tmp_path) == ("postings.safetensors",)
    loaded = PostingsSegment.load(tmp_path)
    assert isinstance(loaded.chunks.base, np.ndarray)  # a view of the map, not a copy
    for terms in QUERIES:
        a, b = Bm25([built]).search(terms, 9), Bm25([loaded]).search(terms, 9)
        assert [part.tolist() for part in a] == [part.tolist() for part in b]


def test_the_same_chunks_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        PostingsSegment.build(CHUNKS).save(tmp_path / name)
    assert (tmp_path / "a/postings.safetensors").read_bytes() == (tmp_path / "b/postings.safetensors").read_bytes()


def test_arrays_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    segment = PostingsSegment.build([["a", "b"], ["b"]])
    segment.tf = segment.tf[:-1]
    segment.save(tmp_path)
    with pytest.raises(IndexCorruptError, match="do not fit together"):
        PostingsSegment.load(tmp_path)
