"""Precision and recall of the verifier on the corruption set, class by class.

    python evals/experiments/verifier.py [--split test] [--set FOLDER] [--judge MODEL --judge-limit N] [--json FILE]

Stage (a) is comparison alone; with ``--judge`` a chat model (or a cross-encoder) settles what (a) leaves undecided, of
which ``--judge-limit`` items are asked about, chosen by chance.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkit.citations.checker import Checker
from ragkit.citations.entailment import ChatEntailment, CrossEncoderEntailment, EntailmentJudge, settle
from ragkit.citations.evidence import Evidence, Passage
from ragkit.citations.verdicts import Verdict

SET = Path(__file__).resolve().parents[1] / "citations"
KINDS = ("invented", "swapped", "stitched", "number", "negation", "entity", "untouched")
_BY_VERDICT = {"misattributed": "swapped", "stitched": "stitched"}
_BY_REASON = {
    "negation": "negation", "opposite": "negation", "denial": "negation", "number": "number", "unit": "number",
    "name": "entity", "term": "entity",
}  # fmt: skip


@dataclass
class Row:
    """One item and what the verifier said."""

    item: dict[str, Any]
    verdict: Verdict

    @property
    def kind(self) -> str:
        return "crossing" if "crossing" in self.item["language"] else str(self.item["kind"])

    @property
    def flagged(self) -> bool:
        return self.verdict.verdict != "supported"

    @property
    def said(self) -> str:
        """The class that the verdict and its reasons amount to."""
        if not self.flagged:
            return "untouched"
        kinds = [_BY_REASON[r.kind] for r in self.verdict.reasons if r.kind in _BY_REASON]
        if self.verdict.verdict in _BY_VERDICT:
            return _BY_VERDICT[self.verdict.verdict]
        return kinds[0] if kinds else "invented"


def load(split: str, folder: Path = SET) -> list[tuple[dict[str, Any], list[Passage]]]:
    """Items of a split with their passages."""
    rows = [json.loads(line) for line in (folder / "passages.jsonl").open(encoding="utf-8")]
    passages = {
        row["id"]: Passage(
            text=row["text"],
            document=row["document"],
            heading=tuple(row["heading"]),
            start=row["start"],
            start_line=row["start_line"],
        )
        for row in rows
    }
    items = [json.loads(line) for line in (folder / "corruptions.jsonl").open(encoding="utf-8")]
    return [(item, [passages[id_] for id_ in item["passages"]]) for item in items if item["split"] == split]


def run(split: str, judge: EntailmentJudge | None = None, limit: int = 40, folder: Path = SET) -> list[Row]:
    """Judge a split; with a judge, `limit` of what is undecided is asked about, the others are left out."""
    pairs = [(item, Evidence(passages)) for item, passages in load(split, folder)]
    rows = [Row(item, Checker(evidence).check(item["sentence"], item["markers"])) for item, evidence in pairs]
    if judge is None:
        return rows
    undecided = [i for i, row in enumerate(rows) if not row.verdict.decided and row.verdict.markers]
    asked = set(random.Random(1).sample(undecided, min(limit, len(undecided))))
    began = time.monotonic()
    for i in asked:
        rows[i].verdict = settle([rows[i].verdict], pairs[i][1], judge, 120.0)[0]
    each = (time.monotonic() - began) / max(1, len(asked))
    print(f"judge: {len(asked)} of {len(undecided)} undecided, {each:.2f} s each")
    return [row for i, row in enumerate(rows) if i in asked or i not in undecided]


def table(rows: list[Row]) -> dict[str, dict[str, float]]:
    """For each class: items, share flagged, recall and precision of its own name."""
    said = Counter(row.said for row in rows if row.kind != "crossing")
    right = Counter(row.kind for row in rows if row.kind == row.said)
    count = Counter(row.kind for row in rows)
    flagged = Counter(row.kind for row in rows if row.flagged)
    return {
        kind: {
            "items": count[kind],
            "flagged": flagged[kind] / count[kind] if count[kind] else 0.0,
            "named": right[kind] / count[kind] if count[kind] else 0.0,
            "precision": right[kind] / said[kind] if said[kind] else 0.0,
        }
        for kind in dict.fromkeys((*KINDS, "crossing", *count))
    }


def show(rows: list[Row], title: str) -> dict[str, dict[str, float]]:
    """Print a table and the finer kinds."""
    found = table(rows)
    print(f"\n{title}\n{'class':10} {'items':>5} {'flagged':>8} {'named so':>8} {'precision':>9}")
    for kind, value in found.items():
        print(
            f"{kind:10} {value['items']:5.0f} {value['flagged']:8.3f} {value['named']:8.3f} {value['precision']:9.3f}"
        )
    finer: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        finer[f"{row.kind}: {row.item['how']}, {row.item['language']}"].append(row.flagged)
    for name, values in sorted(finer.items()):
        print(f"  {name:48} {len(values):4} flagged {sum(values) / len(values):.3f}")
    moved = [row for row in rows if row.item["kind"] == "swapped" and row.verdict.verdict == "misattributed"]
    if moved:
        home = sum(set(row.verdict.sources) <= set(row.item["sources"]) for row in moved)
        print(f"swapped, re-pointed to the true source: {home} of {len(moved)}")
    return found


def main() -> None:
    """Print what the splits give."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--split", choices=["dev", "test"], default="test")
    parser.add_argument("--set", type=Path, default=SET, help="folder of another draw, see evals/citations/make.py")
    parser.add_argument("--judge", help="chat model such as local, or nli:NAME for a cross-encoder")
    parser.add_argument("--judge-limit", type=int, default=40)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result = {"a": show(run(given.split, folder=given.set), f"{given.split}, stage (a)")}
    if given.judge:
        judge: EntailmentJudge
        if given.judge.startswith("nli:"):
            judge = CrossEncoderEntailment(given.judge.removeprefix("nli:"))
        else:
            from ragkit.models.chat import resolve_chat
            from ragkit.settings import load_settings

            model = resolve_chat(given.judge, load_settings()).structured()
            assert model is not None, "extractive is no judge"
            judge = ChatEntailment(model)
        rows = run(given.split, judge, given.judge_limit, given.set)
        result["a+b"] = show(rows, f"{given.split}, stages (a) and (b), undecided ones that were not asked left out")
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
