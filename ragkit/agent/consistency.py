"""Self-consistency: of several answers to one question, the one that most of them agree with.

Paper: Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language Models". There
the votes are equal final values; answers in sentences agree here if they mean the same and rest on the same sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ragkit.agent.answer import Agreement
from ragkit.agent.compose import Composed
from ragkit.citations.markers import without_markers
from ragkit.citations.support import numbers_in
from ragkit.models.embeddings import EmbeddingModel
from ragkit.models.encoding import encode_queries

SAME_MEANING: Final = 0.925
"""Cosine of two whole answers, both embedded as questions, from which they say the same. With the bundled model
rewordings of one answer have 0.93 to 0.97, other answers to the same question 0.86 to 0.93."""
SAME_SOURCES: Final = 0.5
"""Share of the passages that two answers cite between them which both cite."""


def majority(answers: Sequence[Composed], model: EmbeddingModel) -> tuple[int, Agreement]:
    """The answer that stands for the largest group of answers, and how large the groups are.

    Abstentions are one group. Of groups of one size the one that holds the earliest answer counts; it is
    represented by its answer that is nearest to the others, of equals the one that lost fewest sentences.

    Args:
        answers: Checked answers over the same passages, at least one.
        model: Embeds them.

    Returns:
        Its index, and the agreement.
    """
    texts = [without_markers(answer.text) for answer in answers]
    vectors = encode_queries(model, texts)
    cosines = np.asarray(vectors @ vectors.T, dtype=float)
    groups: list[list[int]] = []
    for i in range(len(answers)):
        home = next((g for g in groups if all(_agree(answers[i], answers[j], cosines[i, j]) for j in g)), None)
        if home is None:
            groups.append([i])
        else:
            home.append(i)
    groups.sort(key=lambda group: (-len(group), group[0]))
    first = groups[0]
    chosen = max(first, key=lambda i: (round(float(cosines[i, first].sum()), 6), -len(answers[i].removed), -i))
    return chosen, Agreement(len(answers), tuple(map(len, groups)))


def _agree(a: Composed, b: Composed, cosine: float) -> bool:
    if a.abstained or b.abstained:
        return a.abstained and b.abstained
    cited = [{citation.marker for citation in answer.citations} for answer in (a, b)]
    if len(cited[0] & cited[1]) < SAME_SOURCES * len(cited[0] | cited[1]):
        return False
    numbers = [set(numbers_in(without_markers(answer.text))) for answer in (a, b)]
    # Vectors hardly tell "4" from "8"; answers whose numbers have nothing in common do not say the same.
    if all(numbers) and numbers[0].isdisjoint(numbers[1]):
        return False
    return cosine >= SAME_MEANING
