"""Folders to documents: nothing broken is fatal, nothing outside is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ragkit.errors import IngestError
from ragkit.ingest import loader
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import distinct_roots, make_document, read_all, scan
from ragkit.values import Document, Skipped


def load(*roots: Path) -> tuple[dict[str, Document], dict[str, str]]:
    """Documents and reasons of what was skipped, by path."""
    sources, skipped = scan(roots)
    documents = {}
    for source, result in read_all(sources):
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            documents[source.path] = result
    return documents, {item.path: item.reason for item in skipped}


def write(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / f"{name}.md").write_text(text, encoding="utf-8")
    return root


def test_paths_are_relative_to_the_root_with_slashes_and_sorted(tmp_path: Path) -> None:
    write(tmp_path / "b", x="二")
    write(tmp_path, z="三", a="一")
    assert [source.path for source in scan([tmp_path])[0]] == ["a.md", "b/x.md", "z.md"]


def test_other_file_types_and_hidden_files_are_not_notes(tmp_path: Path) -> None:
    write(tmp_path / ".obsidian", x="x")
    for name in ("a.md", "b.txt", "c.markdown", "D.MD", "e.exe", ".f.md"):
        (tmp_path / name).write_text("text", encoding="utf-8")
    assert set(load(tmp_path)[0]) == {"a.md", "b.txt", "c.markdown", "D.MD"}


def test_text_for_people_is_read_however_it_is_marked_up(tmp_path: Path) -> None:
    names = {"a.rst", "b.org", "c.tex", "d.adoc", "e.mdx", "f.qmd", "g.Rmd", "README", "sub/readme", "NOTES.MD"}
    (tmp_path / "sub").mkdir()
    for name in names:
        (tmp_path / name).write_text("Title\n~~~~~\n\n遗忘门 forgets.\n\n* one\n", encoding="utf-8")
    documents, skipped = load(tmp_path)
    assert documents.keys() == names
    assert not skipped
    for document in documents.values():
        assert document.text.endswith("\n\n遗忘门 forgets.\n\n* one\n")
        assert "遗忘门 forgets." in "\n".join(chunk.text for chunk in chunk_document(document))
    assert set(load(tmp_path / "README")[0]) == {"README"}


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        *(("a.doc", ".docx"), ("a.RTF", ".md"), ("a.odt", ".pdf"), ("a.ppt", ".pptx"), ("a.xls", ".md")),
        *(("a.xlsx", ".md"), ("a.ods", ".txt"), ("a.csv", ".md"), ("a.tsv", ".md"), ("a.mobi", ".epub")),
    ],
)
def test_a_document_that_cannot_be_read_is_skipped_with_what_can_be_done(
    name: str, instead: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"\xd0\xcf\x11\xe0")
    for root in (tmp_path, tmp_path / name):
        documents, skipped = load(root)
        assert not documents
        assert "not read" in skipped[name]
        assert instead in skipped[name]


def test_what_is_no_document_is_passed_over_in_silence(tmp_path: Path) -> None:
    for name in ("a.png", "b.lock", "c.o", "d.zip", ".e.doc", "~$f.doc", "Makefile", "LICENSE", "package-lock.json"):
        (tmp_path / name).write_bytes(b"x")
    assert load(tmp_path) == ({}, {})


def test_front_matter_gives_title_and_metadata(tmp_path: Path) -> None:
    text = "---\ntitle: 注意力\ntags: [nlp, 深度学习]\nyear: 2017\n---\n正文\n"
    document = load(write(tmp_path, a=text))[0]["a.md"]
    assert document.title == "注意力"
    assert document.metadata == {"title": "注意力", "tags": "nlp, 深度学习", "year": "2017"}
    assert document.text == text


@pytest.mark.parametrize("front", ["title:", "title: [unclosed", "title: &a x\nb: *a", "just: a: b"])
def test_front_matter_without_a_usable_title_gives_none(front: str) -> None:
    assert make_document("a.md", f"---\n{front}\n---\n正文\n").title == ""


def test_a_broken_file_is_skipped_with_its_reason_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path, good="好", empty="", blank=" \n\n")
    (tmp_path / "binary.md").write_bytes(b"\x89PNG\0\0\0\rIHDR" + bytes(range(256)))
    documents, skipped = load(tmp_path)
    assert set(documents) == {"good.md"}
    assert skipped == {"empty.md": "empty", "blank.md": "empty", "binary.md": "looks like binary data, not text"}


def test_a_file_above_the_limit_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "MAX_BYTES", 10)
    documents, skipped = load(write(tmp_path, big="x" * 11, small="x" * 10))
    assert set(documents) == {"small.md"}
    assert "larger than" in skipped["big.md"]


def test_a_file_that_grew_since_the_scan_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, _ = scan([write(tmp_path, a="x")])
    monkeypatch.setattr(loader, "MAX_BYTES", 10)
    (tmp_path / "a.md").write_text("x" * 11, encoding="utf-8")
    [(_, result)] = read_all(sources)
    assert isinstance(result, Skipped)
    assert "larger than" in result.reason


def test_a_file_that_vanished_since_the_scan_is_skipped(tmp_path: Path) -> None:
    sources, _ = scan([write(tmp_path, a="x")])
    (tmp_path / "a.md").unlink()
    [(_, result)] = read_all(sources)
    assert result == Skipped(path="a.md", reason="No such file or directory")


def test_a_link_out_of_the_root_is_skipped_unread(tmp_path: Path) -> None:
    secret = write(tmp_path / "outside", secret="secret") / "secret.md"
    root = write(tmp_path / "root", a="x")
    (root / "link.md").symlink_to(secret)
    documents, skipped = load(root)
    assert set(documents) == {"a.md"}
    assert skipped == {"link.md": "a link that leads outside the folder of notes"}


def test_a_linked_folder_is_not_entered_and_said(tmp_path: Path) -> None:
    write(tmp_path / "outside", secret="secret")
    root = write(tmp_path / "root", a="x")
    (root / "folder").symlink_to(tmp_path / "outside", target_is_directory=True)
    documents, skipped = load(root)
    assert set(documents) == {"a.md"}
    assert skipped.keys() == {"folder"}
    assert "symbolic link" in skipped["folder"]


def test_a_link_inside_the_root_is_read(tmp_path: Path) -> None:
    root = write(tmp_path, a="x")
    (root / "b.md").symlink_to(root / "a.md")
    assert set(load(root)[0]) == {"a.md", "b.md"}


@pytest.mark.parametrize("target", ["nowhere.md", "loop.md"])
def test_a_link_to_nothing_is_skipped(tmp_path: Path, target: str) -> None:
    root = write(tmp_path, a="x")
    (root / "loop.md").symlink_to(root / target)
    documents, skipped = load(root)
    assert set(documents) == {"a.md"}
    assert set(skipped) == {"loop.md"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_a_named_pipe_is_not_opened(tmp_path: Path) -> None:
    root = write(tmp_path, a="x")
    os.mkfifo(root / "pipe.md")  # opening it for reading would block for ever
    documents, skipped = load(root)
    assert set(documents) == {"a.md"}
    assert skipped == {"pipe.md": "not a regular file"}


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "root", a="x")
    write(root / "locked", b="y")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    documents, skipped = load(root)
    assert set(documents) == {"a.md"}
    assert skipped == {"locked": "Permission denied"}


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o300])
def test_a_folder_that_cannot_be_looked_into_is_named_and_the_others_are_read(
    tmp_path: Path, unprivileged: None, mode: int
) -> None:
    root = write(tmp_path / "root", a="x")
    locked = write(root / "locked", b="y")
    locked.chmod(mode)
    try:
        documents, skipped = load(root)
        with pytest.raises(IngestError, match="locked cannot be read: Permission denied"):
            scan([locked])
        with pytest.raises(IngestError, match="cannot be read: Permission denied" if mode == 0 else "."):
            scan([locked / "deeper"])
    finally:
        locked.chmod(0o700)
    assert set(documents) == {"a.md"}
    assert skipped == {"locked": "Permission denied"}


def test_an_empty_folder_holds_no_note(tmp_path: Path) -> None:
    assert scan([tmp_path]) == ([], [])


def test_two_roots_with_the_same_file_names_keep_both(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", a="一"), write(tmp_path / "two", a="二")
    documents, _ = load(one, two)
    assert {path: document.text for path, document in documents.items()} == {"one/a.md": "一", "two/a.md": "二"}


def test_a_root_named_twice_or_within_another_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "n1", a="一")
    inner, hidden, other = write(root / "sub", b="二"), write(root / ".hidden", c="三"), write(tmp_path / "n10", d="四")
    installed = write(root / "node_modules" / "x", e="五")
    (root / "link").symlink_to(other)
    monkeypatch.chdir(tmp_path)
    assert distinct_roots([root, Path("n1"), other]) == ([root, other], ["n1 was named twice; it is indexed once."])
    said = f"{inner} is within {root}; it is indexed once."
    assert distinct_roots([inner, root]) == ([root], [said]) and distinct_roots([root, inner])[0] == [root]
    assert distinct_roots([root, inner, inner, inner / "b.md"])[0] == [root]
    # What a scan of the outer one passes over has to be named, and is.
    apart = [root, hidden, installed, root / "link", hidden / "c.md"]
    assert distinct_roots(apart) == (apart[:4], [f"{hidden / 'c.md'} is within {hidden}; it is indexed once."])


def test_two_roots_of_the_same_name_are_numbered(tmp_path: Path) -> None:
    one, two = write(tmp_path / "x/notes", a="一"), write(tmp_path / "y/notes", a="二")
    documents, _ = load(one, two)
    assert {path: document.text for path, document in documents.items()} == {"notes-1/a.md": "一", "notes-2/a.md": "二"}


def test_two_files_of_the_same_name_keep_both(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", a="一"), write(tmp_path / "two", a="二")
    documents, skipped = load(one / "a.md", two / "a.md")
    assert sorted(document.text for document in documents.values()) == ["一", "二"]
    assert not skipped


def test_a_single_file_is_a_root(tmp_path: Path) -> None:
    root = write(tmp_path, a="一", b="二")
    assert set(load(root / "a.md")[0]) == {"a.md"}


def test_a_root_file_of_another_type_is_skipped_with_the_types_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    documents, skipped = load(tmp_path / "a.zip")
    assert not documents
    assert ".zip" in skipped["a.zip"]
    assert ".md" in skipped["a.zip"]
    assert "PDF" in skipped["a.zip"]


def test_a_missing_root_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="nowhere"):
        scan([tmp_path / "nowhere"])


posix = pytest.mark.skipif(os.name == "nt", reason="file names are bytes on POSIX only")


def write_bytes(root: Path, name: bytes, text: str) -> None:
    file = Path(os.fsdecode(os.fsencode(root) + b"/" + name))
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")


@posix
def test_a_file_name_in_gbk_is_read_as_gbk(tmp_path: Path) -> None:
    write_bytes(tmp_path, "笔记/注意力.md".encode("gbk"), "x")
    write_bytes(tmp_path, "深度学习.md".encode("gbk"), "y")
    documents, skipped = load(tmp_path)
    assert {path: document.text for path, document in documents.items()} == {"笔记/注意力.md": "x", "深度学习.md": "y"}
    assert not skipped


@posix
def test_other_file_names_stay_different_and_printable(tmp_path: Path) -> None:
    write_bytes(tmp_path, b"bad\xfe.md", "x")
    write_bytes(tmp_path, b"bad\xff.md", "y")
    documents, skipped = load(tmp_path)
    assert {path: document.text for path, document in documents.items()} == {r"bad\xfe.md": "x", r"bad\xff.md": "y"}
    assert not skipped


@posix
def test_the_same_name_in_utf8_and_in_gbk_is_two_notes(tmp_path: Path) -> None:
    write_bytes(tmp_path, "笔记.md".encode(), "x")
    write_bytes(tmp_path, "笔记.md".encode("gbk"), "y")
    documents, _ = load(tmp_path)
    assert documents.pop("笔记.md").text == "x"
    [(path, document)] = documents.items()
    assert document.text == "y"
    assert path.startswith(r"\xb1")


@posix
def test_roots_with_names_in_gbk_are_prefixes_like_any_other(tmp_path: Path) -> None:
    write_bytes(tmp_path, "笔记/a.md".encode("gbk"), "x")
    write(tmp_path / "more", b="y")
    documents, _ = load(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + "笔记".encode("gbk"))), tmp_path / "more")
    assert set(documents) == {"笔记/a.md", "more/b.md"}


def test_what_was_guessed_is_said_on_the_document(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes("Das Gedächtnis größerer Modelle wächst natürlich.".encode("latin-1"))
    write(tmp_path, b="plain")
    documents, _ = load(tmp_path)
    assert documents["a.md"].warning.startswith("read as Windows-1252")
    assert documents["b.md"].warning == ""


def test_an_index_among_the_notes_is_not_read(tmp_path: Path) -> None:
    generation = f"gen-{1:020d}-0a1b2c"
    for index in (tmp_path, tmp_path / "ix"):
        write(index / generation, terms="x")
        (index / "MANIFEST.json").write_text('{"generation": "g", "seal": "s"}', encoding="utf-8")
    write(tmp_path / "ix" / "other", a="x")
    write(tmp_path / "web", b="y")
    (tmp_path / "web" / "MANIFEST.json").write_text('{"name": "a web page"}', encoding="utf-8")
    write(tmp_path, c="z")
    assert set(load(tmp_path)[0]) == {"web/b.md", "web/MANIFEST.json", "c.md"}


def test_a_root_may_be_a_link_to_a_file(tmp_path: Path) -> None:
    target = write(tmp_path / "elsewhere", real="x") / "real.md"
    (tmp_path / "here").mkdir()
    for name in ("link.md", "bare"):
        (tmp_path / "here" / name).symlink_to(target)
        documents, skipped = load(tmp_path / "here" / name)
        assert {path: document.text for path, document in documents.items()} == {name: "x"}
        assert not skipped


def test_a_root_may_be_a_link_to_a_folder(tmp_path: Path) -> None:
    target = write(tmp_path / "elsewhere", a="x")
    (target / "inner.md").symlink_to(target / "a.md")
    (tmp_path / "link").symlink_to(target, target_is_directory=True)
    documents, skipped = load(tmp_path / "link")
    assert set(documents) == {"a.md", "inner.md"}
    assert not skipped


@pytest.mark.parametrize("number", ["0x" + "f" * 5000, "9" * 5000, "2024-13-45", "1_0" * 3000])
def test_a_number_nobody_can_hold_is_text_and_costs_nothing_else(number: str) -> None:
    document = make_document("a.md", f"---\nn: {number}\ntitle: 标题\n---\n正文\n")
    assert document.title == "标题"
    assert document.metadata["n"] == number


def test_text_from_memory_has_its_newlines_normalised() -> None:
    assert make_document("a", "一\r\nb\rc").text == "一\nb\nc"


def test_text_from_memory_holds_no_half_surrogate_pair() -> None:
    assert make_document("a", "a\ud83db").text == "a?b"


def test_a_path_from_memory_holds_no_half_surrogate_pair() -> None:
    assert make_document("a\udcff.md", "x").path == r"a\udcff.md"


def test_the_content_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes("机器学习的笔记\r\n".encode("gb18030"))
    (tmp_path / "b.md").write_bytes("机器学习的笔记\n".encode())
    documents, _ = load(tmp_path)
    assert documents["a.md"].text == documents["b.md"].text
    assert documents["a.md"].content_hash != documents["b.md"].content_hash
