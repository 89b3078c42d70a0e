"""What diversity and neighbour merging do to retrieval, without a chat model.

    python evals/experiments/stages.py [DATASET...]

One search of depth 20 for each question (about 200 of a set other than ``evals/llm-interview``), then
every setting over the same hits: hit@5, nDCG@10, and the characters that five passages have, because
merged passages are longer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ragkit.api import Index
from ragkit.evaluation.datasets import Dataset, Question, load_dataset, select
from ragkit.evaluation.gold import gold_places, ranks_of
from ragkit.evaluation.metrics import ranking_metrics
from ragkit.evaluation.retrieval import open_dataset
from ragkit.retrieval.diversity import diversified
from ragkit.retrieval.neighbours import merge_neighbours
from ragkit.settings import load_settings
from ragkit.values import Hit

OWN = Path(__file__).resolve().parents[2] / "evals" / "llm-interview"
DEPTH = 20
Stage = Callable[[list[Hit]], list[Hit]]


def show(name: str, data: Dataset, index: Index, found: Sequence[tuple[Question, list[Hit]]], stage: Stage) -> None:
    """Print one line: each split by itself, and the mean number of characters of five passages."""
    cells, characters = [], []
    for split in sorted({question.split for question, _ in found}):
        ranks = []
        for question, hits in found:
            if question.split != split:
                continue
            staged = stage(hits)
            characters.append(sum(len(hit.text) for hit in staged[:5]))
            ranks.append(ranks_of(question, staged, gold_places(question, index), data.by_document))
        rows = ranking_metrics(ranks, need_all=not data.by_document)
        means = [float(np.mean([row[metric] for row in rows])) for metric in ("hit@5", "ndcg@10")]
        cells.append(f"{split} hit@5 {means[0]:.3f} nDCG@10 {means[1]:.3f}")
    print(f"{name:16} {' | '.join(cells)} | {np.mean(characters):.0f} characters in five passages", flush=True)


def measure(path: Path) -> None:
    """Search once, then print every setting."""
    data = load_dataset(path, None)
    if path != OWN:
        data = select(data, "all", 200)
    index = open_dataset(data, load_settings(diversity=0.0, merge_neighbours=False))
    questions = [question for question in data.questions if question.gold]
    found = [(question, index.search(question.text, k=DEPTH, history=question.history)) for question in questions]
    vectors = {id(hits): index._retriever.vectors(hits) for _, hits in found}

    def text_of(document: str) -> str | None:
        known = index.document(document)
        return known.text if known else None

    print(f"{data.name}: {len(questions)} questions")
    show("as found", data, index, found, lambda hits: hits)
    for diversity in (0.05, 0.1, 0.2, 0.3, 0.5):
        stage = partial(_diversified, vectors=vectors, diversity=diversity)
        show(f"diversity {diversity}", data, index, found, stage)
    show("merged", data, index, found, lambda hits: merge_neighbours(hits, text_of, 10))


def _diversified(hits: list[Hit], *, vectors: dict[int, np.ndarray], diversity: float) -> list[Hit]:
    return diversified(hits, vectors[id(hits)], diversity)


if __name__ == "__main__":
    for dataset in [Path(name) for name in sys.argv[1:]] or [OWN]:
        measure(dataset)
