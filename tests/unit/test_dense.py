"""The dense leg against plain numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ragkit.errors import IndexCorruptError, ModelError
from ragkit.index.dense import DenseIndex
from ragkit.index.language_axis import LanguageAxis
from ragkit.models.embeddings import unit

SIZE, DIMENSION = 203, 24
Vectors = npt.NDArray[np.float32]


def random_unit(*shape: int, seed: int = 0) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=shape))


VECTORS = random_unit(SIZE, DIMENSION)
POSITIONS = np.random.default_rng(1).random(SIZE).astype(np.float32)
QUERY = random_unit(DIMENSION, seed=2)
INDEX = DenseIndex.build(VECTORS, POSITIONS)


@pytest.mark.parametrize("weight", [0.0, 0.3, -0.2])
def test_search_is_exact_cosine_minus_the_weighted_language_position(weight: float) -> None:
    expected = VECTORS @ QUERY - np.float32(weight) * POSITIONS
    ordinals, cosines = INDEX.search(QUERY, 10, language_weight=weight)
    assert ordinals.tolist() == np.argsort(-expected, kind="stable")[:10].tolist()
    assert cosines == pytest.approx(expected[ordinals], abs=1e-6)


def test_only_allowed_chunks_are_returned_and_they_are_the_best_of_those() -> None:
    allowed = np.random.default_rng(3).random(SIZE) < 0.1
    expected = np.where(allowed, VECTORS @ QUERY, -2)
    ordinals, _ = INDEX.search(QUERY, 5, allowed)
    assert ordinals.tolist() == np.argsort(-expected, kind="stable")[:5].tolist()


def test_fewer_allowed_chunks_than_asked_for_give_a_short_answer() -> None:
    allowed = np.zeros(SIZE, dtype=np.bool_)
    allowed[[7, 130]] = True
    assert sorted(INDEX.search(QUERY, 50, allowed)[0].tolist()) == [7, 130]


@pytest.mark.parametrize("n", [0, -1])
def test_no_hits_are_returned_where_none_are_asked_for(n: int) -> None:
    assert INDEX.search(QUERY, n)[0].tolist() == []


def test_asking_for_more_than_there_is_gives_all() -> None:
    assert sorted(INDEX.search(QUERY, 10_000)[0].tolist()) == list(range(SIZE))


def test_equal_cosines_are_ordered_by_ordinal() -> None:
    index = DenseIndex.build(np.repeat(VECTORS[:1], 6, axis=0), np.zeros(6, dtype=np.float32))
    assert index.search(QUERY, 6)[0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_refused(value: float) -> None:
    broken = VECTORS.copy()
    broken[3, 5] = value
    with pytest.raises(ValueError, match="finite"):
        DenseIndex.build(broken, POSITIONS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_returns_a_value_that_is_not_finite_is_named_as_the_cause(value: float) -> None:
    with pytest.raises(ModelError, match="NaN or infinite"):
        unit([[1.0, value]])


def test_unit_scales_rows_and_leaves_a_zero_row() -> None:
    assert unit([[3.0, 4.0], [0.0, 0.0]]) == pytest.approx(np.array([[3 / 5, 4 / 5], [0.0, 0.0]]))


def test_the_vectors_come_back_without_their_language_position() -> None:
    assert INDEX.dimension == DIMENSION
    assert np.array_equal(INDEX.vectors([5, 0, 199]), VECTORS[[5, 0, 199]])
    assert INDEX.vectors([]).shape == (0, DIMENSION)


def test_what_is_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    INDEX.save(tmp_path / "v.faiss")
    loaded = DenseIndex.load(tmp_path / "v.faiss")
    assert len(loaded) == SIZE
    assert [part.tolist() for part in loaded.search(QUERY, 9)] == [part.tolist() for part in INDEX.search(QUERY, 9)]


def test_a_file_that_faiss_cannot_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.faiss").write_bytes(b"no index")
    with pytest.raises(IndexCorruptError, match=r"v\.faiss"):
        DenseIndex.load(tmp_path / "v.faiss")


AXIS = LanguageAxis(np.array([0.5, 0, 0], dtype=np.float32), english=-0.1, chinese=0.3)


def test_a_position_on_the_language_axis_runs_from_0_english_to_1_chinese() -> None:
    rows = np.array([[-0.2, 9, 9], [0.6, 9, 9], [0.2, 9, 9], [-1, 0, 0], [2, 0, 0]], dtype=np.float32)
    assert AXIS.positions(rows).tolist() == pytest.approx([0, 1, (0.2 * 0.5 + 0.1) / (0.3 + 0.1), 0, 1], abs=1e-6)


def test_a_model_that_does_not_tell_the_languages_apart_has_no_positions() -> None:
    flat = LanguageAxis(np.zeros(3, dtype=np.float32), english=0.0, chinese=0.0)
    assert flat.positions(np.ones((2, 3), dtype=np.float32)).tolist() == [0, 0]


def test_the_weight_of_a_query_is_its_projection_times_the_correction() -> None:
    query = np.array([0.4, 0.9, 0], dtype=np.float32)
    assert AXIS.weight(query, 0.7) == pytest.approx(0.7 * 0.4 * 0.5)
    assert AXIS.weight(query, 0.0) == 0


def test_an_axis_that_is_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    AXIS.save(tmp_path / "axis.npy")
    loaded = LanguageAxis.load(tmp_path / "axis.npy")
    assert loaded.direction.tolist() == AXIS.direction.tolist()
    assert (loaded.english, loaded.chinese) == (np.float32(AXIS.english), np.float32(AXIS.chinese))
