"""Long-term memory: what is kept, merged, superseded, evicted, exported and forgotten."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ragkit.errors import IndexFailure, MemoryFailure, UsageError
from ragkit.memory.items import clean_text, new_item
from ragkit.memory.long_term import Memory, beside
from ragkit.memory.namespaces import users
from ragkit.models.embeddings import WrappedEmbedder
from ragkit.settings import Settings, load_settings
from ragkit.testing import HashingEmbedder

UNDER, OVER = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"
"""ISO 8601 times that are outside of what UTC has years for."""


def memory(home: Path, user: str = "bob", **settings: object) -> Memory:
    return Memory.open(home, user, embedding=HashingEmbedder(), settings=load_settings(**settings))


def texts(store: Memory, *, history: bool = False) -> list[str]:
    return [item.text for item in store.items(history=history)]


def test_an_empty_memory_costs_nothing(home: Path) -> None:
    embedder = HashingEmbedder()
    store = Memory.open(home, "bob", embedding=embedder)
    assert not store and len(store) == 0 and store.items() == [] and store.search("x") == [] == store.recall("x")
    assert store.evictions() == [] and store.clear() == 0
    assert embedder.documents_embedded == embedder.queries_embedded == 0
    assert not home.exists()


def test_opening_loads_no_model_library(home: Path, child_environment: dict[str, str]) -> None:
    code = (
        "import sys; from ragkit.memory.long_term import Memory; m = Memory.open(sys.argv[1]);"
        "assert not m and m.recall('x') == []; print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(home)], env=child_environment, capture_output=True, text=True, check=True
    )
    assert not {"torch", "langchain_core", "sentence_transformers"} & set(run.stdout.split())


def test_a_fact_is_found_again_in_another_process_with_all_that_belongs_to_it(home: Path) -> None:
    store = memory(home)
    added = store.add("  我住在\n北京 \x1b[31m", session="s1")
    assert added.outcome == "added"
    again = memory(home)
    [item] = again.items()
    assert (item.text, item.origin, item.trust, item.session, item.said) == (
        "我住在 北京 [31m",
        "user",
        "high",
        "s1",
        1,
    )
    assert item.time == item.last and item.time.endswith("+00:00")
    [found] = again.search("北京")
    assert found.item == item and found.rank == 1 and set(found.hit.legs) == {"dense", "sparse"}


def test_duplicates_merge_and_count(home: Path) -> None:
    store = memory(home)
    first = store.add("我住在北京", origin="agent")
    second = store.add("我住在北京。", origin="user", session="later")
    assert second.outcome == "merged" and second.item.id == first.item.id and second.item.said == 2
    assert second.item.trust == "high" and second.item.origin == "user" and len(store) == 1
    store.add("我住在北京朝阳区", origin="import")
    [item] = store.items()
    assert item.text == "我住在北京。" and item.said == 3, "a file does not reword what the user said"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("please remember that I live in toronto", "I live in Toronto"),
        ("Remember: I live in Toronto", "I live in Toronto"),
        ("Can you remember that I live in Toronto?", "I live in Toronto"),
        ("I live in Toronto, please remember that.", "I live in Toronto"),
    ],
)
def test_what_asks_to_remember_is_no_part_of_the_fact(said: str, kept: str, home: Path) -> None:
    store = memory(home)
    store.add("I live in Toronto")
    assert store.add(said).outcome == "merged"
    assert [item.text for item in store.items()] == [kept]
    assert store.add("I live in Berlin").outcome == "superseded"
    assert [item.text for item in store.items()] == ["I live in Berlin"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("请记住：我住在北京", "我住在北京"),
        ("记住我住在北京", "我住在北京"),
        ("帮我记一下项目截止日期是3月1日", "项目截止日期是3月1日"),
        ("我的生日是5月1日，别忘了", "我的生日是5月1日"),
        ("note that the port is 8080", "the port is 8080"),
        ("Remember to buy milk", "Remember to buy milk"),
        ("Note taking is my hobby", "Note taking is my hobby"),
        ("记住单词很难", "记住单词很难"),
        ("别忘了买牛奶", "别忘了买牛奶"),
        ("remember that", "remember that"),
    ],
)
def test_only_what_asks_to_remember_is_left_out(said: str, kept: str, home: Path) -> None:
    assert memory(home).add(said).item.text == kept


def test_of_two_wordings_that_say_the_same_the_one_with_the_names_capitals_stays(home: Path) -> None:
    store = memory(home)
    for text in ("I live in toronto", "I live in Toronto", "Actually, I live in toronto now"):
        store.add(text)
    assert [item.text for item in store.items()] == ["I live in Toronto"]


def test_contradictions_supersede_and_the_history_stays(home: Path) -> None:
    store = memory(home)
    old = store.add("I live in Paris").item
    new = store.add("I moved to Rome")
    assert new.outcome == "superseded" and [item.id for item in new.replaced] == [old.id]
    newest = store.add("I live in Oslo").item
    assert texts(store) == ["I live in Oslo"] and len(store.items(history=True)) == 3
    chain = {item.text: item for item in store.items(history=True)}
    assert chain["I live in Paris"].superseded_by == new.item.id and chain["I moved to Rome"].superseded_by == newest.id
    assert chain["I live in Paris"].until and not chain["I live in Paris"].current
    assert [found.item.text for found in store.search("I live in Paris", 9)] == ["I live in Oslo"]


def test_a_file_does_not_overrule_the_user(home: Path) -> None:
    store = memory(home)
    said = store.add("I live in Paris").item
    added = store.add("I live in Minsk", origin="import")
    assert added.outcome == "outranked" and added.item.superseded_by == said.id
    assert texts(store) == ["I live in Paris"] and len(store.items(history=True)) == 2
    assert store.add("I live in Rome", origin="agent").outcome == "superseded", "the user said yes to that one"


def test_a_chat_model_is_asked_only_where_the_rules_cannot_tell(home: Path) -> None:
    class Judge:
        asked = 0

        def complete_json(self, *args: object) -> dict[str, str]:
            self.asked += 1
            return {"relation": "contradicts"}

    store = memory(home)
    store.judge = judge = Judge()  # type: ignore[assignment]
    store.add("I live in Paris")
    store.add("I live in Rome")
    assert judge.asked == 0
    store.add("Alice beats Bob")
    assert store.add("Bob beats Alice").outcome == "superseded" and judge.asked == 1


def test_the_cap_holds_and_evictions_are_logged(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = memory(home, memory_items=10)
    store.add("I like the number zero", origin="import")
    store.add("I live in Paris")
    store.add("I live in Rome")
    with caplog.at_level(logging.INFO, "ragkit.memory"):
        boats = [new_item(f"I own a {chr(97 + i) * 4} boat") for i in range(12)]
        done = [added for batch in (boats[:6], boats[6:10], boats[10:]) for added in store.add_many(batch)]
    evicted = [item for added in done for item in added.evicted]
    assert len(store.items(history=True)) == 10
    assert [item.text for item in evicted[:2]] == ["I live in Paris", "I like the number zero"]
    assert [line["id"] for line in store.evictions()] == [item.id for item in evicted]
    assert len(caplog.records) == len(evicted) == 5
    assert "Paris" not in (store.folder / "evicted.jsonl").read_text(encoding="utf-8") + caplog.text


def test_forgotten_is_gone_from_every_file(home: Path) -> None:
    store = memory(home)
    canaries = ["canaryone", "canarytwo", "canarythree"]
    store.add("The secret word of the garden is canaryone")
    first = store.items()[0].id
    store.add("The secret word of the garden was changed to canarytwo")
    store.add_many([new_item(f"I know boat {i} {chr(97 + i) * 5}") for i in range(20)])
    other = store.add("I know canarythree").item
    grep = ["grep", "-rlai"]
    store.add("I know jam")
    assert all(subprocess.run([*grep, c, str(home)], capture_output=True).stdout for c in canaries)
    newest = next(item for item in store.items() if "canarytwo" in item.text)
    assert store.items(history=True)[0].superseded_by == newest.id
    assert {item.id for item in store.forget(newest.id, other.id[:6])} == {first, newest.id, other.id}
    assert not any("canary" in text for text in texts(store, history=True))
    assert all(not found.item.text.count("canary") for found in store.search("canaryone canarytwo canarythree", 50))
    for canary in canaries:
        assert subprocess.run([*grep, canary, str(home)], capture_output=True).stdout == b"", canary
    assert len(store) == 21 and memory(home).items() == store.items()


def test_everything_can_be_forgotten(home: Path) -> None:
    store = memory(home)
    store.add("I know canaryfour")
    assert store.clear() == 1 and len(store) == 0
    assert subprocess.run(["grep", "-rla", "canaryfour", str(home)], capture_output=True).stdout == b""
    assert store.add("I know a thing").outcome == "added"


def test_a_home_that_may_not_be_written_to_is_named(home: Path, unprivileged: None) -> None:
    home.mkdir()
    home.chmod(0o500)
    with pytest.raises(IndexFailure, match=r"Permission denied\. Set RAGKIT_HOME to a folder you may write to"):
        memory(home).add("I know a thing")


@pytest.mark.parametrize("given", ["", "zzzz", "ab", "*", "now/1", "../x"])
def test_an_id_that_fits_nothing_changes_nothing(home: Path, given: str) -> None:
    store = memory(home)
    store.add("I know a thing")
    with pytest.raises(UsageError, match="No memory has the id"):
        store.forget(given)
    assert len(store) == 1
    with pytest.raises(UsageError, match="No memory was named"):
        store.forget()


def test_the_whole_cycle_of_export_and_import(home: Path, tmp_path: Path) -> None:
    store = memory(home)
    store.add("I live in Paris", session="one")
    store.add("I live in Rome", session="two")
    store.add("我喜欢绿茶", origin="agent")
    data = json.loads(json.dumps(store.export()))
    assert len(data["items"]) == 3
    for item in data["items"]:
        assert all(item[key] for key in ("id", "text", "origin", "time", "trust")) and "session" in item
    other = memory(tmp_path / "elsewhere", "ann")
    assert [added.outcome for added in other.load(data)] == ["added", "added"]
    assert texts(other) == texts(store) and texts(other, history=True) == texts(store, history=True)
    assert {item.origin for item in other.items()} == {"import"} and {item.trust for item in other.items()} == {"low"}
    assert [item.id for item in other.items()] == [item.id for item in store.items()]
    assert {added.outcome for added in other.load(data)} == {"merged"} and len(other.items(history=True)) == 3


def test_what_an_imported_fact_superseded_is_forgotten_with_it(home: Path, tmp_path: Path) -> None:
    store = memory(home)
    store.add("I live in Paris")
    store.add("I live in Rome")
    data = store.export()
    # It is known there already, under another id; and a file whose texts were edited has other ids.
    for name, edited in (("ann", False), ("bob", True)):
        other = memory(tmp_path / "elsewhere", name)
        if edited:
            for item in data["items"]:
                item["text"] = item["text"].replace("Rome", "Rome, Italy")
        else:
            other.add("I live in Rome")
        other.load(data)
        assert len(other.items(history=True)) == 2
        (current,) = other.items()
        assert len(other.forget(current.id)) == 2 and other.items(history=True) == []


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ([], "the file"),
        ({}, "format"),
        ({"format": "ragkit-memory", "version": 2, "items": []}, "version"),
        ({"format": "ragkit-memory", "version": 1, "items": [{}]}, "items.0.text"),
        ({"format": "ragkit-memory", "version": 1, "items": [{"text": 3}]}, "items.0.text"),
        ({"format": "ragkit-memory", "version": 1, "items": [{"text": "x" * 501}]}, "items.0"),
        ({"format": "ragkit-memory", "version": 1, "items": [{"text": "ok"}, {"text": "  "}]}, "items.1"),
        ({"format": "ragkit-memory", "version": 1, "items": [{"text": "ok", "time": "soon"}]}, "items.0: time"),
        (
            {"format": "ragkit-memory", "version": 1, "items": [{"text": "a"}, {"text": "b", "time": UNDER}]},
            "items.1: time",
        ),
        ({"format": "ragkit-memory", "version": 1, "items": [{"text": "ok", "last": OVER}]}, "items.0: last"),
        (
            {
                "format": "ragkit-memory",
                "version": 1,
                "items": [{"text": "ok", "superseded_by": "abcd", "until": UNDER}],
            },
            "items.0: until",
        ),
        ({"format": "ragkit-memory", "version": 1, "items": [{"text": "ok", "session": "../x"}]}, "items.0"),
        (
            {"format": "ragkit-memory", "version": 1, "items": [{"text": "ok", "superseded_by": "../x"}]},
            "superseded_by",
        ),
    ],
)
def test_a_file_that_is_no_export_is_refused_whole(home: Path, data: object, named: str) -> None:
    store = memory(home)
    with pytest.raises(UsageError) as caught:
        store.load(data)
    assert named in str(caught.value) and not store


def test_a_file_larger_than_the_cap_is_refused(home: Path) -> None:
    store = memory(home, memory_items=10)
    with pytest.raises(UsageError, match="memory_items"):
        store.add_many([new_item(f"I know fact {i}", time=f"2026-01-{i + 1:02}") for i in range(11)])
    assert not store


def test_a_file_cannot_claim_trust(home: Path) -> None:
    store = memory(home)
    item = {"text": "I live in Minsk", "origin": "user", "trust": "high", "id": "000000000000"}
    [added] = store.load({"format": "ragkit-memory", "version": 1, "items": [item]})
    assert (added.item.origin, added.item.trust) == ("import", "low") and added.item.id != "000000000000"


@pytest.mark.parametrize("text", ["", "   ", "\u200b\u200b", "…?!", "x" * 501])
def test_what_cannot_be_remembered_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        clean_text(text)


def test_front_matter_and_headings_are_plain_text_here(home: Path) -> None:
    store = memory(home)
    store.add("---\ntags: x\n---\n# I like *markdown* [link](http://a.b)")
    assert texts(store) == ["--- tags: x --- # I like *markdown* [link](http://a.b)"]
    assert store.search("markdown")[0].hit.chunk.heading == ()


def test_memory_of_another_model_is_refused_until_it_is_rebuilt(home: Path) -> None:
    memory(home).add("I live in Paris")
    memory(home).add("I live in Rome")
    other = Memory.open(home, "bob", embedding=HashingEmbedder("other", 32), settings=load_settings())
    with pytest.raises(MemoryFailure, match="ragkit memory rebuild"):
        other.add("I like tea")
    assert other.rebuild() == 2
    assert other.add("I like tea").outcome == "added" and len(other.items(history=True)) == 3
    assert other.search("Rome")[0].item.text == "I live in Rome"


def test_damage_is_named_and_nothing_is_served(home: Path) -> None:
    store = memory(home)
    store.add("I live in Paris")
    [file] = store.folder.glob("seg-*/chunks.sqlite")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(MemoryFailure, match=r"chunks\.sqlite differs from its checksum"):
        memory(home).items()


def test_files_are_private_whatever_the_umask(home: Path) -> None:
    before = os.umask(0)
    try:
        store = memory(home)
        store.add("I live in Paris")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(p.lstat().st_mode) for p in store.folder.rglob("*") if p.is_file()}
    assert modes == {0o600} and stat.S_IMODE(store.folder.stat().st_mode) == 0o700


def test_two_openings_see_each_other(home: Path) -> None:
    one, two = memory(home), memory(home)
    one.add("I live in Paris")
    two.add("I like tea")
    assert texts(one) == texts(two) == ["I live in Paris", "I like tea"]
    assert two.add("I live in Rome").outcome == "superseded" and len(one) == 2


def test_a_writer_that_never_ends_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ragkit.index.writer import writer_lock
    from ragkit.memory import shelf

    monkeypatch.setattr(shelf, "WAIT", 0.1)
    store = memory(home)
    store.add("I like tea")
    with writer_lock(store.folder), pytest.raises(IndexFailure, match="is writing to"):
        store.add("I like jam")
    assert len(store) == 1


def test_recall_takes_only_what_has_to_do_with_the_question(home: Path) -> None:
    store = memory(home)
    for text in ("我对花生过敏", "My flight to Oslo leaves on Friday", "我的导师是王教授"):
        store.add(text)
    assert [found.item.text for found in store.recall("我的导师是谁？")] == ["我的导师是王教授"]
    assert [found.item.text for found in store.recall("When does my flight to Oslo leave?")] == [
        "My flight to Oslo leaves on Friday"
    ]
    assert store.recall("LSTM 有哪几个门？") == []


def test_beside_an_index_the_model_is_shared_if_it_fits(home: Path) -> None:
    settings: Settings = load_settings(home=home, memory_user="bob")
    shared = WrappedEmbedder(HashingEmbedder())
    beside(shared, settings).add("I live in Paris")
    assert beside(shared, settings).search("Paris")[0].item.text == "I live in Paris"
    other = WrappedEmbedder(HashingEmbedder("other"))
    assert beside(other, settings)._embedding is None and users(home) == ["bob"]
