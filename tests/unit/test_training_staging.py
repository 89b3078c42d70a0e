"""The folder a model is trained in: gone afterwards, and that of a training that was killed is cleared away."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from ragkit.training.embedding import _LOCK, _staging


def test_a_training_that_was_killed_leaves_nothing_for_long(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in (".a-tuned-1.7-00.tmp", ".b-tuned-2.8-00.tmp", ".not-ours.tmp"):
        (models / name / "model").mkdir(parents=True)
    killed, running, other = sorted(models.iterdir(), key=lambda path: path.name)
    (killed / _LOCK).touch()
    with FileLock(running / _LOCK), _staging(models / "new") as staging:
        assert staging.is_dir() and staging.parent == models
        assert not killed.exists() and running.exists() and other.exists()
    assert not staging.exists()


def test_the_folder_is_gone_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(KeyError), _staging(tmp_path / "new" / "model") as staging:
        (staging / "model").mkdir()
        raise KeyError
    assert list((tmp_path / "new").iterdir()) == []
