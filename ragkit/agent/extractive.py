"""Answering without a language model: the best passages are quoted, word for word."""

from __future__ import annotations

from typing import Final

from langchain_core.messages import AIMessage

from ragkit.agent.json_protocol import GAVE_UP, SENTENCES
from ragkit.agent.turn import TurnState
from ragkit.citations.support import best_span
from ragkit.text.tokens import query_terms

NOTICE: Final = {
    "zh": "未配置语言模型，以下是笔记原文摘录。",
    "en": "No language model is configured; these are quotes from the notes.",
}
_QUOTES: Final = 3
_MAX_QUOTE: Final = 600


def quote_passages(turn: TurnState) -> AIMessage:
    """The final message of a turn without a model: up to three quotes with their passage numbers."""
    sentences = []
    wanted = " ".join(query_terms(turn.standalone))
    for number, hit in enumerate(turn.passages[:_QUOTES], start=1):
        span = best_span([wanted], hit.chunk, turn.index.idf)
        quote = " ".join(line.strip().lstrip("#>-* ") for line in span.quote.splitlines() if line.strip())
        sentences.append([quote[:_MAX_QUOTE], [number]])
    if not sentences:
        return AIMessage("", additional_kwargs={GAVE_UP: "no passage"})
    text = "\n".join(f"- {quote}[{numbers[0]}]" for quote, numbers in sentences)
    return AIMessage(text, additional_kwargs={SENTENCES: sentences})
