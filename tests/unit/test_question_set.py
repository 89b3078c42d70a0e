"""The shipped question set points at text that is really there."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ragkit.ingest.decode import decode

REPOSITORY = Path(__file__).resolve().parents[2]
NOTES = REPOSITORY / "corpora" / "llm-interview"
FILE = REPOSITORY / "evals" / "llm-interview" / "questions.jsonl"
ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines() if line.strip()
]
KEYS = {"id", "question", "language", "type", "gold", "reference_answer"}
TYPES = {"lexical", "paraphrase", "cross-lingual", "comparison", "multi-hop", "typo", "unanswerable"}


@cache
def note(path: str) -> str:
    return decode((NOTES / path).read_bytes())


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_every_gold_quote_is_verbatim_in_its_file(row: dict[str, Any]) -> None:
    for gold in row["gold"]:
        assert len(gold["quote"].strip()) >= 4
        assert gold["quote"] in note(gold["file"])


def test_ids_are_unique() -> None:
    assert [name for name, count in Counter(row["id"] for row in ROWS).items() if count > 1] == []


def test_no_question_is_asked_twice() -> None:
    assert [text for text, count in Counter(row["question"] for row in ROWS).items() if count > 1] == []


def test_there_are_at_least_150_questions() -> None:
    assert len(ROWS) >= 150


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_type_of_question_is_there_in_number(kind: str) -> None:
    assert sum(row["type"] == kind for row in ROWS) >= 10


def test_every_row_has_the_keys_of_the_form_and_a_known_type() -> None:
    assert [row["id"] for row in ROWS if set(row) != KEYS or row["type"] not in TYPES] == []


def test_only_unanswerable_questions_have_no_gold() -> None:
    assert {row["type"] for row in ROWS if not row["gold"]} == {"unanswerable"}
    assert not [row["id"] for row in ROWS if row["type"] == "unanswerable" and row["gold"]]


def test_every_question_has_a_reference_answer() -> None:
    assert [row["id"] for row in ROWS if not row["reference_answer"].strip()] == []


def test_every_multi_hop_question_needs_two_places_or_more() -> None:
    alone = [row["id"] for row in ROWS if row["type"] == "multi-hop" and len({g.get("group") for g in row["gold"]}) < 2]
    assert alone == []


def test_questions_come_in_both_languages_and_mixed() -> None:
    assert {row["language"] for row in ROWS} == {"zh", "en", "mixed"}
