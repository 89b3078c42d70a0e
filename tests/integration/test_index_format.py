"""Old indexes open and are brought up to date, newer ones and those of another model are refused untouched."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from crash_kit import GOLDEN, copy_golden
from index_kit import open_and_ask, segments, write

from ragkit.api import Index
from ragkit.errors import IndexCorruptError, IndexFailure, IndexMismatchError
from ragkit.index import fingerprint
from ragkit.index.fingerprint import IndexSettings
from ragkit.index.manifest import FORMAT, MANIFEST, read_manifest
from ragkit.index.repair import verify_index
from ragkit.index.snapshot import Snapshot
from ragkit.models.embeddings import ModelIdentity, WrappedEmbedder
from ragkit.testing import HashingEmbedder


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return copy_golden(tmp_path / "golden")


def check(index: Index, fresh: Path) -> None:
    """Its chunks score as they did on the day it was made (BM25), and every search as over an index made today."""
    expected = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
    assert len(expected) == 15
    today = Index.open(GOLDEN / "notes", fresh, embedding=HashingEmbedder())
    for item in expected:
        hits = index.search(item["query"], k=20, mode=item["mode"])
        others = today.search(item["query"], k=20, mode=item["mode"])
        assert [(h.document, h.start) for h in hits] == [(h.document, h.start) for h in others]
        assert [h.score for h in hits] == pytest.approx([h.score for h in others], rel=1e-5, abs=1e-5)
        if item["mode"] == "sparse":
            assert [(h.document, h.start) for h in hits] == [(document, start) for document, start, *_ in item["hits"]]
            assert [h.score for h in hits] == pytest.approx([score for _, _, score, _ in item["hits"]], rel=1e-5)
    today.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_an_index_of_format_1_opens_and_is_left_as_it_is(golden: Path, tmp_path: Path) -> None:
    before = contents(golden)
    index = Index.open(None, golden, embedding=HashingEmbedder())
    check(index, tmp_path / "today")
    assert set(index.documents()) == {"attention.md", "deep/empty.md", "deep/lora.md", "rnn.md", "twin.md"}
    assert verify_index(golden) == []
    index.close()
    assert contents(golden) == before


@pytest.mark.parametrize("edited", [False, True])
def test_an_index_of_format_1_is_migrated_by_the_next_update_without_embedding(
    edited: bool, golden: Path, tmp_path: Path
) -> None:
    notes = Path(shutil.copytree(GOLDEN / "notes", tmp_path / "notes"))
    if edited:
        write(notes, {"rnn.md": "改过的笔记，讲 LSTM。"})
    embedder = HashingEmbedder()
    index = Index.open(notes, golden, embedding=embedder)
    assert embedder.documents_embedded == int(edited)
    assert index.report is not None
    assert (index.report.updated, index.report.unchanged) == ((1, 4) if edited else (0, 5))
    manifest = read_manifest(golden)
    assert manifest is not None
    assert manifest.format == FORMAT == 2
    assert not list(golden.glob("gen-*"))
    if edited:
        assert index.search("LSTM", mode="sparse")[0].document == "rnn.md"
    else:
        check(index, tmp_path / "today")
    assert open_and_ask(golden) == open_and_ask(tmp_path / "fresh", notes)


def test_documents_can_be_added_to_an_index_of_format_1(golden: Path) -> None:
    index = Index.open(None, golden, embedding=HashingEmbedder())
    index.remove("twin.md")
    assert "twin.md" not in {hit.document for hit in index.search("LSTM", k=9)}
    assert not list(golden.glob("gen-*"))


def test_damage_of_an_index_of_format_1_is_named(golden: Path) -> None:
    [file] = golden.glob("gen-*/vectors.faiss")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(IndexCorruptError, match=r"vectors\.faiss"):
        Index.open(None, golden, embedding=HashingEmbedder())
    assert [item.path for item in verify_index(golden)] == [str(file.relative_to(golden))]


@pytest.mark.parametrize("text", ['{"format": 3}', '{"format": 99, "seal": "x", "generation": "g"}'])
def test_an_index_of_a_newer_ragkit_is_refused_untouched(text: str, notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    write(notes, {"new.md": "新的笔记"})
    (folder / f"seg-{1:020d}-0a1b2c").mkdir()
    (folder / f"seg-{1:020d}-0a1b2c" / "future.bin").write_bytes(b"x")
    before = contents(folder)
    for paths in (None, notes):
        with pytest.raises(IndexFailure, match=r"newer ragkit.*Upgrade"):
            Index.open(paths, folder, embedding=HashingEmbedder())
        with pytest.raises(IndexFailure, match="newer ragkit"):
            verify_index(folder)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("field", "value"), [("name", "other"), ("revision", "2"), ("dimension", 32), ("prompts", "query: /passage: ")]
)
def test_every_part_of_the_models_identity_counts(field: str, value: object, notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)

    class Other(WrappedEmbedder):
        @property
        def identity(self) -> ModelIdentity:
            return replace(super().identity, **{field: value})

    before = contents(folder)
    for paths in (None, notes):
        with pytest.raises(IndexMismatchError, match=r"embedding model.*--rebuild"):
            Index.open(paths, folder, embedding=Other(HashingEmbedder()))
    assert contents(folder) == before


@pytest.mark.parametrize("change", ["chunker", "bm25", "analyser"])
def test_every_other_part_of_the_fingerprint_counts(
    change: str, notes: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_and_ask(folder, notes)
    snapshot = Snapshot.open(folder)
    assert snapshot is not None
    settings = IndexSettings()
    if change == "chunker":
        settings = replace(settings, chunks=replace(settings.chunks, target=100))
    elif change == "bm25":
        settings = replace(settings, bm25=replace(settings.bm25, k1=1.2))
    else:
        monkeypatch.setattr(fingerprint, "ANALYSER_VERSION", "zen-99")
    with pytest.raises(IndexMismatchError, match="--rebuild"):
        fingerprint.check_fingerprint(snapshot.manifest, WrappedEmbedder(HashingEmbedder()), settings)
    assert len(segments(folder)) == 1
