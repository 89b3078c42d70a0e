"""Answering without a language model: the best passages are quoted, word for word."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from ragkit.agent.json_protocol import GAVE_UP, QUOTED, SENTENCES
from ragkit.agent.turn import TurnState
from ragkit.errors import RagkitError
from ragkit.ingest.blocks import width
from ragkit.text.sentences import sentence_spans
from ragkit.text.tokens import query_terms, tokenize

NOTICE: Final = {
    "zh": "未配置语言模型，以下是笔记原文摘录。",
    "en": "No language model is configured; these are quotes from the notes.",
}
DOWN: Final = {
    "zh": "语言模型暂不可用，以下是笔记原文摘录。",
    "en": "The language model cannot be used right now; these are quotes from the notes.",
}
_QUOTES: Final = 3
_WIDTH: Final = 150
"""Han-character widths a quote grows to."""
_MAX_QUOTE: Final = 600


def quote_passages(turn: TurnState, floor: float = 0.0) -> AIMessage:
    """The final message of a turn without a model: up to three quotes with their passage numbers.

    Args:
        turn: Holds the passages.
        floor: Coverage (0..1) of the question that a passage must have to be quoted.
    """
    terms = set(query_terms(turn.standalone))
    sentences = []
    for number, hit in enumerate(turn.passages, start=1):
        if hit.coverage >= floor and (quote := _excerpt(hit.text, terms, turn.index.idf)):
            sentences.append([f"- {quote}", [number]])
        if len(sentences) == _QUOTES:
            break
    if not sentences:
        return AIMessage("", additional_kwargs={GAVE_UP: "no passage"})
    text = "\n".join(f"{quote}[{numbers[0]}]" for quote, numbers in sentences)
    return AIMessage(text, additional_kwargs={SENTENCES: sentences, QUOTED: True})


def _excerpt(text: str, terms: set[str], idf: Callable[[str], float]) -> str:
    """The sentence that has most of the question, and what follows it, without headings and fences."""
    prose = [text[a:b] for a, b in sentence_spans(text) if not re.match(r"#{1,6}\s|```|[|\s:-]+$|\$\$", text[a:b])]
    if not prose:
        return ""
    weights = [sum(idf(term) for term in terms & set(tokenize(sentence))) for sentence in prose]
    at = max(range(len(prose)), key=lambda i: (weights[i], -i))
    quote = ""
    for line in prose[at:]:
        sentence = re.sub(r"^(?:[-*+]|\d{1,2}[.)])\s+", "", line)
        if quote and width(quote) + width(sentence) > _WIDTH:
            break
        quote = f"{quote} {' '.join(sentence.split())}".strip()
    return quote[:_MAX_QUOTE]


class NoModel(BaseChatModel):
    """Stands where the loop wants a model when every reply comes from `TurnControl`."""

    @property
    def _llm_type(self) -> str:
        return "none"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        raise RagkitError("No language model is configured.", "Set OPENAI_API_KEY or install ragkit[local].")
