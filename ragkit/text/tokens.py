"""One analyser for Chinese, English and mixtures of both; it needs no setting and no dictionary.

Han runs give every character and every adjacent pair of characters; Latin runs give a
stemmed word; numbers and identifiers stay whole and give their parts too (FlashAttention also
flash and attention, bge-small-zh also bge); a number and its unit are one term with or without a
blank between them (3 B, 3B), and 1,024 is 1024. Traditional characters fold to simplified,
full width to half width; accents stay, in one form; invisible characters and terminal escape
sequences vanish. The query side also drops question phrases, because 什么 or 哪个 are
rare in passages and would carry a high idf.

`ANALYSER_VERSION` is part of the index fingerprint: raise it with any change of the tokens.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache
from itertools import chain
from operator import add
from typing import Final

import Stemmer

from ragkit.text.sanitize import ANSI_SEQUENCE, INVISIBLE, runs_of

ANALYSER_VERSION: Final = "zen-5"

_CJK: Final = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_FIRST_CJK: Final = "\u3400"
_LATIN: Final = "a-z\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff"
_WORD: Final = rf"[{_LATIN}0-9][{_LATIN}0-9\u0300-\u036f]*"  # an accent that has no composed form stands behind
_OTHER: Final = rf"[^\W\d_{_LATIN}{_CJK}]"
_RUN: Final = re.compile(
    # What begins no run is skipped at once: a choice between three beginnings takes twice as long.
    rf"[\w{_CJK}](?:(?<=[{_LATIN}0-9])[{_LATIN}0-9\u0300-\u036f]*(?:[._'\-]{_WORD})*[+#]*"
    rf"|(?<=[{_CJK}])[{_CJK}]*|(?<={_OTHER}){_OTHER}*)",
)
_CJK_RUN: Final = re.compile(f"[{_CJK}]")
_JOINT: Final = re.compile(r"(?<!\d)\.|\.(?!\d)|[_'\-]")
"""Where a word has parts; a decimal point has none on its sides: "1.7b" is not made of "7b"."""
_NUMBERED: Final = re.compile(r"[a-z]+-\d+[a-z]*")
"""A name and its number, which are also written as one: GPT-4, GPT4."""
_CAMEL: Final = re.compile(r"(?<![A-Za-z])(?:[A-Za-z]*[a-z][A-Z][A-Za-z]*|[A-Z]{2,}[a-z]{2,}[A-Za-z]*)")
_CAMEL_HINT: Final = re.compile(r"[A-Z](?:(?<=[a-z][A-Z])|[A-Z][a-z]{2})")
"""What every word of `_CAMEL` holds; looking for it costs an eighth."""
_CAMEL_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SHORTEST_PART: Final = 3
"""Letters of a part of CamelCase that is a term; "LoRA" is not made of "lo" and "ra"."""
_UNITS: Final = (
    r"[kmgtp]i?b|[bkmgt]|[munp]s|[kmg]?hz|[kmgtp]?flops|px|fps|[kmu]?g|[kcmn]m|[kmg]?wh?|m?l|[km]?v|m?ah|ma|db|min|h"
)
_UNIT: Final = re.compile(
    # A pattern that begins with a digit is looked for faster.
    rf"(\d(?<![a-z0-9.]\d)\d*(?:\.\d+)?) +({_UNITS})(?![a-z0-9])"
)
_QUANTITY: Final = re.compile(rf"\d+(?:\.\d+)?(?:{_UNITS}|s|x|st|nd|rd|th)")

_THOUSANDS: Final = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")

_QUESTION: Final = re.compile(
    "为什么|什么时候|什么样|什么|怎么样|怎么|怎样|如何|为何|(?<!任)何(?:时|地|处|人)|是谁|谁|是否|请问|为啥|咋|多少"
    "|哪(?:一个|一|个|些|里|儿|位|种|年|几)|哪(?![吒咤怕])"
    # Part of a word elsewhere: 几何, 几率, 吗啡, 呢绒.
    r"|几个|几(?=[种次层步年月天位条类倍点项篇章块张段行列维路台轮级页本号度成分秒小周岁]|\W|$)|[吗呢](?=\W|$)"
)

STOP_WORDS: Final = frozenset(
    """a about after also an and are as at be been before being between by can could did do does
    during for from had has have he her his how i in into is it its many may might much no not of
    on or our over she should such than that the their then there these they this those to under
    was we were what when where which who whom whose why will with would you your""".split()
)

_VANISHING: Final = runs_of(INVISIBLE)

_lock = threading.Lock()
_stemmer = Stemmer.Stemmer("english")


@lru_cache(maxsize=1)
def simplified_table() -> dict[int, str]:
    """Each traditional character and its simplified form, character by character.

    Phrase rules of OpenCC are left out on purpose: the fold must give the same tokens for a
    character whatever stands beside it, or a query would miss its passage.
    """
    from opencc import OpenCC

    chars = [chr(code) for code in range(0x3400, 0xA000)]
    folded = OpenCC("t2s").convert("\n".join(chars)).split("\n")
    return {ord(a): b for a, b in zip(chars, folded, strict=True) if a != b and len(b) == 1}


@lru_cache(maxsize=1)
def _traditional() -> re.Pattern[str]:
    return re.compile(f"[{''.join(map(chr, simplified_table()))}]")


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The stem of a folded English word."""
    with _lock:
        return str(_stemmer.stemWord(word))


def fold(text: str) -> str:
    """Fold width, compatibility forms, case and traditional characters (NFKC, lower case, t2s).

    Invisible characters (zero width spaces and joiners, soft hyphens, byte order marks) and
    terminal escape sequences are taken out first: pasted text has them in the middle of words.
    """
    return _lowered(composed(text))


def fold_case_kept(text: str) -> str:
    """`fold` without lower case, which tells names from words."""
    return _simplified(composed(text))


def composed(text: str) -> str:
    """The first half of `fold`: without invisible characters and escape sequences, in NFKC."""
    if not text.isascii():
        text = _VANISHING.sub("", text)
    if "\x1b" in text:
        text = ANSI_SEQUENCE.sub("", text)
    return unicodedata.normalize("NFKC", text)


def _lowered(kept: str) -> str:
    return _simplified(kept.lower())


def _simplified(text: str) -> str:
    # Without a Han character the table of OpenCC need not be made.
    if _CJK_RUN.search(text) and _traditional().search(text):
        return text.translate(simplified_table())
    return text


def parts_of_camel(kept: str) -> list[str]:
    """Terms inside the CamelCase words of `composed` text, which lower case would hide."""
    if not _CAMEL_HINT.search(kept):
        return []
    parts = (
        part.lower()
        for word in _CAMEL.findall(kept)
        for part in _CAMEL_PART.findall(word)
        if len(part) >= _SHORTEST_PART
    )
    return [stem(part) for part in parts if part not in STOP_WORDS]


def word_runs(folded: str) -> list[str]:
    """What stands between blanks, punctuation and changes of script in folded text; each is of `terms_of_run`."""
    numbers = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), folded) if "," in folded else folded
    found: list[str] = _RUN.findall(_UNIT.sub(r"\1\2", numbers))
    return found


def _runs(folded: str) -> list[str]:
    if folded.isascii():
        return list(chain.from_iterable(map(terms_of_run, word_runs(folded))))
    tokens: list[str] = []
    for run in word_runs(folded):
        if run[0] < _FIRST_CJK or not _CJK_RUN.match(run):
            tokens += terms_of_run(run)
        elif len(run) == 1:
            tokens.append(run)
        else:
            tokens += run
            tokens += map(add, run, run[1:])
    return tokens


@lru_cache(maxsize=65_536)
def terms_of_run(run: str) -> tuple[str, ...]:
    """Tokens of one of `word_runs` that is not Han."""
    if run in STOP_WORDS:
        return ()
    # "bge-small-zh" must also be found by "bge"; the whole stays as the precise term.
    parts = _JOINT.split(run)
    inner = [stem(part) for part in parts if len(part) > 1 and part not in STOP_WORDS] if len(parts) > 1 else []
    joined = [run.replace("-", "")] if _NUMBERED.fullmatch(run) else []
    return (stem(run), *inner, *joined)


def tokenize(text: str) -> list[str]:
    """Tokens of a passage, in order and with repetitions."""
    kept = composed(text)
    return _runs(_lowered(kept)) + parts_of_camel(kept)


def is_quantity(term: str) -> bool:
    """Whether an analysed term is a number with its unit, or one that is read as a word: 16gb, 19th, 1990s, 10x."""
    return _QUANTITY.fullmatch(term) is not None


def query_terms(question: str) -> list[str]:
    """Distinct terms of a question, in order of appearance.

    Question phrases are dropped; if nothing is left (the question was only "为什么？"), the
    tokens of the whole question are kept, so that a query is never emptied.
    """
    kept = composed(question)
    folded = _lowered(kept)
    tokens = (_runs(_QUESTION.sub(" ", folded)) or _runs(folded)) + parts_of_camel(kept)
    if not tokens:
        # A question made of stop words only ("what is it") still deserves its words.
        tokens = [stem(run) for run in _RUN.findall(folded)]
    return list(dict.fromkeys(tokens))
