"""What diversity and neighbour merging do to retrieval, without a chat model.

    python evals/experiments/stages.py

One search of depth 20 for each question of ``evals/llm-interview``, then every setting over the same
hits: hit@5, nDCG@10, and the characters that five passages have, because merged passages are longer.
The last line gives unmerged passages as many characters as the merged ones have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ragkit.api import Index
from ragkit.evaluation.datasets import Question, load_dataset
from ragkit.evaluation.gold import gold_places, ranks_of
from ragkit.evaluation.metrics import ranking_metrics
from ragkit.evaluation.retrieval import open_dataset
from ragkit.retrieval.diversity import diversified
from ragkit.retrieval.neighbours import merge_neighbours
from ragkit.settings import load_settings
from ragkit.values import Hit

ROOT = Path(__file__).resolve().parents[2]
DEPTH = 20
Stage = Callable[[list[Hit]], list[Hit]]


def show(name: str, index: Index, found: Sequence[tuple[Question, list[Hit]]], stage: Stage) -> float:
    """Print one line for both splits; returns the mean number of characters of five passages."""
    cells, characters = [], []
    for split in ("dev", "test"):
        ranks, places = [], []
        for question, hits in found:
            if question.split != split:
                continue
            staged = stage(hits)
            characters.append(sum(len(hit.text) for hit in staged[:5]))
            ranks.append(ranks_of(question, staged, gold_places(question, index), by_document=False))
            places.append(question)
        rows = ranking_metrics(ranks, need_all=True)
        means = [float(np.mean([row[metric] for row in rows])) for metric in ("hit@5", "ndcg@10")]
        cells.append(f"{split} hit@5 {means[0]:.3f} nDCG@10 {means[1]:.3f}")
    print(f"{name:22} {cells[0]} | {cells[1]} | {np.mean(characters):.0f} characters in five passages", flush=True)
    return float(np.mean(characters))


def main() -> None:
    """Search once, then print every setting."""
    data = load_dataset(ROOT / "evals" / "llm-interview", None)
    settings = load_settings(diversity=0.0, merge_neighbours=False)
    index = open_dataset(data, settings)
    questions = [question for question in data.questions if question.gold]
    found = [(question, index.search(question.text, k=DEPTH, history=question.history)) for question in questions]
    vectors = {id(hits): index._retriever.vectors(hits) for _, hits in found}

    def text_of(path: str) -> str | None:
        document = index.document(path)
        return document.text if document else None

    plain = show("as found", index, found, lambda hits: hits)
    for diversity in (0.05, 0.1, 0.2, 0.3, 0.5):
        show(f"diversity {diversity}", index, found, lambda hits, d=diversity: diversified(hits, vectors[id(hits)], d))
    merged = show("merged", index, found, lambda hits: merge_neighbours(hits, text_of, 10))

    def longer(hits: list[Hit]) -> list[Hit]:
        # As many passages more as the merged ones are longer; those of the first five share a rank.
        from dataclasses import replace

        more = merged / plain
        return [replace(hit, rank=max(1, int(np.ceil(hit.rank / more)))) for hit in hits]

    show("as found, same length", index, found, longer)


if __name__ == "__main__":
    main()
