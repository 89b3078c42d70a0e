"""The shipped question set points at text that is really there."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ragkit.evaluation.datasets import Gold, split_of
from ragkit.ingest.decode import decode

REPOSITORY = Path(__file__).resolve().parents[2]
NOTES = REPOSITORY / "corpora" / "llm-interview"
FILE = REPOSITORY / "evals" / "llm-interview" / "questions.jsonl"
ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines() if line.strip()
]
KEYS = {"id", "question", "language", "type", "gold", "reference_answer", "split"}
TYPES = {"lexical", "paraphrase", "cross-lingual", "comparison", "multi-hop", "typo", "follow-up", "unanswerable"}


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


def test_there_are_at_least_400_questions_50_of_them_without_answer() -> None:
    assert len(ROWS) >= 400
    assert sum(row["type"] == "unanswerable" for row in ROWS) >= 50


def test_the_corpus_holds_50_notes_and_150_000_characters_and_every_note_is_asked_about() -> None:
    files = sorted(NOTES.rglob("*.md"))
    assert len(files) >= 50
    assert sum(len(decode(file.read_bytes())) for file in files) >= 150_000
    asked = {gold["file"] for row in ROWS for gold in row["gold"]}
    assert asked == {file.relative_to(NOTES).as_posix() for file in files}


def terms(text: str) -> set[str]:
    """Pairs of neighbouring Han characters, and words of Latin letters and digits."""
    han = (run for run in re.findall(r"[\u4e00-\u9fff]+", text))
    return {run[i : i + 2] for run in han for i in range(len(run) - 1)} | set(re.findall(r"[a-z0-9]{2,}", text.lower()))


def shared_terms(row: dict[str, Any]) -> float:
    """Share of the terms of a question that its gold quotes hold."""
    asked = terms(row["question"])
    return len(asked & set().union(*(terms(gold["quote"]) for gold in row["gold"]))) / max(1, len(asked))


def test_paraphrases_avoid_the_words_of_the_note_and_lexical_questions_use_them() -> None:
    shares = {kind: [shared_terms(r) for r in ROWS if r["type"] == kind] for kind in ("paraphrase", "lexical")}
    assert [r["id"] for r in ROWS if r["type"] == "paraphrase" and shared_terms(r) > 0.3] == []
    mean = {kind: sum(found) / len(found) for kind, found in shares.items()}
    assert mean["paraphrase"] < 0.1 < 0.2 < mean["lexical"]


def is_chinese(text: str) -> bool:
    """Whether Han characters outnumber the words of Latin letters; formulas count as neither."""
    return len(re.findall(r"[\u4e00-\u9fff]", text)) > len(re.findall(r"[A-Za-z]{2,}", re.sub(r"\$.*?\$", "", text)))


def test_the_language_of_a_question_is_the_one_it_says() -> None:
    for row in ROWS:
        if row["language"] == "en":
            assert not re.search(r"[\u4e00-\u9fff]", row["question"]), row["id"]
        else:
            assert re.search(r"[\u4e00-\u9fff]", row["question"]), row["id"]
        if row["language"] == "mixed":
            assert re.search(r"[A-Za-z]{2,}", row["question"]), row["id"]


def test_cross_lingual_questions_are_in_another_language_than_their_gold() -> None:
    same = [
        (row["id"], gold["quote"])
        for row in ROWS
        if row["type"] == "cross-lingual"
        for gold in row["gold"]
        if (row["language"] != "en") == is_chinese(gold["quote"])
        # A formula with a word or two says its language in the note around it.
        and len(re.sub(r"\$.*?\$", "", gold["quote"])) > 4
    ]
    assert same == []


def trigrams(text: str) -> set[str]:
    folded = "".join(character for character in text.lower() if character.isalnum())
    return {folded[i : i + 3] for i in range(max(1, len(folded) - 2))}


def test_no_two_questions_are_nearly_the_same() -> None:
    # Follow-ups are alike by nature ("那它的缺点呢？"); what they lean on tells them apart.
    texts = [
        (row["id"], trigrams("".join(t["question"] for t in row.get("history", [])) + row["question"])) for row in ROWS
    ]
    alike = [(a, b) for i, (a, x) in enumerate(texts) for b, y in texts[:i] if len(x & y) > 0.7 * len(x | y)]
    assert alike == []


def test_the_languages_have_their_shares() -> None:
    share = {name: count / len(ROWS) for name, count in Counter(row["language"] for row in ROWS).items()}
    assert share == {
        "zh": pytest.approx(0.6, abs=0.05),
        "en": pytest.approx(0.25, abs=0.05),
        "mixed": pytest.approx(0.15, abs=0.05),
    }


def test_what_is_tuned_on_dev_has_seen_no_note_of_the_test_split() -> None:
    golds = {row["id"]: [Gold(gold["file"]) for gold in row["gold"]] for row in ROWS}
    assert [row["id"] for row in ROWS if row["split"] != split_of(row["id"], golds[row["id"]])] == []
    dev = {gold["file"] for row in ROWS if row["split"] == "dev" for gold in row["gold"]}
    held_out = {
        gold["file"] for row in ROWS if row["split"] == "test" and len(row["gold"]) == 1 for gold in row["gold"]
    }
    assert not dev & held_out
    for split in ("dev", "test"):
        assert sum(row["split"] == split for row in ROWS) >= 150


def test_every_follow_up_has_a_history_to_lean_on_and_nothing_else_has() -> None:
    for row in ROWS:
        turns = row.get("history", [])
        assert bool(turns) == (row["type"] == "follow-up"), row["id"]
        assert all(set(turn) == {"question", "answer"} and turn["question"] and turn["answer"] for turn in turns)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_type_of_question_is_there_in_number(kind: str) -> None:
    assert sum(row["type"] == kind for row in ROWS) >= 10


def test_every_row_has_the_keys_of_the_form_and_a_known_type() -> None:
    assert [row["id"] for row in ROWS if set(row) - {"history"} != KEYS or row["type"] not in TYPES] == []


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
