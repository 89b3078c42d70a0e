"""What an agent calls: refuse a harmful question, withhold a harmful answer.

guard = open_guard(settings, index.model)
if refusal := guard.question(text):   # before retrieval
    return refusal.text
if refusal := guard.answer(text):     # before the answer is shown
    return refusal.text
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ragkit.models.embeddings import EmbeddingModel
from ragkit.safety.filter import SafetyFilter, SafetyVerdict
from ragkit.settings import Settings
from ragkit.text.language import Language, answer_language

_QUESTION: Final[dict[Language, str]] = {
    "zh": "抱歉，这个问题我不能回答（安全过滤：{categories}）。如果这是误判，请换一种说法，或把设置 safety 改为 off。",
    "en": "I cannot help with that (safety filter: {categories}). If this is a mistake, put it differently, "
    "or set safety to off.",
}
_ANSWER: Final[dict[Language, str]] = {
    "zh": "抱歉，生成的回答没有通过安全过滤（{categories}），已不予显示。",
    "en": "The answer was withheld by the safety filter ({categories}).",
}
_HELP: Final[dict[Language, str]] = {
    "zh": "如果你正处在痛苦之中，请和信任的人谈谈，或拨打心理援助热线 12356；紧急情况请拨打 110 或 120。",
    "en": "If you are going through a hard time, please talk to someone you trust or call a crisis line "
    "(988 in the US, 116 123 in the UK and much of Europe); in an emergency call your local emergency number.",
}
_NAMES_ZH: Final = {
    "violence": "暴力与武器",
    "self-harm": "自我伤害",
    "illicit": "毒品与犯罪",
    "cyber": "网络攻击",
    "hate": "仇恨与骚扰",
    "sexual": "色情内容",
    "privacy": "隐私与个人信息",
    "prompt-injection": "提示注入",
}


@dataclass(frozen=True)
class Refusal:
    """What is said in place of an answer, and why."""

    text: str
    verdict: SafetyVerdict


class SafetyGuard:
    """A filter with a mode.

    Args:
        safety: The filter; None lets everything through.
        answers: Whether answers are judged, not questions alone.
    """

    def __init__(self, safety: SafetyFilter | None = None, *, answers: bool = True) -> None:
        self._filter = safety
        self._answers = answers

    @property
    def judges_answers(self) -> bool:
        """Whether an answer must be held back until it is whole."""
        return self._filter is not None and self._answers

    def question(self, text: str) -> Refusal | None:
        """The refusal of a harmful question, in its language; None lets it through."""
        if self._filter is None:
            return None
        verdict = self._filter.check(text, "input")
        return _refusal(_QUESTION, verdict, answer_language(text)) if verdict.flagged else None

    def answer(self, text: str) -> Refusal | None:
        """What is shown in place of a harmful answer, in its language; None lets it through."""
        if self._filter is None or not self._answers:
            return None
        verdict = self._filter.check(text, "output")
        return _refusal(_ANSWER, verdict, answer_language(text)) if verdict.flagged else None


def open_guard(settings: Settings, model: EmbeddingModel | None = None) -> SafetyGuard:
    """The guard that the setting ``safety`` asks for; nothing heavy is loaded yet.

    Args:
        settings: ``safety`` (``off``, ``input``, ``both``) and what `SafetyFilter.from_settings` reads.
        model: Embedding model of the classifier; None judges by rules alone.

    Raises:
        ModelError: If a moderation model is set, but neither key nor address.
    """
    if settings.safety == "off":
        return SafetyGuard()
    return SafetyGuard(SafetyFilter.from_settings(settings, model), answers=settings.safety == "both")


def _refusal(texts: dict[Language, str], verdict: SafetyVerdict, language: Language) -> Refusal:
    zh = language == "zh"
    names = [_NAMES_ZH.get(name, name) if zh else name for name in verdict.categories]
    text = texts[language].format(categories=("、" if zh else ", ").join(names) or "-")
    return Refusal(f"{text}\n{_HELP[language]}" if "self-harm" in verdict.categories else text, verdict)
