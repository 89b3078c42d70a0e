"""Whether memory finds what was said before, and leaves alone what has nothing to do with it.

    python evals/experiments/memory.py [--cosines]

All facts of ``evals/memory/items.jsonl`` are told one after the other, distractors between them, then the
updates; then every question is asked, in the fact's language and with the model of the settings. Prints
how often the fact is the best memory found and among those that would be recalled, how often anything
is recalled for a question about the notes, and how often an update took the place of its fact and of
nothing else. ``--cosines`` prints what thresholds were chosen by.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ragkit.memory.items import new_item
from ragkit.memory.long_term import Memory
from ragkit.settings import load_settings

ITEMS = Path(__file__).resolve().parents[1] / "memory" / "items.jsonl"
RECALLED = 4


def told(memory: Memory, items: list[dict[str, Any]]) -> float:
    """Tell everything but the updates in one commit, the updates one by one; seconds of the latter, each."""
    facts = [item for item in items if "fact" in item]
    mixed = sorted(facts, key=lambda item: item["id"][::-1])
    memory.add_many([new_item(item["fact"], session="earlier") for item in mixed])
    updates = [item for item in items if "update" in item]
    began = time.monotonic()
    for item in updates:
        added = memory.add(item["update"], session="later")
        item["replaced"] = [old.text for old in added.replaced]
    return (time.monotonic() - began) / max(len(updates), 1)


def measure(cosines: bool) -> None:
    """Print the figures."""
    items = [json.loads(line) for line in ITEMS.read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as home:
        memory = Memory.open(home, settings=load_settings())
        seconds = told(memory, items)
        began = time.monotonic()
        for item in items:
            if "question" in item:
                item["found"] = memory.search(item["question"], RECALLED)
                item["recalled"] = [found.item.text for found in memory.recall(item["question"], RECALLED)]
        asked = [item for item in items if "question" in item]
        per_question = (time.monotonic() - began) / max(2 * len(asked), 1)
        for language in ("zh", "en"):
            report(language, [item for item in items if item["language"] == language])
        size = sum(file.stat().st_size for file in memory.folder.rglob("*") if file.is_file())
        count = len(memory.items(history=True))
        print(f"{count} items, {size / 1024:.0f} KiB; add {seconds:.2f} s, search {per_question:.3f} s")
    if cosines:
        for item in asked:
            for found in item["found"][:2]:
                dense = found.hit.legs["dense"]
                score = f"{dense.score:.3f}" if dense else "  -  "
                right = found.item.text == item.get("update", item.get("fact"))
                facts = f"{item['id']:8}{'=' if right else ' '} {score} {found.hit.coverage:.2f}"
                print(f"{facts} {item['question']} | {found.item.text}")


def report(language: str, items: list[dict[str, Any]]) -> None:
    """Print one line for a language."""
    facts = [item for item in items if item["kind"] == "fact"]
    unrelated = [item for item in items if item["kind"] == "unrelated"]
    updates = [item for item in facts if "update" in item]

    def right(item: dict[str, Any]) -> str:
        return str(item.get("update", item["fact"]))

    best = sum(bool(item["found"]) and item["found"][0].item.text == right(item) for item in facts)
    among = sum(right(item) in [found.item.text for found in item["found"]] for item in facts)
    recalled = sum(right(item) in item["recalled"] for item in facts)
    beside = sum(len([text for text in item["recalled"] if text != right(item)]) for item in facts)
    false = sum(bool(item["recalled"]) for item in unrelated)
    clean = sum(item["replaced"] == [item["fact"]] for item in updates)
    wrong = sum(bool(set(item["replaced"]) - {item["fact"]}) for item in updates)
    others = beside / len(facts)
    print(
        f"{language}: best {best}/{len(facts)}, among {RECALLED} {among}/{len(facts)}\n"
        f"    recalled {recalled}/{len(facts)} with {others:.2f} others\n"
        f"    recalled for {false}/{len(unrelated)} unrelated questions\n"
        f"    updates that superseded their fact {clean}/{len(updates)}, other {wrong}/{len(updates)}"
    )


if __name__ == "__main__":
    measure("--cosines" in sys.argv)
