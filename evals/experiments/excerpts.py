"""How much of the evidence stays when a local model reads excerpts of its passages, at several sizes.

    RAGKIT_EMBEDDING_MODEL=bundled python evals/experiments/excerpts.py [--questions N] [--sizes 250,400,600]

For each answerable question of ``evals/llm-interview`` the four passages of an agent's search are found as the agent
finds them. Counted is how often a line that answers the question ("gold quote") stands in what is shown, of the
questions where it stands in the passages at all: one of them, and all of them for questions with several. Beside it
what the same number of tokens would buy by showing fewer passages whole. No chat model takes part.
"""

from __future__ import annotations

import argparse
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ragkit.agent.excerpt import excerpts
from ragkit.evaluation.datasets import load_dataset
from ragkit.evaluation.retrieval import open_dataset
from ragkit.models.tokens import typical_tokens
from ragkit.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
PASSAGES = 4
Row = tuple[float, float, float]
"""Whether one gold quote stayed, whether all that were found did, and the tokens that are read."""


def plain(text: str) -> str:
    """Text without white space, in NFKC."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def kept(shown: Sequence[str], found: Sequence[str]) -> Row:
    """What of the quotes that were found still stands."""
    plains = [plain(text) for text in shown]
    stay = [any(quote in text for text in plains) for quote in found]
    return float(any(stay)), float(all(stay)), sum(map(typical_tokens, shown))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=None)
    parser.add_argument("--sizes", default="200,300,400,500,600")
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    dataset = load_dataset(ROOT / "evals" / "llm-interview")
    index = open_dataset(dataset, load_settings())
    rows: dict[str, list[Row]] = {}
    for question in [q for q in dataset.questions if q.gold][: given.questions]:
        plan = index.plan(question.text, rewrite=False, hyde=False, translate=False, history=question.history)
        hits = index.search_queries(plan.queries, k=PASSAGES, merge=True)
        texts = {number: hit.text for number, hit in enumerate(hits, start=1)}
        found = [quote for g in question.gold if any((quote := plain(g.quote)) in plain(t) for t in texts.values())]
        if not found:
            continue
        asked = [query.text for query in plan.queries if not query.passage]
        for count in range(1, len(texts) + 1):
            name = f"{count} passage{'s' if count > 1 else ''}, whole"
            rows.setdefault(name, []).append(kept(list(texts.values())[:count], found))
        for size in sizes:
            shown = {**texts, **excerpts(index, asked, dict(enumerate(hits, start=1)), size)}
            rows.setdefault(f"excerpts of {size}", []).append(kept(list(shown.values()), found))
    print("| what is read | questions | a gold quote stays | all that were found stay | tokens, mean | 9 of 10 below |")
    print("|---|---|---|---|---|---|")
    for name, several in rows.items():
        one, every, tokens = np.asarray(several).T
        cells = f"{one.mean():.3f} | {every.mean():.3f} | {tokens.mean():.0f} | {np.quantile(tokens, 0.9):.0f}"
        print(f"| {name} | {len(several)} | {cells} |")


if __name__ == "__main__":
    main()
