"""The tables of the README, from a report of a suite.

ragkit eval run evals/suites/full.yaml --out full.json; python evals/bench/readme_table.py full.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def cell(value: float, span: list[float]) -> str:
    """``.703 (.62-.77)``: a value and its 95 % interval."""
    return f"{value:.3f} ({span[0]:.2f}-{span[1]:.2f})".replace("0.", ".")


def print_runs(reports: list[dict[str, Any]]) -> None:
    """One row for each data set and run."""
    print("| data set | questions | run | hit@1 | hit@5 | mrr@10 | ms |")
    print("|---|---|---|---|---|---|---|")
    for item in reports:
        for run in item["runs"]:
            cells = " | ".join(cell(run["metrics"][m], run["ci95"][m]) for m in ("hit@1", "hit@5", "mrr@10"))
            milliseconds = round(run["seconds_p50"] * 1000) or "<1"
            print(f"| {item['dataset']} | {item['questions']} | {run['name']} | {cells} | {milliseconds} |")


def print_types(report: dict[str, Any]) -> None:
    """hit@5 of each run by question type, for a data set that has several."""
    runs = report["runs"]
    print(f"\n{report['dataset']}, hit@5 by type:\n")
    print(f"| type | questions | {' | '.join(run['name'] for run in runs)} |")
    print("|---|---|" + "---|" * len(runs))
    for kind, group in runs[0]["by_type"].items():
        cells = [cell(run["by_type"][kind]["hit@5"], run["by_type"][kind]["ci95"]["hit@5"]) for run in runs]
        print(f"| {kind} | {group['questions']} | {' | '.join(cells)} |")


def main() -> None:
    """Print the tables of the report that is named first."""
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    reports = report.get("datasets", [report])
    print_runs(reports)
    for item in reports:
        if len(item["runs"][0]["by_type"]) > 1:
            print_types(item)


if __name__ == "__main__":
    main()
