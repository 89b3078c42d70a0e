"""Query transforms by the chat model: follow-ups made self-contained, translation, variants, HyDE.

Every reply is constrained to a JSON schema. When each is used is decided in `ragkit.retrieval.planner`.
All of them raise what the model raises; a reply that is of no use is None or empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from ragkit.errors import UsageError
from ragkit.retrieval.names import names_in
from ragkit.text.language import Language, answer_language
from ragkit.text.tokens import STOP_WORDS, query_terms

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


Past: TypeAlias = Turn | tuple[str, str]
"""An earlier exchange as a program may give it: a `Turn`, or its question and its answer."""


def turns_of(history: Iterable[Past]) -> list[Turn]:
    """Earlier exchanges as `Turn`.

    Raises:
        UsageError: If one is neither a `Turn` nor a pair of texts.
    """
    turns = []
    for number, past in enumerate(history, start=1):
        if isinstance(past, Turn):
            turns.append(past)
            continue
        pair = list(past) if isinstance(past, (tuple, list)) else []
        if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise UsageError(
                f"Turn {number} of the history is a {type(past).__name__}: {past!r:.80}.",
                "Pass pairs: [(question, answer), ...].",
            )
        turns.append(Turn(*pair))
    return turns


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


_SECOND: Final = re.compile(
    r",?\s+and\s+(?=(?:why|how|when|what|where|which|who)\b)|[，,；;]\s*(?=[它其]|为什么|为何|怎么|如何)", re.IGNORECASE
)
"""Where a second question begins, whose "it" is the subject of the first."""
_ASKS: Final = re.compile(
    r"^\W*(?:what|why|how|which|who|when|where|explain|define|describe)\b|什么|为何|怎么|如何|哪|多少", re.IGNORECASE
)


_OWN: Final = re.compile(
    r"(\b(?:does|do|did|is|are|was|were|can|could|will|would|should|has|have)\s+(?:the\s+)?(\w[\w.-]*)\b[^,;?]*?)"
    r"\b(?:its|their)\b",
    re.IGNORECASE,
)
"""What the subject of a question, the word behind its auxiliary, has of its own."""


def is_follow_up(question: str) -> bool:
    """Whether a question seems to lean on the conversation: it points back, or names no subject of its own.

    "What is a KV cache and why does it save time?" points back within itself, and so does "What does GPT-2 keep in its
    cache?".
    """
    first, *second = _SECOND.split(question, maxsplit=1)
    if second and _ASKS.search(first) and not _leans(first):
        return False
    return _leans(question)


def _leans(question: str) -> bool:
    names = set(names_in(question))
    question = _OWN.sub(lambda m: m[1] if m[2] in names else m[0], question)
    if _REFERS.search(question):
        return True
    subject = _GENERIC.sub(" ", question)
    if not re.search(r"[A-Za-z0-9]|[一-龥]", subject):
        return True
    return not [term for term in query_terms(subject) if len(term) > 1 and term not in STOP_WORDS]


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


def resolve_follow_up(question: str, history: Sequence[Turn], model: StructuredModel) -> str | None:
    """The question as one that can be understood without the conversation."""
    language = answer_language(question)
    lines = []
    for turn in history[-_MAX_TURNS:]:
        lines.append(f"Q: {turn.question[:_MAX_CHARS]}\nA: {turn.answer[:_MAX_CHARS]}")
    asked = "追问" if language == "zh" else "Follow-up"
    user = "\n".join(lines) + f"\n\n{asked}: {question}"
    return _field(model, _REWRITE[language], user, "question", 96)


_LANGUAGE_NAMES: Final = {"zh": "Chinese (简体中文)", "en": "English"}


def translate(question: str, language: Language, model: StructuredModel) -> str | None:
    """The question in another language."""
    system = (
        f"Translate the question into {_LANGUAGE_NAMES[language]} as an expert on language models would ask it. "
        "Keep names, abbreviations and code as they are. Do not answer it."
    )
    return _field(model, system, question, "translation", 96)


def variants(question: str, language: Language, model: StructuredModel) -> list[str]:
    """Three differently worded queries (multi-query)."""
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
    found = model.complete_json(system, question, schema, 160).get("queries")
    if not isinstance(found, list):
        return []
    return [text.strip() for text in found if isinstance(text, str) and text.strip()]


def hypothetical_passage(question: str, language: Language, model: StructuredModel) -> str | None:
    """A short passage that would answer the question, for embedding only; it is never shown as fact.

    HyDE: Gao et al. 2022, arXiv:2212.10496.
    """
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
    value = model.complete_json(system, user, schema, max_tokens).get(name)
    return value.strip() or None if isinstance(value, str) else None
