"""From what the model wrote to an answer that holds: every marker resolved, every sentence checked.

A sentence goes to the passage that supports it best. If that is not the one it named, the marker
is moved and said so; a sentence that no retrieved passage supports is taken out and reported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ragkit.agent.answer import Citation, Removed
from ragkit.agent.evidence import searched
from ragkit.agent.turn import TurnState
from ragkit.citations.markers import CitedSentence, parse_answer, render, without_markers
from ragkit.citations.support import (
    Support,
    Verdict,
    best_span,
    content_terms,
    crosses_languages,
    is_quoted,
    numbers_in,
    support,
    support_across,
)
from ragkit.text.language import answer_language
from ragkit.text.sanitize import one_line, printable
from ragkit.text.sentences import split_sentences
from ragkit.text.tokens import fold, tokenize
from ragkit.values import Hit, source_place

ABSTENTION: Final = {
    "zh": "笔记里没有找到这个问题的答案。",
    "en": "The notes do not contain an answer to this question.",
}
ABSENT: Final = {"zh": "笔记里没有提到 {}。", "en": "The notes never mention {}."}
_WORDLESS: Final = {
    "zh": "问题里没有可以检索的文字，请用文字提问。",
    "en": "The question has no words to look for; please ask in words.",
}
_NEAREST: Final = {"zh": "最接近的段落：", "en": "Nearest passages:"}
_LOOKED: Final = {"zh": "找过：{}", "en": "Looked for: {}"}
_BETWEEN: Final = {"zh": "；", "en": "; "}
_QUERY: Final = 80
"""Longest query that is shown."""
_SHOWN: Final = 3
_QUESTION_MARKS: Final = " ?？.。!！"
_LEAD_IN: Final = 40
_MOVE_GAIN: Final = 0.15
"""Another passage must support a sentence by this much more before its marker is moved."""


@dataclass(frozen=True)
class Composed:
    """A checked answer."""

    text: str
    citations: tuple[Citation, ...]
    removed: tuple[Removed, ...]
    unresolved: int
    abstained: bool


@dataclass
class _Cited:
    """What an answer says with one passage as its source."""

    sentences: list[str] = field(default_factory=list)
    verdict: Verdict = "supported"
    missing: list[str] = field(default_factory=list)
    """Numbers that stand in no source."""


@dataclass(frozen=True)
class _Placed:
    """The passages that a sentence is to cite, and how well they support it."""

    markers: tuple[int, ...]
    verdict: Verdict
    missing: tuple[str, ...] = ()


def compose(
    turn: TurnState,
    written: str,
    sentences: Sequence[tuple[str, Sequence[int]]] | None,
    *,
    quoted: bool = False,
) -> Composed:
    """Check an answer against the passages of its turn.

    Args:
        turn: Holds the passages; marker n is passage n.
        written: The model's text.
        sentences: Its sentences with passage numbers, where the model gave them apart.
        quoted: Whether the sentences are word for word those of the passages they name.
    """
    parsed = parse_answer(printable(written)) if sentences is None else _given(sentences, quoted)
    kept: list[CitedSentence] = []
    cited: dict[int, _Cited] = {}
    removed: list[Removed] = []
    unresolved = 0
    said: set[str] = set()
    for sentence in parsed:
        if (key := fold(sentence.text)) in said and not sentence.verbatim:
            continue
        said.add(key)
        if sentence.verbatim or (not quoted and _is_lead_in(turn, sentence.text)):
            kept.append(sentence)
            continue
        valid = tuple(n for n in sentence.markers if 1 <= n <= len(turn.passages))
        unresolved += len(sentence.markers) - len(valid)
        placed = _Placed(valid, "supported") if quoted else _place(turn, sentence.text, valid)
        if placed.verdict == "unsupported":
            removed.append(Removed(sentence=sentence.text, reason="no retrieved passage supports it"))
            continue
        if not quoted and _only_names_a_heading(turn, sentence.text, placed.markers):
            removed.append(Removed(sentence=sentence.text, reason="it only repeats a heading"))
            continue
        if not quoted and _only_asks_again(turn, sentence.text):
            removed.append(Removed(sentence=sentence.text, reason="it only repeats the question"))
            continue
        kept.append(replace(sentence, markers=placed.markers))
        for marker in placed.markers:
            source = cited.setdefault(marker, _Cited())
            source.sentences.extend(split_sentences(sentence.text))
            source.verdict = max(source.verdict, placed.verdict, key=_ORDER.index)
            source.missing.extend(placed.missing)
    if not cited:
        return Composed(abstention(turn), (), tuple(removed), unresolved, abstained=True)
    citations = tuple(_citation(turn, marker, cited[marker]) for marker in sorted(cited))
    return Composed(render(kept), citations, tuple(removed), unresolved, abstained=False)


def _given(sentences: Sequence[tuple[str, Sequence[int]]], quoted: bool) -> list[CitedSentence]:
    """Sentences that came with their sources: a marker in their text is a foreign one, copied from a note."""
    cleaned = [(without_markers(printable(text), keep_numbers=quoted), numbers) for text, numbers in sentences]
    return [CitedSentence(text, tuple(dict.fromkeys(numbers))) for text, numbers in cleaned if re.search(r"\w", text)]


def abstention(turn: TurnState) -> str:
    """What is said when the notes hold no answer: that, and the nearest passages."""
    language = answer_language(turn.question)
    lines = [ABSTENTION[language]]
    if turn.unknown_names:
        lines = [ABSENT[language].format(", ".join(turn.unknown_names))]
    if looked := searched(turn)[:_SHOWN]:
        lines.append(_LOOKED[language].format(_BETWEEN[language].join(one_line(text, _QUERY) for text in looked)))
    if turn.passages:
        lines.append(_NEAREST[language])
        lines.extend(f"- {place(hit)}" for hit in turn.passages[:_SHOWN])
    return "\n".join(lines)


def wordless(question: str) -> str:
    """What is said to a question of punctuation or emoji only; its width tells the language."""
    return _WORDLESS["zh" if re.search("[\u3000-\u303f\uff00-\uffef]", question) else "en"]


def place(hit: Hit) -> str:
    """``file:line (heading > path)`` of a passage."""
    heading = one_line(without_markers(" > ".join(hit.heading)), 80)
    return one_line(source_place(hit.document, (hit.start_line, hit.start_line), (hit.page, hit.page))) + (
        f" ({heading})" if heading else ""
    )


def _place(turn: TurnState, sentence: str, named: tuple[int, ...]) -> _Placed:
    """The passages that a sentence is to cite, and how well they support it."""
    judged = {n: _judge(turn, sentence, hit, n in named) for n, hit in enumerate(turn.passages, start=1)}
    best = max(judged, key=lambda n: (judged[n].share - len(judged[n].missing_numbers), n in named, -n), default=0)
    if not best:
        return _Placed((), "unsupported")
    good = tuple(n for n in named if judged[n].verdict != "unsupported")
    if good:
        missing = _in_none([judged[n] for n in good])
        elsewhere = bool(missing) and judged[best].verdict == "supported"
        if not elsewhere and judged[best].share < max(judged[n].share for n in good) + _MOVE_GAIN:
            share = max(judged[n].share for n in good)
            return _Placed(good, Support(share, missing).verdict, missing)
    found = judged[best]
    if found.verdict == "unsupported":
        return _Placed((), "unsupported")
    moved = bool(named) and best not in named and not found.missing_numbers
    return _Placed((best,), "misattributed" if moved else found.verdict, found.missing_numbers)


def _judge(turn: TurnState, sentence: str, hit: Hit, named: bool) -> Support:
    # What the calculator found in this turn needs no passage.
    computed = " ".join(number for number in numbers_in(sentence) if turn.computed(number))
    # Invisible characters were taken out of the sentence; in the passage they would part its words.
    passage = f"{printable(hit.chunk.search_text)}\n{computed}"
    if is_quoted(sentence, passage):
        return Support(1.0)
    if crosses_languages(sentence, hit.chunk):
        # Terms of two languages cannot be compared: the passage must at least be the one that was named.
        return support_across(sentence, passage) if named else Support(0.0)
    return support(sentence, passage, turn.index.idf)


def _in_none(found: Sequence[Support]) -> tuple[str, ...]:
    """The numbers that every one of these passages lacks."""
    return tuple(n for n in found[0].missing_numbers if all(n in other.missing_numbers for other in found[1:]))


def _only_names_a_heading(turn: TurnState, sentence: str, markers: tuple[int, ...]) -> bool:
    """Small models sometimes answer with the heading of a passage instead of what stands below it."""
    terms = set(tokenize(sentence))
    return any(terms <= set(tokenize(" ".join(turn.passages[marker - 1].heading))) for marker in markers)


def _only_asks_again(turn: TurnState, sentence: str) -> bool:
    """Small models sometimes hand the question back, with a marker on it."""
    asked = {fold(turn.question).strip(_QUESTION_MARKS), fold(turn.standalone).strip(_QUESTION_MARKS)}
    return fold(sentence).strip(_QUESTION_MARKS) in asked


_ORDER: Final[tuple[Verdict, ...]] = ("supported", "misattributed", "partly", "unsupported")
"""From strong to weak."""


def _citation(turn: TurnState, marker: int, cited: _Cited) -> Citation:
    hit = turn.passages[marker - 1]
    span = best_span(cited.sentences, hit.chunk, turn.index.idf, turn.index.similarity)
    return Citation(
        marker=marker,
        document=hit.document,
        heading=hit.heading,
        start_line=span.start_line,
        end_line=span.end_line,
        start=span.start,
        end=span.end,
        quote=span.quote,
        verdict=cited.verdict,
        note=_missing_note(cited.missing),
        page=turn.index.page(hit.document, span.start) if hit.page is not None else None,
    )


def _missing_note(numbers: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(numbers))
    if len(distinct) > 1:
        return f"numbers {', '.join(distinct)} are in no source"
    return f"number {distinct[0]} is in no source" if distinct else ""


def _is_lead_in(turn: TurnState, sentence: str) -> bool:
    """A short heading or announcement of a list whose words the question or the passages contain."""
    text = sentence.strip()
    if not (text.startswith("#") or text.endswith((":", "："))) or len(text) > _LEAD_IN:
        return False
    known = set(tokenize(" ".join([turn.question, turn.standalone, *(hit.chunk.search_text for hit in turn.passages)])))
    return all(term in known for term in content_terms(text))
