"""A run that was killed while embedding goes on where it was; running again is harmless."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from crash_kit import in_child
from index_kit import open_and_ask, write

from ragkit.api import Index
from ragkit.index import commit, pending
from ragkit.models.parallel import PAIRS
from ragkit.testing import HashingEmbedder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs fork and SIGKILL")
BLOCK = 10


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Notes whose embedding takes several blocks."""
    monkeypatch.setattr(commit, "BLOCK", BLOCK)
    return write(tmp_path / "many", {f"{i:02}.md": f"# 第{i}篇\n\nLSTM 训练 {i} matrices\n" for i in range(55)})


class Mortal(HashingEmbedder):
    """Dies when it has embedded so many texts."""

    def __init__(self, life: int) -> None:
        super().__init__()
        self.life = life

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.documents_embedded + len(texts) > self.life:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed_documents(texts)


@pytest.mark.parametrize("life", [9, 10, 25, 40, 54])
@pytest.mark.parametrize("damage", ["", "cut", "flip"])
def test_a_killed_run_goes_on_where_it_was(life: int, damage: str, many: Path, folder: Path) -> None:
    assert in_child(lambda: Index.open(many, folder, embedding=Mortal(life))) == -signal.SIGKILL
    file = folder / pending.NAME
    done = file.stat().st_size // (16 + 4 * 64 + 8) if file.exists() else 0
    assert done == life // BLOCK * BLOCK
    if done and damage:
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data if damage == "flip" else data[:-1])
        done -= 1
    embedder = HashingEmbedder()
    index = Index.open(many, folder, embedding=embedder)
    assert index.report is not None
    assert embedder.documents_embedded == 55 - done + 2 * len(PAIRS)
    assert not file.exists()
    assert open_and_ask(folder) == open_and_ask(folder.with_name("fresh"), many)


def test_a_second_run_adds_nothing(many: Path, folder: Path) -> None:
    before = open_and_ask(folder, many)
    files = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    embedder = HashingEmbedder()
    assert open_and_ask(folder, many, embedder) == before
    assert embedder.documents_embedded == 0
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == files
    assert pending.NAME not in {file.name for file in files}


def test_vectors_of_another_model_are_not_taken(many: Path, folder: Path) -> None:
    in_child(lambda: Index.open(many, folder, embedding=Mortal(30)))
    assert (folder / pending.NAME).exists()
    other = HashingEmbedder("other", dimension=32)
    Index.open(many, folder, embedding=other)
    assert other.documents_embedded == 55 + 2 * len(PAIRS)
