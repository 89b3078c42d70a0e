"""The end of a turn: the model's last message becomes a checked answer, quotes, or an abstention."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from langchain_core.messages import AIMessage

from ragkit.agent.amounts import asks_for_a_number, names_a_number
from ragkit.agent.answer import Removed, Thought, Translation
from ragkit.agent.budget import Stop
from ragkit.agent.compose import Composed, Rules, abstention, compose, place
from ragkit.agent.evidence import verified
from ragkit.agent.extractive import DOWN, NOTICE, quote_passages
from ragkit.agent.json_protocol import FROM_LINES, GAVE_UP, QUOTED, SENTENCES
from ragkit.agent.own_words import REPLACED
from ragkit.agent.requests import asks_a_tool
from ragkit.agent.results import DIRECT, tool_results
from ragkit.agent.retry import corrected
from ragkit.agent.tools import NOTE_TOOLS
from ragkit.agent.tools.results import PREFIX
from ragkit.agent.translating import is_in, translated
from ragkit.agent.turn import TurnState, best_coverage
from ragkit.agent.wording import TRANSLATING
from ragkit.citations.entailment import ChatEntailment, CrossEncoderEntailment, EntailmentJudge
from ragkit.citations.markers import render
from ragkit.errors import ModelError
from ragkit.models.chat import ChatModel
from ragkit.retrieval.answerable import asked_terms
from ragkit.text.language import answer_language
from ragkit.text.links import addresses, unlinked
from ragkit.text.sentences import split_sentences
from ragkit.text.tokens import tokenize
from ragkit.values import MEMORY

_UNFOUNDED: Final = {
    "zh": "模型的回答在笔记里没有依据，以下是笔记原文摘录。",
    "en": "What the model wrote has no basis in the notes; these are quotes from them.",
}
_NOT_SEEN: Final = {
    "zh": "模型没有写出答案，以下是最相关的笔记原文摘录。",
    "en": "The model came to no answer; these are quotes from the passages nearest to the question.",
}
NOTICES: Final = tuple(text for said in (NOTICE, DOWN, _UNFOUNDED, _NOT_SEEN) for text in said.values())
"""What may stand before quotes; it says nothing of the notes."""
_QUOTES: Final = {"zh": "以下是笔记原文摘录。", "en": " These are quotes from the notes."}
_NO_ANSWER: Final = {"zh": "还没有得到答案。", "en": " No answer was reached."}
_NEAREST: Final = {"zh": "最接近的段落：", "en": "Nearest passages:"}
_SHOWN: Final = 3
LINK_REMOVED: Final = {"zh": "（链接已移除）", "en": "(link removed)"}
UNVOUCHED: Final = "a link that stands in no cited source"
INSTRUCTIONS: Final = "it repeats the instructions of the agent"
PIECED: Final = "the answer is pieced together from words that never stood together"
REMNANT: Final = "nothing of the answer holds but a part of this"
NUMBERLESS: Final = "the question asks for a number, and nothing that holds names one"
ANOTHER: Final = "the question asks for a number; what was said of it does not hold, and this is about something else"
_ASKED_OF: Final = 0.5
"""Share of the question from which a sentence is the one that answers it."""
_BESIDE: Final = 0.1
"""Share of the question up to which what holds is about something else."""
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
    direct = str(final.additional_kwargs.get(DIRECT, "")) if final is not None else ""
    if direct:
        # The program's tool vouches for its own addresses.
        return _without_links(turn, Composed(direct, (), (), 0, abstained=False), direct)
    return _with_staleness(turn, _without_links(turn, _checked(turn, final, chat)))


def _checked(turn: TurnState, final: AIMessage | None, chat: ChatModel) -> Composed:
    results = tool_results(turn)
    if turn.stop is not None:
        if results:
            return Composed(f"{turn.stop.says(turn.question)}\n{results}", (), (), 0, abstained=False)
        return _cut_short(turn, turn.stop)
    if results and (final is None or final.additional_kwargs.get(GAVE_UP)):
        return Composed(results, (), (), 0, abstained=False)
    composed = _written(turn, final, chat)
    if composed.abstained:
        return replace(composed, text=results, abstained=False) if results else composed
    # What was asked for outright is said, whatever the model makes of it.
    unsaid = tool_results(turn, composed.text)
    return replace(composed, text=f"{composed.text}\n\n{unsaid}") if unsaid else composed


def _written(turn: TurnState, final: AIMessage | None, chat: ChatModel) -> Composed:
    if final is None or final.additional_kwargs.get(GAVE_UP):
        nothing = Composed(abstention(turn), (), (), 0, abstained=True)
        return _instead(turn, nothing, _NOT_SEEN) if turn.model_calls and not turn.hopeless else nothing
    if not final.text.strip():
        raise ModelError(f"{chat.name} returned an empty reply.", "Ask again, or use another model.")
    composed = _composed(turn, final, rules_of(turn, final, chat))
    again = turn.index.settings.on_unsupported == "retry" and not chat.extractive and turn.budget.over() is None
    if again and composed.removed:
        composed = _again(turn, final, composed, chat)
    language = answer_language(turn.question)
    if chat.extractive:
        return replace(composed, text=f"{(DOWN if chat.down else NOTICE)[language]}\n{composed.text}")
    if composed.abstained:
        return _instead(turn, composed, _UNFOUNDED) if composed.removed else composed
    if final.additional_kwargs.get(FROM_LINES) and (reason := _beside_the_question(turn, composed)):
        told = {item.sentence for item in composed.removed}
        gone = (Removed(sentence=v.sentence, reason=reason) for v in composed.verdicts if v.sentence not in told)
        removed = (*composed.removed, *gone)
        return replace(composed, text=abstention(turn), citations=(), abstained=True, removed=removed)
    verdicts = [citation.verdict for citation in composed.citations]
    score = verified(turn.judgement.probability, verdicts, len(composed.removed))
    if score < turn.judgement.fit.threshold and not _from_elsewhere(turn, composed):
        return replace(composed, text=abstention(turn), citations=(), abstained=True)
    return _translated(turn, composed, chat) if final.additional_kwargs.get(FROM_LINES) else composed


def _from_elsewhere(turn: TurnState, composed: Composed) -> bool:
    """Whether an answer rests on more than the search of the notes, whose score then does not bear on it.

    A tool that was on offer and gave nothing is no such thing: having one must not make the notes answer all.
    """
    if any(step.tool not in NOTE_TOOLS and not step.failed for step in turn.steps):
        return True
    cited = any(citation.document.startswith((MEMORY, PREFIX)) for citation in composed.citations)
    return cited or asks_a_tool(turn.question) or bool(turn.named)


def _translated(turn: TurnState, composed: Composed, chat: ChatModel) -> Composed:
    """What holds, in the language of the question; see `ragkit.agent.translating`."""
    language = answer_language(turn.question)
    sentences = [sentence.text for sentence in composed.kept if not sentence.verbatim]
    model = chat.structured(turn.budget.spend)
    if model is None or turn.budget.over() is not None or all(is_in(text, language) for text in sentences):
        return composed
    turn.emit(Thought(TRANSLATING[language]))
    found = translated(sentences, language, model, turn.spotlight, turn.question)
    kept = tuple(replace(item, text=found.get(item.text, item.text)) for item in composed.kept)
    text = composed.text.replace(render(composed.kept), render(kept), 1)
    said = tuple(Translation(sentence=after, original=before) for before, after in found.items())
    return replace(composed, text=text, kept=kept, translations=said)


def _beside_the_question(turn: TurnState, composed: Composed) -> str:
    """Why what a small model wrote is no answer, although passages bear it out; empty if it may be one."""
    unsure = turn.judgement.probability < turn.judgement.fit.sure
    if unsure and _pieced_together(composed):
        return PIECED
    if unsure and composed.removed and {citation.verdict for citation in composed.citations} == {"partly"}:
        return REMNANT
    if not asks_for_a_number(turn.question):
        return ""
    said = " ".join(sentence.text for sentence in composed.kept)
    if not names_a_number(said, turn.question):
        return NUMBERLESS
    return ANOTHER if unsure and _of_another_number(turn, composed, said) else ""


def _of_another_number(turn: TurnState, composed: Composed, said: str) -> bool:
    """Whether the sentence that answers was taken out, and what is left has next to none of the question's words."""
    if not is_in(said, answer_language(turn.question)):
        return False  # there they are other words
    idf = turn.index.idf
    asked = {term: idf(term) for term in asked_terms(turn.question)}

    def share(text: str) -> float:
        return sum(asked[term] for term in asked.keys() & set(tokenize(text))) / (sum(asked.values()) or 1.0)

    taken = max((share(item.sentence) for item in composed.removed), default=0.0)
    return taken >= _ASKED_OF and share(said) < _BESIDE


def _pieced_together(composed: Composed) -> bool:
    """Whether a small model put an answer together from words that never stood together, and nothing of it holds.

    So it answers questions on a subject of the notes whose every word is there and only the asked fact is not.
    """
    names = {verdict.verdict for verdict in composed.verdicts}
    holds = names & {"supported", "misattributed"}
    return "stitched" in names and not holds


def _instead(turn: TurnState, composed: Composed, notice: dict[str, str]) -> Composed:
    """Quotes in place of an answer that came to nothing, where the notes hold one as good as surely."""
    covered = best_coverage(turn.passages) >= _QUOTED_COVERAGE and bool(composed.removed)
    if not covered and turn.judgement.probability < turn.judgement.fit.sure:
        return composed
    quotes = _composed(turn, quote_passages(turn, _QUOTED_COVERAGE if covered else 0.0), Rules())
    if quotes.abstained:
        return composed
    language = answer_language(turn.question)
    return replace(quotes, text=f"{notice[language]}\n{quotes.text}", removed=composed.removed)


def _cut_short(turn: TurnState, stop: Stop) -> Composed:
    """What there is when a budget is used up: quotes if a passage plainly is about the question, else the reason."""
    language = answer_language(turn.question)
    if best_coverage(turn.passages) >= _QUOTED_COVERAGE:
        quotes = _composed(turn, quote_passages(turn, _QUOTED_COVERAGE), Rules())
        if not quotes.abstained:
            return replace(quotes, text=f"{stop.says(turn.question)}{_QUOTES[language]}\n{quotes.text}")
    nearest = "\n".join(f"- {place(hit)}" for hit in turn.passages[:_SHOWN])
    text = f"{stop.says(turn.question)}{_NO_ANSWER[language]}" + (
        f"\n{_NEAREST[language]}\n{nearest}" if nearest else ""
    )
    return Composed(text, (), (), 0, abstained=True)


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


def _without_links(turn: TurnState, composed: Composed, direct: str = "") -> Composed:
    """An address stays where the question, a cited passage or a `direct` result holds it; no other vouches for one."""
    cited = [turn.passages[citation.marker - 1].text for citation in composed.citations]
    clean = unlinked(
        composed.text, addresses([turn.question, direct, *cited]), LINK_REMOVED[answer_language(turn.question)]
    )
    gone = tuple(Removed(sentence=target, reason=UNVOUCHED) for target in clean.removed)
    return replace(composed, text=clean.text, removed=(*composed.removed, *gone))


def _with_staleness(turn: TurnState, composed: Composed) -> Composed:
    """Say of each citation what happened to its file since it was indexed."""
    citations = (replace(c, stale=turn.index.staleness(c.document, c.quote)) for c in composed.citations)
    return replace(composed, citations=tuple(citations))


def _composed(turn: TurnState, message: AIMessage, rules: Rules) -> Composed:
    quoted = bool(message.additional_kwargs.get(QUOTED))
    message, gone = (message, ()) if quoted else _without_instructions(turn, message)
    given = message.additional_kwargs.get(SENTENCES)
    composed = compose(turn, message.text, given, quoted=quoted, rules=rules)
    return replace(composed, removed=(*composed.removed, *gone))


def _again(turn: TurnState, final: AIMessage, composed: Composed, chat: ChatModel) -> Composed:
    """The answer with what the model makes of the sentences that failed; they are checked like the first ones."""
    model = chat.structured(turn.budget.spend)
    failed = [item for item in composed.removed if item.reason not in REPLACED]
    written = corrected(turn, failed, model) if model is not None and failed else []
    if not written:
        return composed
    second = compose(turn, final.text, [*composed.kept, *written], rules=rules_of(turn, final, chat))
    if second.abstained:
        return composed
    return replace(second, removed=(*composed.removed, *second.removed), unresolved=composed.unresolved)


def rules_of(turn: TurnState, final: AIMessage, chat: ChatModel) -> Rules:
    """What the settings say about sentences that fail, and whether the message is held to the words of the notes."""
    settings = turn.index.settings
    judge: EntailmentJudge | None = None
    if settings.entailment == "chat":
        model = chat.structured(turn.budget.spend)
        judge = ChatEntailment(model) if model is not None else None
    elif settings.entailment != "off":
        judge = CrossEncoderEntailment(settings.entailment)
    return Rules(
        strike=settings.on_unsupported == "strike",
        judge=judge,
        seconds=settings.entailment_seconds,
        own_words=bool(final.additional_kwargs.get(FROM_LINES)),
    )
