"""Whether the notes answer a question at all: one score from what a search found, before any model is asked.

A question that the notes do not answer finds passages all the same, on the right subject and full of
its words. What tells it apart is what is *not* in them: a name that it asks about, a number near its
words where it asks for one, an amount of money where it asks what something costs; and that no
passage stands out before the others. `signals_of` counts these, a logistic model weighs them
(`Fit`), and a threshold on its probability declines (El-Yaniv & Wiener 2010, JMLR 11, "On the
foundations of noise-free selective classification").

Constants are what ``python evals/experiments/abstention.py`` prints. They were fitted on the development
questions of ``evals/llm-interview``, for one embedding model each (`FITS`); any other model gets
`WORDS_ONLY`, which looks at no vector. Figures: ``docs/abstention.md``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final

from ragkit.models.embeddings import BUNDLED
from ragkit.retrieval.confidence import confidence_of
from ragkit.retrieval.names import alike, names_in
from ragkit.text.sentences import split_sentences
from ragkit.text.tokens import STOP_WORDS, fold, query_terms, tokenize
from ragkit.values import Hit

PASSAGES: Final = 4
"""Hits whose text is looked at."""
_FIFTH: Final = 4
_SHORT: Final = 3
"""Letters up to which a word is like too many others to be a misspelling."""
_DIGITS: Final = re.compile(r"\d+")
_NO_LETTER: Final = re.compile(r"[^a-z]")
_MOST_UNSEEN: Final = 3
_QUANTITY: Final = re.compile(
    r"多少|百分之几|多[长大久]|比例"
    r"|\bhow (?:many|much|long|often|large|big)\b"
    r"|\bwh(?:at|ich) (?:\w+ ){0,3}(?:rate|value|number|share|percentage|fraction|limit|size|price|cost|ratio)\b",
    re.IGNORECASE,
)
_FEW: Final = re.compile(r"几[个种组步天年层倍次条张位块维]")
_OTHERWISE: Final = re.compile(r"什么|为何|怎么|怎样|如何|哪")
"""What asks for something else than how many: 几个 is then "a few"."""
_MONEY: Final = re.compile(
    r"薪|工资|多少钱|价格|报价|收费|费用|售价"
    r"|\b(?:prices?|charges?|paid|pay|salary|salaries|wages?|fees?)\b"
    r"|\bhow much\b.{0,80}\bcosts?\b|\bcosts?\b(?=\s*[?？]|.{0,40}(?:\b(?:per|dollars?|USD)\b|[$€£]))",
    re.IGNORECASE,
)
"""What is asked for as an amount of money. A cost may as well be one of memory or time, unless it is how much
something costs, at the end of a question, or per something."""
_AMOUNT: Final = re.compile(
    r"[$¥￥€£]\s?\d|\d\s*[万亿]?\s*(?:美元|元|块钱|美金|欧元)|\d\s?(?:dollars?|USD|RMB|CNY|EUR|cents?)\b", re.IGNORECASE
)
_YET_TO_COME: Final = re.compile(
    r"(?:尚未|还没|还没有|还未|即将)(?:正式)?(?:发布|推出|上市)|下一(?:代|个版本|版)"
    r"|\b(?:not[- ]yet|yet to be|to be)[- ](?:released|published|announced|launched)\b"
    r"|\b(?:unreleased|unannounced|upcoming|forthcoming)\b|\bnext[- ](?:version|release|generation)\b",
    re.IGNORECASE,
)
"""What names a thing that does not exist yet."""
_NUMBER: Final = re.compile(
    r"\d|[一二三四五六七八九十百千万亿两][^\W\d_]?|\b(?:two|three|four|five|six|seven|eight|nine|ten)\b", re.IGNORECASE
)
_LATIN_TOKEN: Final = re.compile(r"[a-z][a-z0-9.+#_-]*")

Idf = Callable[[str], float]


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What a search says about whether its question is answered. Each is a number without unit."""

    coverage: float
    """Largest share (0..1) of the question's idf mass in one of the first passages."""
    sentence: float
    """Largest centred cosine of a sentence with the question; of a passage where there are no sentence vectors."""
    margin: float
    """log(1 + nats) between the nearest passage and the median one, see `ragkit.retrieval.confidence`."""
    lead: float
    """log(1 + difference) of the fused scores of the first hit and the fifth."""
    names_missing: float
    """Share (0..1) of the names in the question that none of the first passages contains."""
    names_apart: float
    """Share (0..1) of them that the passage with most of them lacks."""
    unseen: float
    """Latin terms of the question that stand nowhere in the notes, at most 3."""
    number_missing: float
    """Share (0..1) of the question that the best sentence with a number lacks, if a quantity is asked for; else 0."""
    amount_missing: float
    """1 where a price or a pay is asked for and no passage names an amount of money; else 0."""


NAMES: Final = tuple(field.name for field in fields(Signals))


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A logistic model over signals, and the probability below which a question is declined."""

    bias: float
    weights: dict[str, float]
    """By name of the signal; the others take no part."""
    threshold: float
    sure: float = 2.0
    """Probability from which passages are quoted where a model found no answer in them; above 1 never: that takes
    cosines that were measured."""

    def probability(self, signals: Signals) -> float:
        """Estimated probability (0..1) that the notes answer the question."""
        values = asdict(signals)
        logit = self.bias + sum(weight * values[name] for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-max(-30.0, min(logit, 30.0))))


FITS: Final[dict[str, Fit]] = {
    BUNDLED: Fit(
        bias=-13.39,
        weights={
            "coverage": 0.89, "sentence": 44.76, "margin": 0.58, "lead": 0.71, "names_missing": -2.77,
            "names_apart": -2.63, "unseen": -0.38, "number_missing": -1.50, "amount_missing": -3.58,
        },
        threshold=0.528,
        # 41 % of the answerable dev questions and none of the unanswerable ones (test: 40 % and 4 %).
        sure=0.95,
    ),
}  # fmt: skip
"""By name of the embedding model: declines 1 % of the answerable and 64 % of the unanswerable test questions."""
WORDS_ONLY: Final = Fit(
    bias=0.34,
    weights={
        "coverage": 6.11, "names_missing": -2.95, "names_apart": -2.43, "unseen": -0.27, "number_missing": -1.30,
        "amount_missing": -4.20,
    },
    threshold=0.4,
)  # fmt: skip
"""For a model whose cosines were not measured; its threshold is on the safe side, since the notes are others too."""


def signals_of(question: str, hits: Sequence[Hit], idf: Idf, temperature: float | None) -> Signals:
    """Judge a search by what its first passages hold and lack.

    Args:
        question: As it was understood; a follow-up made self-contained.
        hits: Best first, as many as `ragkit.retrieval.confidence.LOOKED_AT`; at least one.
        idf: Inverse document frequency of an analysed term.
        temperature: Softmax temperature of the embedding model, None if unknown.
    """
    top = hits[:PASSAGES]
    texts = [hit.chunk.search_text for hit in top]
    cosines = [hit.sentence for hit in hits if hit.sentence is not None] or [
        leg.score for hit in hits if (leg := hit.legs.get("dense")) is not None
    ]
    missing, apart = _names(question, texts)
    return Signals(
        coverage=max((hit.coverage for hit in top), default=0.0),
        sentence=max(cosines, default=0.0),
        margin=math.log1p(confidence_of(hits, temperature).margin),
        lead=math.log1p(max(hits[0].score - hits[min(_FIFTH, len(hits) - 1)].score, 0.0)),
        names_missing=missing,
        names_apart=apart,
        unseen=_unseen(question, texts, idf),
        number_missing=_number_missing(question, texts, idf),
        amount_missing=float(bool(_MONEY.search(question)) and not any(_AMOUNT.search(text) for text in texts)),
    )


def _names(question: str, texts: Sequence[str]) -> tuple[float, float]:
    """Shares of the names that no text has, and that the text with most of them lacks.

    "The next, not yet released Mixtral" is none of the models that the texts call Mixtral.
    """
    if _YET_TO_COME.search(question) and not any(map(_YET_TO_COME.search, texts)):
        return 1.0, 1.0
    names = names_in(question)
    if not names or not texts:
        return 0.0, 0.0
    there = [[_mentions(text, words, name) for name in names] for text, words in ((fold(t), _words(t)) for t in texts)]
    anywhere = sum(any(column) for column in zip(*there, strict=True))
    return 1 - anywhere / len(names), 1 - max(map(sum, there)) / len(names)


def _mentions(text: str, words: set[str], name: str) -> bool:
    """Whether a folded text has a name, in one of its spellings ("GPT-4", "GPT 4", "GPT4") or misspelt."""
    folded = fold(name)
    parts = re.findall(r"[a-z]+|[0-9]+", folded)
    end = r"(?!\d)" if folded[-1].isdigit() else r"(?:s|es)?(?![a-z])"
    pattern = r"(?<![a-z0-9])" + r"[-_. ]?".join(map(re.escape, parts)) + end
    if parts and re.search(pattern, text):
        return True
    numbers = _DIGITS.findall(folded)
    if not numbers:
        return _misspelt(folded, words)
    # Another number is another thing, however like the names are; flashattn2 may be FlashAttention-2, no GPT-5 a GPT-4.
    letters = _NO_LETTER.sub("", folded)
    same = (word for word in words if word[0] == folded[0] and _DIGITS.findall(word) == numbers)
    return len(letters) > _SHORT and any(alike(letters, _NO_LETTER.sub("", word)) for word in same)


def _misspelt(term: str, words: set[str]) -> bool:
    near = (word for word in words if word[0] == term[0] and abs(len(word) - len(term)) <= 2)
    return len(term) > _SHORT and any(alike(term, word) for word in near)


def _words(text: str) -> set[str]:
    return set(_LATIN_TOKEN.findall(fold(text)))


def _unseen(question: str, texts: Sequence[str], idf: Idf) -> float:
    # What stands nowhere has the idf of what cannot stand anywhere.
    never = idf("\x00")
    words = set().union(*map(_words, texts)) if texts else set()
    terms = {t for t in query_terms(question) if t.isascii() and len(t) > 1 and t not in STOP_WORDS and not t.isdigit()}
    unseen = [term for term in terms if idf(term) >= never and not _misspelt(term, words)]
    return float(min(len(unseen), _MOST_UNSEEN))


def _number_missing(question: str, texts: Sequence[str], idf: Idf) -> float:
    if not _QUANTITY.search(question) and (not _FEW.search(question) or _OTHERWISE.search(question)):
        return 0.0
    terms = asked_terms(question)
    total = sum(map(idf, terms))
    if not total:
        return 0.0
    shares = (
        sum(idf(term) for term in terms & set(tokenize(sentence))) / total
        for text in texts
        for sentence in split_sentences(text)
        if _NUMBER.search(sentence)
    )
    return 1 - max(shares, default=0.0)


def asked_terms(question: str) -> set[str]:
    """What a question asks of, analysed: its terms without question phrases and single Han characters."""
    return {term for term in query_terms(question) if len(term) > 1 or term.isascii()}


def fit_for(model: str) -> Fit:
    """The fit of an embedding model by its name; `WORDS_ONLY` for one that was not measured."""
    return FITS.get(model, WORDS_ONLY)
