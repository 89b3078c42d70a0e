"""Changes of an index that can be stopped at every step, for the tests of crashes, power loss and failing disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from index_kit import NOTES, QUERIES, write

from ragkit.api import Index
from ragkit.index import fsops
from ragkit.index.fsops import Step
from ragkit.index.manifest import MANIFEST, seal
from ragkit.ingest.chunk_settings import ChunkSettings
from ragkit.ingest.loader import make_document
from ragkit.retrieval.retriever import MODES
from ragkit.testing import HashingEmbedder
from ragkit.text.tokens import ANALYSER_VERSION

THOROUGH = bool(os.environ.get("RAGKIT_TEST_THOROUGH"))
thorough = pytest.mark.skipif(not THOROUGH, reason="large counts, minutes long: set RAGKIT_TEST_THOROUGH=1")
GOLDEN = Path(__file__).parents[1] / "data" / "index-format-1"

State = str
"""Everything that searches return, as JSON: two states are equal if every answer and score is."""


def state(folder: Path) -> State:
    """What the index in `folder` answers; raises if it cannot be opened."""
    index = Index.open(None, folder, embedding=HashingEmbedder())
    try:
        hits = [
            [(h.document, h.start, h.text, h.score, h.coverage) for h in index.search(query, k=20, mode=mode)]
            for query in QUERIES
            for mode in MODES
        ]
        return json.dumps([sorted(index.documents()), len(index), hits])
    finally:
        index.close()


@dataclass(frozen=True)
class Operation:
    """A change of an index: the folder before it, and what to do to a copy."""

    name: str
    before: Path
    run: Callable[[Path], object]


def operations(base: Path) -> dict[str, Operation]:
    """Every kind of commit, each with a state to begin with."""
    notes = write(base / "notes", {**NOTES, "old.md": "# 旧\n\n一篇会被删除的旧笔记，LSTM 训练。\n"})
    first = base / "first"
    Index.open(notes, first, embedding=HashingEmbedder()).close()
    after = Path(shutil.copytree(notes, base / "after"))
    write(after, {"rnn.md": "# RNN\n\n全新的内容，与从前不同，仍然讲 LSTM。\n", "new.md": "新的笔记：训练 GRU\n"})
    (after / "old.md").unlink()
    several = base / "several"
    shutil.copytree(first, several)
    index = Index.open(None, several, embedding=HashingEmbedder())
    index.add_documents([make_document("a.md", "LSTM 训练 matrices")])
    index.add_documents([make_document("b.md", "low-rank 注意力"), make_document("rnn.md", "GRU 换了")])
    index.remove("a.md")
    index.close()
    golden = base / "golden"
    copy_golden(golden)
    (base / "empty").mkdir()
    return changes(base)


def copy_golden(to: Path) -> Path:
    """The index of format 1 under today's analyser and chunker, which cut its notes as those of that day did."""
    shutil.copytree(GOLDEN / "index", to)
    data = json.loads((to / MANIFEST).read_text(encoding="utf-8"))
    data.update(analyser=ANALYSER_VERSION, chunker=ChunkSettings().fingerprint)
    (to / MANIFEST).write_text(json.dumps(seal(data)), encoding="utf-8")
    return to


def change(name: str, base: Path, folder: Path) -> None:
    """Do one of the changes that `operations` prepared in `base`, for a process of its own."""
    changes(base)[name].run(folder)


def changes(base: Path) -> dict[str, Operation]:
    """The changes over what `operations` prepared in `base`."""
    notes, after = base / "notes", base / "after"
    empty, first, several, golden = (base / name for name in ("empty", "first", "several", "golden"))
    embedder = HashingEmbedder

    def on(folder: Path, action: Callable[[Index], object]) -> None:
        action(Index.open(None, folder, embedding=embedder()))

    return {
        op.name: op
        for op in (
            Operation("build", empty, lambda f: Index.open(notes, f, embedding=embedder())),
            Operation("update", first, lambda f: Index.open(after, f, embedding=embedder())),
            Operation(
                "add", several, lambda f: on(f, lambda i: i.add_documents([make_document("c.md", "训练 zebra")]))
            ),
            Operation("delete", several, lambda f: on(f, lambda i: i.remove(["b.md", "deep/*"]))),
            Operation("compact", several, lambda f: on(f, Index.compact)),
            Operation("migrate", golden, lambda f: Index.open(GOLDEN / "notes", f, embedding=embedder())),
        )
    }


@dataclass
class Steps:
    """What a change did to the disk, in order, with the contents of what it wrote."""

    folder: Path
    log: list[tuple[Step, Path]] = field(default_factory=list)
    contents: list[dict[Path, bytes]] = field(default_factory=list)
    _seen: set[Path] = field(default_factory=set)

    def __call__(self, step: Step, path: Path, done: bool) -> None:
        if not done or not path.is_relative_to(self.folder):
            return
        new: dict[Path, bytes] = {}
        if step in {"write", "link"}:
            files = [file for file in path.iterdir() if file not in self._seen] if path.is_dir() else [path]
            new = {file: file.read_bytes() for file in files}
            self._seen |= new.keys()
        self.log.append((step, path))
        self.contents.append(new)


def record(operation: Operation, folder: Path) -> Steps:
    """Run a change to its end on a copy in `folder`, and tell its steps."""
    shutil.copytree(operation.before, folder)
    steps = Steps(folder)
    with fsops.observed(steps):
        operation.run(folder)
    return steps


def stop_at(
    folder: Path, number: int, how: Callable[[Step, Path], None], when: str
) -> Callable[[Step, Path, bool], None]:
    """An observer that calls `how` before or after the step in `folder` with this number, from 0."""
    count = -1

    def observer(step: Step, path: Path, done: bool) -> None:
        nonlocal count
        if not path.is_relative_to(folder):
            return
        count += not done
        if count == number and done == (when == "after"):
            how(step, path)

    return observer


def in_child(action: Callable[[], object]) -> int:
    """Run `action` in a child process; its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            action()
        except BaseException:
            code = 70
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def kill(step: Step, path: Path) -> None:
    """Die as with ``kill -9``."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_the_middle(step: Step, path: Path) -> None:
    """Die while the file is being written: half of it is there."""
    if step == "write" and path.exists():
        newest = max((f for f in path.iterdir()), key=lambda f: f.stat().st_mtime_ns) if path.is_dir() else path
        os.truncate(newest, newest.stat().st_size // 2)
    kill(step, path)


def every(items: list[int], some: int) -> Iterator[int]:
    """All of `items` in a thorough run, else about `some`, evenly, the last always."""
    step = 1 if THOROUGH else max(1, len(items) // some)
    yield from sorted({*items[::step], *items[-1:]})
