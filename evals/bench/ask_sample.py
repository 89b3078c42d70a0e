"""Ask a sample of the question set with a chat model and say how many answers cite their gold.

    python evals/bench/ask_sample.py [--model local] [--questions 24] [--out report.jsonl]

An answer counts as rightly cited if one of its citations overlaps a gold quote; whether its words
are right is for a reader: the answers are printed beside the reference. Unanswerable questions
count as right when the agent abstains.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from ragkit import Agent, load_settings
from ragkit.evaluation.datasets import Question, load_dataset
from ragkit.evaluation.retrieval import open_dataset


def sample(questions: tuple[Question, ...], count: int) -> list[Question]:
    """Every n-th question of each type, so that all types are there."""
    by_type: dict[str, list[Question]] = {}
    for question in questions:
        by_type.setdefault(question.type, []).append(question)
    share = count / len(questions)
    picked = []
    for group in by_type.values():
        wanted = max(1, round(share * len(group)))
        picked.extend(group[:: max(1, len(group) // wanted)][:wanted])
    return picked


def main() -> None:
    """Ask, print one JSON line a question, and the sums at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", default="local")
    parser.add_argument("--questions", type=int, default=24)
    parser.add_argument("--dataset", type=Path, default=Path("evals/llm-interview"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    dataset = load_dataset(options.dataset)
    index = open_dataset(dataset, load_settings())
    agent = Agent.load("interview", index=index, model=options.model)
    cited = answered = abstained = 0
    seconds = []
    picked = sample(dataset.questions, options.questions)
    for question in picked:
        agent.new_session()
        answer = agent.ask(question.text)
        seconds.append(answer.seconds)
        spans = [(g.document, text.find(g.quote), len(g.quote)) for g in question.gold
                 if (text := getattr(index.document(g.document), "text", ""))]  # fmt: skip
        hit = any(c.document == d and c.start < at + n and at < c.end for c in answer.citations for d, at, n in spans)
        for citation in answer.citations:
            source = index.document(citation.document)
            assert source is not None and source.text[citation.start : citation.end] == citation.quote
        found = any(h.document == d and h.start < at + n and at < h.end for h in answer.passages for d, at, n in spans)
        if question.gold:
            answered += 1
            cited += hit
        else:
            abstained += answer.abstained
        row = {
            "id": question.id,
            "type": question.type,
            "question": question.text,
            "reference": question.reference_answer,
            "answer": answer.text,
            "cites_gold": hit,
            "gold_retrieved": found,
            "abstained": answer.abstained,
            "steps": len(answer.steps),
            "removed": [item.sentence for item in answer.removed],
            "seconds": round(answer.seconds, 1),
            "usage": answer.usage,
        }
        print(json.dumps(row, ensure_ascii=False), flush=True)
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"{cited} of {answered} answerable questions cite their gold; {abstained} of {len(picked) - answered} "
          f"unanswerable ones were declined; median {statistics.median(seconds):.0f} s a question")  # fmt: skip


if __name__ == "__main__":
    main()
