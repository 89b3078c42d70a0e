"""The vectors of a segment against plain numpy, flat and with candidates from FAISS."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ragkit.errors import IndexCorruptError
from ragkit.index import vector_choice
from ragkit.index.vector_segment import VectorSegment
from ragkit.models.embeddings import unit

Vectors = npt.NDArray[np.float32]
SIZE, DIMENSION = 3000, 32
SCAN = "PQ17x4fs"


def clustered(count: int, seed: int) -> Vectors:
    rng = np.random.default_rng(seed)
    return unit(
        np.random.default_rng(9).normal(size=(40, DIMENSION))[rng.integers(0, 40, count)]
        + 0.5 * rng.normal(size=(count, DIMENSION))
    )


VECTORS = clustered(SIZE, 0)
POSITIONS = np.random.default_rng(1).random(SIZE).astype(np.float32)
QUERIES = clustered(20, 2)
FLAT = VectorSegment.build(VECTORS, POSITIONS)
COARSE = VectorSegment.build(VECTORS, POSITIONS, factory=SCAN)


def exact(query: Vectors, weight: float = 0.0) -> Vectors:
    return np.asarray(np.einsum("ij,j->i", VECTORS, query) - np.float32(weight) * POSITIONS)


@pytest.mark.parametrize("weight", [0.0, 0.3, -0.2])
def test_flat_search_is_exact_cosine_minus_the_weighted_language_position(weight: float) -> None:
    assert FLAT.kind == "Flat" and FLAT.recall == 1.0
    for query in QUERIES:
        ids, cosines = FLAT.search(query, 10, language_weight=weight)
        assert ids.tolist() == np.argsort(-exact(query, weight), kind="stable")[:10].tolist()
        assert cosines.tolist() == exact(query, weight)[ids].tolist()


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_what_faiss_proposes_is_scored_exactly_and_misses_little(weight: float) -> None:
    assert COARSE.kind == SCAN
    found = 0
    for query in QUERIES:
        ids, cosines = COARSE.search(query, 10, language_weight=weight)
        assert cosines.tolist() == exact(query, weight)[ids].tolist()
        assert cosines.tolist() == sorted(cosines.tolist(), reverse=True)
        found += len(set(ids.tolist()) & set(np.argsort(-exact(query, weight), kind="stable")[:10].tolist()))
    assert found >= 0.95 * 10 * len(QUERIES)


@pytest.mark.parametrize("segment", [FLAT, COARSE], ids=["flat", "coarse"])
@pytest.mark.parametrize("share", [0.9, 0.2, 0.01, 0.0005])
def test_only_allowed_chunks_are_returned_and_they_are_the_best_of_those(segment: VectorSegment, share: float) -> None:
    allowed = np.random.default_rng(3).random(SIZE) < share
    found = total = 0
    for query in QUERIES:
        ids, _ = segment.search(query, 10, allowed)
        expected = np.flatnonzero(allowed)[np.argsort(-exact(query)[allowed], kind="stable")][:10]
        assert allowed[ids].all() and len(ids) == len(expected)
        found, total = found + len(set(ids.tolist()) & set(expected.tolist())), total + len(expected)
        if segment is FLAT:
            assert ids.tolist() == expected.tolist()
    assert found >= 0.95 * total


def test_a_filter_far_from_the_query_still_gives_as_many_as_asked_for() -> None:
    query = QUERIES[0]
    allowed = exact(query) < np.sort(exact(query))[SIZE // 5]
    ids, _ = COARSE.search(query, 10, allowed)
    assert ids.tolist() == np.flatnonzero(allowed)[np.argsort(-exact(query)[allowed], kind="stable")][:10].tolist()


@pytest.mark.parametrize("segment", [FLAT, COARSE], ids=["flat", "coarse"])
def test_asking_for_none_or_for_more_than_there_is(segment: VectorSegment) -> None:
    assert segment.search(QUERIES[0], 0)[0].tolist() == segment.search(QUERIES[0], -1)[0].tolist() == []
    assert sorted(segment.search(QUERIES[0], 10 * SIZE)[0].tolist()) == list(range(SIZE))
    assert segment.search(QUERIES[0], 5, np.zeros(SIZE, dtype=np.bool_))[0].tolist() == []


def test_copies_are_ordered_by_id_also_where_the_list_is_cut() -> None:
    rows = np.vstack((VECTORS[:50], np.repeat(QUERIES[:1], 30, axis=0), VECTORS[50:90]))
    segment = VectorSegment.build(rows, np.zeros(len(rows), dtype=np.float32))
    for n in (1, 7, 30):
        assert segment.search(QUERIES[0], n)[0].tolist() == list(range(50, 50 + n))
        assert segment.search_batch(QUERIES[:1], n)[0][0].tolist() == list(range(50, 50 + n))


@pytest.mark.parametrize("segment", [FLAT, COARSE], ids=["flat", "coarse"])
@pytest.mark.parametrize("allowed", [None, np.arange(SIZE) % 3 == 0], ids=["all", "some"])
def test_a_batch_finds_what_its_queries_find_alone(
    segment: VectorSegment, allowed: npt.NDArray[np.bool_] | None
) -> None:
    for query, (ids, cosines) in zip(QUERIES, segment.search_batch(QUERIES, 10, allowed), strict=True):
        alone = segment.search(query, 10, allowed)
        if segment is FLAT:
            assert (ids.tolist(), cosines.tolist()) == (alone[0].tolist(), alone[1].tolist())
        assert len(set(ids.tolist()) & set(alone[0].tolist())) >= 8
        assert cosines.tolist() == exact(query)[ids].tolist()
    assert segment.search_batch(QUERIES[:0], 10) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    broken = VECTORS[:10].copy()
    broken[3, 5] = value
    with pytest.raises(ValueError, match="finite"):
        VectorSegment.build(broken, POSITIONS[:10])
    with pytest.raises(ValueError, match="finite"):
        VectorSegment.build(VECTORS[:10], np.full(10, value, dtype=np.float32))
    for search in (lambda: FLAT.search(broken[3], 5), lambda: FLAT.search_batch(broken, 5)):
        with pytest.raises(ValueError, match="finite"):
            search()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="positions"):
        VectorSegment.build(VECTORS[:10], POSITIONS[:9])
    with pytest.raises(ValueError, match="shape"):
        FLAT.search(QUERIES[0][:-1], 5)


@pytest.mark.parametrize("factory", [None, SCAN, "IVF16,SQ8", "SQfp16"])
def test_a_saved_segment_finds_the_same_and_gives_its_vectors_back(tmp_path: Path, factory: str | None) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))  # FAISS alone could not open it
    folder.mkdir()
    built = VectorSegment.build(VECTORS, POSITIONS, factory=factory)
    names = built.save(folder)
    assert sorted(names) == sorted(path.name for path in folder.iterdir())
    loaded = VectorSegment.load(folder)
    assert (len(loaded), loaded.dimension, loaded.kind, loaded.recall) == (SIZE, DIMENSION, built.kind, built.recall)
    assert loaded.vectors([5, 0, 2999]).tolist() == VECTORS[[5, 0, 2999]].tolist()
    assert loaded.vectors(np.arange(SIZE)).tolist() == VECTORS.tolist()
    assert loaded.vectors([]).shape == (0, DIMENSION)
    for query in QUERIES:
        a, b = built.search(query, 9, language_weight=0.1), loaded.search(query, 9, language_weight=0.1)
        assert [part.tolist() for part in a] == [part.tolist() for part in b]
    with pytest.raises(IndexError):
        loaded.vectors([SIZE])


def test_an_empty_segment_finds_nothing(tmp_path: Path) -> None:
    VectorSegment.build(VECTORS[:0], POSITIONS[:0]).save(tmp_path)
    assert VectorSegment.load(tmp_path).search(QUERIES[0], 5)[0].tolist() == []
    assert VectorSegment.load(tmp_path).search_batch(QUERIES[:1], 5)[0][0].tolist() == []


@pytest.mark.parametrize("name", ["vectors.faiss", "vectors.safetensors"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    COARSE.save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:1000])
    with pytest.raises(IndexCorruptError, match="damaged"):
        VectorSegment.load(tmp_path)


def test_codes_of_another_segment_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    COARSE.save(tmp_path)
    VectorSegment.build(VECTORS[:-1], POSITIONS[:-1], factory=SCAN).save(tmp_path / "other")
    (tmp_path / "other/vectors.faiss").replace(tmp_path / "vectors.faiss")
    with pytest.raises(IndexCorruptError, match="does not fit"):
        VectorSegment.load(tmp_path)


def test_a_factory_that_faiss_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match="NoSuch7"):
        VectorSegment.build(VECTORS, POSITIONS, factory="NoSuch7")


def test_the_first_type_that_keeps_its_recall_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vector_choice, "FLAT_UP_TO", 1000)
    with caplog.at_level("INFO"):
        chosen = VectorSegment.build(VECTORS, POSITIONS)
    assert chosen.kind != "Flat" and chosen.recall >= vector_choice.TARGET
    assert f"{chosen.kind} over 3000 rows: recall@10 {chosen.recall:.4f}" in caplog.text
    # Real questions that the cheap codes cannot tell apart make it choose a dearer type, or none.
    tight = unit(VECTORS[:1] + 0.02 * np.random.default_rng(4).normal(size=(SIZE, DIMENSION)))
    held = VectorSegment.build(tight, POSITIONS, real_queries=unit(-tight[:50]))
    assert held.kind != "PQ8x4fs" and held.recall >= vector_choice.TARGET


def test_where_no_type_keeps_its_recall_all_are_compared(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vector_choice, "FLAT_UP_TO", 1000)
    monkeypatch.setattr(vector_choice, "TARGET", 1.1)
    assert VectorSegment.build(VECTORS, POSITIONS).kind == "Flat"
    assert "all are compared" in caplog.text


def test_a_very_large_segment_gets_an_inverted_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_choice, "FLAT_UP_TO", 500)
    monkeypatch.setattr(vector_choice, "IVF_FROM", 1000)
    segment = VectorSegment.build(VECTORS, POSITIONS)
    assert segment.kind.startswith("IVF") and segment.recall >= vector_choice.IVF_TARGET
