"""Names in a question that the notes never mention.

A question about GPT-6 finds the passages on GPT-3, and a small model answers from them. Nothing in
the ranking tells the two apart; the vocabulary of the index does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Final

from ragkit.text.language import answer_language
from ragkit.text.tokens import STOP_WORDS, tokenize

Vocabulary = Callable[[str], list[str]]
"""Terms of the index that begin like a given one."""

_WORD: Final = re.compile(r"(?<![A-Za-z0-9])[A-Z][A-Za-z0-9]*(?:[.\-][A-Za-z0-9]+)*")
_MARKED: Final = re.compile(r"(?<![A-Za-z0-9_])(?=[a-z][a-z]*[A-Z0-9_\-])[A-Za-z][A-Za-z0-9]*(?:[.\-_][A-Za-z0-9]+)*")
"""A word that begins small and has a capital letter, a digit or a joint inside: vLLM, o3, text-embedding-v4."""
_NUMBERED: Final = re.compile(r"([A-Z][A-Za-z]+)-?(\d+(?:\.\d+)?)")
_LATIN: Final = re.compile(r"[A-Za-z][A-Za-z'’]*")
_OPENING: Final = ' \t"“‘「『（(*#>-'
_ENDING: Final = frozenset(".!?:;。！？：；…\r\n”’」』）)")
"""In front of a capital letter, one of these begins a sentence, a line or a list item, with `_OPENING` between."""
_ORDINARY: Final = STOP_WORDS | frozenset(
    """again all another answer any anyone anything ask because best better both but called case cases
    compare comparison define definition describe detail details difference differences discuss
    each either else etc every everything example examples explain few find first get give given
    good hello help here hey hi idea if just kindly know last least less let like list ll
    look made main make makes making me mean meaning means more most must my name need needed needs
    nor now ok okay one only other others ourselves out overview please question questions re
    really said same say says second short show simple so some something still suggest
    summarise summarize summary take teach tell thank thanks them thing things think three too try
    two understand up us use used useful uses using ve versus very vs want way ways well
    whether while without work works worth write yes yet""".split()
)
"""Words of questions that are no names, however they are written."""
_LIKE_IT: Final = re.compile(r"-(?:aware|based|bound|driven|free|level|like|only|side|specific|style|wise)$")
"""What English joins to a name and other languages put beside it: IO-aware."""
_AMOUNT: Final = re.compile(r"[\d一二三四五六七八九十百千万亿]\s?$")
_LONGEST_UNIT: Final = 3
"""Letters of a unit behind a number: 80 GB, 400 Gb/s."""
_FEW: Final = 3
_TYPO: Final = 0.72
"""Likeness of two words from which one counts as a misspelling of the other."""


def unknown_names(
    question: str, known: Callable[[str], bool], like: Vocabulary, *, numbered_only: bool = False
) -> list[str]:
    """Names of the question that no chunk contains, in order.

    A name is a Latin word that begins with a capital letter, unless that merely begins an English
    sentence or a title. A word without digits that resembles a term of the notes is a misspelling,
    no name.

    Args:
        question: The question as it was understood.
        known: Whether an analysed term stands in any chunk.
        like: Terms to compare a possible misspelling with.
        numbered_only: Names with a version number only ("GPT-6"). Other names may stand in the notes
            in another script, so they say nothing when the question is in another language.
    """
    english = answer_language(question) == "en"
    titled, shouted = _case_says_nothing(question) if english else (False, False)
    unknown = []
    for match in _WORD.finditer(question):
        word = match.group()
        if numbered := _NUMBERED.fullmatch(word):
            name, number = numbered.group(1).lower(), numbered.group(2)
            forms = (f"{name}{number}", f"{name}-{number}")
            apart = (
                known(number)
                and any(known(term) for term in tokenize(name))
                and f"{numbered.group(1)} {number}" in question
            )
            if not any(known(form) for form in forms) and not apart:
                unknown.append(word)
            continue
        before = question[: match.start()].rstrip(_OPENING)
        begins = english and word[1:].islower() and (not before or before[-1] in _ENDING)
        plain = shouted or (titled and word[1:].islower()) or word.lower() in _ORDINARY
        if numbered_only or begins or plain or len(word) < 2 or any(c.isdigit() for c in word):
            continue
        terms = tokenize(word)
        if terms and not any(known(term) for term in terms) and not _misspelt(terms[0], like):
            unknown.append(word)
    return list(dict.fromkeys(unknown))


def names_in(question: str) -> list[str]:
    """All names of a question, whether or not the notes know them, in order.

    Besides those that `unknown_names` looks at: words such as vLLM, o3 or speaker_selection_method.
    """
    english = answer_language(question) == "en"
    titled, shouted = _case_says_nothing(question) if english else (False, False)
    found: dict[int, str] = {}
    for match in _WORD.finditer(question):
        word = match.group()
        before = question[: match.start()].rstrip(_OPENING)
        begins = english and word[1:].islower() and (not before or before[-1] in _ENDING)
        plain = shouted or (titled and word[1:].islower()) or word.lower() in _ORDINARY
        unit = len(word) <= _LONGEST_UNIT and _AMOUNT.search(question[: match.start()]) is not None
        if len(word) > 1 and not begins and not plain and not unit:
            found[match.start()] = _LIKE_IT.sub("", word)
    for match in _MARKED.finditer(question):
        word = match.group()
        if len(word) > 1 and not (english and "-" in word and word.replace("-", "").isalpha() and word.islower()):
            found.setdefault(match.start(), word)
    return list(dict.fromkeys(found[at] for at in sorted(found)))


def _case_says_nothing(question: str) -> tuple[bool, bool]:
    """Whether an English question is written Like A Title, and whether it is written IN CAPITALS.

    It is a title if most words begin with a capital letter and one of them, not the first, is an
    ordinary word, or if all do and they are more than one question has names.
    """
    words = _LATIN.findall(question)[1:]
    capital = [word for word in words if word[0].isupper()]
    if not capital or 2 * len(capital) < len(words):
        return False, False
    ordinary = any(word.lower() in _ORDINARY for word in capital if word != "I")
    titled = ordinary or len(capital) == len(words) >= _FEW
    return titled, titled and 2 * sum(word.isupper() for word in words) > len(words)


def _misspelt(term: str, like: Vocabulary) -> bool:
    return any(alike(term, other) for other in like(term))


def alike(term: str, word: str) -> bool:
    """Whether one word may be a misspelling of the other."""
    return SequenceMatcher(None, term, word).ratio() >= _TYPO
