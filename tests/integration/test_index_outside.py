"""Notes from outside the folders of an index: none replaces another file's, and each keeps its path."""

from __future__ import annotations

from pathlib import Path

import pytest
from index_kit import write

from ragkit.api import Index
from ragkit.ingest.loader import make_document
from ragkit.testing import HashingEmbedder

Files = dict[str, str]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    write(tmp_path / "notes", {"README.md": "main zebra", "sub/x.md": "sub"})
    return Index.open(tmp_path / "notes", tmp_path / "index", embedding=HashingEmbedder())


def texts(index: Index) -> Files:
    return {path: document.text for path in index.documents() if (document := index.document(path)) is not None}


OWN = {"README.md": "main zebra", "sub/x.md": "sub"}


def test_a_file_of_the_same_name_stands_beside_the_one_of_the_index(index: Index, tmp_path: Path) -> None:
    other = write(tmp_path / "other", {"README.md": "other quagga"})
    report = index.add(other / "README.md")
    assert (report.added, report.updated) == (1, 0)
    assert texts(index) == {**OWN, "other/README.md": "other quagga"}
    assert index.search("zebra", mode="sparse")[0].document == "README.md"


@pytest.mark.parametrize("together", [False, True])
def test_a_path_does_not_depend_on_what_is_added_with_it(index: Index, tmp_path: Path, together: bool) -> None:
    write(tmp_path, {"one/README.md": "1", "two/README.md": "2", "two/deep/a.md": "a", "three/b.md": "b"})
    given = [tmp_path / "one" / "README.md", tmp_path / "two", tmp_path / "three" / "b.md"]
    for some in [given] if together else [[path] for path in given]:
        index.add(some)
    added = {"one/README.md": "1", "two/README.md": "2", "two/deep/a.md": "a", "three/b.md": "b"}
    assert texts(index) == {**OWN, **added}


def test_the_same_file_is_updated_however_it_is_added_again(index: Index, tmp_path: Path) -> None:
    other = write(tmp_path / "other", {"a.md": "old", "deep/b.md": "deep"})
    index.add(other)
    write(other, {"a.md": "new", "deep/b.md": "deeper"})
    (tmp_path / "link").symlink_to(other)
    assert index.add([other / "a.md", tmp_path / "link" / "deep" / "b.md"]).updated == 2
    assert texts(index) == {**OWN, "other/a.md": "new", "other/deep/b.md": "deeper"}
    assert index.add(tmp_path / "link").unchanged == 4
    index.compact()
    write(other, {"a.md": "newest"})
    assert index.add(other / "a.md").updated == 1


def test_folders_of_the_same_name_are_told_apart_by_those_above(index: Index, tmp_path: Path) -> None:
    write(tmp_path, {"a/docs/README.md": "of a", "b/docs/README.md": "of b", "c/docs/README.md": "of c"})
    index.add(tmp_path / "a" / "docs")
    index.add([tmp_path / "b" / "docs", tmp_path / "c" / "docs" / "README.md"])
    expected = {"docs/README.md": "of a", "b/docs/README.md": "of b", "c/docs/README.md": "of c"}
    assert texts(index) == {**OWN, **expected}
    write(tmp_path, {"b/docs/README.md": "of b, later"})
    index.add(tmp_path / "b" / "docs" / "README.md")
    assert texts(index) == {**OWN, **expected, "b/docs/README.md": "of b, later"}


def test_a_path_of_the_index_is_not_taken_even_before_its_note_is_indexed(index: Index, tmp_path: Path) -> None:
    write(tmp_path, {"else/sub/x.md": "outside", "else/sub/y.md": "outside y", "notes/sub/y.md": "inside y"})
    index.add(tmp_path / "else" / "sub")
    assert texts(index) == {**OWN, "else/sub/x.md": "outside", "else/sub/y.md": "outside y"}
    index.add(tmp_path / "notes")
    assert texts(index) == {**OWN, "else/sub/x.md": "outside", "else/sub/y.md": "outside y", "sub/y.md": "inside y"}


def test_a_document_from_memory_is_not_replaced_and_keeps_a_path_that_it_took(index: Index, tmp_path: Path) -> None:
    file = write(tmp_path / "other", {"a.md": "file"}) / "a.md"
    index.add_documents([make_document("other/a.md", "memory")])
    index.add(file)
    longer = f"{tmp_path.name}/other/a.md"
    assert texts(index) == {**OWN, "other/a.md": "memory", longer: "file"}
    index.add_documents([make_document(longer, "memory too")])
    write(tmp_path / "other", {"a.md": "file, later"})
    index.add(file)
    assert texts(index)[longer] == "memory too"
    assert "file, later" in texts(index).values()


def test_a_removed_note_leaves_its_path_to_others(index: Index, tmp_path: Path) -> None:
    write(tmp_path, {"a/docs/x.md": "of a", "b/docs/x.md": "of b"})
    index.add(tmp_path / "a" / "docs")
    index.remove("docs/x.md")
    index.add(tmp_path / "b" / "docs")
    assert texts(index) == {**OWN, "docs/x.md": "of b"}


def test_a_folder_around_the_notes_adds_them_under_the_paths_that_they_have(index: Index, tmp_path: Path) -> None:
    around = tmp_path / "notes"
    write(tmp_path, {"beside.md": "beside"})
    index.add(tmp_path)
    assert texts(index) == {**OWN, f"{tmp_path.name}/beside.md": "beside"}
    assert index.add(around).unchanged == 3


def test_a_file_that_an_index_was_built_from_is_updated(tmp_path: Path) -> None:
    file = write(tmp_path / "notes", {"a.md": "old"}) / "a.md"
    index = Index.open(file, tmp_path / "index", embedding=HashingEmbedder())
    file.write_text("new", encoding="utf-8")
    assert index.add(file).updated == 1
    assert texts(index) == {"a.md": "new"}
