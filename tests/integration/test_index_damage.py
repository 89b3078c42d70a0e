"""Damage of any file is detected and named before a search uses it; nothing else is ever served."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from crash_kit import THOROUGH, operations, state
from index_kit import answers, index_files, open_and_ask, segments, write

from ragkit.api import Index
from ragkit.errors import IndexCorruptError, IndexFailure
from ragkit.index.manifest import MANIFEST
from ragkit.index.repair import verify_index
from ragkit.testing import HashingEmbedder

PAGE = 4096
EACH = 30 if THOROUGH else 2
"""Mutations of each kind for each file."""


def flip_bit(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def change_byte(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= chance.randrange(1, 256)


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def zero_page(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(0, len(data), PAGE)
    data[at : at + PAGE] = bytes(len(data[at : at + PAGE]))


def append_junk(data: bytearray, chance: random.Random) -> None:
    data.extend(chance.randbytes(chance.randrange(1, 100)))


MUTATIONS = (flip_bit, change_byte, cut, zero_page, append_junk)


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """An index of several segments with tombstones."""
    return operations(tmp_path)["compact"].before


def refused(folder: Path, file: Path, sound: str) -> None:
    """Opening must name the file; where only white space of the MANIFEST changed, it may succeed."""
    try:
        assert state(folder) == sound
        assert file.name == MANIFEST
    except IndexFailure as exc:
        assert file.name in str(exc)
        assert "ragkit" in exc.remedy


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_damaged_file_is_detected_and_named(mutate: Callable[[bytearray, random.Random], None], grown: Path) -> None:
    sound = state(grown)
    chance = random.Random(mutate.__name__)
    files = index_files(grown)
    assert len(files) > 10
    for file in files:
        before = file.read_bytes()
        for _ in range(EACH):
            data = bytearray(before)
            mutate(data, chance)
            if data != before:
                file.write_bytes(data)
                refused(grown, file, sound)
        file.write_bytes(before)
    assert state(grown) == sound


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
def test_a_missing_or_replaced_file_is_detected_and_named(grown: Path, tmp_path: Path) -> None:
    sound = state(grown)
    other = tmp_path / "other"
    other.write_bytes(b"x" * 100)
    for file in index_files(grown):
        before = file.read_bytes()
        same = tmp_path / f"same-{file.name}"
        same.write_bytes(before)
        for target in (None, other, same, tmp_path / "nothing"):
            file.unlink()
            if target is not None:
                file.symlink_to(target)
            if file.name != MANIFEST:
                refused(grown, file, "")
                assert [item.path for item in verify_index(grown)] == [file.relative_to(grown).as_posix()]
            else:
                with contextlib.suppress(IndexFailure):
                    assert state(grown) == sound  # a link to the very same MANIFEST
            file.unlink(missing_ok=True)
            file.write_bytes(before)
    assert state(grown) == sound


def test_a_file_of_an_older_generation_is_detected(notes: Path, folder: Path, tmp_path: Path) -> None:
    open_and_ask(folder, notes)
    older = Path(shutil.copytree(folder, tmp_path / "older"))
    write(
        notes, {name: f"# {i}\n\n重写的笔记 {i}" for i, name in enumerate(("attention.md", "rnn.md", "deep/lora.md"))}
    )
    sound = open_and_ask(folder, notes)
    [old], [new] = segments(older), segments(folder)
    assert old != new
    for file in sorted((folder / new).iterdir()):
        before = file.read_bytes()
        shutil.copyfile(older / old / file.name, file)
        with pytest.raises(IndexCorruptError, match=file.name):
            open_and_ask(folder)
        file.write_bytes(before)
    before = (folder / MANIFEST).read_bytes()
    shutil.copyfile(older / MANIFEST, folder / MANIFEST)
    with pytest.raises(IndexCorruptError, match=old):
        open_and_ask(folder)
    (folder / MANIFEST).write_bytes(before)
    assert open_and_ask(folder) == sound


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"format": 1}', '{"format": 2}', '{"format": "x"}', '{"generation": "x"}', "\x00\xff"],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused_with_the_remedy(text: str, notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)
    (folder / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(IndexCorruptError, match=rf"{MANIFEST}.*--rebuild"):
        open_and_ask(folder, notes)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "seg-1", "chunks.sqlite", ""])
def test_a_manifest_that_names_files_elsewhere_is_refused(name: str, notes: Path, folder: Path) -> None:
    import json

    from ragkit.index.manifest import seal

    open_and_ask(folder, notes)
    data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    data["segments"][0]["name"] = name
    (folder / MANIFEST).write_text(json.dumps(seal(data)), encoding="utf-8")
    with pytest.raises(IndexCorruptError, match=MANIFEST):
        open_and_ask(folder)


def test_a_damaged_index_is_mended_by_rebuilding(notes: Path, folder: Path) -> None:
    before = open_and_ask(folder, notes)
    (folder / MANIFEST).write_text("{", encoding="utf-8")
    assert answers(Index.open(notes, folder, embedding=HashingEmbedder(), rebuild=True)) == before
    assert open_and_ask(folder) == before
    assert len(segments(folder)) == 1


def test_a_manifest_that_cannot_be_read_is_named(notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).mkdir()  # unreadable whoever runs the test, root included
    with pytest.raises(IndexFailure, match=MANIFEST):
        open_and_ask(folder)


def test_opening_a_folder_without_an_index_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(IndexFailure, match=r"no index in .*ragkit index"):
        Index.open(None, tmp_path / "nothing", embedding=HashingEmbedder())


def test_an_index_folder_without_its_manifest_is_built_anew(notes: Path, folder: Path) -> None:
    before = open_and_ask(folder, notes)
    (folder / MANIFEST).unlink()
    assert open_and_ask(folder, notes) == before
    assert len(segments(folder)) == 1


def test_an_index_folder_that_is_a_file_is_named(notes: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(IndexFailure, match="file"):
        Index.open(notes, tmp_path / "file" / "index", embedding=HashingEmbedder())


def test_a_model_that_returns_nan_leaves_the_index_as_it_was(notes: Path, folder: Path) -> None:
    class Broken(HashingEmbedder):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[float("nan")] * self.dimension for _ in texts]

    before = open_and_ask(folder, notes)
    write(notes, {"new.md": "新的笔记"})
    with pytest.raises(Exception, match="NaN"):
        Index.open(notes, folder, embedding=Broken())
    assert open_and_ask(folder) == before
