"""From what the model wrote to an answer that holds: every marker resolved, every sentence checked.

Every sentence is judged by `ragkit.citations.checker`. If another passage than the one it named says it, the marker
is moved and said so; what no retrieved passage says is taken out or struck, and reported with the reason. Where
passages contradict a cited line, the answer says so and cites both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ragkit.agent.answer import Citation, Removed, Translation
from ragkit.agent.evidence import searched
from ragkit.agent.own_words import PART, Ruling, ruling_of
from ragkit.agent.results import says_a_result
from ragkit.agent.turn import TurnState
from ragkit.citations.checker import Checker
from ragkit.citations.contradictions import Contradiction, contradictions
from ragkit.citations.entailment import EntailmentJudge, settle
from ragkit.citations.evidence import Evidence
from ragkit.citations.frames import is_announcement, is_item, is_row, is_rule
from ragkit.citations.markers import CitedSentence, parse_answer, render, without_markers
from ragkit.citations.support import best_span, content_terms, numbers_in
from ragkit.citations.verdicts import ORDER, Span, Verdict, VerdictName
from ragkit.citations.verify import as_passage, states_nothing
from ragkit.ingest.sections import heading_of
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
_FRAME: Final = 160
"""Longest announcement, or head of a table, that is not checked."""
_CONTRADICTS: Final = {
    "zh": "注意，笔记之间有矛盾：“{}”[{}]；“{}”[{}]。",
    "en": "Note that the notes contradict each other: “{}” [{}]; “{}” [{}].",
}
_CONTRADICTIONS: Final = 2
"""That an answer tells at most."""
_QUOTE_CHARS: Final = 160


@dataclass(frozen=True)
class Composed:
    """A checked answer."""

    text: str
    citations: tuple[Citation, ...]
    removed: tuple[Removed, ...]
    unresolved: int
    abstained: bool
    verdicts: tuple[Verdict, ...] = ()
    kept: tuple[CitedSentence, ...] = ()
    """What `text` is made of, code, headings and introductions too."""
    translations: tuple[Translation, ...] = ()


@dataclass
class _Cited:
    """What an answer says with one passage as its source."""

    sentences: list[str] = field(default_factory=list)
    places: list[Span | None] = field(default_factory=list)
    """Of each sentence, what the check found to bear it out."""
    verdict: VerdictName = "supported"
    reasons: list[str] = field(default_factory=list)

    def add(self, sentences: Sequence[str], place: Span | None = None) -> None:
        """Take sentences that rest on the passage, at `place` if that is known."""
        self.sentences.extend(sentences)
        self.places.extend([place] * len(sentences))


@dataclass(frozen=True)
class Rules:
    """What becomes of sentences that fail.

    Args:
        strike: Show them struck, with the reason, instead of taking them out.
        judge: Entailment judge for sentences that comparison alone leaves undecided.
        seconds: Time the judge has for one answer.
        own_words: Hold sentences against their sources as `ragkit.agent.own_words` does; for small models.
    """

    strike: bool = False
    judge: EntailmentJudge | None = None
    seconds: float = 5.0
    own_words: bool = False


def compose(
    turn: TurnState,
    written: str,
    sentences: Sequence[tuple[str, Sequence[int]] | CitedSentence] | None,
    *,
    quoted: bool = False,
    rules: Rules | None = None,
) -> Composed:
    """Check an answer against the passages of its turn.

    Args:
        turn: Holds the passages; marker n is passage n.
        written: The model's text.
        sentences: Its sentences with passage numbers, where the model gave them apart, or as they were parsed.
        quoted: Whether the sentences are word for word those of the passages they name.
        rules: What becomes of sentences that fail; None takes them out.
    """
    rules = rules or Rules()
    parsed = _distinct(parse_answer(printable(written)) if sentences is None else _given(sentences, quoted))
    evidence = Evidence([as_passage(hit) for hit in turn.passages])
    verdicts = _verdicts(turn, parsed, evidence, quoted, rules)
    rulings = [
        _ruling(turn, sentence.text, verdict, quoted, rules) if verdict is not None else Ruling()
        for sentence, verdict in zip(parsed, verdicts, strict=True)
    ]
    better = any(
        v is not None and (r.quotes or (v.sources and not r.gone and not r.weak))
        for v, r in zip(verdicts, rulings, strict=True)
    )
    said: set[str] = set()
    kept: list[CitedSentence] = []
    cited: dict[int, _Cited] = {}
    removed: list[Removed] = []
    for sentence, verdict, ruling in zip(parsed, verdicts, rulings, strict=True):
        if verdict is None:
            # What is not checked carries no marker.
            kept.append(replace(sentence, markers=()) if sentence.frame else sentence)
            continue
        if reason := ruling.reason or (PART if ruling.weak and better else ""):
            removed.append(Removed(sentence=sentence.text, reason=reason))
            for marker, quote in ruling.quotes:
                if fold(quote) not in said:
                    said.add(fold(quote))
                    cited.setdefault(marker, _Cited()).add([quote])
                    kept.append(replace(sentence, text=quote, markers=(marker,)))
            if rules.strike and not ruling.quotes:
                kept.append(replace(sentence, text=f"~~{sentence.text}~~ ({reason})", markers=()))
            continue
        if fold(sentence.text) in said:
            continue
        said.add(fold(sentence.text))
        kept.append(replace(sentence, markers=verdict.sources))
        for marker in verdict.sources:
            source = cited.setdefault(marker, _Cited())
            place = next((span for span in verdict.spans if span.passage == marker), None)
            source.add(split_sentences(sentence.text), place)
            source.verdict = max(source.verdict, verdict.verdict, key=ORDER.index)
            source.reasons.extend(reason.text for reason in verdict.reasons if reason.kind in _TOLD)
    unresolved = sum(
        not 1 <= n <= len(turn.passages) for s, v in zip(parsed, verdicts, strict=True) if v for n in s.markers
    )
    checked = tuple(verdict for verdict in verdicts if verdict is not None)
    if not cited:
        return Composed(abstention(turn), (), tuple(removed), unresolved, abstained=True, verdicts=checked)
    kept = _standing(kept)
    text = render(kept)
    if not quoted:
        text += _contradicted(turn, evidence, checked, cited)
    citations = tuple(_citation(turn, marker, cited[marker]) for marker in sorted(cited))
    return Composed(text, citations, tuple(removed), unresolved, abstained=False, verdicts=checked, kept=tuple(kept))


_TOLD: Final = frozenset({"number", "unit", "name", "term", "quote", "pieces", "negation", "opposite", "denial"})
"""Kinds of reasons that a citation's note repeats."""


def _distinct(parsed: Sequence[CitedSentence]) -> list[CitedSentence]:
    """The sentences without those that were said before."""
    said: set[str] = set()
    out = []
    for sentence in parsed:
        # The heads of two tables may be the same.
        framing = sentence.verbatim or sentence.frame
        if framing or (key := fold(sentence.text)) not in said:
            out.append(sentence)
        if not framing:
            said.add(key)
    return out


def _verdicts(
    turn: TurnState, parsed: Sequence[CitedSentence], evidence: Evidence, quoted: bool, rules: Rules
) -> list[Verdict | None]:
    """A verdict for every sentence that states something, None for the others."""
    checker = Checker(evidence)
    found: list[Verdict | None] = []
    for sentence in parsed:
        if sentence.verbatim or (not quoted and _frames(turn, sentence, evidence)):
            found.append(None)
        elif quoted:
            valid = tuple(n for n in sentence.markers if 1 <= n <= len(turn.passages))
            found.append(
                Verdict(sentence=sentence.text, markers=valid, sources=valid, verdict="supported", share=1.0)
                if valid
                else checker.check(sentence.text, ())
            )
        else:
            found.append(check_sentence(turn, checker, sentence.text, sentence.markers))
    if rules.judge is not None:
        settled = iter(settle([v for v in found if v is not None], evidence, rules.judge, rules.seconds))
        found = [None if verdict is None else next(settled) for verdict in found]
    return found


def _frames(turn: TurnState, sentence: CitedSentence, evidence: Evidence) -> bool:
    if _is_lead_in(turn, sentence.text):
        return True
    asked = f"{turn.question} {turn.standalone}"
    return sentence.frame and len(sentence.text) <= _FRAME and states_nothing(sentence, evidence, asked)


def _standing(kept: Sequence[CitedSentence]) -> list[CitedSentence]:
    """The sentences without frames of what was taken out: the head of a table without rows, an announcement of it."""
    out: list[CitedSentence] = []
    for sentence in reversed(kept):
        below = out[-1] if out else None
        row = below is not None and is_row(below.text)
        if sentence.frame and is_rule(sentence.text):
            stands = row
        elif sentence.frame and is_row(sentence.text):
            stands = below is not None and is_rule(below.text)
        elif sentence.frame and is_announcement(sentence.text):
            stands = below is not None and (below.verbatim or row or is_item(below.text))
        else:
            stands = True
        if stands:
            out.append(sentence)
    out.reverse()
    heads = [at > 0 and is_row(out[at - 1].text) for at in range(len(out))]
    return [sentence for sentence, head in zip(out, heads, strict=True) if head or not is_rule(sentence.text)]


def check_sentence(turn: TurnState, checker: Checker, sentence: str, markers: Sequence[int]) -> Verdict:
    """One sentence, with what the calculator found in this turn as needing no source.

    A small model names a passage for every sentence; one that only says a result has none. Beside a result stands what
    it was computed from, which the question or the calculation says.
    """
    if says_a_result(turn, sentence):
        return Verdict(sentence=sentence, markers=tuple(markers), verdict="supported", share=1.0)
    computed = [number for number in numbers_in(sentence) if turn.computed(number)]
    if computed:
        computed += [
            turn.question,
            *(str(s.arguments.get("expression", "")) for s in turn.steps if s.tool == "calculate"),
        ]
    return checker.check(sentence, markers, computed)


def _ruling(turn: TurnState, sentence: str, verdict: Verdict, quoted: bool, rules: Rules) -> Ruling:
    if reason := _refused(turn, sentence, verdict, quoted):
        return Ruling(reason=reason)
    return ruling_of(turn, sentence, verdict) if rules.own_words else Ruling()


def _refused(turn: TurnState, sentence: str, verdict: Verdict, quoted: bool) -> str:
    """Why a sentence cannot be part of the answer; empty if it can."""
    if verdict.verdict == "unsupported" or (not verdict.sources and not says_a_result(turn, sentence)):
        return "; ".join(r.text for r in verdict.reasons if r.kind != "marker") or "no retrieved passage supports it"
    if not quoted and _only_names_a_heading(turn, sentence, verdict.sources):
        return "it only repeats a heading"
    if not quoted and _only_asks_again(turn, sentence):
        return "it only repeats the question"
    return ""


def _contradicted(turn: TurnState, evidence: Evidence, verdicts: Sequence[Verdict], cited: dict[int, _Cited]) -> str:
    """What other passages say against the cited lines, both cited; empty where they agree."""
    spans = [span for verdict in verdicts if verdict.ok for span in verdict.spans if span.passage in cited]
    lines = []
    for found in contradictions(evidence, spans)[:_CONTRADICTIONS]:
        lines.append(_tell(found, answer_language(turn.question)))
        for span in (found.first, found.second):
            source = cited.setdefault(span.passage, _Cited())
            source.add([span.quote])
    return "".join(f"\n\n{line}" for line in lines)


def _tell(found: Contradiction, language: str) -> str:
    def shown(quote: str) -> str:
        return one_line(without_markers(quote, keep_numbers=True), _QUOTE_CHARS)

    first, second = found.first, found.second
    return _CONTRADICTS[language].format(shown(first.quote), first.passage, shown(second.quote), second.passage)


def _given(sentences: Sequence[tuple[str, Sequence[int]] | CitedSentence], quoted: bool) -> list[CitedSentence]:
    """Sentences that came with their sources: a marker in their text is a foreign one, copied from a note."""
    out = []
    for given in sentences:
        if isinstance(given, CitedSentence):
            out.append(given)
            continue
        text = without_markers(printable(given[0]), keep_numbers=quoted)
        if re.search(r"\w", text):
            out.append(CitedSentence(text, tuple(dict.fromkeys(given[1]))))
    return out


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


def _only_names_a_heading(turn: TurnState, sentence: str, markers: tuple[int, ...]) -> bool:
    """Small models sometimes answer with the heading of a passage instead of what stands below it."""
    terms = set(tokenize(sentence))
    return any(terms <= set(tokenize(" ".join(turn.passages[marker - 1].heading))) for marker in markers)


def _only_asks_again(turn: TurnState, sentence: str) -> bool:
    """Small models sometimes hand the question back, with a marker on it."""
    asked = {fold(turn.question).strip(_QUESTION_MARKS), fold(turn.standalone).strip(_QUESTION_MARKS)}
    return fold(sentence).strip(_QUESTION_MARKS) in asked


def _citation(turn: TurnState, marker: int, cited: _Cited) -> Citation:
    hit = turn.passages[marker - 1]
    span = best_span(cited.sentences, hit.chunk, turn.index.idf, turn.index.similarity, cited.places)
    return Citation(
        marker=marker,
        document=hit.document,
        heading=heading_of(hit.chunk, span.start, span.end),
        start_line=span.start_line,
        end_line=span.end_line,
        start=span.start,
        end=span.end,
        quote=span.quote,
        verdict=cited.verdict,
        note="; ".join(dict.fromkeys(cited.reasons)),
        page=turn.index.page(hit.document, span.start) if hit.page is not None else None,
    )


def _is_lead_in(turn: TurnState, sentence: str) -> bool:
    """A short heading or announcement of a list whose words the question or the passages contain."""
    text = sentence.strip()
    if not (text.startswith("#") or text.endswith((":", "："))) or len(text) > _LEAD_IN:
        return False
    known = set(tokenize(" ".join([turn.question, turn.standalone, *(hit.chunk.search_text for hit in turn.passages)])))
    return all(term in known for term in content_terms(text))
