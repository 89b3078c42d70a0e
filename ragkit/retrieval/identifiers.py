"""Rare exact identifiers of a question: an order number, a function's name, an error code that stands in few chunks.

Coverage divides by all that a question asks for, words that no chunk holds included; that is what keeps accidental
words of another language from deciding. It must not make little of "KN-4711x" in an English question about Chinese
notes: nobody writes such a term by accident, and no translation changes it. So what a chunk covers of the identifiers
counts as they are rare, however many unknown words the question has besides; what it covers of the other terms comes on
top as ever, and where the notes hold all of the question, nothing changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from ragkit.index.bm25 import lucene_idf
from ragkit.index.engine import Engine
from ragkit.text.language import is_cjk
from ragkit.text.tokens import is_quantity

SHARE: Final = 0.5
"""Coverage that all identifiers of a question count as at least, by the rarity of the rarest."""
ABROAD: Final = 0.7
"""Share of the idf mass of a question's Chinese terms that no chunk holds, from which its Latin names count, too."""
_FEW: Final = 3
"""Chinese terms (characters and pairs) up to which they tell nothing of the notes."""
_SHORTEST: Final = 4
"""Characters of an identifier of letters and digits; "B2" and "o3" stand for too much."""
_SHORTEST_NUMBER: Final = 5
"""Digits of a number that is one; a year is none."""
_ROUND: Final = "000"
"""How a number ends that counts something."""
_SHORTEST_NAME: Final = 3
_LATIN: Final = re.compile(r"[a-z\u00df-\u024f]")
_DIGIT: Final = re.compile(r"[0-9]")


def is_identifier(term: str) -> bool:
    """Whether an analysed term is written like a code, a name in source text or the number of a record.

    Such are ``0x3fa2b1``, ``iter_row``, ``kn-4711x``, ``err_timeout`` and ``88231907``; a year, a round number and a
    quantity (``16gb``) are none.
    """
    if term.isdecimal():
        return len(term) >= _SHORTEST_NUMBER and not term.endswith(_ROUND)
    if len(term) < _SHORTEST or is_quantity(term) or _LATIN.search(term) is None:
        return False
    return "_" in term or _DIGIT.search(term) is not None


def identifier_bonus(engine: Engine, terms: Sequence[str], ordinals: Iterable[int]) -> dict[int, float]:
    """What is added to the coverage of chunks, because they hold rare identifiers of a question.

    The identifiers that a chunk holds count as ``SHARE * rarity * share`` at least, though as no more than they would
    if the question had no words but those that the notes hold: `rarity` is the idf of the rarest identifier that the
    notes hold, by that of a term which no chunk holds; `share` is what the chunk covers of the identifiers' idf mass.
    The bonus is what coverage lacks of that. Identifiers that no chunk holds are left out: what the question also
    names elsewhere makes this chunk no worse. Where the notes do not have the Chinese words of a question (see
    `ABROAD`), its Latin names count as identifiers.

    Args:
        engine: Opened index.
        terms: Distinct analysed terms of the question.
        ordinals: Chunks to judge.

    Returns:
        By ordinal, 0 to `SHARE`; empty if the question has no identifier that a chunk holds.
    """
    marked = [term for term in terms if is_identifier(term)]
    names = [term for term in terms if _is_name(term) and term not in marked]
    wanted = [*marked, *names] if names and _abroad(engine, terms) else marked
    held = [term for term in wanted if engine.knows(term)]
    judged = list(ordinals)
    if not held or not judged:
        return {}
    idf = {term: engine.idf(term) for term in terms}
    mass = sum(idf[term] for term in held)
    rarity = max(idf[term] for term in held) / lucene_idf(0, len(engine))
    known = sum(value for term, value in idf.items() if engine.knows(term))
    more = max(0.0, min(SHARE * rarity, mass / known) - mass / sum(idf.values()))
    return {at: more * share for at, share in zip(judged, engine.coverage(held, judged), strict=True)}


def _is_name(term: str) -> bool:
    """Whether a term of a Chinese question is a Latin word, which is a name there more often than not."""
    return len(term) >= _SHORTEST_NAME and _LATIN.match(term) is not None


def _abroad(engine: Engine, terms: Sequence[str]) -> bool:
    """Whether a question has Chinese words, and the notes do not have them."""
    chinese = [term for term in terms if is_cjk(term[0])]
    if len(chinese) <= _FEW:
        return False
    mass = {term: engine.idf(term) for term in chinese}
    unknown = sum(idf for term, idf in mass.items() if not engine.knows(term))
    return unknown >= ABROAD * sum(mass.values())
