"""From what the model wrote to an answer that holds: every marker resolved, every sentence checked.

A sentence goes to the passage that supports it best. If that is not the one it named, the marker
is moved and said so; a sentence that no retrieved passage supports is taken out and reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ragkit.agent.answer import Citation, Removed
from ragkit.agent.turn import TurnState
from ragkit.citations.markers import CitedSentence, parse_answer, render
from ragkit.citations.support import (
    Support,
    Verdict,
    best_span,
    content_terms,
    crosses_languages,
    support,
    support_across,
)
from ragkit.text.language import answer_language
from ragkit.text.sanitize import one_line, printable
from ragkit.text.sentences import split_sentences
from ragkit.text.tokens import fold, tokenize
from ragkit.values import Hit

ABSTENTION: Final = {
    "zh": "笔记里没有找到这个问题的答案。",
    "en": "The notes do not contain an answer to this question.",
}
ABSENT: Final = {"zh": "笔记里没有提到 {}。", "en": "The notes never mention {}."}
_NEAREST: Final = {"zh": "最接近的段落：", "en": "Nearest passages:"}
_SHOWN: Final = 3
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


def compose(turn: TurnState, written: str, sentences: Sequence[tuple[str, Sequence[int]]] | None) -> Composed:
    """Check an answer against the passages of its turn.

    Args:
        turn: Holds the passages; marker n is passage n.
        written: The model's text.
        sentences: Its sentences with passage numbers, where the model gave them apart.
    """
    parsed = (
        [CitedSentence(printable(text), tuple(dict.fromkeys(numbers))) for text, numbers in sentences if text.strip()]
        if sentences is not None
        else parse_answer(printable(written))
    )
    kept: list[CitedSentence] = []
    verdicts: dict[int, Verdict] = {}
    by_marker: dict[int, list[str]] = {}
    removed: list[Removed] = []
    unresolved = 0
    said: set[str] = set()
    for sentence in parsed:
        if (key := fold(sentence.text)) in said and not sentence.verbatim:
            continue
        said.add(key)
        if sentence.verbatim or _is_lead_in(turn, sentence.text):
            kept.append(sentence)
            continue
        valid = tuple(n for n in sentence.markers if 1 <= n <= len(turn.passages))
        unresolved += len(sentence.markers) - len(valid)
        markers, verdict = _place(turn, sentence.text, valid)
        if verdict == "unsupported":
            removed.append(Removed(sentence=sentence.text, reason="no retrieved passage supports it"))
            continue
        if _only_names_a_heading(turn, sentence.text, markers):
            removed.append(Removed(sentence=sentence.text, reason="it only repeats a heading"))
            continue
        kept.append(replace(sentence, markers=markers))
        for marker in markers:
            by_marker.setdefault(marker, []).extend(split_sentences(sentence.text))
            verdicts[marker] = _weaker(verdicts.get(marker), verdict)
    if not by_marker:
        return Composed(abstention(turn), (), tuple(removed), unresolved, abstained=True)
    citations = tuple(_citation(turn, marker, by_marker[marker], verdicts[marker]) for marker in sorted(by_marker))
    return Composed(render(kept), citations, tuple(removed), unresolved, abstained=False)


def abstention(turn: TurnState) -> str:
    """What is said when the notes hold no answer: that, and the nearest passages."""
    language = answer_language(turn.question)
    lines = [ABSTENTION[language]]
    if turn.unknown_names:
        lines = [ABSENT[language].format(", ".join(turn.unknown_names))]
    if turn.passages:
        lines.append(_NEAREST[language])
        lines.extend(f"- {place(hit)}" for hit in turn.passages[:_SHOWN])
    return "\n".join(lines)


def place(hit: Hit) -> str:
    """``file:line (heading > path)`` of a passage."""
    heading = one_line(" > ".join(hit.heading), 80)
    return f"{one_line(hit.document)}:{hit.start_line}" + (f" ({heading})" if heading else "")


def _place(turn: TurnState, sentence: str, named: tuple[int, ...]) -> tuple[tuple[int, ...], Verdict]:
    """The passages that a sentence is to cite, and how well they support it."""
    judged = {n: _judge(turn, sentence, hit, n in named) for n, hit in enumerate(turn.passages, start=1)}
    best = max(judged, key=lambda n: (judged[n].share - len(judged[n].missing_numbers), n in named, -n), default=0)
    if not best:
        return (), "unsupported"
    good = tuple(n for n in named if judged[n].verdict != "unsupported")
    if good and judged[best].share < max(judged[n].share for n in good) + _MOVE_GAIN:
        return good, _best_verdict([judged[n] for n in good])
    if judged[best].verdict == "unsupported":
        return (), "unsupported"
    if best in named:
        return (best,), judged[best].verdict
    return (best,), "misattributed" if named else judged[best].verdict


def _judge(turn: TurnState, sentence: str, hit: Hit, named: bool) -> Support:
    if crosses_languages(sentence, hit.chunk):
        # Terms of two languages cannot be compared: the passage must at least be the one that was named.
        return support_across(sentence, hit.chunk) if named else Support(0.0)
    return support(sentence, hit.chunk.search_text, turn.index.idf)


def _only_names_a_heading(turn: TurnState, sentence: str, markers: tuple[int, ...]) -> bool:
    """Small models sometimes answer with the heading of a passage instead of what stands below it."""
    terms = set(tokenize(sentence))
    return any(terms <= set(tokenize(" ".join(turn.passages[marker - 1].heading))) for marker in markers)


def _best_verdict(found: Sequence[Support]) -> Verdict:
    return "supported" if any(s.verdict == "supported" for s in found) else "partly"


_ORDER: Final[tuple[Verdict, ...]] = ("supported", "misattributed", "partly", "unsupported")


def _weaker(a: Verdict | None, b: Verdict) -> Verdict:
    return b if a is None else max(a, b, key=_ORDER.index)


def _citation(turn: TurnState, marker: int, sentences: Sequence[str], verdict: Verdict) -> Citation:
    hit = turn.passages[marker - 1]
    span = best_span(sentences, hit.chunk, turn.index.idf, turn.index.similarity)
    return Citation(
        marker=marker,
        document=hit.document,
        heading=hit.heading,
        start_line=span.start_line,
        end_line=span.end_line,
        start=span.start,
        end=span.end,
        quote=span.quote,
        verdict=verdict,
    )


def _is_lead_in(turn: TurnState, sentence: str) -> bool:
    """A short heading or announcement of a list whose words the question or the passages contain."""
    text = sentence.strip()
    if not (text.startswith("#") or text.endswith((":", "："))) or len(text) > _LEAD_IN:
        return False
    known = set(tokenize(" ".join([turn.question, turn.standalone, *(hit.chunk.search_text for hit in turn.passages)])))
    return all(term in known for term in content_terms(text))
