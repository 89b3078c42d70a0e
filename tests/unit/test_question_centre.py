"""Question vectors without what all questions share: formula, cache, and what it does to a ranking."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from ragkit.api import Index
from ragkit.models.embeddings import ModelIdentity, Vectors
from ragkit.models.questions import QUESTIONS, QuestionCentre
from ragkit.retrieval.retriever import HYBRID_CORRECTION
from ragkit.settings import Settings
from ragkit.testing import HashingEmbedder
from ragkit.text.language import language_group

CENTRE = QuestionCentre(np.array([[0.6, 0.4, 0.0], [0.6, -0.4, 0.0]], dtype=np.float32))


class Cone:
    """Vectors of a narrow cone: a shared direction, one for the language, and two for the subject."""

    name = "cone"
    temperature = 0.01
    relevance_floor: float | None = None
    identity = ModelIdentity("cone", "1", 4, "")

    def __init__(self) -> None:
        self.questions = 0

    def _vector(self, text: str) -> Vectors:
        subject = [0.2, 0.0] if "cat" in text or "猫" in text else [0.0, 0.2]
        vector = np.array([0.9, 0.3 if language_group(text) == "zh" else -0.3, *subject], dtype=np.float32)
        return vector / np.linalg.norm(vector)

    def encode_documents(self, texts: object, progress: object = None) -> Vectors:
        return np.stack([self._vector(text) for text in texts])  # type: ignore[attr-defined]

    def encode_query(self, text: str) -> Vectors:
        self.questions += 1
        return self._vector(text)


def test_the_means_and_the_language_offset_are_taken_off() -> None:
    chinese = np.array([0.8, 0.4, 0.5], dtype=np.float32)
    assert CENTRE.language(chinese) == 1
    assert CENTRE.centred(chinese, 0.5, 1.0).tolist() == pytest.approx([0.8 - 0.3, 0.0, 0.5])
    assert CENTRE.centred(chinese, 0.5, 0.0).tolist() == pytest.approx([0.8 - 0.3, 0.4, 0.5])
    english = np.array([0.8, -0.4, 0.5], dtype=np.float32)
    assert CENTRE.language(english) == 0
    assert CENTRE.centred(english, 0.0, 0.5).tolist() == pytest.approx([0.8, -0.2, 0.5])


def test_a_question_between_the_languages_loses_no_offset() -> None:
    mixed = np.array([0.9, 0.0, 0.4], dtype=np.float32)
    assert CENTRE.language(mixed) == pytest.approx(0.5)
    assert CENTRE.centred(mixed, 0.0, 1.0).tolist() == pytest.approx(mixed.tolist())


def test_a_model_blind_to_language_has_no_offset() -> None:
    blind = QuestionCentre(np.full((2, 3), 0.5, dtype=np.float32))
    vector = np.array([1, 0, 0], dtype=np.float32)
    assert blind.language(vector) == 0.5
    assert blind.centred(vector, 0.0, 1.0).tolist() == [1, 0, 0]


def test_the_questions_say_the_same_in_both_languages() -> None:
    assert all(language_group(zh) == "zh" and language_group(en) == "other" for zh, en in QUESTIONS)
    assert len({text for pair in QUESTIONS for text in pair}) == 2 * len(QUESTIONS)


def test_a_centre_is_measured_once_and_kept(tmp_path: Path) -> None:
    model = Cone()
    first = QuestionCentre.of(model, tmp_path / "cache")
    assert model.questions == 2 * len(QUESTIONS)
    again = QuestionCentre.of(model, tmp_path / "cache")
    assert model.questions == 2 * len(QUESTIONS)
    assert again.means.tolist() == first.means.tolist()
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".npy"]


def _npy(array: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"no numbers",
        b"\x93NUMPY",
        _npy(np.full((2, 4), "x")),
        _npy(np.full((2, 4), np.nan)),
        _npy(np.ones((2, 3))),
    ],
    ids=["empty", "text", "begin", "words", "nan", "shape"],
)
def test_a_damaged_file_is_measured_anew(tmp_path: Path, damage: bytes) -> None:
    QuestionCentre.of(Cone(), tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage)
    model = Cone()
    assert np.isfinite(QuestionCentre.of(model, tmp_path).means).all()
    assert model.questions == 2 * len(QUESTIONS)
    QuestionCentre.of(model, tmp_path)
    assert model.questions == 2 * len(QUESTIONS)


def test_another_model_does_not_get_this_ones_centre(tmp_path: Path) -> None:
    QuestionCentre.of(Cone(), tmp_path)
    other = Cone()
    other.identity = ModelIdentity("cone", "2", 4, "")  # type: ignore[misc]
    QuestionCentre.of(other, tmp_path)
    assert other.questions == 2 * len(QUESTIONS)


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert QuestionCentre.of(Cone(), tmp_path / "file" / "below").means.shape == (2, 4)


def _notes(folder: Path) -> Path:
    folder.mkdir()
    (folder / "cats.md").write_text("# A\n\ncat, and what it does all day\n", encoding="utf-8")
    (folder / "dogs.md").write_text("# 乙\n\n狗整天都在做些什么\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(("correction", "first"), [(0.0, "dogs.md"), (1.0, "cats.md")])
def test_an_answer_in_the_other_language_is_found_only_with_the_correction(
    tmp_path: Path, correction: float, first: str
) -> None:
    settings = Settings(home=tmp_path / "home", question_centring=0.0, language_correction=correction)
    index = Index.open(_notes(tmp_path / "notes"), tmp_path / "index", embedding=Cone(), settings=settings)
    assert index.search("猫", k=2, mode="dense")[0].document == first


def test_without_centring_and_correction_the_score_is_the_plain_cosine(tmp_path: Path) -> None:
    model = Cone()
    settings = Settings(home=tmp_path / "home", question_centring=0.0, language_correction=0.0)
    index = Index.open(_notes(tmp_path / "notes"), tmp_path / "index", embedding=model, settings=settings)
    best = index.search("狗", k=1, mode="dense")[0]
    assert best.score == pytest.approx(float(model._vector("狗") @ model._vector(best.text)), abs=1e-6)
    assert model.questions == 1


def test_a_hit_shows_the_centred_cosine(tmp_path: Path) -> None:
    model = HashingEmbedder()
    index = Index.open(
        _notes(tmp_path / "notes"), tmp_path / "index", embedding=model, settings=Settings(home=tmp_path / "home")
    )
    hit = index.search("what does the cat do", k=1)[0]
    leg = hit.legs["dense"]
    centre = QuestionCentre.of(index.model)
    question = centre.centred(index.model.encode_query("what does the cat do"), 0.7, HYBRID_CORRECTION)
    passage = index.model.encode_documents([hit.chunk.search_text])[0]
    assert leg is not None
    assert leg.score == pytest.approx(float(question @ passage), abs=1e-5)
