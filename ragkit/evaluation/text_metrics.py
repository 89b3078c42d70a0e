"""Likeness of an answer to its reference: ROUGE-L, BLEU and BERTScore, for Chinese and English alike.

Every metric here reads the order of the words: an answer whose characters or words were shuffled
scores far below the right one. Metrics of bags (ROUGE-1, the cosine of whole texts) do not belong here.
All values are shares (0..1). Both texts are folded first (width, case, traditional characters).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np

from ragkit.errors import ModelError
from ragkit.models.embeddings import EmbeddingModel, Vectors, unit
from ragkit.models.token_vectors import token_vectors
from ragkit.text.language import answer_language
from ragkit.text.tokens import fold

WINDOW: Final = 3
"""Neighbouring tokens that are matched as one, which is what makes BERTScore read their order."""
TEXT_WINDOW: Final = 4
"""The same where the windows are embedded as short texts, without the context of the sentence."""
INSTALL: Final = 'Install the metrics: pip install "ragkit[eval]".'
_SAMPLE: Final = 40
_MIN_SENTENCE: Final = 12


@dataclass(frozen=True)
class TextScores:
    """How like one answer is to its reference; each 0..1."""

    rouge_l: float
    """F1 of the longest common subsequence (Lin 2004)."""
    bleu: float
    """Sentence BLEU, 1 to 4 tokens, exponential smoothing (Chen and Cherry 2014)."""
    bert_score: float
    """F1 of greedy matching, rescaled (Zhang et al. 2020, arXiv:1904.09675)."""


NOTHING: Final = TextScores(0.0, 0.0, 0.0)
"""Scores of an answer that says nothing."""


class _Tokens:
    """sacrebleu's Chinese tokeniser (each Han character, 13a for the rest) in the shape rouge_score wants."""

    def __init__(self) -> None:
        from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

        self._tokenizer = TokenizerZh()

    def tokenize(self, text: str) -> list[str]:
        """Tokens with a letter, digit or Han character; punctuation is no word."""
        return [token for token in self._tokenizer(fold(text)).split() if re.search(r"\w", token)]


class LexicalMetrics:
    """ROUGE-L and BLEU.

    Raises:
        ModelError: If the extra ``eval`` is not installed.
    """

    def __init__(self) -> None:
        try:
            from rouge_score.rouge_scorer import RougeScorer
            from sacrebleu.metrics import BLEU
        except ImportError as exc:
            raise ModelError(f"{exc.name} is not installed; ROUGE and BLEU need it.", INSTALL) from exc
        self.tokens = _Tokens()
        self._rouge = RougeScorer(["rougeL"], tokenizer=self.tokens)
        # Without effective_order a sentence of three tokens has no 4-gram and would score 0.
        self._sentence = BLEU(tokenize="zh", effective_order=True, smooth_method="exp")
        self._corpus = BLEU(tokenize="zh")

    def rouge_l(self, answer: str, reference: str) -> float:
        """F1 of the longest common subsequence of tokens."""
        return float(self._rouge.score(reference, answer)["rougeL"].fmeasure)

    def bleu(self, answer: str, reference: str) -> float:
        """Smoothed sentence BLEU."""
        if not answer.strip():
            return 0.0
        return float(self._sentence.sentence_score(fold(answer), [fold(reference)]).score) / 100

    def corpus_bleu(self, answers: Sequence[str], references: Sequence[str]) -> float:
        """BLEU of all answers as one text (Papineni et al. 2002); 0 if there are none."""
        if not answers:
            return 0.0
        score = self._corpus.corpus_score([fold(a) for a in answers], [[fold(r) for r in references]]).score
        return float(score) / 100


class BertScore:
    """Greedy matching of token vectors by cosine, rescaled so that two unrelated sentences score 0.

    Two things differ from Zhang et al. 2020, both measured on shuffled sentences: the vectors are
    those of the middle layer, and `WINDOW` neighbours are averaged before matching, as the n-grams
    of MoverScore are (Zhao et al. 2019, arXiv:1909.02622). With single vectors of the last layer
    of the bundled model shuffled words keep .82 of the right score, this way .44.

    A model without token vectors embeds the windows as short texts instead; `units` says so.

    Args:
        model: The embedding model at hand.
        sentences: Unrelated sentences, the baseline is the mean over their pairs by language; a
            language with fewer than three of them takes the baseline of all.

    Raises:
        ModelError: If there are fewer than three sentences, or the model fails.
    """

    def __init__(self, model: EmbeddingModel, sentences: Sequence[str]) -> None:
        if len(sentences) < 3:
            raise ModelError("BERTScore needs three unrelated sentences for its baseline.", "Give more text.")
        self._model = model
        self._kept: dict[str, Vectors] = {}
        self._contextual = token_vectors(model, ["baseline"]) is not None
        self.units = (
            f"{WINDOW}-token means of the middle layer"
            if self._contextual
            else f"{TEXT_WINDOW}-token windows embedded as texts"
        )
        self._tokens = _Tokens()
        groups = {language: [s for s in sentences if answer_language(s) == language] for language in ("zh", "en")}
        whole = self._baseline(sentences)
        self.baseline: dict[str, float] = {
            language: self._baseline(group) if len(group) >= 3 else whole for language, group in groups.items()
        }
        """Raw F1 of two unrelated sentences, by language of the reference."""

    def score(self, answer: str, reference: str) -> float:
        """Rescaled F1, cut off below 0."""
        base = self.baseline[answer_language(reference)]
        return min(1.0, max(0.0, (self._raw(answer, reference) - base) / (1 - base)))

    def _baseline(self, sentences: Sequence[str]) -> float:
        return float(np.mean([self._raw(a, b) for a, b in combinations(sentences, 2)]))

    def _raw(self, answer: str, reference: str) -> float:
        a, b = self._units(answer), self._units(reference)
        if not len(a) or not len(b):
            return 0.0
        cosines = a @ b.T
        precision, recall = float(cosines.max(axis=1).mean()), float(cosines.max(axis=0).mean())
        return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0

    def _units(self, text: str) -> Vectors:
        """Unit vectors of the windows of a text, shape (windows, dimension)."""
        text = fold(text).strip()
        if text not in self._kept:
            self._kept[text] = self._windows(text)
        return self._kept[text]

    def _windows(self, text: str) -> Vectors:
        vectors = token_vectors(self._model, [text]) if self._contextual else None
        if vectors is not None:
            [rows] = vectors
            if len(rows) > WINDOW:
                rows = np.stack([rows[at : at + WINDOW].mean(axis=0) for at in range(len(rows) - WINDOW + 1)])
            return unit(rows)
        tokens = self._tokens.tokenize(text)
        windows = [_joined(tokens[at : at + TEXT_WINDOW]) for at in range(max(1, len(tokens) - TEXT_WINDOW + 1))]
        return self._model.encode_documents([window for window in windows if window])


class TextMetrics:
    """All text metrics of an answer against its reference.

    Args:
        model: Embedding model for BERTScore.
        sentences: Unrelated sentences for its baseline, see `unrelated_sentences`.

    Raises:
        ModelError: If the extra ``eval`` is not installed, or the model fails.
    """

    def __init__(self, model: EmbeddingModel, sentences: Sequence[str]) -> None:
        self.lexical = LexicalMetrics()
        self.bert = BertScore(model, sentences)

    def score(self, answer: str, reference: str) -> TextScores:
        """Scores of one answer."""
        if not self.lexical.tokens.tokenize(answer):
            return NOTHING
        return TextScores(
            self.lexical.rouge_l(answer, reference),
            self.lexical.bleu(answer, reference),
            self.bert.score(answer, reference),
        )

    def describe(self) -> dict[str, Any]:
        """How the scores were computed, for the report."""
        return {
            "tokenizer": "sacrebleu zh on folded text",
            "bert_score_units": self.bert.units,
            "bert_score_baseline": {language: round(value, 4) for language, value in self.bert.baseline.items()},
        }


def unrelated_sentences(sentences: Sequence[str], seed: int = 0) -> list[str]:
    """Up to 40 sentences of each language, drawn by chance, the same for the same input."""
    chance = random.Random(seed)
    drawn: list[str] = []
    for language in ("zh", "en"):
        pool = sorted({s for s in sentences if len(s) >= _MIN_SENTENCE and answer_language(s) == language})
        drawn.extend(chance.sample(pool, min(_SAMPLE, len(pool))))
    return drawn


def _joined(tokens: Sequence[str]) -> str:
    """Han characters side by side, so that a model sees their order; words with a space between them."""
    text = " ".join(tokens)
    return re.sub(r"(?<=[^\x00-\x7f]) (?=[^\x00-\x7f])", "", text)


def as_dict(scores: TextScores) -> dict[str, float]:
    """Scores by name."""
    return asdict(scores)
