"""The ablation table of the README, from a report of a suite.

ragkit eval run evals/suites/full.yaml --out full.json; python evals/bench/readme_table.py full.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def cell(run: dict[str, object], metric: str) -> str:
    """``.703 (.62-.77)``: the value and its 95 % interval."""
    metrics, spans = run["metrics"], run["ci95"]
    assert isinstance(metrics, dict) and isinstance(spans, dict)
    low, high = spans[metric]
    return f"{metrics[metric]:.3f} ({low:.2f}-{high:.2f})".replace("0.", ".")


def main() -> None:
    """Print one row for each data set and run."""
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print("| data set | questions | run | hit@1 | hit@5 | mrr@10 | ms |")
    print("|---|---|---|---|---|---|---|")
    for item in report.get("datasets", [report]):
        for run in item["runs"]:
            cells = " | ".join(cell(run, metric) for metric in ("hit@1", "hit@5", "mrr@10"))
            milliseconds = round(run["seconds_p50"] * 1000) or "<1"
            print(f"| {item['dataset']} | {item['questions']} | {run['name']} | {cells} | {milliseconds} |")


if __name__ == "__main__":
    main()
