"""Does a passage say what a sentence says, and where exactly? Deterministic, no model.

Support is the share of the sentence's idf mass that the passage contains, after the numbers of
the sentence were found in it too. The quote is the run of source sentences that carries most of
that mass: always a verbatim slice of the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from ragkit.citations.verdicts import Span, VerdictName
from ragkit.text.language import answer_language, language_group
from ragkit.text.sentences import sentence_spans
from ragkit.text.tokens import fold, tokenize
from ragkit.values import Chunk

Idf = Callable[[str], float]
Similarity = Callable[[str, Sequence[str]], Sequence[float]]

SUPPORTED: Final = 0.55
"""Share of the sentence's idf mass from which a passage supports it."""
PARTLY: Final = 0.4
"""On the development questions .97 of the reference answers reach this share in their own passage,
and .02 in another passage that was retrieved with it."""
_NUMBER: Final = re.compile(r"(?<![a-z0-9_.])\d+(?:[.,]\d+)*%?")
"""In folded text. A Han character may stand right before a number ("共有12层"), a Latin letter may not."""
_LIST_MARK: Final = re.compile(r"^\s*(?:\d{1,2}[.)、]|[-*+])\s+")
"""The number of a list item is no fact that a passage could support."""
_QUOTE_GAIN: Final = 0.12
_NO_BODY: Final = re.compile(r"#{1,6}(?:\s|$)|```|~~~|\$\$$|[|:\s=*_-]+$")
"""Headings, fences, rules: lines that frame what a note says."""
FENCED: Final = re.compile(r"^(```|~~~).*?(?:^\1|\Z)|\$\$.+?\$\$", re.DOTALL | re.MULTILINE)
"""Blocks of code, to their fence or the end, and displayed formulas."""
_UNDERLINE: Final = re.compile(r"[ \t]*\n[ \t]*(?:=+|-+)[ \t]*(?:\n|$)")
"""What follows a heading that is underlined."""
_MIN_QUOTED: Final = 6


@dataclass(frozen=True)
class Support:
    """How well a passage supports a sentence."""

    share: float
    """0..1 of the sentence's idf mass."""
    missing_numbers: tuple[str, ...] = ()

    @property
    def verdict(self) -> VerdictName:
        if self.missing_numbers:
            return "partly" if self.share >= SUPPORTED else "unsupported"
        if self.share >= SUPPORTED:
            return "supported"
        return "partly" if self.share >= PARTLY else "unsupported"


def content_terms(sentence: str) -> list[str]:
    """Distinct terms of a sentence that carry meaning: single Han characters are left out.

    Nearly every Chinese passage contains the characters of nearly every word; only pairs say
    that a word is there.
    """
    terms = list(dict.fromkeys(tokenize(sentence)))
    wide = [term for term in terms if len(term) > 1 or term.isascii()]
    return wide or terms


def numbers_in(sentence: str) -> list[str]:
    """Distinct numbers of a sentence, folded, without the number of a list item."""
    return list(dict.fromkeys(_NUMBER.findall(fold(_LIST_MARK.sub("", sentence)))))


def is_quoted(sentence: str, passage: str) -> bool:
    """Whether a sentence stands in a passage word for word, white space and list marks aside."""
    quoted = " ".join(_LIST_MARK.sub("", sentence).split())
    whole = rf"(?<![A-Za-z0-9.,]){re.escape(quoted)}(?![A-Za-z0-9])"
    return len(quoted) >= _MIN_QUOTED and re.search(whole, " ".join(passage.split())) is not None


def support(sentence: str, passage: str, idf: Idf) -> Support:
    """Judge one sentence against one passage.

    Args:
        sentence: A sentence of an answer, without markers.
        passage: Source text, with its heading path if that is to count.
        idf: Inverse document frequency of an analysed term.
    """
    there = set(tokenize(passage))
    terms = content_terms(_LIST_MARK.sub("", sentence))
    total = sum(idf(term) for term in terms)
    share = sum(idf(term) for term in terms if term in there) / total if total else 0.0
    numbers = set(_NUMBER.findall(fold(passage)))
    return Support(share, tuple(number for number in numbers_in(sentence) if number not in numbers))


def is_chinese(passage: str) -> bool:
    """Whether what a passage says is in Chinese; its code and its formulas are in no language."""
    prose = FENCED.sub("", passage)
    return language_group(prose if prose.strip() else passage) == "zh"


def crosses_languages(sentence: str, chunk: Chunk) -> bool:
    """Whether a sentence and its source are in different languages, so that terms cannot be compared."""
    return (answer_language(sentence) == "zh") != is_chinese(chunk.text)


def support_across(sentence: str, passage: str) -> Support:
    """Judge a sentence against a passage in another language: only its numbers can be checked.

    The verdict is ``partly`` at best, because nothing here can tell a true translation from a wrong one.
    """
    found = support(sentence, passage, lambda term: 1.0)
    return Support(PARTLY if not found.missing_numbers else 0.0, found.missing_numbers)


def best_span(
    sentences: Sequence[str],
    chunk: Chunk,
    idf: Idf,
    similarity: Similarity | None = None,
    places: Sequence[Span | None] = (),
) -> Span:
    """The slice of `chunk` that carries `sentences`: their best source sentences and what lies between.

    It neither begins nor ends with a heading, unless the chunk has nothing else.

    Args:
        sentences: What the answer says with this chunk as its source.
        chunk: The source.
        idf: Inverse document frequency of an analysed term.
        similarity: Likeness of a sentence to each of several texts, used where answer and source
            are in different languages and share few terms.
        places: For each of the sentences the slice of the chunk's document that was found to bear it out, if any; its
            lines with the numbers of the sentence are taken as well.
    """
    spans = body_spans(chunk.text)
    tokens = [set(tokenize(chunk.text[a:b])) for a, b in spans]
    chosen: list[int] = []
    for sentence, place in zip_longest(sentences, places[: len(sentences)]):
        if similarity is not None and crosses_languages(sentence, chunk):
            likeness = similarity(sentence, [chunk.text[a:b] for a, b in spans])
            chosen.append(max(range(len(spans)), key=lambda row: (likeness[row], -row)))
        else:
            found = _carriers(content_terms(sentence), tokens, idf)
            chosen += [*found, *(_with_numbers(sentence, found, place, chunk, spans) if place else ())]
    first, last = (min(chosen), max(chosen)) if chosen else (0, 0)
    start = spans[first][0]
    end = spans[last][1]
    return _span(chunk, start, end)


def body_spans(text: str) -> list[tuple[int, int]]:
    """Sentences, list items and table rows of a source text, as offsets, without headings, fences and rules.

    Never empty: a text that has nothing else gives those, or itself.
    """
    spans = list(sentence_spans(text))
    body = [
        (start, end) for start, end in spans if not _NO_BODY.match(text[start:end]) and not _UNDERLINE.match(text, end)
    ]
    return body or spans or [(0, len(text))]


def _span(chunk: Chunk, start: int, end: int) -> Span:
    line = chunk.start_line + chunk.text.count("\n", 0, start)
    return Span(
        start=chunk.start + start,
        end=chunk.start + end,
        start_line=line,
        end_line=line + chunk.text.count("\n", start, end),
        quote=chunk.text[start:end],
    )


def _with_numbers(
    sentence: str, found: Sequence[int], place: Span, chunk: Chunk, spans: Sequence[tuple[int, int]]
) -> list[int]:
    """Further rows at a place, those with a number of the sentence that the rows found do not have."""

    def there(row: int) -> set[str]:
        return set(_NUMBER.findall(fold(chunk.text[slice(*spans[row])])))

    wanted = {number for number in numbers_in(sentence) if len(number) > 1}.difference(*map(there, found))
    start, end = place.start - chunk.start, place.end - chunk.start
    more = []
    for row, (a, b) in enumerate(spans):
        if wanted and a < end and b > start and not wanted.isdisjoint(there(row)):
            wanted -= there(row)
            more.append(row)
    return more


def _carriers(terms: Sequence[str], tokens: Sequence[set[str]], idf: Idf) -> list[int]:
    """The best source sentence, and a neighbour of it if that adds enough."""
    total = sum(idf(term) for term in terms) or 1.0

    def share(*rows: int) -> float:
        there = set().union(*(tokens[row] for row in rows))
        return sum(idf(term) for term in terms if term in there) / total

    if not tokens:
        return []
    best = max(range(len(tokens)), key=lambda row: (share(row), -row))
    chosen = [best]
    for neighbour in (best + 1, best - 1):
        if 0 <= neighbour < len(tokens) and share(*chosen, neighbour) >= share(*chosen) + _QUOTE_GAIN:
            chosen.append(neighbour)
    return chosen
