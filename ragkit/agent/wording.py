"""What an agent says about its work, and what it tells the model, in both languages."""

from __future__ import annotations

from typing import Final

from ragkit.retrieval.planner import Name
from ragkit.text.language import Language, answer_language

DOING: Final[dict[Name, dict[str, str]]] = {
    "resolve": {"zh": "联系上文理解追问…", "en": "reading the question in the light of the conversation…"},
    "translate": {"zh": "把问题译成笔记的语言…", "en": "putting the question into the notes' language…"},
    "variants": {"zh": "换种说法再检索…", "en": "putting the question into other words…"},
    "hyde": {"zh": "设想一段答案再检索…", "en": "imagining what an answer would look like…"},
}
LANGUAGE_LINE: Final = {"zh": "请用中文回答。", "en": "Answer in English."}
TRANSLATING: Final = {"zh": "把答案译成中文…", "en": "putting the answer into English…"}


def as_asked(question: str, standalone: str, language: Language | None = None) -> str:
    """A question as the model reads it: with what it means on its own, and the language of the answer.

    Args:
        question: As it was asked.
        standalone: With what it means on its own.
        language: To answer in; None takes that of the question.
    """
    asked = question if standalone == question else f"{question}\n({standalone})"
    return f"{asked}\n{LANGUAGE_LINE[language or answer_language(question)]}"
