"""A memory is written whole or not at all, what was acknowledged survives ``kill -9``, and the cap holds."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from crash_kit import Operation, every, in_child, kill, kill_in_the_middle, record, stop_at, thorough

from ragkit.index import fsops
from ragkit.index.repair import verify_index
from ragkit.memory.items import new_item
from ragkit.memory.long_term import Memory
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs fork and SIGKILL")
TIME = "2026-01-02T03:04:05+00:00"


def memory(home: Path, limit: int = 100) -> Memory:
    return Memory.open(home, "bob", embedding=HashingEmbedder(), settings=load_settings(memory_items=limit))


def state(home: Path) -> str:
    """Every item and everything that searches say of them."""
    store = memory(home)
    hits = [
        (found.item.id, found.score, found.hit.coverage)
        for query in ("where do I live", "绿茶", "boat")
        for found in store.search(query, 9)
    ]
    return repr(([sorted(asdict(item).items()) for item in store.items(history=True) if item], hits))


def operations(base: Path) -> dict[str, Operation]:
    """Every kind of change of a memory, each with a home to begin with; times are given, so that runs are equal."""
    (base / "empty").mkdir()
    store = memory(base / "some")
    store.add("I live in Paris", time=TIME)
    store.add("我喜欢绿茶", time=TIME)
    store.add_many([new_item(f"I own a {word} boat", time=TIME) for word in ("red", "blue", "green", "small")])
    live = store.items()[0]

    def change(action: Callable[[Memory], object]) -> Callable[[Path], object]:
        return lambda home: action(memory(home))

    return {
        "first": Operation("first", base / "empty", change(lambda m: m.add("I live in Paris", time=TIME))),
        "supersede": Operation("supersede", base / "some", change(lambda m: m.add("I live in Rome", time=TIME))),
        "forget": Operation(
            "forget", base / "some", change(lambda m: [m.forget(live.id)] if live in m.items() else [])
        ),
        "evict": Operation("evict", base / "some", lambda home: memory(home, 10).add_many(_boats())),
    }


def _boats() -> list:
    return [new_item(f"I own a {word} boat", time=TIME) for word in ("old", "new", "long", "fast", "slow", "odd")]


@pytest.mark.parametrize("name", ["first", "supersede", "forget", "evict"])
def test_a_memory_killed_at_any_step_is_the_old_one_or_the_new_one(name: str, tmp_path: Path) -> None:
    operation = operations(tmp_path)[name]
    steps = record(operation, tmp_path / "recorded")
    old, new = state(operation.before), state(tmp_path / "recorded")
    assert old != new
    points = [(n, "before", kill) for n in range(len(steps.log))]
    points += [(n, "after", kill_in_the_middle) for n, (step, _) in enumerate(steps.log) if step == "write"]
    seen = set()
    for at in every(list(range(len(points))), 8):
        number, when, how = points[at]
        home = Path(shutil.copytree(operation.before, tmp_path / f"run-{at}"))

        def change(home: Path = home, number: int = number, how=how, when: str = when) -> None:
            with fsops.observed(stop_at(home, number, how, when)):
                operation.run(home)

        assert in_child(change) == -signal.SIGKILL
        folder = home / "memory" / "bob"
        assert verify_index(folder) == [] if (folder / "MANIFEST.json").exists() else name == "first"
        found = state(home)
        assert found in {old, new}
        seen.add(found)
        if found == old:
            operation.run(home)
            assert state(home) == new
        shutil.rmtree(home)
    assert old in seen


def _acknowledged_until_killed(home: Path, acks: Path) -> None:
    store = memory(home)
    with acks.open("a", encoding="utf-8", buffering=1) as file:
        for i in range(10_000):
            word = f"{os.getpid():x}-{i:x}"
            store.add(f"I own a boat called b{word.replace('-', 'x')}")
            file.write(f"b{word.replace('-', 'x')}\n")
            os.fsync(file.fileno())


@pytest.mark.parametrize("kills", [3, pytest.param(200, marks=thorough)])
def test_what_was_acknowledged_survives_a_kill(kills: int, tmp_path: Path) -> None:
    home, acks = tmp_path / "home", tmp_path / "acks"
    acks.touch()
    chance = random.Random(7)
    for _ in range(kills):
        before = acks.stat().st_size
        pid = os.fork()
        if pid == 0:
            _acknowledged_until_killed(home, acks)
            os._exit(0)
        until = time.monotonic() + 60
        while acks.stat().st_size == before and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        shutil.rmtree(home / "memory" / "none", ignore_errors=True)
    said = {line for line in acks.read_text(encoding="utf-8").split("\n")[:-1] if line}
    kept = {item.text.rpartition(" ")[2] for item in memory(home, 100_000).items()}
    assert said and len(said - kept) <= max(0, len(said) - 100), "at most what the cap evicted is missing"
    assert said <= kept or len(kept) == 100


@pytest.mark.parametrize("adds", [60, pytest.param(10_000, marks=thorough)])
def test_many_adds_stay_within_the_cap_and_are_logged(adds: int, tmp_path: Path) -> None:
    store = memory(tmp_path, 40)
    batch = max(adds // 12, 1)
    for at in range(0, adds, batch):
        store.add_many(
            [
                new_item(f"I own boat {i:x}", time=f"2026-01-01T00:00:00.{i % 1000:03}+00:00")
                for i in range(at, at + batch)
            ][:40]
        )
        assert len(store.items(history=True)) <= 40
    assert store.evictions()
    size = sum(file.stat().st_size for file in store.folder.rglob("*") if file.is_file())
    assert size < 2 * 1024 * 1024
    assert verify_index(store.folder) == []
