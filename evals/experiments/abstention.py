"""Fit the score that answers or declines, and print what it does on questions that took no part.

    RAGKIT_EMBEDDING_MODEL=bundled python evals/experiments/abstention.py [ROWS.jsonl]

Constants of `ragkit.retrieval.answerable` are what this prints. Fitted on the development questions of
``evals/llm-interview`` and ``evals/abstention`` (the far ones with a weight of .3), and with a weight of .1 on the
answerable ones once more without the notes that answer them: the same questions, now unanswered, so that
the kind of a question decides nothing. The threshold is the one that declines 4 % of the answerable dev questions,
each scored by a model of the seven other folds. No chat model takes part.

With ROWS, the file that ``ragkit eval answers --model local --rows ROWS.jsonl`` kept, it also prints
how the checked answers of that model come out at other weights of their support (`ragkit.agent.evidence.SUPPORT`).
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from ragkit.agent.evidence import verified
from ragkit.api import Index
from ragkit.evaluation.datasets import Question, load_dataset
from ragkit.evaluation.retrieval import open_dataset
from ragkit.retrieval.answerable import NAMES, fit_for, signals_of
from ragkit.retrieval.confidence import LOOKED_AT
from ragkit.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
FALSE = 0.04
"""Share of the answerable dev questions that may be declined."""
WEIGHTS = {"answerable": 1.0, "unanswerable": 1.0, "unanswerable-near": 1.0, "unanswerable-far": 0.3, "left-out": 0.1}
VECTORS = {"sentence", "margin", "lead"}
_DEEP = 100


def signals(index: Index, question: Question, without: frozenset[str] = frozenset()) -> list[float]:
    """The signals of a question, as `NAMES`; `without`: notes that its search leaves out."""
    plan = index.plan(question.text, rewrite=False, hyde=False, translate=False, history=question.history)
    hits = index.search_queries(plan.queries, k=_DEEP if without else LOOKED_AT, merge=False)
    kept = [hit for hit in hits if hit.document not in without][:LOOKED_AT]
    found = asdict(signals_of(plan.standalone, kept, index.idf, index.model.temperature))
    return [found[name] for name in NAMES]


def table(index: Index, questions: list[Question]) -> tuple[np.ndarray, np.ndarray]:
    """Signals (n, 9) and the kind of each row: ``dev answerable``, ``test unanswerable-far``, ``dev left-out``."""
    rows, kinds = [], []
    for question in questions:
        kind = "answerable" if question.gold else question.type
        rows.append(signals(index, question))
        kinds.append(f"{question.split} {kind}")
        if question.gold and question.split == "dev":
            rows.append(signals(index, question, frozenset(gold.document for gold in question.gold)))
            kinds.append("dev left-out")
    return np.array(rows), np.array(kinds)


def fit(x: np.ndarray, kinds: np.ndarray, columns: list[int]) -> tuple[LogisticRegression, np.ndarray, float]:
    """A model of the dev rows (on standardised columns), their mean and deviation, and the threshold."""
    scale = np.stack([x[:, columns].mean(0), x[:, columns].std(0) + 1e-9])
    z = (x[:, columns] - scale[0]) / scale[1]
    train = np.array([kind.startswith("dev ") for kind in kinds])
    z, names = z[train], np.array([kind.removeprefix("dev ") for kind in kinds[train]])
    y, weights = names == "answerable", np.array([WEIGHTS[name] for name in names])
    scores = np.zeros(len(y))
    for others, held in StratifiedKFold(8, shuffle=True, random_state=0).split(z, names):
        model = LogisticRegression(C=1.0).fit(z[others], y[others], weights[others])
        scores[held] = model.predict_proba(z[held])[:, 1]
    threshold = float(np.quantile(scores[y], FALSE))
    shares = ", ".join(f"{name} {(scores[names == name] < threshold).mean():.3f}" for name in dict.fromkeys(names))
    print(f"  declined in cross-validation: {shares}")
    return LogisticRegression(C=1.0).fit(z, y, weights), scale, threshold


def report(name: str, x: np.ndarray, kinds: np.ndarray, columns: list[int]) -> None:
    """Fit, print the constants and what they decline."""
    print(name)
    model, scale, threshold = fit(x, kinds, columns)
    weights = model.coef_[0] / scale[1]
    bias = model.intercept_[0] - float(weights @ scale[0])
    print(f"  bias={bias:.2f}, threshold={threshold:.3f}")
    print("  weights =", {NAMES[c]: round(float(w), 2) for c, w in zip(columns, weights, strict=True)})
    p = 1 / (1 + np.exp(-(bias + x[:, columns] @ weights)))
    test = np.isin(kinds, ["test answerable", "test unanswerable"])
    print(f"  AUC on the test split {roc_auc_score(kinds[test] == 'test answerable', p[test]):.3f}")
    print("  declined at thresholds:")
    for at in (threshold, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        shares = ", ".join(f"{k} {(p[kinds == k] < at).mean():.3f}" for k in sorted(set(kinds)) if k != "dev left-out")
        print(f"    {at:.3f}: {shares}")


def supports(path: Path) -> None:
    """What other weights of the support would do to the answers of a chat model that were kept."""
    rows = [json.loads(line)["row"] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    print(f"{path}: {len(rows)} rows; declined of the answerable and of the unanswerable, by weight of the support")
    threshold = fit_for("multilingual-e5-small-q4").threshold
    for weight in (0, 1, 2, 3, 4, 6, 8):
        shares = []
        for answerable in (True, False):
            own = [row for row in rows if row["answerable"] is answerable and not row["error"]]
            declined = [row["abstained"] or _moved(row, weight) < threshold for row in own]
            shares.append(f"{np.mean(declined) if declined else math.nan:.3f}")
        print(f"  {weight}: {' '.join(shares)}")


def _moved(row: dict[str, object], weight: float) -> float:
    """The score of an answer with another weight of its support; 1 where nothing was searched for."""
    evidence = row["scores"]["retrieval"]  # type: ignore[index]
    if evidence is None:
        return 1.0
    verdicts = [citation["verdict"] for citation in row["citations"]]  # type: ignore[attr-defined]
    return verified(float(evidence), verdicts, len(row["removed"]), weight)  # type: ignore[arg-type]


def main() -> None:
    """Fit with vectors and without, print both."""
    data = load_dataset(ROOT / "evals" / "llm-interview", None)
    index = open_dataset(data, load_settings())
    more = load_dataset(ROOT / "evals" / "abstention", data.notes)
    x, kinds = table(index, [*data.questions, *more.questions])
    report(index.model.name, x, kinds, list(range(len(NAMES))))
    report("any other model", x, kinds, [c for c, name in enumerate(NAMES) if name not in VECTORS])
    for path in sys.argv[1:]:
        supports(Path(path))


if __name__ == "__main__":
    main()
