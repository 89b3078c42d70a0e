"""The language axis of an embedding model, and vectors of length 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragkit.errors import ModelError
from ragkit.index.language_axis import LanguageAxis
from ragkit.models.embeddings import unit

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


def test_a_row_has_the_same_position_to_the_bit_however_many_are_asked_for() -> None:
    rng = np.random.default_rng(0)
    axis = LanguageAxis(rng.normal(size=384).astype(np.float32), english=-20.0, chinese=20.0)
    rows = rng.normal(size=(5000, 384)).astype(np.float32)
    together = axis.positions(rows)
    for i in (0, 1, 7, 4095, 4096, 4999):
        assert axis.positions(rows[i : i + 1])[0] == axis.positions(rows[i : i + 3])[0] == together[i]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_returns_a_value_that_is_not_finite_is_named_as_the_cause(value: float) -> None:
    with pytest.raises(ModelError, match="NaN or infinite"):
        unit([[1.0, value]])


def test_unit_scales_rows_and_leaves_a_zero_row() -> None:
    assert unit([[3.0, 4.0], [0.0, 0.0]]) == pytest.approx(np.array([[3 / 5, 4 / 5], [0.0, 0.0]]))
