"""The filter: rules first, then the moderation endpoint if one is configured, else the classifier."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, Protocol

from ragkit.errors import ModelError
from ragkit.models.embeddings import EmbeddingModel
from ragkit.safety.classifier import SafetyClassifier
from ragkit.safety.moderation import ModerationEndpoint
from ragkit.safety.rules import Direction, check_rules
from ragkit.settings import Settings

logger = logging.getLogger(__name__)

Source = Literal["rules", "classifier", "moderation"]


@dataclass(frozen=True)
class SafetyVerdict:
    """What the filter says of a text."""

    flagged: bool
    categories: tuple[str, ...]
    """What it was flagged for; empty if it was not."""
    score: float
    """0..1: 1 for rules, else the probability that `source` gave; compare scores of one source only."""
    reason: str
    """One line for a log; never repeats the text."""
    source: Source
    """What decided."""


class Moderation(Protocol):
    """Anything that judges a text as `ragkit.safety.moderation.ModerationEndpoint` does."""

    model: str

    def judge(self, text: str) -> tuple[bool, tuple[str, ...], float]: ...


class SafetyFilter:
    """Tells harmful questions and answers.

    Args:
        rules: Whether the offline rules take part.
        classifier: The offline classifier, if it is to take part.
        moderation: An endpoint that takes the classifier's place as long as it works.
    """

    def __init__(
        self,
        *,
        rules: bool = True,
        classifier: SafetyClassifier | None = None,
        moderation: Moderation | None = None,
    ) -> None:
        self._rules = rules
        self._classifier = classifier
        self._moderation = moderation
        self._warned: set[str] = set()

    @classmethod
    def from_settings(cls, settings: Settings, model: EmbeddingModel | None = None) -> SafetyFilter:
        """The filter that the settings ask for; nothing heavy is loaded yet.

        Args:
            settings: ``moderation_model``, key, address and home.
            model: Embedding model of the classifier; None leaves the classifier out.

        Raises:
            ModelError: If a moderation model is set, but neither key nor address.
        """
        name = settings.moderation_model
        return cls(
            classifier=SafetyClassifier(model, settings.home) if model is not None else None,
            moderation=ModerationEndpoint(name, settings) if name else None,
        )

    def check(self, text: str, direction: Direction = "input") -> SafetyVerdict:
        """Judge a text. A part of the filter that fails is left out with a warning; this never raises for it.

        Args:
            text: A question or an answer.
            direction: ``input`` for what a user writes, ``output`` for what a model answers.
        """
        if not text.strip():
            return SafetyVerdict(False, (), 0.0, "empty", "rules")
        if self._rules and (hits := check_rules(text, direction)):
            names = ", ".join(f"{hit.category} ({hit.rule})" for hit in hits)
            return SafetyVerdict(True, tuple(hit.category for hit in hits), 1.0, f"rules: {names}", "rules")
        return self._moderated(text) or self._classified(text) or SafetyVerdict(False, (), 0.0, "no rule", "rules")

    def _moderated(self, text: str) -> SafetyVerdict | None:
        if self._moderation is None:
            return None
        try:
            flagged, categories, score = self._moderation.judge(text)
        except ModelError as exc:
            self._warn(f"{exc} Judging offline.")
            return None
        reason = f"{self._moderation.model}: {', '.join(categories) or 'nothing'}"
        return SafetyVerdict(flagged, categories if flagged else (), score, reason, "moderation")

    def _classified(self, text: str) -> SafetyVerdict | None:
        if self._classifier is None:
            return None
        try:
            score, category = self._classifier.judge(text)
            threshold = self._classifier.weights.threshold
        except ModelError as exc:
            self._warn(f"The safety classifier cannot run: {exc} Judging by rules.")
            return None
        flagged = score >= threshold
        reason = f"classifier: {score:.2f}, flagged from {threshold:.2f}"
        return SafetyVerdict(flagged, (category,) if flagged else (), score, reason, "classifier")

    def _warn(self, message: str) -> None:
        # Once for each kind of failure: an endpoint that is down would fill the screen.
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("%s", message)
