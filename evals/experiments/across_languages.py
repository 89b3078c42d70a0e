"""How near a sentence is to the lines of its source in another language, and to those of passages that do not say it.

    python evals/experiments/across_languages.py

Nothing but numbers can be compared across languages, so what a small model writes is also asked to be near to a line of
its source, in the space of the embedding model. The true sentences are the untouched ones of ``evals/citations`` whose
source is in another language; invented ones are held against those of their passages that are. Printed: at each
threshold the share that passes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ragkit.agent.own_words import NEAR
from ragkit.citations.support import body_spans
from ragkit.models.embeddings import resolve_embedding
from ragkit.settings import load_settings
from ragkit.text.language import language_group

SET = Path(__file__).resolve().parents[1] / "citations"
THRESHOLDS = (0.82, 0.83, 0.84, 0.85, 0.86, 0.88)


def lines(name: str) -> list[dict[str, object]]:
    """The objects of a file of the set."""
    return [json.loads(line) for line in (SET / name).open(encoding="utf-8")]


def main() -> None:
    """Print the table."""
    model = resolve_embedding("bundled", load_settings().ensure_home())
    passages = {str(row["id"]): str(row["text"]) for row in lines("passages.jsonl")}
    known: dict[str, np.ndarray] = {}

    def nearest(sentence: str, passage: str) -> float:
        text = passages[passage]
        if passage not in known:
            known[passage] = np.stack([model.encode_query(text[start:end]) for start, end in body_spans(text)])
        return float((known[passage] @ model.encode_query(sentence)).max())

    true, invented = [], []
    for item in lines("corruptions.jsonl"):
        ids, sentence = [str(name) for name in item["passages"]], str(item["sentence"])  # type: ignore[union-attr]
        if "crossing" in str(item["language"]):
            true.append(max(nearest(sentence, ids[number - 1]) for number in item["sources"]))  # type: ignore[union-attr]
        elif item["kind"] == "invented":
            group = language_group(sentence)
            invented += [nearest(sentence, name) for name in ids if language_group(passages[name]) != group]
    print("| cosine at least | true | invented |")
    print("|---|---|---|")
    print(f"| pairs | {len(true)} | {len(invented)} |")
    for threshold in THRESHOLDS:
        shares = [float(np.mean(np.asarray(values) >= threshold)) for values in (true, invented)]
        print(f"| {threshold}{' (NEAR)' if threshold == NEAR else ''} | {shares[0]:.3f} | {shares[1]:.3f} |")


if __name__ == "__main__":
    main()
