"""What can be rebuilt from the chunk store is, nothing else is touched; what was deleted is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from crash_kit import operations, state
from index_kit import index_files, segments, write

from ragkit.api import Index
from ragkit.errors import IndexCorruptError, IndexFailure, IndexMismatchError
from ragkit.index.engine import Filter
from ragkit.index.repair import repair_index, verify_index
from ragkit.ingest.loader import make_document
from ragkit.models.embeddings import WrappedEmbedder
from ragkit.opening import index_settings
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder

CANARY = "kanarienvogel"


def repair(folder: Path, embedder: HashingEmbedder | None = None) -> list[str]:
    model = WrappedEmbedder(embedder or HashingEmbedder())
    return list(repair_index(folder, model, index_settings(load_settings())).kept)


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """An index of several segments with tombstones."""
    return operations(tmp_path)["compact"].before


@pytest.mark.parametrize(
    "names", [("vectors",), ("postings",), ("rows",), ("axis",), ("vectors", "postings", "rows", "axis")]
)
@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_everything_but_the_texts_is_rebuilt_from_them(names: tuple[str, ...], how: str, grown: Path) -> None:
    sound = state(grown)
    hurt = [file for file in index_files(grown) if file.name.startswith(names)]
    assert len(hurt) >= len(names)
    for file in hurt:
        if how == "missing":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(IndexCorruptError):
        state(grown)
    assert {item.path for item in verify_index(grown)} == {file.relative_to(grown).as_posix() for file in hurt}
    kept = repair(grown)
    assert verify_index(grown) == []
    assert state(grown) == sound
    assert len(kept) == (len(hurt) if how == "damaged" else 0)
    assert all((grown / name).read_bytes().endswith(b"?") for name in kept)
    before = {file: file.read_bytes() for file in grown.rglob("*") if file.is_file()}
    assert repair(grown) == []
    assert {file: file.read_bytes() for file in grown.rglob("*") if file.is_file()} == before


def test_only_damaged_vectors_are_embedded_again(grown: Path) -> None:
    [*_, postings] = [file for file in index_files(grown) if file.name.startswith("postings")]
    postings.write_bytes(b"")
    embedder = HashingEmbedder()
    repair(grown, embedder)
    assert embedder.documents_embedded == 0


@pytest.mark.parametrize("name", ["chunks.sqlite", "dead-"])
def test_a_file_that_nothing_can_replace_is_named_and_nothing_is_changed(name: str, grown: Path) -> None:
    file = next(file for file in index_files(grown) if file.name.startswith(name))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    vectors = next(file for file in index_files(grown) if file.name.startswith("vectors"))
    vectors.write_bytes(b"")
    before = {file: file.read_bytes() for file in grown.rglob("*") if file.is_file() and file.name[:4] != "LOCK"}
    with pytest.raises(IndexCorruptError, match=rf"{file.name}.*--rebuild"):
        repair(grown)
    assert {f: f.read_bytes() for f in grown.rglob("*") if f.is_file() and f.name[:4] != "LOCK"} == before


def test_another_model_repairs_nothing(grown: Path) -> None:
    next(file for file in index_files(grown) if file.name.startswith("vectors")).write_bytes(b"")
    with pytest.raises(IndexMismatchError):
        repair(grown, HashingEmbedder("other"))


def test_a_folder_without_an_index_has_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(IndexFailure, match="no index"):
        verify_index(tmp_path)


def holds(folder: Path, word: str) -> list[str]:
    """Files of the folder that contain the word, in UTF-8 or UTF-16, whole or as chunks of its letters."""
    needles = [word.encode("utf-8"), word.encode("utf-16-le")]
    return [f.name for f in folder.rglob("*") if f.is_file() and any(n in f.read_bytes().lower() for n in needles)]


@pytest.mark.parametrize("way", ["library", "notes"])
def test_what_was_deleted_and_compacted_is_in_no_file(way: str, notes: Path, folder: Path, home: Path) -> None:
    write(notes, {"secret.md": f"# {CANARY} 标题\n\n这里写着 {CANARY} 和 LSTM。\n"})
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    only = Filter(heading=CANARY)
    assert (
        index.search(CANARY, mode="sparse")[0].document == index.search("LSTM", where=only)[0].document == "secret.md"
    )
    assert holds(folder, CANARY)
    if way == "library":
        index.remove("secret.md")
    else:
        (notes / "secret.md").unlink()
        index = Index.open(notes, folder, embedding=HashingEmbedder())
    for mode in ("hybrid", "dense", "sparse"):
        assert "secret.md" not in {hit.document for hit in index.search(CANARY, k=50, mode=mode)}  # type: ignore[arg-type]
    assert index.search("LSTM", where=only) == []
    assert index.document("secret.md") is None
    assert index.chunks("secret.md") == []
    assert "secret.md" not in index.documents()
    index.compact()
    assert holds(folder, CANARY) == []
    assert not home.exists() or holds(home, CANARY) == []
    embedder = HashingEmbedder()
    again = Index.open(None, folder, embedding=embedder)
    again.add_documents([make_document("secret.md", f"# {CANARY} 标题\n\n这里写着 {CANARY} 和 LSTM。\n")])
    assert embedder.documents_embedded == 1, "its vector is gone as well"


def test_compacting_drops_what_a_repair_kept_aside(grown: Path) -> None:
    next(file for file in index_files(grown) if file.name.startswith("postings")).write_bytes(b"")
    assert repair(grown)
    Index.open(None, grown, embedding=HashingEmbedder()).compact()
    assert not list(grown.glob("*.damaged-*"))
    assert len(segments(grown)) == 1


def test_a_text_that_comes_back_before_a_compaction_is_not_embedded_again(notes: Path, folder: Path) -> None:
    Index.open(notes, folder, embedding=HashingEmbedder()).remove("rnn.md")
    embedder = HashingEmbedder()
    index = Index.open(notes, folder, embedding=embedder)
    assert index.document("rnn.md") is not None
    assert embedder.documents_embedded == 0
