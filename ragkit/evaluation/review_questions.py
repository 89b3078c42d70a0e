"""A person's decision about each draft; only what was accepted enters a question set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ragkit.evaluation.datasets import json_lines
from ragkit.evaluation.drafts import Draft, append_row, read_drafts, write_drafts

Decision = Literal["accept", "reject", "skip", "quit"]
Decide = Callable[[Draft, int, int], tuple[Decision, Draft]]
"""Called with (draft, its number from 1, how many there are); gives the decision and the draft, edited perhaps."""


def review(path: Path, into: Path, decide: Decide) -> dict[str, int]:
    """Ask about every open draft; accepted ones are appended to `into`, and each decision is kept at once.

    Args:
        path: Drafts file; its lines are marked as they are decided.
        into: Question set (JSONL), made if it is not there.
        decide: What to do with a draft.

    Returns:
        How many drafts were accepted, rejected, skipped and are still open.

    Raises:
        DatasetError: If a file is malformed or cannot be written.
    """
    drafts = read_drafts(path)
    known = {str(row.get("id")) for _, row in json_lines(into)} if into.is_file() else set()
    open_ones = [i for i, draft in enumerate(drafts) if draft.status == "draft"]
    counts: Counter[str] = Counter()
    for number, i in enumerate(open_ones, start=1):
        decision, draft = decide(drafts[i], number, len(open_ones))
        if decision == "quit":
            break
        counts[decision] += 1
        if decision == "skip":
            continue
        if decision == "accept" and draft.id not in known:
            # First the question, then the mark: broken off in between, the id keeps it from entering twice.
            append_row(into, draft.row())
            known.add(draft.id)
        drafts[i] = replace(draft, status="accepted" if decision == "accept" else "rejected")
        write_drafts(path, drafts)
    return {
        "accepted": counts["accept"],
        "rejected": counts["reject"],
        "skipped": counts["skip"],
        "open": sum(draft.status == "draft" for draft in drafts),
    }
