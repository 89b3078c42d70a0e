"""What each part of the hybrid score is worth: `python evals/experiments/fusion_parts.py [DEVDATA_FOLDER [NAME...]]`.

Runs the shipped question set, 300 questions of every BEIR folder below DEVDATA_FOLDER, and of corpora
of two languages made of them: all paragraphs in one index (`pool`), and questions whose answer stands
only in the other language among paragraphs in their own (`other`). With names, only those sets. Prints
hit@5 and MRR@10 on the dev and the test half. Embeddings are kept in $RAGKIT_HOME/cache.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ragkit.evaluation.datasets import Dataset, Question, load_dataset, select
from ragkit.evaluation.retrieval import Run, evaluate, open_dataset
from ragkit.models.cache import CachedEmbeddings, KeyValueFile
from ragkit.models.embeddings import BundledE5Model
from ragkit.settings import load_settings

OFF = {"question_centring": 0.0, "language_correction": 0.0, "sentence_share": 0.0}
VARIANTS: dict[str, dict[str, object]] = {
    "plain cosine": {**OFF, "coverage_floor": 0.1},
    "+ language correction": {**OFF, "language_correction": 1.0, "coverage_floor": 0.1},
    "+ question centring": {"sentence_share": 0.0, "coverage_floor": 0.1},
    "+ sentences": {"coverage_floor": 0.1},
    "+ floor .05 (default)": {},
}
"""From the plain cosine to the default, one part after the other."""
OTHERS: dict[str, dict[str, object]] = {
    "sentence share .2": {"sentence_share": 0.2},
    "sentence share .6": {"sentence_share": 0.6},
    "centring .5": {"question_centring": 0.5},
    "centring .9": {"question_centring": 0.9},
    "coverage weight 15": {"coverage_weight": 15.0},
}
"""One setting moved away from its default; run on the shipped set only."""
LIMIT = 300


def combined(name: str, asked: Dataset, *corpora: Dataset) -> Dataset:
    """The questions of one set over the documents of several; names are told apart by the set's name."""
    documents = tuple(replace(d, path=f"{c.name}/{d.path}") for c in corpora for d in c.documents)
    home = asked.name if asked in corpora else corpora[-1].name

    def moved(question: Question) -> Question:
        golds = tuple(replace(gold, document=f"{home}/{gold.document}") for gold in question.gold)
        return replace(question, gold=golds)

    return replace(asked, name=name, questions=tuple(map(moved, asked.questions)), documents=documents)


def datasets(folder: Path | None) -> Iterator[Dataset]:
    """The shipped set, then those below `folder`, then the corpora of two languages."""
    yield load_dataset(Path(__file__).parents[1] / "llm-interview")
    if folder is None:
        return
    sets = {path.name: load_dataset(path) for path in sorted(folder.iterdir()) if (path / "corpus.jsonl").is_file()}
    yield from sets.values()
    zh, en, cmrc = sets.get("xquad_zh_dev"), sets.get("xquad_en_dev"), sets.get("cmrc_trial")
    zh_en = sets.get("xquad_zh2en_dev")
    if zh is not None and en is not None and cmrc is not None and zh_en is not None:
        for asked in (cmrc, zh, en):
            yield combined(f"pool-{asked.name}", asked, cmrc, zh, en)
        yield combined("other-zh2en", zh_en, cmrc, en)


def line(run: Run, dataset: Dataset) -> str:
    """hit@5 and MRR@10 of both halves."""
    split = {question.id: question.split for question in dataset.questions}
    parts = []
    for half in ("dev", "test"):
        rows = [row.metrics for row in run.rows if split[row.id] == half]
        parts.append(" ".join(f"{np.mean([row[m] for row in rows]):.3f}" for m in ("hit@5", "mrr@10")))
    return "   ".join(parts)


def main() -> None:
    """Print one table for each data set."""
    base = load_settings(sentence_vectors="on")
    file = KeyValueFile(base.ensure_home() / "cache" / "experiments.sqlite")
    model = CachedEmbeddings(BundledE5Model(base.home), file)
    chosen = sys.argv[2:]
    for found in datasets(Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        if chosen and found.name not in chosen:
            continue
        dataset = select(found, limit=LIMIT) if found.by_document else found
        variants = VARIANTS if found.by_document else {**VARIANTS, **OTHERS}
        print(f"\n{dataset.name}: {len(dataset.questions)} questions; hit@5, MRR@10 on dev, on test", flush=True)
        for name, changes in variants.items():
            index = open_dataset(dataset, load_settings(sentence_vectors="on", **changes), embedding=model)
            modes = ["hybrid", "dense", "sparse"] if name == "+ floor .05 (default)" else ["hybrid"]
            for run in evaluate(dataset, index, modes, depth=10):
                print(f"  {name if run.name == 'hybrid' else run.name + ' alone':26s}{line(run, dataset)}", flush=True)
            index.close()


if __name__ == "__main__":
    main()
