"""What each prompting strategy of the agent file is worth: every one against the file as it is, paired.

    python evals/experiments/strategies.py [--questions N] [--model local] [--base NAME] [--only NAME,...] [--out F]

Few-shot examples and long thoughts mean answering within the transcript: ``--base "within the transcript"`` says what
they are worth there. Each strategy answers the same stratified sample; answers are kept (`--rows`), so a run that was
broken off goes on. Differences come with 95 % intervals and p-values of paired randomisation tests,
corrected after Holm within each metric. A nil effect is a result and stays in the table.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ragkit.agent.examples import split_examples
from ragkit.agent.runtime import Agent
from ragkit.agent.spec import AgentHeader, AgentSpec, load_agent
from ragkit.evaluation.answers import AnswerRow, evaluate_answers, open_metrics
from ragkit.evaluation.datasets import load_dataset, select
from ragkit.evaluation.paired import compare_values, corrected
from ragkit.evaluation.retrieval import open_dataset
from ragkit.evaluation.row_store import RowStore
from ragkit.models.chat import resolve_chat
from ragkit.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
TRANSCRIPT = {"answer_json": "transcript"}
STRATEGIES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "within the transcript": TRANSCRIPT,
    "whole passages": {**TRANSCRIPT, "evidence_tokens_json": None},
    "excerpts of 250": {"evidence_tokens_json": 250},
    "no thought": {**TRANSCRIPT, "thought": "off"},
    "long thought": {**TRANSCRIPT, "thought_chars": 600},
    "always rewrite": {"rewrite": "always"},
    "rewrite at 0.7": {"sampling": {"rewrite": {"temperature": 0.7}}},
    "act at 0.7": {"sampling": {"act": {"temperature": 0.7}}},
    "answer at 0.7": {"sampling": {"act": {"temperature": 0.7}, "answer": {"temperature": 0.7}}},
    "answer at 0.7 and top-p 0.8": {
        "sampling": {"act": {"temperature": 0.7, "top_p": 0.8}, "answer": {"temperature": 0.7, "top_p": 0.8}}
    },
    "3 samples": {"samples": 3},
    "5 samples": {"samples": 5},
}
EXAMPLES = """
## Example

Question: 邮局几点开门？
Thought: 第 1 段写了开门时间。
Answer: 邮局早上八点开门[1]，周日不开[1]。

## Example

Question: How long does the ferry take?
Thought: The first search says nothing about the time of the crossing.
Call: search_notes {"query": "ferry crossing time"}
Observation: [1] travel.md:12 The crossing takes 40 minutes, in winter up to an hour.
Answer: The ferry takes 40 minutes[1]. In winter it may take an hour[1].
"""
METRICS = (
    "cites_gold",
    "citation_recall",
    "citation_precision",
    "rouge_l",
    "bert_score",
    "right_abstention",
    "seconds",
)


def variants(spec: AgentSpec, base: str, only: set[str]) -> dict[str, AgentSpec]:
    """The agent under each strategy, `base` first; one with two examples, one without the file's own."""
    found = {}
    for name, keys in STRATEGIES.items():
        header = AgentHeader.model_validate({**spec.header.model_dump(mode="json"), **keys})
        found[name] = replace(spec, header=header)
    header = AgentHeader.model_validate({**spec.header.model_dump(mode="json"), **TRANSCRIPT})
    found["two examples"] = replace(spec, header=header, examples=split_examples(EXAMPLES)[1])
    if spec.examples:
        found["no examples"] = replace(spec, examples=())
    if unknown := ({base} | only) - found.keys():
        raise SystemExit(f"no such strategy: {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    order = [base, *(name for name in found if name != base)]
    return {name: found[name] for name in order if not only or name in only or name == base}


def scores(row: AnswerRow) -> dict[str, float | None]:
    """Of one answer; whether it abstained exactly where it should counts for every question."""
    return {**row.scores, "right_abstention": float(row.abstained != row.answerable)}


def compared(runs: dict[str, list[AnswerRow]]) -> list[dict[str, Any]]:
    """Every strategy against the first, metric by metric, over the questions where both have a value."""
    base, *others = runs
    table = []
    for metric in METRICS:
        family = []
        for name in others:
            pairs = [
                (x, y)
                for a, b in zip(runs[base], runs[name], strict=True)
                if (x := scores(a).get(metric)) is not None and (y := scores(b).get(metric)) is not None
            ]
            if pairs:
                left, right = zip(*pairs, strict=True)
                found = compare_values((base, left), (name, right), metric, bounded=metric != "seconds")
                family.append((len(pairs), found))
        for (count, _), item in zip(family, corrected([item for _, item in family]), strict=True):
            table.append({**asdict(item), "questions": count})
    return table


def mean(rows: list[AnswerRow], metric: str) -> float | None:
    """Over the questions that have it."""
    values = [value for row in rows if (value := scores(row).get(metric)) is not None]
    return sum(values) / len(values) if values else None


def main() -> None:
    """Ask, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=60, help="size of the stratified sample")
    parser.add_argument("--split", choices=("dev", "test", "all"), default="all")
    parser.add_argument("--agent", default="interview")
    parser.add_argument("--model", default="local")
    parser.add_argument("--only", default="", help="strategies by name, with commas; the base always runs")
    parser.add_argument("--base", default="as it is", help="strategy that the others are compared with")
    parser.add_argument("--rows", type=Path, default=None, help="answers as they finish")
    parser.add_argument("--out", type=Path, default=None, help="everything as JSON")
    arguments = parser.parse_args()
    settings = load_settings(chat_model=arguments.model)
    data = select(load_dataset(ROOT / "evals" / "llm-interview", None), arguments.split, arguments.questions)
    index = open_dataset(data, settings)
    chat = resolve_chat(arguments.model, settings)
    store = RowStore(arguments.rows or settings.ensure_home() / "evals" / "strategies.jsonl")
    metrics = open_metrics(index)
    only = {name.strip() for name in arguments.only.split(",") if name.strip()}
    runs: dict[str, list[AnswerRow]] = {}
    for name, spec in variants(load_agent(arguments.agent, settings.agents_dir), arguments.base, only).items():
        began = time.monotonic()
        runs[name] = evaluate_answers(data.questions, Agent(spec, index, chat), metrics, store=store)
        print(f"{name}: {len(runs[name])} questions in {time.monotonic() - began:.0f} s", flush=True)
    table = compared(runs)
    print(f"\n{len(data.questions)} questions, {chat.name}; means, and the difference from {next(iter(runs))!r}")
    for name, rows in runs.items():
        print(f"\n{name}")
        for metric in METRICS:
            found = next((row for row in table if row["b"] == name and row["metric"] == metric), None)
            value = mean(rows, metric)
            line = f"  {metric:18} {value:8.3f}" if value is not None else f"  {metric:18}        -"
            if found:
                low, high = found["ci95"]
                line += f"  {found['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
                line += f", p {found['p_corrected']:.3f}, n {found['questions']}"
            print(line)
    if arguments.out:
        facts = {"model": chat.name, "questions": len(data.questions), "comparisons": table}
        means = {name: {metric: mean(rows, metric) for metric in METRICS} for name, rows in runs.items()}
        arguments.out.write_text(json.dumps({**facts, "means": means}, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
