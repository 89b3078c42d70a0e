"""What a model of unknown temperature says at most: measured on known answers, kept, and a bound of the estimate."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragkit.api import Index
from ragkit.models.embeddings import ModelIdentity, Vectors, unit
from ragkit.models.known_pairs import USELESS, KnownPairs
from ragkit.models.parallel import PAIRS
from ragkit.models.questions import QUESTIONS, QuestionCentre
from ragkit.retrieval.fusion import FusionSettings, estimate_temperature, fuse
from ragkit.retrieval.retriever import Retriever
from ragkit.settings import Settings
from ragkit.text.language import language_group

SUBJECTS = {text: at for at, pair in enumerate(zip(QUESTIONS, PAIRS, strict=False)) for side in pair for text in side}


def noise(text: str) -> Vectors:
    seed = int.from_bytes(hashlib.sha256(f"noise {text}".encode()).digest()[:4])
    return np.asarray(unit(np.random.default_rng(seed).standard_normal(64)), dtype=np.float32)


class Model:
    """Knows which of the shipped passages answers which question in some languages; all else is noise to it."""

    name = "partial"
    relevance_floor: float | None = None
    identity = ModelIdentity("partial", "1", 64, "")

    def __init__(self, *languages: str, temperature: float | None = None) -> None:
        self._languages, self.temperature = languages, temperature
        self.embedded = 0

    def _vector(self, text: str) -> Vectors:
        if text in SUBJECTS and language_group(text) in self._languages:
            text = f"subject {SUBJECTS[text]}"
        return noise(text)

    def encode_documents(self, texts: Sequence[str], progress: Any = None) -> Vectors:
        self.embedded += len(texts)
        return np.stack([self._vector(text) for text in texts])

    def encode_query(self, text: str) -> Vectors:
        self.embedded += 1
        return self._vector(text)


def temperatures(model: Model) -> tuple[float, float]:
    centre, pairs = QuestionCentre.measure(model), KnownPairs.of(model)
    return pairs.temperature("zh", centre, 0.7, 1.0), pairs.temperature("en", centre, 0.7, 1.0)


def test_a_model_that_finds_every_answer_is_not_bounded() -> None:
    assert max(temperatures(Model("zh", "other"))) < 0.01


def test_a_model_that_knows_nothing_is_useless() -> None:
    assert temperatures(Model()) == (USELESS, USELESS)


def test_each_language_is_measured_by_itself() -> None:
    chinese, english = temperatures(Model("other"))
    assert chinese == USELESS
    assert english < 0.01


def test_a_model_that_gives_all_texts_one_vector_is_useless() -> None:
    same = np.full((2, 2, len(PAIRS), 64), 0.125, dtype=np.float32)
    centre = QuestionCentre(np.full((2, 64), 0.125, dtype=np.float32))
    assert KnownPairs(same).temperature("en", centre, 0.7, 1.0) == USELESS


def test_the_temperature_is_that_of_greatest_likelihood() -> None:
    # Each product with the right passage is 0.2, with one wrong passage 0.3, with the others 0.
    count = len(PAIRS)
    products = 0.2 * np.eye(count) + 0.3 * np.roll(np.eye(count), 1, axis=1)
    pairs = KnownPairs(np.stack([np.stack([products, np.eye(count)])] * 2).astype(np.float32))
    found = pairs.temperature("zh", QuestionCentre(np.zeros((2, count), dtype=np.float32)), 0, 0)

    def likelihood(tau: float) -> float:
        return 0.2 / tau - float(np.log(np.exp(0.2 / tau) + np.exp(0.3 / tau) + count - 2))

    assert likelihood(found) > max(likelihood(1.1 * found), likelihood(0.9 * found), -np.log(count))


def test_they_are_embedded_once_and_kept(tmp_path: Path) -> None:
    model = Model("other")
    first = KnownPairs.of(model, tmp_path / "cache")
    assert model.embedded == 4 * len(PAIRS)
    again = KnownPairs.of(model, tmp_path / "cache")
    assert model.embedded == 4 * len(PAIRS)
    assert np.array_equal(first.vectors, again.vectors)
    other = Model("other")
    other.identity = replace(other.identity, revision="2")  # type: ignore[misc]
    KnownPairs.of(other, tmp_path / "cache")
    assert other.embedded == 4 * len(PAIRS)


@pytest.mark.parametrize("damage", [b"", b"no numbers", b"\x93NUMPY", None], ids=["empty", "text", "begin", "words"])
def test_a_damaged_file_is_measured_anew(tmp_path: Path, damage: bytes | None) -> None:
    KnownPairs.of(Model(), tmp_path)
    (file,) = tmp_path.iterdir()
    if damage is None:
        np.save(file, np.full((2, 2, len(PAIRS), 64), "x"), allow_pickle=False)
    else:
        file.write_bytes(damage)
    model = Model()
    assert np.isfinite(KnownPairs.of(model, tmp_path).vectors).all()
    assert model.embedded == 4 * len(PAIRS)
    KnownPairs.of(model, tmp_path)
    assert model.embedded == 4 * len(PAIRS)


def test_an_estimate_is_raised_to_the_bound_and_a_known_temperature_is_not() -> None:
    dense = [(1, 0.9), (2, 0.6), (3, 0.5)]
    estimated = estimate_temperature([0.9, 0.6, 0.5])
    for bound, tau in [(0.0, estimated), (estimated / 2, estimated), (2.0, 2.0)]:
        assert fuse(dense, [], {}, FusionSettings(lowest_temperature=bound))[0].score == pytest.approx(0.9 / tau)
    known = FusionSettings(temperature=0.01, lowest_temperature=2.0)
    assert fuse(dense, [], {}, known)[0].score == pytest.approx(0.9 / 0.01)


def notes(folder: Path) -> Path:
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02}.md").write_text(f"# 笔记 {number}\n\n这里写着第 {number} 件小事。\n", encoding="utf-8")
    (folder / "tea.md").write_text("# 泡茶\n\n绿茶用八十度的水。\n", encoding="utf-8")
    return folder


def opened(tmp_path: Path, model: Model) -> Index:
    folder = tmp_path / "notes"
    settings = Settings(home=tmp_path / "home")
    return Index.open(
        folder if folder.exists() else notes(folder), tmp_path / "index", embedding=model, settings=settings
    )


def test_a_model_that_knows_nothing_leaves_the_order_to_coverage(tmp_path: Path) -> None:
    index = opened(tmp_path, Model())
    hits = index.search("第 7 件小事，还有绿茶", k=31)
    assert [hit.coverage for hit in hits] == sorted((hit.coverage for hit in hits), reverse=True)
    index.close()


def test_both_languages_are_measured_by_one_embedding(tmp_path: Path) -> None:
    model = Model("zh", "other")
    index = opened(tmp_path, model)
    retriever = Retriever(index._engine, model)
    before = model.embedded
    retriever.search("绿茶"), retriever.search("green tea"), retriever.search("black tea")
    assert model.embedded == before + 2 * len(QUESTIONS) + 4 * len(PAIRS) + 3
    index.close()


def test_a_model_of_known_temperature_is_not_measured_and_ranks_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> KnownPairs:
        raise AssertionError("measured")

    monkeypatch.setattr(KnownPairs, "of", refuse)
    index = opened(tmp_path, Model(temperature=0.01))
    assert index.search("绿茶", k=3)
    index.close()


def test_the_bare_legs_measure_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retriever, "_measure_lowest_temperature", lambda *_: pytest.fail("measured"))
    index = opened(tmp_path, Model())
    assert index.search("绿茶", k=3, mode="dense") and index.search("绿茶", k=3, mode="sparse")
    index.close()
