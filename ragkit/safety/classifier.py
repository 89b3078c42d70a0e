"""A small classifier over the embedding model at hand, trained at first use from the shipped examples.

Logistic regression on unit vectors. Its threshold comes from cross-validation on the training
examples alone. The trained numbers are JSON, kept under the fingerprint of the model and of the
examples, so that another model or other examples train anew: those of the bundled model come with
the package (``trained/``), others lie below ``$RAGKIT_HOME/safety``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ragkit.errors import ModelError
from ragkit.models.embeddings import BundledE5Model, EmbeddingModel, Vectors
from ragkit.safety.examples import TRAINING_FILE, Example, load_examples
from ragkit.safety.unmask import unmask
from ragkit.text.sentences import sentence_spans

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

MAX_FALSE_ALARMS: Final = 0.01
"""Share of harmless training texts that may be flagged in cross-validation; the threshold follows from it.

Two in a hundred are what a filter over study notes may cost; the rules get the other half of them."""
MIN_DETECTION: Final = 0.3
"""A model under which less than this is detected in cross-validation tells nothing; it then flags nothing."""
WINDOW: Final = 500
"""Characters judged at once; a harmful sentence drowns in a long text."""
TRAINED: Final = Path(__file__).with_name("trained")
_STRENGTHS: Final = (10.0, 100.0, 1000.0)
_FOLDS: Final = 5
_REPEATS: Final = 3
_VERSION: Final = 1


@dataclass(frozen=True)
class Weights:
    """A trained classifier: ``sigmoid(vector @ weight + bias)``."""

    weight: Floats
    """(dimension,)"""
    bias: float
    threshold: float
    """Probability from which a text is flagged; above 1 if the model cannot tell harmful texts."""
    centroids: dict[str, Floats]
    """Mean vector of each category of harm, centred on `mean`, of length 1."""
    mean: Floats
    cross_validated: dict[str, float]
    """``detection`` and ``false_alarms`` at `threshold` on held-out folds, ``strength`` (C) chosen."""

    def probability(self, vectors: Vectors) -> Floats:
        """Probability of harm of each row of `vectors`, shape (n, dimension)."""
        logits = np.asarray(vectors, dtype=np.float64) @ self.weight + self.bias
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -50, 50))))

    def category(self, vector: Vectors) -> str:
        """The category whose training texts are nearest."""
        centred = np.asarray(vector, dtype=np.float64) - self.mean
        return max(self.centroids, key=lambda name: float(self.centroids[name] @ centred))


class SafetyClassifier:
    """Tells harmful texts by their vectors.

    Args:
        model: The embedding model.
        home: Where trained weights are kept; None keeps them in memory only.
        training: Labelled texts; None takes the shipped ones.
    """

    def __init__(
        self, model: EmbeddingModel, home: Path | None = None, training: Sequence[Example] | None = None
    ) -> None:
        self._model = model
        self._home = home
        self._training = training
        self._weights: Weights | None = None
        self._lock = threading.Lock()

    @property
    def weights(self) -> Weights:
        """The trained classifier; trains it if this model has none yet (some seconds).

        Raises:
            ModelError: If the embedding model fails.
        """
        with self._lock:
            if self._weights is None:
                name = f"{self._key()}.json"
                file = self._home / "safety" / name if self._home else None
                known = _read(TRAINED / name) or (_read(file) if file else None)
                self._weights = known or self._train(file)
            return self._weights

    def judge(self, text: str) -> tuple[float, str]:
        """Probability of harm (0..1) of the worst part of `text`, and the category nearest to it.

        Raises:
            ModelError: If the embedding model fails.
        """
        weights = self.weights
        unmasked = unmask(text)
        parts = _windows(unmasked.plain if unmasked.masked else text)
        if not parts:
            return 0.0, next(iter(weights.centroids))
        vectors = encode(self._model, parts)
        probabilities = weights.probability(vectors)
        worst = int(np.argmax(probabilities))
        return float(probabilities[worst]), weights.category(vectors[worst])

    def _train(self, file: Path | None) -> Weights:
        from threadpoolctl import threadpool_limits

        examples = tuple(self._training) if self._training is not None else load_examples()
        vectors = encode(self._model, [example.text for example in examples])
        # Fits this small take longer on several threads than on one, most of all where cores are busy.
        with threadpool_limits(1):
            weights = train(vectors, examples)
        logger.info("safety classifier trained for %s: %s", self._model.name, weights.cross_validated)
        if file is not None:
            _write(file, weights)
        return weights

    def _key(self) -> str:
        texts = TRAINING_FILE.read_bytes() if self._training is None else repr(tuple(self._training)).encode()
        key = f"{_VERSION}|{MAX_FALSE_ALARMS}|{self._model.identity.fingerprint}|".encode() + texts
        return hashlib.sha256(key).hexdigest()[:16]


def encode(model: EmbeddingModel, texts: Sequence[str]) -> Vectors:
    """Unit vectors (n, dimension) of texts that are classified, made the same way in training and use."""
    if isinstance(model, BundledE5Model):
        # Its C engine is there in milliseconds; the way for passages would load torch for one question.
        return np.stack([model.encode_query(text) for text in texts])
    return model.encode_documents(texts)


def train(vectors: Vectors, examples: Sequence[Example]) -> Weights:
    """Fit the classifier and choose strength and threshold by repeated stratified cross-validation.

    Args:
        vectors: (n, dimension) unit vectors of the examples, in their order.
        examples: At least five harmful and five harmless texts.

    Raises:
        ModelError: If there are too few examples.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    labels = np.array([example.harmful for example in examples])
    if min(labels.sum(), (~labels).sum()) < _FOLDS:
        raise ModelError(f"Too few labelled texts to train the safety classifier ({len(labels)}).", "")
    data = np.asarray(vectors, dtype=np.float64)
    # Folds keep the share of each category, else a category may be missing from the training part.
    strata = np.array([example.category for example in examples])
    best: tuple[float, float, float, float] | None = None
    for strength in _STRENGTHS:
        held_out = np.zeros((_REPEATS, len(labels)))
        for repeat in range(_REPEATS):
            for seen, unseen in StratifiedKFold(_FOLDS, shuffle=True, random_state=repeat).split(data, strata):
                fitted = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
                fitted.fit(data[seen], labels[seen])
                held_out[repeat, unseen] = fitted.predict_proba(data[unseen])[:, 1]
        threshold = _threshold(held_out[:, ~labels].ravel())
        detection = float(np.mean(held_out[:, labels] >= threshold))
        false_alarms = float(np.mean(held_out[:, ~labels] >= threshold))
        if best is None or detection > best[0]:
            best = (detection, false_alarms, threshold, strength)
    assert best is not None
    detection, false_alarms, threshold, strength = best
    final = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000).fit(data, labels)
    mean = data[labels].mean(axis=0)
    return Weights(
        weight=np.asarray(final.coef_[0], dtype=np.float64),
        bias=float(final.intercept_[0]),
        threshold=threshold if detection >= MIN_DETECTION else 2.0,
        centroids={
            str(name): _direction(data[strata == name].mean(axis=0) - mean) for name in np.unique(strata[labels])
        },
        mean=mean,
        cross_validated={"detection": detection, "false_alarms": false_alarms, "strength": strength},
    )


def _threshold(harmless: Floats) -> float:
    """The smallest probability that at most `MAX_FALSE_ALARMS` of the harmless texts reach."""
    ordered = np.sort(harmless)[::-1]
    allowed = int(MAX_FALSE_ALARMS * len(ordered))
    return float(np.nextafter(ordered[min(allowed, len(ordered) - 1)], 1.0))


def _direction(vector: Floats) -> Floats:
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm else vector


def _windows(text: str) -> list[str]:
    """Whole sentences put together up to `WINDOW` characters; a longer sentence is cut."""
    parts: list[str] = []
    begin: int | None = None
    last = 0
    for start, end in sentence_spans(text):
        if begin is not None and end - begin > WINDOW:
            parts.append(text[begin:last])
            begin = None
        while end - start > WINDOW:
            parts.append(text[start : start + WINDOW])
            start += WINDOW
        begin = start if begin is None else begin
        last = end
    if begin is not None and text[begin:last].strip():
        parts.append(text[begin:last])
    return parts


def _write(file: Path, weights: Weights) -> None:
    value = {
        "weight": weights.weight.round(7).tolist(),
        "bias": weights.bias,
        "threshold": weights.threshold,
        "centroids": {name: vector.round(5).tolist() for name, vector in weights.centroids.items()},
        "mean": weights.mean.round(7).tolist(),
        "cross_validated": weights.cross_validated,
    }
    temporary = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(value), encoding="utf-8")
        temporary.replace(file)
    except OSError as exc:
        # Only the next start is slower.
        logger.warning("cannot keep the safety classifier in %s: %s", file, exc)


def _read(file: Path) -> Weights | None:
    """The weights in `file`; None if it is missing or damaged, and then they are trained again."""
    try:
        value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        weights = Weights(
            weight=np.array(value["weight"], dtype=np.float64),
            bias=float(value["bias"]),
            threshold=float(value["threshold"]),
            centroids={str(k): np.array(v, dtype=np.float64) for k, v in value["centroids"].items()},
            mean=np.array(value["mean"], dtype=np.float64),
            cross_validated={str(k): float(v) for k, v in value["cross_validated"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    arrays = [weights.weight, weights.mean, *weights.centroids.values()]
    sound = weights.centroids and all(a.shape == weights.weight.shape and np.isfinite(a).all() for a in arrays)
    return (
        weights if sound and weights.weight.ndim == 1 and np.isfinite([weights.bias, weights.threshold]).all() else None
    )
