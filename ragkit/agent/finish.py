"""The end of a turn: the model's last message becomes a checked answer, quotes, or an abstention."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from langchain_core.messages import AIMessage

from ragkit.agent.answer import Removed
from ragkit.agent.compose import Composed, abstention, compose
from ragkit.agent.extractive import DOWN, NOTICE, quote_passages
from ragkit.agent.json_protocol import GAVE_UP, QUOTED, SENTENCES
from ragkit.agent.turn import TurnState, best_coverage
from ragkit.errors import ModelError
from ragkit.models.chat import ChatModel
from ragkit.text.language import answer_language
from ragkit.text.links import addresses, unlinked
from ragkit.text.sentences import split_sentences

_UNFOUNDED: Final = {
    "zh": "模型的回答在笔记里没有依据，以下是笔记原文摘录。",
    "en": "What the model wrote has no basis in the notes; these are quotes from them.",
}
LINK_REMOVED: Final = {"zh": "（链接已移除）", "en": "(link removed)"}
UNVOUCHED: Final = "a link that stands in no cited source"
INSTRUCTIONS: Final = "it repeats the instructions of the agent"
_INSTRUCTION: Final = 24
"""Characters from which on a sentence of the agent file is more than a common phrase."""
_QUOTED_COVERAGE: Final = 0.6
"""Share of the question that the best passage must hold before it is quoted in place of an answer."""


def finish(turn: TurnState, final: AIMessage | None, chat: ChatModel) -> Composed:
    """Check the last message of a turn, and take pictures and addresses of unknown origin out of it.

    Citations of files that were changed, moved or deleted since they were indexed say so.

    Where nothing of what the model wrote can be kept, but a passage plainly is about the question,
    that passage is quoted: a small model that stumbles must not hide what the notes say.

    Raises:
        ModelError: If the model wrote nothing at all.
    """
    return _with_staleness(turn, _without_links(turn, _checked(turn, final, chat)))


def _checked(turn: TurnState, final: AIMessage | None, chat: ChatModel) -> Composed:
    if final is None or final.additional_kwargs.get(GAVE_UP):
        return Composed(abstention(turn), (), (), 0, abstained=True)
    if not final.text.strip():
        raise ModelError(f"{chat.name} returned an empty reply.", "Ask again, or use another model.")
    composed = _composed(turn, final)
    language = answer_language(turn.question)
    if chat.extractive:
        return replace(composed, text=f"{(DOWN if chat.down else NOTICE)[language]}\n{composed.text}")
    if composed.abstained and composed.removed and best_coverage(turn.passages) >= _QUOTED_COVERAGE:
        quotes = _composed(turn, quote_passages(turn, _QUOTED_COVERAGE))
        if not quotes.abstained:
            return replace(quotes, text=f"{_UNFOUNDED[language]}\n{quotes.text}", removed=composed.removed)
    return composed


def _without_instructions(turn: TurnState, message: AIMessage) -> tuple[AIMessage, tuple[Removed, ...]]:
    """The message without sentences of the agent file: they are nothing that the notes say, whoever asked for them."""
    gone: dict[str, None] = {}

    def left(text: str) -> str:
        for sentence in split_sentences(turn.instructions):
            if len(sentence) >= _INSTRUCTION:
                words = r"\s+".join(map(re.escape, sentence.strip("-* ").split()))
                text, times = re.subn(words, "", text, flags=re.IGNORECASE)
                gone.update({sentence: None} if times else {})
        return text

    extras = dict(message.additional_kwargs)
    if SENTENCES in extras:
        extras[SENTENCES] = [[left(text), numbers] for text, numbers in extras[SENTENCES]]
    text = left(message.text)
    if not gone:
        return message, ()
    removed = tuple(Removed(sentence=sentence, reason=INSTRUCTIONS) for sentence in gone)
    return AIMessage(text or " ", additional_kwargs=extras), removed


def _without_links(turn: TurnState, composed: Composed) -> Composed:
    """An address stays where the question or a cited passage holds it; a passage that is not cited vouches for none."""
    cited = [turn.passages[citation.marker - 1].text for citation in composed.citations]
    clean = unlinked(composed.text, addresses([turn.question, *cited]), LINK_REMOVED[answer_language(turn.question)])
    gone = tuple(Removed(sentence=target, reason=UNVOUCHED) for target in clean.removed)
    return replace(composed, text=clean.text, removed=(*composed.removed, *gone))


def _with_staleness(turn: TurnState, composed: Composed) -> Composed:
    """Say of each citation what happened to its file since it was indexed."""
    citations = (replace(c, stale=turn.index.staleness(c.document, c.quote)) for c in composed.citations)
    return replace(composed, citations=tuple(citations))


def _composed(turn: TurnState, message: AIMessage) -> Composed:
    quoted = bool(message.additional_kwargs.get(QUOTED))
    message, gone = (message, ()) if quoted else _without_instructions(turn, message)
    composed = compose(turn, message.text, message.additional_kwargs.get(SENTENCES), quoted=quoted)
    return replace(composed, removed=(*composed.removed, *gone))
