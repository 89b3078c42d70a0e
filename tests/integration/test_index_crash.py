"""A commit is all or nothing: killed at any step, with the power gone, with a disk that fails or is full."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_kit import (
    THOROUGH,
    Operation,
    State,
    Steps,
    every,
    in_child,
    kill,
    kill_in_the_middle,
    operations,
    record,
    state,
    stop_at,
)

from ragkit.errors import IndexFailure
from ragkit.index import fsops
from ragkit.index.fsops import Step
from ragkit.index.manifest import MANIFEST, read_manifest
from ragkit.index.repair import verify_index

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs fork and SIGKILL")
NAMES = ("build", "update", "add", "delete", "compact", "migrate")


class Case:
    """A change with its two allowed outcomes and its steps."""

    def __init__(self, operation: Operation, base: Path) -> None:
        self.operation, self.base = operation, base
        self.steps: Steps = record(operation, base / f"{operation.name}-recorded")
        self.new: State = state(base / f"{operation.name}-recorded")
        self.old: State | None = state(operation.before) if operation.name != "build" else None
        self._count = 0

    def copy(self) -> Path:
        self._count += 1
        return Path(shutil.copytree(self.operation.before, self.base / f"{self.operation.name}-{self._count}"))

    def check(self, folder: Path) -> str:
        """Which state the folder is in: old or new, whole, and the next writer can go on from it."""
        manifest = read_manifest(folder)
        if manifest is None:
            assert self.old is None
            return "old"
        assert verify_index(folder) == []
        found = state(folder)
        assert found in {self.old, self.new}
        return "new" if found == self.new and self.new != self.old else "old"

    def finish(self, folder: Path) -> None:
        """Run the change again after what happened: it comes to the same end and leaves nothing behind."""
        self.operation.run(folder)
        assert state(folder) == self.new
        manifest = read_manifest(folder)
        assert manifest is not None
        named = {entry.name for entry in manifest.segments} | manifest.files.keys() | {MANIFEST, "LOCK", "LOCK.pid"}
        assert {path.name for path in folder.iterdir()} <= named
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    base = tmp_path_factory.mktemp("crash")
    yield {name: Case(operation, base) for name, operation in operations(base).items()}
    shutil.rmtree(base)


@pytest.mark.parametrize("name", NAMES)
def test_a_writer_killed_at_any_step_leaves_the_old_index_or_the_new_one(name: str, cases: dict[str, Case]) -> None:
    case = cases[name]
    seen = set()
    steps = range(len(case.steps.log))
    points = [(n, "before", kill) for n in steps]
    points += [(n, "after", kill_in_the_middle) for n in steps if case.steps.log[n][0] == "write"]
    for at in every(list(range(len(points))), 9):
        number, when, how = points[at]
        folder = case.copy()

        def change(folder: Path = folder, number: int = number, how=how, when: str = when) -> None:
            with fsops.observed(stop_at(folder, number, how, when)):
                case.operation.run(folder)

        assert in_child(change) == -signal.SIGKILL
        seen.add(case.check(folder))
        if name != "delete" or "new" not in seen:  # what was deleted cannot be deleted again
            case.finish(folder)
    assert "old" in seen


class Disk:
    """What of a recorded change is on the disk for sure, and what may be."""

    def __init__(self, steps: Steps, count: int) -> None:
        self.contents: dict[Path, bytes] = {}
        self.synced: set[Path] = set()
        self.entries: dict[Path, bool] = {}
        """New files and folders: whether their folder was synced since."""
        self.renamed: list[tuple[Path, bytes, bool]] = []
        self.removed: list[tuple[Path, bool]] = []
        for (step, path), new in zip(steps.log[:count], steps.contents[:count], strict=True):
            self.contents.update(new)
            self.entries.update(dict.fromkeys([*new, *([path] if step == "mkdir" else [])], False))
            getattr(self, step, lambda path: None)(path)

    def rename(self, path: Path) -> None:
        temporary = next(file for file in self.contents if file.name.endswith(".tmp"))
        del self.entries[temporary]
        self.renamed.append((path, self.contents.pop(temporary), False))

    def remove(self, path: Path) -> None:
        self.removed.append((path, False))
        self.contents = {file: data for file, data in self.contents.items() if path not in {file, *file.parents}}

    def fsync(self, path: Path) -> None:
        if path in self.contents:
            self.synced.add(path)
            return
        self.entries = {file: done or file.parent == path for file, done in self.entries.items()}
        self.removed = [(file, done or file.parent == path) for file, done in self.removed]
        self.renamed = [(file, data, done or file.parent == path) for file, data, done in self.renamed]


def disk_after(case: Case, steps: int, variant: str) -> Path:
    """The folder as a power failure after so many steps may leave it.

    Files not synced are ``lost``, ``zeroed`` or ``cut``, or were written after all (``kept``); a name
    appears, changes or goes for sure only once its folder was synced.
    """
    folder = case.copy()
    source = case.base / f"{case.operation.name}-recorded"
    disk = Disk(case.steps, steps)

    def here(path: Path) -> Path:
        return folder / path.relative_to(source)

    gone = {path for path, done in disk.entries.items() if not done and variant == "lost"}
    for path, data in disk.contents.items():
        if gone.isdisjoint({path, *path.parents}):
            left = {"lost": b"", "zeroed": bytes(len(data)), "cut": data[: len(data) // 2], "kept": data}
            here(path).parent.mkdir(exist_ok=True)
            here(path).write_bytes(data if path in disk.synced else left[variant])
    for path, data, done in disk.renamed:
        if done or variant != "lost":
            here(path).write_bytes(data)
    for path, done in disk.removed:
        if done or variant == "kept":
            fsops.remove(here(path))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_power_failure_at_any_step_leaves_the_old_index_or_the_new_one(name: str, cases: dict[str, Case]) -> None:
    case = cases[name]
    last = len(case.steps.log)
    for steps in every(list(range(last + 1)), 6):
        for variant in ("lost", "zeroed", "cut", "kept"):
            folder = disk_after(case, steps, variant)
            found = case.check(folder)
            if steps == last and case.new != case.old:
                assert found == "new", "the writer had said that it was done"
            shutil.rmtree(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("code", ["EIO", "ENOSPC"])
def test_a_disk_that_refuses_is_one_clear_line_and_leaves_a_whole_index(
    name: str, code: str, cases: dict[str, Case]
) -> None:
    case = cases[name]
    number = getattr(errno, code)

    def refuse(step: Step, path: Path) -> None:
        if code == "ENOSPC" and path.is_file():
            os.truncate(path, path.stat().st_size // 2)
        raise OSError(number, os.strerror(number))

    wanted = {"fsync", "rename"} if code == "EIO" else {"write", "mkdir"}
    steps = [n for n, (step, _) in enumerate(case.steps.log) if step in wanted]
    for at in every(steps, 3):
        folder = case.copy()
        when = "after" if code == "ENOSPC" else "before"
        renamed = any(kind == "rename" for kind, _ in case.steps.log[:at])
        with fsops.observed(stop_at(folder, at, refuse, when)):
            if name == "migrate":  # can wait: the old format is read meanwhile
                case.operation.run(folder)
                assert case.check(folder) == "old"
                case.finish(folder)
                continue
            with pytest.raises(IndexFailure) as caught:
                case.operation.run(folder)
        assert "\n" not in str(caught.value)
        assert str(folder) in str(caught.value)
        found = case.check(folder)
        if renamed:
            assert "did not confirm" in str(caught.value)
            assert found == "new" or case.new == case.old
        else:
            assert found == "old"
            manifest = read_manifest(folder)
            named = {entry.name for entry in manifest.segments} if manifest else set()
            if manifest is None or manifest.format > 1:
                assert {path.name for path in folder.glob("seg-*")} == named, "what was half written stayed behind"
            case.finish(folder)


def test_a_full_disk_at_any_byte_leaves_the_old_index(cases: dict[str, Case]) -> None:
    case = cases["update"]
    largest = max(len(data) for new in case.steps.contents for data in new.values())
    for limit in range(0, largest, max(1, largest // (60 if THOROUGH else 4))):
        folder = case.copy()

        def change(folder: Path = folder, limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                case.operation.run(folder)
            except IndexFailure:
                os._exit(3)

        assert in_child(change) == 3
        assert case.check(folder) == "old"
        case.finish(folder)


def test_a_failed_sync_is_not_taken_for_a_good_one_the_second_time(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cases["add"]
    folder = case.copy()
    sync, calls = os.fsync, 0

    def fail_once(fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(fd)

    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(IndexFailure, match="refused to store"):
        case.operation.run(folder)
    assert case.check(folder) == "old"
    case.finish(folder)
