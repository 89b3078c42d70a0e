"""What an import may do to a memory: it neither displaces what the user said nor makes the past current."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragkit.memory.long_term import Memory
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder

CITIES = {"Berlin": "2025-01-01", "Toronto": "2019-01-01", "Oslo": "2022-06-01"}


def memory(home: Path, **settings: object) -> Memory:
    return Memory.open(home, "bob", embedding=HashingEmbedder(), settings=load_settings(**settings))


def export(*items: dict[str, Any]) -> dict[str, Any]:
    return {"format": "ragkit-memory", "version": 1, "items": list(items)}


def home_of(city: str, **fields: str) -> dict[str, Any]:
    return {"text": f"I live in {city}", "time": CITIES[city], **fields}


def current(store: Memory) -> list[str]:
    return [item.text for item in store.items()]


def boats(start: str, count: int = 10) -> list[str]:
    return [f"I own a {start}{chr(97 + i) * 4} boat" for i in range(count)]


def test_an_import_into_a_full_memory_evicts_what_it_brought_and_nothing_the_user_said(home: Path) -> None:
    store = memory(home, memory_items=10)
    said = boats("x")
    for text in said:
        store.add(text)
    added = store.load(export(*({"text": text} for text in boats("y"))))
    assert sorted(current(store)) == said
    assert {line["trust"] for line in store.evictions()} == {"low"}
    assert [len(one.evicted) for one in added] == [0] * 9 + [10]


def test_an_import_takes_the_room_of_the_history_and_of_older_imports(home: Path) -> None:
    store = memory(home, memory_items=10)
    store.add("I live in Berlin")
    store.add("I live in Oslo")
    store.load(export(*({"text": text, "time": "2020-01-01"} for text in boats("x", 8))))
    store.load(export(*({"text": text, "time": "2021-01-01"} for text in boats("y", 4))))
    texts = [item.text for item in store.items(history=True)]
    assert "I live in Berlin" not in texts and "I live in Oslo" in texts
    assert set(boats("y", 4)) < set(texts) and len(set(boats("x", 8)) & set(texts)) == 5


def test_what_the_user_allowed_just_now_stays_in_a_full_memory(home: Path) -> None:
    store = memory(home, memory_items=10)
    for text in boats("x"):
        store.add(text)
    added = store.add("I like tea", origin="agent")
    assert "I like tea" in current(store) and [item.trust for item in added.evicted] == ["high"]


@pytest.mark.parametrize("order", list(permutations(CITIES)))
@pytest.mark.parametrize("files", ["one", "several"])
def test_the_later_of_imported_contradictions_holds_in_any_order(
    home: Path, order: tuple[str, ...], files: str
) -> None:
    store = memory(home)
    lines = [home_of(city) for city in order]
    for data in [export(*lines)] if files == "one" else [export(line) for line in lines]:
        store.load(data)
    assert current(store) == ["I live in Berlin"]
    history = [item for item in store.items(history=True) if not item.current]
    assert {item.text for item in history} == {"I live in Toronto", "I live in Oslo"}
    assert all(item.until > item.time and store.get(item.superseded_by) for item in history)


def test_an_older_backup_is_outdated_and_changes_nothing_the_second_time(home: Path) -> None:
    store = memory(home)
    store.load(export(home_of("Berlin")))
    for _ in range(2):
        [added] = store.load(export(home_of("Toronto")))
        assert added.outcome == "outdated" and added.replaced == () and not added.item.current
        assert added.item.until == "2025-01-01T00:00:00.000+00:00" and len(store.items(history=True)) == 2


def test_what_was_confirmed_later_is_the_later_one(home: Path) -> None:
    store = memory(home)
    store.load(export(home_of("Toronto", last="2026-01-01"), home_of("Berlin")))
    assert current(store) == ["I live in Toronto"]
    [berlin] = [item for item in store.items(history=True) if not item.current]
    assert berlin.until >= berlin.time


def test_an_import_never_overrules_the_user_however_new_it_says_it_is(home: Path) -> None:
    store = memory(home)
    store.load(export(home_of("Berlin") | {"time": "2999-01-01"}))
    assert store.add("I live in Oslo").outcome == "superseded", "what is said here is new"
    [added] = store.load(export(home_of("Toronto") | {"time": "2999-01-01"}))
    assert added.outcome == "outranked" and current(store) == ["I live in Oslo"]


def test_history_of_the_user_keeps_its_trust_when_an_old_backup_is_read(home: Path) -> None:
    store = memory(home)
    store.add("I live in Berlin")
    backup = json.loads(json.dumps(store.export()))
    store.add("I live in Oslo")
    store.load(backup)
    assert [(item.text, item.trust) for item in store.items(history=True)] == [
        ("I live in Berlin", "high"),
        ("I live in Oslo", "high"),
    ]


def test_a_chat_model_is_told_which_of_two_is_older_by_their_times(home: Path) -> None:
    class Judge:
        user = ""

        def complete_json(self, system: str, user: str, *args: object) -> dict[str, str]:
            self.user = user
            return {"relation": "contradicts"}

    store = memory(home)
    store.judge = judge = Judge()  # type: ignore[assignment]
    store.load(export({"text": "Alice beats Bob", "time": "2025-01-01"}))
    [added] = store.load(export({"text": "Bob beats Alice", "time": "2019-01-01"}))
    assert judge.user.index("Bob beats Alice") < judge.user.index("Alice beats Bob")
    assert added.outcome == "outdated" and current(store) == ["Alice beats Bob"]


def test_the_command_says_what_became_of_the_items(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ragkit.cli import memory as cli

    store = memory(home)
    monkeypatch.setattr(cli, "_open", lambda user: store)
    file = tmp_path / "old.json"
    file.write_text(json.dumps(export(home_of("Berlin"), home_of("Toronto"))), encoding="utf-8")
    run = CliRunner().invoke(cli.app, ["import", str(file)])
    assert run.exit_code == 0 and run.output.split() == ["1", "added,", "1", "superseded"]
    file.write_text(json.dumps(export(home_of("Oslo"))), encoding="utf-8")
    assert CliRunner().invoke(cli.app, ["import", str(file)]).output.split() == ["1", "outdated"]
