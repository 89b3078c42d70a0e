"""The feedback file: appended, synced, superseded, never rewritten."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from ragkit.errors import FeedbackError, UsageError
from ragkit.feedback.records import Gold, Quote, Record
from ragkit.feedback.store import FeedbackStore


def record(identity: str = "aaaa1111", **fields: object) -> Record:
    values = {"id": identity, "rating": "good", "question": "什么是 RNN？", "answer": "循环网络。[1]", **fields}
    return Record.model_validate(values)


def test_nothing_is_written_before_the_first_rating(tmp_path: Path) -> None:
    assert FeedbackStore(tmp_path / "home").items() == []
    assert not (tmp_path / "home").exists()


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = record(
        reason="好\n换行", citations=[Quote(document="a.md", start=1, end=3, quote="q\u2028")], abstained=True
    )
    FeedbackStore(tmp_path).rate(kept)
    [item] = FeedbackStore(tmp_path).items()
    assert item.record == kept and item.status == "new"


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_file_belongs_to_its_owner_only(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    store.rate(record())
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_a_later_review_supersedes_an_earlier_one(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    store.rate(record(citations=[Quote(document="a.md", start=0, end=1, quote="x")]))
    store.review("aaaa1111", "fixed", "right", (Gold(file="b.md", quote="y"),))
    fixed = store.items()[0]
    assert (fixed.status, fixed.answer, fixed.gold) == ("fixed", "right", (Gold(file="b.md", quote="y"),))
    accepted = store.review("aaaa", "accepted")
    assert (accepted.status, accepted.answer) == ("accepted", "循环网络。[1]")
    assert accepted.gold == (Gold(file="a.md", quote="x"),)
    assert store.path.read_text(encoding="utf-8").count("\n") == 3


def test_rating_the_same_answer_again_replaces_the_rating_and_its_review(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    store.rate(record())
    store.rate(record("bbbb2222"))
    store.review("aaaa1111", "accepted")
    store.rate(record(rating="bad"))
    items = store.items()
    assert [(item.id, item.record.rating, item.status) for item in items] == [
        ("aaaa1111", "bad", "new"),
        ("bbbb2222", "good", "new"),
    ]


@pytest.mark.parametrize("cut", [1, 20, 80])
def test_a_cut_line_is_left_out_and_the_next_is_not_glued_to_it(tmp_path: Path, cut: int) -> None:
    store = FeedbackStore(tmp_path)
    store.rate(record())
    store.rate(record("bbbb2222"))
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[:-cut])
    store.rate(record("cccc3333"))
    found = [item.id for item in store.items()]
    # Cutting the line break alone loses nothing.
    assert found == (["aaaa1111", "bbbb2222", "cccc3333"] if cut == 1 else ["aaaa1111", "cccc3333"])


def test_malformed_lines_and_unknown_keys_do_not_hide_the_rest(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    store.rate(record())
    with store.path.open("ab") as file:
        file.write(b'\xff\xfe\n[1]\n{"kind": "other"}\n{"kind": "review", "id": "none", "status": "accepted"}\n')
        later = {**json.loads(record("bbbb2222").model_dump_json()), "added_later": 1}
        file.write(json.dumps(later).encode() + b"\n")
    assert [item.id for item in store.items()] == ["aaaa1111", "bbbb2222"]


def test_lone_surrogates_can_be_kept(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    store.rate(record(reason="a\ud800b"))
    assert store.items()[0].record.reason.startswith("a")


def _rate_many(home: Path, who: int) -> None:
    for n in range(25):
        FeedbackStore(home).rate(record(f"{who}-{n:04}", answer="长" * 5000))


def test_processes_that_write_side_by_side_lose_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_rate_many, args=(tmp_path, who)) for who in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert len(FeedbackStore(tmp_path).items()) == 75


def test_ids_can_be_shortened_unless_two_fit(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    store.rate(record("aaaa1111"))
    store.rate(record("aaaa2222"))
    assert store.find("aaaa1").id == "aaaa1111"
    with pytest.raises(UsageError, match="2 records"):
        store.find("aaaa")
    with pytest.raises(UsageError, match="No feedback"):
        store.find("aaa")


def test_reviews_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    store.rate(record())
    with pytest.raises(UsageError, match="right answer"):
        store.review("aaaa1111", "fixed")
    with pytest.raises(UsageError, match="corrects nothing"):
        store.review("aaaa1111", "accepted", "text")
    with pytest.raises(UsageError, match="No feedback"):
        store.review("zzzz", "accepted")
    assert store.items()[0].status == "new"


def test_a_home_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(FeedbackError, match="RAGKIT_HOME"):
        FeedbackStore(tmp_path / "home").rate(record())
