"""The ``/moderations`` endpoint of OpenAI and of servers that speak its language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ragkit.errors import EndpointError, ModelError
from ragkit.settings import Settings

if TYPE_CHECKING:
    from openai import OpenAI

SECONDS: Final = 15.0
"""An endpoint that has not judged a text by then counts as failed; the offline filter takes over."""

_CATEGORIES: Final = {
    "violence": "violence",
    "self-harm": "self-harm",
    "illicit": "illicit",
    "hate": "hate",
    "harassment": "hate",
    "sexual": "sexual",
}
"""Ours for each of theirs; a part after the slash (``sexual/minors``) is left out."""


class ModerationEndpoint:
    """Judges texts over the network.

    Args:
        model: The moderation model, such as ``omni-moderation-latest``.
        settings: Key and address.

    Raises:
        ModelError: If there is neither key nor address.
    """

    def __init__(self, model: str, settings: Settings) -> None:
        if not settings.api_key and not settings.base_url:
            raise ModelError(
                f"Moderation model {model!r} needs a key.", "Set OPENAI_API_KEY or OPENAI_BASE_URL, or unset it."
            )
        self.model = model
        self._key, self._url = settings.api_key or "none", settings.base_url
        self._client: OpenAI | None = None

    def judge(self, text: str) -> tuple[bool, tuple[str, ...], float]:
        """Whether `text` is flagged, our names of its categories, and the highest category score (0..1).

        Raises:
            EndpointError: If the endpoint fails or replies with something else.
        """
        import openai

        if self._client is None:
            self._client = openai.OpenAI(api_key=self._key, base_url=self._url, timeout=SECONDS, max_retries=1)
        try:
            result = self._client.moderations.create(model=self.model, input=text).results[0]
            flags = result.categories.model_dump(by_alias=True)
            scores = result.category_scores.model_dump(by_alias=True)
            flagged = bool(result.flagged)
            score = max((float(value) for value in scores.values() if value is not None), default=float(flagged))
        except (openai.OpenAIError, AttributeError, IndexError, TypeError, ValueError) as exc:
            # The kind of failure is enough: messages of endpoints echo keys and texts.
            raise EndpointError(
                f"Moderation model {self.model} failed ({type(exc).__name__}).",
                "Check moderation_model, OPENAI_BASE_URL and the key.",
            ) from exc
        theirs = (name.split("/")[0] for name, flag in flags.items() if flag)
        return flagged, tuple(dict.fromkeys(_CATEGORIES.get(name, name) for name in theirs)), min(1.0, max(0.0, score))
