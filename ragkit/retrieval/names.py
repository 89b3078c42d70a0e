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
_NUMBERED: Final = re.compile(r"([A-Z][A-Za-z]+)-?(\d+(?:\.\d+)?)")
_TYPO: Final = 0.72
"""Likeness of two words from which one counts as a misspelling of the other."""


def unknown_names(
    question: str, known: Callable[[str], bool], like: Vocabulary, *, numbered_only: bool = False
) -> list[str]:
    """Names of the question that no chunk contains, in order.

    A name is a Latin word that begins with a capital letter, unless that merely begins an English
    sentence. A word without digits that resembles a term of the notes is a misspelling, no name.

    Args:
        question: The question as it was understood.
        known: Whether an analysed term stands in any chunk.
        like: Terms to compare a possible misspelling with.
        numbered_only: Names with a version number only ("GPT-6"). Other names may stand in the notes
            in another script, so they say nothing when the question is in another language.
    """
    english = answer_language(question) == "en"
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
        before = question[: match.start()].rstrip()
        begins = english and word[1:].islower() and (not before or before[-1] in ".!?")
        if numbered_only or begins or len(word) < 2 or word.lower() in STOP_WORDS or any(c.isdigit() for c in word):
            continue
        terms = tokenize(word)
        if terms and not any(known(term) for term in terms) and not _misspelt(terms[0], like):
            unknown.append(word)
    return list(dict.fromkeys(unknown))


def _misspelt(term: str, like: Vocabulary) -> bool:
    return any(SequenceMatcher(None, term, other).ratio() >= _TYPO for other in like(term))
