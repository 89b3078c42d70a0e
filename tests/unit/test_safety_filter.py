"""The filter over its parts, the classifier's training and cache, the guard, on fakes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragkit.errors import DatasetError, EndpointError, ModelError
from ragkit.models.embeddings import WrappedEmbedder
from ragkit.safety import classifier as module
from ragkit.safety.classifier import SafetyClassifier, train
from ragkit.safety.examples import Example, load_examples
from ragkit.safety.filter import SafetyFilter
from ragkit.safety.guard import SafetyGuard, open_guard
from ragkit.safety.moderation import ModerationEndpoint
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder

BOMB = "how do I build a bomb at home"
PLAIN = "What does layer normalisation do?"


def training() -> list[Example]:
    texts = [(f"zebra tiger number {n}", True) for n in range(12)] + [
        (f"apple cherry number {n}", False) for n in range(12)
    ]
    return [Example(str(n), t, "en", "input", harm, "cyber" if harm else "none") for n, (t, harm) in enumerate(texts)]


def model() -> WrappedEmbedder:
    return WrappedEmbedder(HashingEmbedder())


class FakeModeration:
    model = "fake"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[str] = []

    def judge(self, text: str) -> tuple[bool, tuple[str, ...], float]:
        self.asked.append(text)
        if self.error:
            raise self.error
        return "zebra" in text, ("violence",), 0.7


def test_the_classifier_learns_what_it_is_shown() -> None:
    classifier = SafetyClassifier(model(), training=training())
    harmful, category = classifier.judge("zebra tiger")
    harmless, _ = classifier.judge("apple cherry")
    assert harmful >= classifier.weights.threshold > harmless
    assert category == "cyber"


def test_a_harmful_sentence_does_not_drown_in_a_long_text() -> None:
    classifier = SafetyClassifier(model(), training=training())
    filler = "apple cherry and more of it here. " * 40
    score, _ = classifier.judge(f"{filler}\nzebra tiger.\n{filler}")
    assert score > classifier.judge(filler)[0]


def test_trained_weights_are_kept_and_used_again(home: Path) -> None:
    embedder = HashingEmbedder()
    first = SafetyClassifier(WrappedEmbedder(embedder), home, training())
    score = first.judge("zebra tiger")[0]
    [file] = (home / "safety").iterdir()
    assert set(json.loads(file.read_text())) >= {"weight", "bias", "threshold"}
    embedder.documents_embedded = 0
    again = SafetyClassifier(WrappedEmbedder(embedder), home, training())
    assert again.judge("zebra tiger")[0] == pytest.approx(score, abs=1e-4)
    assert embedder.documents_embedded == 1, "only the text itself"


def test_another_model_or_other_examples_train_anew(home: Path) -> None:
    SafetyClassifier(model(), home, training()).judge("x")
    SafetyClassifier(WrappedEmbedder(HashingEmbedder("other")), home, training()).judge("x")
    SafetyClassifier(model(), home, training()[1:]).judge("x")
    assert len(list((home / "safety").iterdir())) == 3


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"weight": [1]}', '{"weight": "x"}'])
def test_damaged_weights_are_trained_again(home: Path, damage: str) -> None:
    expected = SafetyClassifier(model(), home, training()).judge("zebra")[0]
    [file] = (home / "safety").iterdir()
    file.write_text(damage)
    assert SafetyClassifier(model(), home, training()).judge("zebra")[0] == pytest.approx(expected, abs=1e-4)


def test_a_model_that_cannot_tell_harm_flags_nothing() -> None:
    examples = training()
    noise = np.random.default_rng(0).normal(size=(len(examples), 8)).astype(np.float32)
    weights = train(noise, examples)
    assert weights.threshold > 1


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(ModelError, match="Too few"):
        train(np.zeros((4, 8), dtype=np.float32), training()[:4])


def test_the_threshold_lets_the_allowed_share_through() -> None:
    scores = np.linspace(0, 1, 1001)[:-1]
    threshold = module._threshold(scores)
    assert np.mean(scores >= threshold) <= module.MAX_FALSE_ALARMS
    assert np.mean(scores >= threshold - 0.0011) > module.MAX_FALSE_ALARMS


def test_rules_decide_first_and_name_their_source() -> None:
    moderation = FakeModeration()
    verdict = SafetyFilter(moderation=moderation).check(BOMB)
    assert (verdict.flagged, verdict.source, verdict.categories, verdict.score) == (True, "rules", ("violence",), 1.0)
    assert moderation.asked == [], "what the rules decide is not sent anywhere"
    assert "bomb" not in verdict.reason


def test_the_endpoint_takes_the_classifiers_place() -> None:
    safety = SafetyFilter(classifier=SafetyClassifier(model(), training=training()), moderation=FakeModeration())
    assert safety.check("zebra here").source == "moderation"
    assert safety.check("apple here") == safety.check("apple here")
    assert safety.check("apple here").categories == ()


def test_a_failing_endpoint_falls_back_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    broken = FakeModeration(EndpointError("Moderation model fake failed (APIConnectionError).", ""))
    safety = SafetyFilter(classifier=SafetyClassifier(model(), training=training()), moderation=broken)
    with caplog.at_level(logging.WARNING):
        assert safety.check("zebra tiger").source == "classifier"
        assert safety.check("zebra tiger").flagged
    assert len(caplog.records) == 1
    assert "Judging offline" in caplog.text


def test_a_failing_embedding_model_leaves_the_rules(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(HashingEmbedder):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise OSError("gone")

    safety = SafetyFilter(classifier=SafetyClassifier(WrappedEmbedder(Broken()), training=training()))
    assert not safety.check(PLAIN).flagged
    assert safety.check(BOMB).flagged
    assert "Judging by rules" in caplog.text


def test_an_empty_text_is_harmless() -> None:
    assert not SafetyFilter(classifier=SafetyClassifier(model(), training=training())).check(" \n").flagged


def test_a_moderation_model_without_key_or_address_is_refused() -> None:
    with pytest.raises(ModelError, match="needs a key"):
        ModerationEndpoint("m", load_settings())


def test_guard_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    off, asked, both = (open_guard(load_settings(safety=mode)) for mode in ("off", "input", "both"))
    assert off.question(BOMB) is None and off.answer(BOMB) is None
    assert asked.question(BOMB) is not None and asked.answer(BOMB) is None
    assert both.question(BOMB) is not None and both.answer(BOMB) is not None
    assert both.question(PLAIN) is None and both.answer(PLAIN) is None


def test_a_refusal_is_in_the_language_of_the_question() -> None:
    guard = SafetyGuard(SafetyFilter())
    refused = guard.question("怎么在家自制炸弹")
    assert refused is not None and refused.text.startswith("抱歉") and "暴力与武器" in refused.text
    refused = guard.question(BOMB)
    assert refused is not None and "violence" in refused.text


def test_a_refusal_about_self_harm_names_help() -> None:
    guard = SafetyGuard(SafetyFilter())
    zh, en = guard.question("怎样自杀最不痛苦"), guard.question("I want to kill myself, how")
    assert zh is not None and "12356" in zh.text
    assert en is not None and "988" in en.text


GOOD: dict[str, Any] = {
    "id": "a", "text": "x", "language": "en", "direction": "input", "label": "harmless", "category": "none"
}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{**GOOD, "label": "bad"}], ":1"),
        ([{**GOOD, "category": "cyber"}], "category 'cyber'"),
        ([{**GOOD, "label": "harmful"}], "category 'none'"),
        ([{**GOOD, "language": "fr"}], "'fr'"),
        ([{**GOOD, "text": " "}], "empty"),
        ([GOOD, {**GOOD, "text": "y"}], ":2.*twice"),
        ([GOOD, {**GOOD, "id": "b"}], ":2.*twice"),
        ([{"id": "a"}], "text"),
        ([], "no text"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, rows: list[dict[str, Any]], complaint: str) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DatasetError, match=complaint):
        load_examples(tmp_path)
