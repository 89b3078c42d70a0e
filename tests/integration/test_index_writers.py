"""One writer, many readers: who comes second is told so, what was acknowledged stays, each reader sees one state."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_kit import THOROUGH, in_child
from index_kit import answers, open_and_ask, segments, write

from ragkit.api import Index
from ragkit.errors import IndexFailure, IndexLockedError, IndexMismatchError
from ragkit.index import writer
from ragkit.index.manifest import MANIFEST
from ragkit.index.writer import writer_lock
from ragkit.ingest.loader import make_document
from ragkit.retrieval.retriever import Retriever
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder
from ragkit.values import Document

posix = pytest.mark.skipif(os.name == "nt", reason="needs fork and SIGKILL")
HOLDER = """
import sys, time
from pathlib import Path
from ragkit.index.writer import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(folder: Path, child_environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the writer lock of `folder`."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_refused_with_the_pid_and_the_lock_dies_with_its_holder(
    notes: Path, folder: Path, holder: subprocess.Popen[str]
) -> None:
    began = time.monotonic()
    with pytest.raises(IndexLockedError, match=rf"pid {holder.pid}\b"):
        Index.open(notes, folder, embedding=HashingEmbedder())
    assert time.monotonic() - began < 1
    assert not (folder / MANIFEST).exists()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert open_and_ask(folder, notes)


def test_a_second_writer_in_the_same_process_is_refused(folder: Path) -> None:
    with writer_lock(folder), pytest.raises(IndexLockedError, match=f"pid {os.getpid()}"), writer_lock(folder):
        pass


def test_a_change_waits_for_another_writer_to_commit(
    notes: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with writer_lock(folder):
            held.set()
            release.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(30)
    threading.Timer(0.5, release.set).start()
    assert index.add_documents([make_document("new.md", "LSTM")]).added == 1
    other.join()
    monkeypatch.setattr(writer, "WAIT", 0.1)
    with writer_lock(folder), pytest.raises(IndexLockedError, match=f"pid {os.getpid()}"):
        index.remove("new.md")


def test_an_error_of_the_writers_own_is_not_taken_for_one_of_the_lock(folder: Path) -> None:
    with pytest.raises(PermissionError, match="mine"), writer_lock(folder):
        raise PermissionError("mine")


def test_a_reader_keeps_its_snapshot_while_a_writer_commits(notes: Path, folder: Path) -> None:
    reader = Index.open(notes, folder, embedding=HashingEmbedder())
    before = answers(reader)
    write(notes, {"rnn.md": "全新的内容，与从前不同。", "new.md": "新的笔记"})
    after = open_and_ask(folder, notes)
    assert answers(reader) == before != after
    assert reader.document("rnn.md") is not None


def test_a_search_that_began_before_a_change_of_the_same_index_ends_on_its_state(notes: Path, folder: Path) -> None:
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    running = index._retriever
    before = running.search("LSTM")
    index.remove("rnn.md")
    index.compact()
    assert running.search("LSTM") == before
    assert index.search("LSTM", mode="sparse") == []


def test_a_reader_sees_what_others_committed_when_it_is_refreshed(notes: Path, folder: Path) -> None:
    reader = Index.open(notes, folder, embedding=HashingEmbedder())
    before = answers(reader)
    assert not reader.refresh()
    with Index.open(None, folder, embedding=HashingEmbedder()) as writer:
        writer.add_documents([make_document("new.md", "LSTM zebra 训练")])
        assert answers(reader) == before
        assert reader.refresh()
        assert not reader.refresh()
        assert answers(reader) == answers(writer) != before
    assert reader.search("zebra", k=1)[0].document == "new.md"
    Index.open(notes, folder, embedding=HashingEmbedder("other"), rebuild=True).close()
    with pytest.raises(IndexMismatchError):
        reader.refresh()
    assert reader.search("zebra", k=1)[0].document == "new.md", "a state that cannot be read changes nothing"
    (folder / MANIFEST).unlink()
    with pytest.raises(IndexFailure, match="no index"):
        reader.refresh()


@pytest.mark.parametrize("stage", [{"diversity": 0.5}, {"merge_neighbours": True}])
def test_the_stages_behind_a_search_see_the_state_that_it_ran_on(
    stage: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(word: str) -> list[Document]:
        text = "\n\n".join(f"The zebra {word} in paragraph {i}. " + "more " * 60 for i in range(4))
        return [make_document("n.md", f"# H\n\n{'x' * len(word)}\n\n{text}")]

    settings = load_settings(**stage)
    index = Index.from_documents(version("ran"), folder, embedding=HashingEmbedder(), settings=settings)
    expected = {many: index.search_many(["zebra"]) if many else index.search("zebra") for many in (False, True)}
    for many, name in ((False, "search"), (True, "search_many")):
        searched = getattr(Retriever, name)

        def changing(*args: Any, searched: Any = searched, **kwargs: Any) -> Any:
            hits = searched(*args, **kwargs)
            index.add_documents(version("has slept"))
            return hits

        with monkeypatch.context() as patch:
            patch.setattr(Retriever, name, changing)
            found = index.search_many(["zebra"]) if many else index.search("zebra")
        assert found == expected[many]
        assert "slept" in index.search("zebra", k=1)[0].text
        index.add_documents(version("ran"))


def test_a_reader_is_not_kept_out_by_what_a_writer_has_half_written(
    notes: Path, folder: Path, child_environment: dict[str, str]
) -> None:
    before = open_and_ask(folder, notes)
    (folder / f"seg-{1:020d}-0a1b2c").mkdir()
    with writer_lock(folder):
        assert open_and_ask(folder, notes) == before
    assert open_and_ask(folder, notes) == before
    assert len(segments(folder)) == 1, "what nobody is writing any more is removed at the next open"


def test_an_interrupt_while_embedding_leaves_the_old_index(notes: Path, folder: Path) -> None:
    class Interrupted(HashingEmbedder):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise KeyboardInterrupt

    before = open_and_ask(folder, notes)
    write(notes, {"new.md": "新的笔记"})
    with pytest.raises(KeyboardInterrupt):
        Index.open(notes, folder, embedding=Interrupted())
    assert open_and_ask(folder) == before


@posix
def test_what_was_acknowledged_survives_kill_9(notes: Path, folder: Path, tmp_path: Path) -> None:
    Index.open(notes, folder, embedding=HashingEmbedder()).close()
    acknowledged = tmp_path / "acknowledged"
    acknowledged.touch()
    chance = random.Random(1)
    kills = 200 if THOROUGH else 12
    slowest = 0.0
    for life in range(kills):

        def keep_adding(life: int = life) -> None:
            index = Index.open(None, folder, embedding=HashingEmbedder())
            fd = os.open(acknowledged, os.O_WRONLY | os.O_APPEND)
            for number in range(1000):
                name = f"{life:03}-{number:03}.md"
                index.add_documents([make_document(name, f"LSTM 训练 {life} {number}")])
                if number % 3 == 2:
                    gone = f"{life:03}-{number - 1:03}.md"
                    os.write(fd, f"?{gone}\n".encode())
                    index.remove(gone)
                    os.write(fd, f"-{gone}\n".encode())
                os.write(fd, f"+{name}\n".encode())

        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                keep_adding()
            os._exit(0)
        time.sleep(chance.uniform(0.02, 0.25))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        began = time.monotonic()
        index = Index.open(None, folder, embedding=HashingEmbedder())
        slowest = max(slowest, time.monotonic() - began)
        have = set(index.documents())
        lines = acknowledged.read_text(encoding="utf-8").splitlines()
        gone = {line[1:] for line in lines if line[0] == "-"}
        begun = {line[1:] for line in lines if line[0] == "?"}
        assert {line[1:] for line in lines if line[0] == "+"} - begun <= have
        assert not have & gone
        assert {hit.document for hit in index.search("LSTM 训练", k=5)} <= have
        index.close()
    assert slowest < 2
    assert acknowledged.read_text(encoding="utf-8"), "no writer lived long enough to commit"


@posix
def test_several_writers_and_readers_on_one_folder(notes: Path, folder: Path) -> None:
    Index.open(notes, folder, embedding=HashingEmbedder()).close()
    writers, commits = 4, 50 if THOROUGH else 4

    def writer(me: int) -> None:
        index = Index.open(None, folder, embedding=HashingEmbedder())
        for number in range(commits):
            pair = [make_document(f"{me}-{number}-{side}.md", f"LSTM 训练 {me} {number} {side}") for side in "ab"]
            while True:
                try:
                    index.add_documents(pair)
                    break
                except IndexLockedError as exc:
                    assert "pid" in exc.message
                    time.sleep(0.003)

    def reader() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            index = Index.open(None, folder, embedding=HashingEmbedder())
            have = set(index.documents())
            one_state(index, have)
            index.close()
            if len(have) == 3 + 2 * writers * commits:
                return
        raise TimeoutError

    children: list[int] = []
    for action, arguments in [(writer, (me,)) for me in range(writers)] + [(reader, ()), (reader, ())]:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                action(*arguments)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * len(children)
    index = Index.open(None, folder, embedding=HashingEmbedder())
    assert len(index.documents()) == 3 + 2 * writers * commits
    assert open_and_ask(folder) == answers(index)


def one_state(index: Index, have: set[str]) -> None:
    """Both halves of each commit are there in both legs, or neither is."""
    pairs = {name[:-5] for name in have if name[0].isdigit()}
    assert all({f"{pair}-a.md", f"{pair}-b.md"} <= have for pair in pairs)
    for mode in ("dense", "sparse"):
        found = {hit.document for hit in index.search("LSTM 训练", k=1000, mode=mode)}  # type: ignore[arg-type]
        assert {name for name in have if name[0].isdigit()} <= found <= have


@posix
def test_a_writer_that_dies_frees_the_lock_at_once(notes: Path, folder: Path) -> None:
    def die() -> None:
        with writer_lock(folder):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(die) == -signal.SIGKILL
    assert open_and_ask(folder, notes)
