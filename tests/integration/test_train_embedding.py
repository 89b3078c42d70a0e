"""Fine-tuning the real bundled model for two steps: it learns, and is kept only if the test says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from ragkit.errors import UsageError
from ragkit.evaluation.datasets import Dataset, Gold, Question
from ragkit.models.embeddings import BundledE5Model, SentenceTransformerModel, resolve_embedding
from ragkit.settings import Settings, load_settings
from ragkit.training import embedding
from ragkit.training.embedding import TrainingSettings, prompts_of, train_embedding
from ragkit.training.pairs import Pair

pytest.importorskip("datasets", reason='pip install "ragkit[train]"')
pytest.importorskip("accelerate", reason='pip install "ragkit[train]"')

NOTES = {
    "rnn.md": "# RNN\n\nRNN 的缺点是梯度消失。\n",
    "tea.md": "# 泡茶\n\n绿茶要用八十度的水。\n",
    "bees.md": "# Bees\n\nBees dance to tell where flowers are.\n",
}
TEST = [
    Question("t1", "绿茶用多少度的水？", "zh", "lexical", (Gold("tea.md", "八十度的水"),)),
    Question("t2", "How do bees tell where flowers are?", "en", "lexical", (Gold("bees.md", "Bees dance"),)),
]
PAIRS = [Pair(f"第{n}个问题", f"第{n}个答案", f"不是第{n}个答案") for n in range(7)]
PAIRS.append(Pair("绿茶用多少度的水?", "p", "n"))
HOW = TrainingSettings(max_steps=2, batch_size=4, learning_rate=1e-3)


@pytest.fixture
def settings(bundled_e5: BundledE5Model, home: Path) -> Settings:
    """A home that shares the prepared weights with the other tests."""
    prepared = bundled_e5.prepare()
    (home / "models").mkdir(parents=True)
    (home / "models" / prepared.name).symlink_to(prepared)
    return load_settings(embedding_model="bundled")


@pytest.fixture
def data(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Dataset:
    return Dataset("tiny", tuple(TEST), notes=make_notes(tmp_path / "notes", NOTES))


def left_behind(home: Path) -> list[str]:
    return [path.name for path in (home / "models").iterdir() if path.name.startswith(".")]


def test_a_model_that_is_not_significantly_better_is_not_kept(
    data: Dataset, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learns_nothing(
        base: BundledE5Model, pairs: object, target: Path, how: object, tick: object
    ) -> tuple[int, float]:
        shutil.copytree(base.prepare(), target)
        return 2, 1.0

    monkeypatch.setattr(embedding, "_fit", learns_nothing)
    there = sorted(path.name for path in (settings.home / "models").iterdir())
    result = train_embedding(PAIRS, data, TEST, settings, how=HOW)
    assert not result.kept and result.path is None
    assert (result.pairs, result.held_out) == (7, 1)
    assert [run.name for run in result.before] == [run.name for run in result.after] == ["hybrid", "dense"]
    assert [(c.a, c.b, c.metric, c.p_value) for c in result.comparisons[:2]] == [
        ("hybrid before", "hybrid after", "hit@5", 1.0),
        ("hybrid before", "hybrid after", "mrr@10", 1.0),
    ]
    assert json.loads(json.dumps(result.to_json()))["kept"] is False
    assert sorted(path.name for path in (settings.home / "models").iterdir()) == there


def test_a_better_model_is_put_in_place_whole_and_can_be_used(
    data: Dataset, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Two test questions can never be significant; what happens to a winner is what is tested here.
    monkeypatch.setattr(embedding, "is_better", lambda comparisons: True)
    seen: list[str] = []
    result = train_embedding(PAIRS, data, TEST, settings, how=HOW, tick=lambda what, done, total: seen.append(what))
    assert capsys.readouterr().out == ""  # which --json promises to one object
    assert (result.pairs, result.held_out, result.steps) == (7, 1, 2)
    assert result.loss > 0 and seen.count("Training") == 2
    assert result.path is not None and result.path.parent == settings.home / "models"
    assert left_behind(settings.home) == []
    # The family stays in the name, so that the temperature is known.
    assert "multilingual-e5" in result.path.name and result.temperature is None
    tuned = resolve_embedding(str(result.path), settings.home)
    assert isinstance(tuned, SentenceTransformerModel)
    assert prompts_of(tuned) == ("query: ", "passage: ")
    assert tuned.temperature == 0.01
    assert not (result.path / "README.md").exists()  # a model card would quote the pairs
    before = BundledE5Model(settings.home).encode_documents(["第1个答案"])[0]
    after = tuned.encode_documents(["第1个答案"])[0]
    assert np.isfinite(after).all() and 0.2 < float(before @ after) < 0.9999  # it moved, and not away
    with pytest.raises(UsageError, match="exists"):
        train_embedding(PAIRS, data, TEST, settings, how=HOW, out=result.path)
