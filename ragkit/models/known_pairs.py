"""How much the products of an embedding model say, measured on questions of which the answers are known.

The softmax temperature of a model about which nothing is known is estimated from the cosines it returns
(`ragkit.retrieval.fusion.estimate_temperature`). That tells how far apart they lie, not whether they mean anything:
a model that knows nothing, or nothing of one language, spreads passages as well as any. The shipped questions and the
passages that answer them tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ragkit.models.embeddings import EmbeddingModel, Vectors
from ragkit.models.encoding import encode_queries
from ragkit.models.measured import measured_once
from ragkit.models.parallel import PAIRS
from ragkit.models.questions import QUESTIONS, QuestionCentre
from ragkit.text.language import Language

USELESS: Final = 1e6
"""Temperature of a model whose products say nothing: too high for any product to weigh, but ties are in its order."""
_LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en")
_COUNT: Final = len(PAIRS)
_SHARPNESS: Final = np.geomspace(0.1, 1000, 200)
"""Inverse temperatures that are tried."""
_CHANCE: Final = 2.0
"""Nats of likelihood that say nothing: by chance a useless model gains more in one of 40 languages only."""


_SAME: Final = 1e-6


@dataclass(frozen=True)
class KnownPairs:
    """The vectors of `QUESTIONS` and of the `PAIRS` that answer the first of them, one for one."""

    vectors: Vectors
    """(2, 2, n, dimension): by language (Chinese, English), questions before passages."""

    @classmethod
    def of(cls, model: EmbeddingModel, folder: Path | None = None) -> KnownPairs:
        """Those of this model, embedded once and kept in `folder`."""

        def measure() -> Vectors:
            sides = [
                (
                    encode_queries(model, [pair[at] for pair in QUESTIONS[:_COUNT]]),
                    model.encode_documents([pair[at] for pair in PAIRS]),
                )
                for at in range(len(_LANGUAGES))
            ]
            return np.asarray(sides, dtype=np.float32)

        texts = (text for pair in (*QUESTIONS[:_COUNT], *PAIRS) for text in pair)
        shape = (len(_LANGUAGES), 2, _COUNT, model.identity.dimension)
        return cls(measured_once(folder, "pairs", model, texts, shape, measure))

    def temperature(self, language: Language, centre: QuestionCentre, centring: float, correction: float) -> float:
        """The softmax temperature under which the questions of one language find their passages best.

        It is the maximum of the likelihood over 20 passages. A good model finds all of them, so that the least
        temperature that is tried is the best: as a bound from below it says something, as an estimate it does not.

        Args:
            language: Of the questions and of the passages.
            centre: Of the same model; questions are compared as a search compares them.
            centring: See `QuestionCentre.centred`.
            correction: See there.

        Returns:
            0.001 to 10, or `USELESS` if the likelihood is hardly above that of chance.
        """
        questions, passages = self.vectors[_LANGUAGES.index(language)]
        asked = np.stack([centre.centred(question, centring, correction) for question in questions])
        gains = _gains(asked.astype(np.float64) @ passages.T.astype(np.float64))
        # The sharpest of those that are as good as the best: where every answer is found, there is no bound.
        best = int(np.flatnonzero(gains >= gains.max() - _SAME)[-1])
        return float(1 / _SHARPNESS[best]) if gains[best] > _CHANCE else USELESS


def _gains(products: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log-likelihood (nats) of the diagonal of (n, n) products above that of chance, for each of `_SHARPNESS`."""
    below = products - products.max(axis=1, keepdims=True)
    scaled = _SHARPNESS[:, None, None] * below
    chosen = np.diagonal(scaled, axis1=1, axis2=2) - np.log(np.exp(scaled).sum(axis=2))
    return np.asarray(chosen.sum(axis=1) + len(products) * np.log(len(products)))
