"""Fit the first-pass confidence on the dev questions and print its risk/coverage curve on both splits.

    python evals/experiments/confidence.py

Constants of `ragkit.retrieval.confidence` are what this prints. Questions without an answer in the
notes count as not found. The chat model takes no part.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ragkit.api import Index
from ragkit.evaluation.datasets import Question, load_dataset
from ragkit.evaluation.gold import gold_places, ranks_of
from ragkit.evaluation.retrieval import open_dataset
from ragkit.retrieval.confidence import LOOKED_AT, confidence_of
from ragkit.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]


def rows(index: Index, questions: list[Question]) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 2) and whether all gold was met among the first five hits (n,)."""
    features, found = [], []
    for question in questions:
        hits = index.search(question.text, k=LOOKED_AT, history=question.history)
        features.append(confidence_of(hits, index.model.temperature).features)
        ranks = ranks_of(question, hits, gold_places(question, index), by_document=False)
        found.append(bool(ranks) and all(rank is not None and rank <= 5 for rank in ranks))
    return np.array(features), np.array(found)


def curve(name: str, probabilities: np.ndarray, found: np.ndarray) -> None:
    """Print what is left alone at each threshold, and how much of that was wrong."""
    print(f"{name}: {len(found)} questions, found {found.mean():.3f}, AUC {roc_auc_score(found, probabilities):.3f}")
    print("  threshold  sure  of these missed  unsure  of these missed")
    for threshold in (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9):
        sure = probabilities >= threshold
        if not 0 < sure.sum() < len(sure):
            continue
        missed = ~found
        print(
            f"  {threshold:9.2f}  {sure.mean():.2f}  {missed[sure].mean():15.2f}"
            f"  {1 - sure.mean():6.2f}  {missed[~sure].mean():15.2f}"
        )


def main() -> None:
    """Fit on dev, print the constants, and both curves."""
    data = load_dataset(ROOT / "evals" / "llm-interview", None)
    index = open_dataset(data, load_settings())
    parts = {split: rows(index, [q for q in data.questions if q.split == split]) for split in ("dev", "test")}
    model = LogisticRegression(C=10.0).fit(*parts["dev"])
    print("FITTED =", tuple(round(float(x), 2) for x in (model.intercept_[0], *model.coef_[0])))
    for name, (features, found) in parts.items():
        curve(name, model.predict_proba(features)[:, 1], found)


if __name__ == "__main__":
    main()
