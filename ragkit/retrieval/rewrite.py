"""Query transforms by the chat model: follow-ups made self-contained, translation, variants, HyDE.

Every reply is constrained to a JSON schema. The user's own question always stays the first query;
a transform that fails adds nothing and never fails the search.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ragkit.errors import RagkitError
from ragkit.retrieval.retriever import Query
from ragkit.text.language import Language, answer_language
from ragkit.text.tokens import STOP_WORDS, fold, query_terms

log = logging.getLogger(__name__)

HYDE_WEIGHT: Final = 0.5
"""An invented passage guides the search; it must not outvote the question."""
_BARE_WEIGHT: Final = 0.3
"""Of a follow-up as it was typed, which has little to search for."""
_MAX_TURNS: Final = 4
_MAX_CHARS: Final = 400
_PASSAGE_CHARS: Final = 220
"""Of a hypothetical passage: a Han character may be a token, and a reply that is cut off is no JSON."""


class StructuredModel(Protocol):
    """A chat model that fills a JSON schema."""

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        """Reply to `user` with an object that satisfies `schema`."""
        ...


@dataclass(frozen=True)
class Turn:
    """One earlier exchange of a conversation."""

    question: str
    answer: str


@dataclass(frozen=True)
class Plan:
    """What will be searched for, and where each query came from."""

    queries: tuple[Query, ...]
    standalone: str
    """The question as one that can be understood without the conversation."""
    notes: tuple[str, ...] = field(default=())
    """One line for each transform that took part."""


_REFERS: Final = re.compile(
    r"[它他她]们?|[这那此](?:个|些|种|类|样|两|里|么|边|时|点|方法|模型|算法)?(?=[^一-龥]|[一-龥])|"
    r"该(?:模型|方法|算法|技术|机制|结构)|前者|后者|上面|上述|刚才|两者|二者|另一个|继续|"
    r"其(?:中|缺点|优点|原理|区别|作用)|^\s*(?:和|与|跟|相比|对比)|呢\s*[？?]?\s*$|"
    r"\b(?:it|its|they|them|their|this|that|these|those|former|latter|above|another|else|instead)\b|"
    r"^\s*(?:and|but|so|then|what about|how about|compared)\b|\bwhy\s*\??$",
    re.IGNORECASE,
)
_GENERIC: Final = re.compile(
    r"优缺点|缺点|优点|区别|不同|例子|举例|举个|作用|原理|公式|复杂度|好处|坏处|代价|步骤|流程|场景|意思|关系|影响|"
    r"应用|解释|说明|比较|详细|具体|一下|可以|可能|需要|应该|还有|有没有|有|能|会|再|请|更|多|说|讲|的|了|是|吗|吧|个|"
    r"\b(?:drawbacks?|disadvantages?|advantages?|benefits?|pros|cons|examples?|differences?|formula|details?|reasons?|"
    r"limitations?|problems?|issues?|costs?|uses?|steps?|explain|more|give|show|tell|me|please|there|any|main|some)\b",
    re.IGNORECASE,
)


def is_follow_up(question: str) -> bool:
    """Whether a question seems to lean on the conversation: it points back, or names no subject of its own."""
    if _REFERS.search(question):
        return True
    subject = _GENERIC.sub(" ", question)
    if not re.search(r"[A-Za-z0-9]|[一-龥]", subject):
        return True
    return not [term for term in query_terms(subject) if len(term) > 1 and term not in STOP_WORDS]


def plan_queries(
    question: str,
    model: StructuredModel | None,
    *,
    history: Sequence[Turn] = (),
    resolve: bool = True,
    corpus_language: Language | None = None,
    passage_language: Language | None = None,
    variants: bool = False,
    hyde: bool = False,
) -> Plan:
    """Decide which queries to run for a question.

    Args:
        question: As the user typed it; always the first query.
        model: Chat model, or None: then only the question is run, and a follow-up together with the
            question before it.
        history: Earlier turns; a follow-up is rewritten against them.
        resolve: Whether the model may rewrite a follow-up; otherwise it is treated as without a model.
        corpus_language: Main language of the notes; a question in the other one is translated. None:
            no translation.
        passage_language: Language of variants and hypothetical passages; None: `corpus_language`, or
            that of the question.
        variants: Ask for differently worded queries too (multi-query).
        hyde: Ask for a hypothetical passage too (Gao et al. 2022, arXiv:2212.10496).
    """
    queries = [Query(question)]
    notes: list[str] = []
    standalone = question
    if history and (model is None or not resolve):
        if is_follow_up(question):
            standalone = f"{history[-1].question} {question}"
            queries = [Query(question, weight=_BARE_WEIGHT), Query(standalone)]
    elif history and model is not None:
        standalone = _rewrite(question, history, model) or question
        if fold(standalone) in {fold(turn.question) for turn in history}:
            # A small model sometimes returns the earlier question; asked again it would answer that one.
            standalone = f"{history[-1].question} {question}"
        if fold(standalone) != fold(question):
            # The bare follow-up ("那它的缺点呢？") has little to search for; its rewriting leads.
            queries = [Query(question, weight=_BARE_WEIGHT), Query(standalone)]
            notes.append(f"rewritten: {standalone}")
    if model is None:
        return Plan(tuple(queries), standalone)
    written = passage_language or corpus_language or answer_language(standalone)
    if corpus_language is not None and answer_language(standalone) != corpus_language:
        translated = _translate(standalone, corpus_language, model)
        if translated and fold(translated) != fold(standalone):
            queries.append(Query(translated))
            notes.append(f"translated: {translated}")
    if variants:
        for variant in _variants(standalone, written, model):
            queries.append(Query(variant, weight=0.5))
            notes.append(f"variant: {variant}")
    if hyde:
        passage = hypothetical_passage(standalone, written, model)
        if passage:
            queries.append(Query(passage, weight=HYDE_WEIGHT, passage=True))
            notes.append(f"hypothetical passage: {passage}")
    unique = {fold(query.text): query for query in reversed(queries)}
    return Plan(tuple(query for query in queries if unique.get(fold(query.text)) is query), standalone, tuple(notes))


_REWRITE: Final = {
    "zh": (
        "你把对话中的追问改写成一个不看对话也能懂的问题。把“它”“这个”“前者”等指代换成对话里的名词，"
        "保留追问的意思，不要回答。如果问题本来就完整，原样返回。"
    ),
    "en": (
        "Rewrite the follow-up as one question that can be understood without the conversation. Replace pronouns "
        "by the noun they stand for, keep the meaning, do not answer. If it is complete already, return it unchanged."
    ),
}


def _rewrite(question: str, history: Sequence[Turn], model: StructuredModel) -> str | None:
    language = answer_language(question)
    lines = []
    for turn in history[-_MAX_TURNS:]:
        lines.append(f"Q: {turn.question[:_MAX_CHARS]}\nA: {turn.answer[:_MAX_CHARS]}")
    asked = "追问" if language == "zh" else "Follow-up"
    user = "\n".join(lines) + f"\n\n{asked}: {question}"
    return _field(model, _REWRITE[language], user, "question", 96)


_LANGUAGE_NAMES: Final = {"zh": "Chinese (简体中文)", "en": "English"}


def _translate(question: str, language: Language, model: StructuredModel) -> str | None:
    system = (
        f"Translate the question into {_LANGUAGE_NAMES[language]} as an expert on language models would ask it. "
        "Keep names, abbreviations and code as they are. Do not answer it."
    )
    return _field(model, system, question, "translation", 96)


def _variants(question: str, language: Language, model: StructuredModel) -> list[str]:
    system = (
        f"Write three short search queries in {_LANGUAGE_NAMES[language]} that would find a passage answering the "
        "question. Use the technical terms that such a passage would contain. Do not answer it."
    )
    schema = {
        "type": "object",
        "properties": {
            "queries": {"type": "array", "items": {"type": "string", "maxLength": 80}, "minItems": 3, "maxItems": 3}
        },
        "required": ["queries"],
        "additionalProperties": False,
    }
    reply = _ask(model, system, question, schema, 160)
    found = reply.get("queries") if reply else None
    if not isinstance(found, list):
        return []
    return [text.strip() for text in found if isinstance(text, str) and text.strip()]


def hypothetical_passage(question: str, language: Language, model: StructuredModel) -> str | None:
    """A short passage that would answer the question, for embedding only; it is never shown as fact."""
    system = (
        f"Write two or three sentences in {_LANGUAGE_NAMES[language]}, in the style of study notes on language "
        "models, that answer the question. Use precise technical terms."
    )
    return _field(model, system, question, "passage", 256, _PASSAGE_CHARS)


def _field(
    model: StructuredModel, system: str, user: str, name: str, max_tokens: int, max_chars: int = _MAX_CHARS
) -> str | None:
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "maxLength": max_chars}},
        "required": [name],
        "additionalProperties": False,
    }
    reply = _ask(model, system, user, schema, max_tokens)
    value = reply.get(name) if reply else None
    return value.strip() or None if isinstance(value, str) else None


def _ask(
    model: StructuredModel, system: str, user: str, schema: dict[str, Any], max_tokens: int
) -> dict[str, Any] | None:
    try:
        return model.complete_json(system, user, schema, max_tokens)
    except RagkitError as exc:
        log.warning("query transform left out: %s", exc)
        return None
