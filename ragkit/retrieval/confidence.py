"""How sure a first search is to have found its passage: what decides whether a chat model is asked for more.

What the two legs say about each other, and a logistic model over two of these things that was fitted
on the development questions of ``evals/llm-interview`` (`FITTED`). The threshold is a point
of its risk/coverage curve (El-Yaniv & Wiener 2010, JMLR 11): see `LOW`. Figures and constants come
from ``python evals/experiments/confidence.py``, which prints them anew after a change of the fusion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ragkit.retrieval.fusion import estimate_temperature
from ragkit.text.language import Language
from ragkit.values import Hit

LOOKED_AT: Final = 20
"""Hits of the first search that count."""
_TOP: Final = 5
_NEAR: Final = 10
"""Rank in its leg up to which a hit counts as that leg's own find."""
_MAX_MARGIN: Final = 20.0
_LEGS: Final = ("dense", "sparse")
FITTED: Final = (-2.43, 4.59, 1.98)
"""Bias and the weights of `Confidence.features`. AUC .81 on the dev split, .79 on the test split."""
LOW: Final = 0.6
"""Below this, 33 % of the dev questions (37 % of the test split) are asked again in other words; the first
search had missed 51 % (58 %) of those, and 16 % (22 %) of the ones that are left alone."""
LOW_ACROSS: Final = 0.9
"""The same for a question in another language than the notes, in which BM25 finds next to nothing. Of all questions
above it (29 % and 28 %) 1 % were missed on the dev split, 4 % on the test split."""
HOLD: Final = 0.45
"""Below this a question in everyday words has so little hold in the notes that its translation by a small model is
about something else, which costs more than it brings where the notes have the question's own language too:
see ``docs/retrieval.md``."""
FAR: Final = 3.0
"""Nats by which the nearest passage in the other language may lie behind for a translation to be worth it there."""


@dataclass(frozen=True)
class Confidence:
    """What the legs say about a search."""

    coverage: float
    """Largest share (0..1) of the question's idf mass in one of the first five hits."""
    margin: float
    """Nats between the nearest passage and the median one of those looked at, at most 20."""
    agreement: float
    """Share (0..1) of the first five hits that stand among the first ten of both legs."""
    behind: float = math.inf
    """Nats by which the nearest passage in another language lies behind the nearest in the question's own; infinite
    if there is none among those looked at, or if these were all there are."""

    @property
    def features(self) -> tuple[float, float]:
        """As the logistic model takes them: coverage and log(1 + margin). Agreement adds nothing to these two."""
        return self.coverage, math.log1p(self.margin)

    @property
    def value(self) -> float:
        """Estimated probability (0..1) that the passage is among the first five hits."""
        bias, *weights = FITTED
        return 1 / (1 + math.exp(-(bias + sum(w * x for w, x in zip(weights, self.features, strict=True)))))

    @property
    def low(self) -> bool:
        """Whether other wordings are worth their time."""
        return self.value < LOW

    def low_across(self, mixed: bool) -> bool:
        """Whether the question in the notes' other language is; `mixed`: they are in its own language, too."""
        if not mixed:
            return self.value < LOW_ACROSS
        # What stands in the question's own language may be the answer, or only seem so, however sure the search is.
        return self.value >= HOLD and self.behind < FAR

    def __str__(self) -> str:
        return f"{self.value:.2f} (coverage {self.coverage:.2f}, margin {self.margin:.1f}, legs {self.agreement:.1f})"


def confidence_of(hits: Sequence[Hit], temperature: float | None, language: Language = "en") -> Confidence:
    """Judge a hybrid search by its hits.

    Args:
        hits: The first `LOOKED_AT` hits, best first; none at all is no confidence.
        temperature: Softmax temperature of the embedding model, in cosine; None: estimated from the hits.
        language: Of the question; only `Confidence.behind` depends on it.
    """
    hits = hits[:LOOKED_AT]
    near = [(leg.score, hit.chunk.language) for hit in hits if (leg := hit.legs.get("dense")) is not None]
    cosines = sorted((cosine for cosine, _ in near), reverse=True)
    margin, behind = 0.0, math.inf
    if len(cosines) > 1:
        tau = temperature or estimate_temperature(cosines)
        margin = min((cosines[0] - float(np.median(cosines[1:]))) / tau, _MAX_MARGIN)
        if len(hits) == LOOKED_AT:  # of so few notes that all are in view, other words bring no more
            behind = _behind(near, language) / tau
    top = hits[:_TOP]
    both = sum(all((leg := hit.legs.get(name)) is not None and leg.rank <= _NEAR for name in _LEGS) for hit in top)
    return Confidence(max((hit.coverage for hit in top), default=0.0), margin, both / _TOP, behind)


def _behind(near: Sequence[tuple[float, str]], language: Language) -> float:
    """How far the greatest cosine of the other language lies behind that of `language`; the groups are zh and other."""
    own = [cosine for cosine, group in near if (group == "zh") == (language == "zh")]
    other = [cosine for cosine, group in near if (group == "zh") != (language == "zh")]
    return max(own, default=-math.inf) - max(other) if other else math.inf
