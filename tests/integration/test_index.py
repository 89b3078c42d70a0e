"""The index on disk: what is found, what is embedded again, what is refused."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import pytest
from index_kit import NOTES, QUERIES, SECTION, answers, open_and_ask, segments, write

from ragkit.api import Index, default_folder, remember_notes, remembered_notes
from ragkit.errors import ConfigError, IndexMismatchError, IngestError, UsageError
from ragkit.index import commit, fingerprint
from ragkit.index.manifest import MANIFEST
from ragkit.ingest.loader import make_document
from ragkit.models.parallel import PAIRS
from ragkit.retrieval.retriever import MODES
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder

# ---------------------------------------------------------------- building and updating


def test_a_new_index_holds_every_note(notes: Path, folder: Path) -> None:
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    report = index.report
    assert report is not None
    assert (report.documents, report.added, report.updated, report.deleted, report.unchanged) == (3, 3, 0, 0, 0)
    assert report.chunks == len(index) == report.embedded_chunks
    assert set(index.documents()) == set(NOTES)
    assert index.search("注意力的复杂度", k=1)[0].document == "attention.md"


def test_an_unchanged_second_open_embeds_nothing(notes: Path, folder: Path) -> None:
    before = open_and_ask(folder, notes)
    embedder = HashingEmbedder()
    index = Index.open(notes, folder, embedding=embedder)
    assert index.report is not None
    assert (index.report.unchanged, index.report.embedded_chunks) == (3, 0)
    assert answers(index) == before
    assert embedder.documents_embedded == 0


def test_an_unchanged_second_open_writes_nothing(notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)
    manifest, before = (folder / MANIFEST).read_bytes(), segments(folder)
    open_and_ask(folder, notes)
    assert ((folder / MANIFEST).read_bytes(), segments(folder)) == (manifest, before)


def test_a_touched_file_is_not_embedded_again(notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)
    os.utime(notes / "rnn.md", (1, 1))
    embedder = HashingEmbedder()
    report = Index.open(notes, folder, embedding=embedder).report
    assert report is not None
    assert (report.unchanged, report.updated, embedder.documents_embedded) == (3, 0, 0)


def test_a_changed_file_re_embeds_only_its_changed_chunks(notes: Path, folder: Path) -> None:
    sections = [f"## 第{i}节\n\n{SECTION.format(i, i)}" for i in range(5)]
    write(notes, {"long.md": "\n\n".join(sections)})
    open_and_ask(folder, notes)
    sections[2] = sections[2].replace("说明", "解释")
    write(notes, {"long.md": "\n\n".join(sections)})
    embedder = HashingEmbedder()
    index = Index.open(notes, folder, embedding=embedder)
    assert index.report is not None
    assert (index.report.updated, index.report.unchanged, index.report.embedded_chunks) == (1, 3, 1)
    assert embedder.documents_embedded == 1
    assert index.search("解释", k=1, mode="sparse")[0].heading == ("第2节",)


def test_a_renamed_file_is_not_embedded_again(notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)
    (notes / "rnn.md").rename(notes / "recurrent.md")
    embedder = HashingEmbedder()
    report = Index.open(notes, folder, embedding=embedder).report
    assert report is not None
    assert (report.added, report.deleted, report.unchanged, embedder.documents_embedded) == (1, 1, 2, 0)


def test_notes_of_one_size_and_time_that_swap_their_names_are_noticed(notes: Path, folder: Path) -> None:
    for name, text in (("a.md", "The red box holds apples.\n"), ("b.md", "The blue box holds pears.\n")):
        (notes / name).write_text(text, encoding="utf-8")
        os.utime(notes / name, (1, 1))
    assert (notes / "a.md").stat().st_size == (notes / "b.md").stat().st_size
    Index.open(notes, folder, embedding=HashingEmbedder()).close()
    (notes / "a.md").rename(notes / "c")
    (notes / "b.md").rename(notes / "a.md")
    (notes / "c").rename(notes / "b.md")
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    assert (index.report.updated, index.search("blue box")[0].document) == (2, "a.md")


@pytest.mark.parametrize("mode", MODES)
def test_a_deleted_file_is_gone_from_this_leg(notes: Path, folder: Path, mode: str) -> None:
    open_and_ask(folder, notes)
    (notes / "deep" / "lora.md").unlink()
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    assert index.report is not None
    assert index.report.deleted == 1
    hits = index.search("LoRA 的 low-rank 注意力", k=20, mode=mode)  # type: ignore[arg-type]
    assert hits
    assert "deep/lora.md" not in {hit.document for hit in hits}
    assert index.document("deep/lora.md") is None


def test_a_file_that_became_unreadable_is_reported_and_gone(notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)
    (notes / "rnn.md").write_bytes(bytes(500))
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    assert index.report is not None
    assert [item.path for item in index.report.skipped] == ["rnn.md"]
    assert index.document("rnn.md") is None


def test_what_was_indexed_from_a_folder_that_cannot_be_read_now_stays(
    notes: Path, folder: Path, unprivileged: None
) -> None:
    open_and_ask(folder, notes)
    write(notes, {"new.md": "# New\n\nzebra\n"})
    (notes / "deep").chmod(0)
    try:
        with contextlib.closing(Index.open(notes, folder, embedding=HashingEmbedder())) as index:
            report = index.report
            assert report is not None
            assert (report.added, report.deleted, report.unchanged) == (1, 0, len(NOTES))
            assert [(item.path, item.reason) for item in report.skipped] == [("deep", "Permission denied")]
            assert index.search("low-rank matrices", k=1)[0].document == "deep/lora.md"
    finally:
        (notes / "deep").chmod(0o700)
    (notes / "deep" / "lora.md").unlink()
    with contextlib.closing(Index.open(notes, folder, embedding=HashingEmbedder())) as index:
        assert index.report is not None and index.report.deleted == 1


def test_notes_that_vanish_altogether_leave_the_index_as_it_was(notes: Path, folder: Path) -> None:
    before = open_and_ask(folder, notes)
    for file in list(notes.rglob("*.md")):
        file.unlink()
    with pytest.raises(IngestError, match="No readable note"):
        Index.open(notes, folder, embedding=HashingEmbedder())
    assert open_and_ask(folder) == before


WORDS = "梯度 注意力 训练 LSTM GRU rank matrix 损失 zebra 编码 token 缓存".split()


def edit(chance: random.Random, root: Path) -> None:
    """One edit of the kind that people make: add, remove, rename, rewrite or append."""
    files = sorted(root.rglob("*.md"))

    def section() -> str:
        words = " ".join(chance.choices(WORDS, k=6))
        return f"## {chance.choice(WORDS)}\n\n{SECTION.format(words, chance.randint(0, 3))}\n\n"

    what = chance.choice(["add", "add", "append", "prepend", "cut", "remove", "rename", "twin"])
    if what == "add" or len(files) < 2:
        write(root, {f"{chance.choice('abc')}/{chance.randint(0, 30)}.md": "".join(section() for _ in range(3))})
        return
    file = chance.choice(files)
    text = file.read_text(encoding="utf-8")
    if what == "append":
        write(root, {str(file.relative_to(root)): text + section()})
    elif what == "prepend":
        write(root, {str(file.relative_to(root)): section() + text})
    elif what == "cut":
        write(root, {str(file.relative_to(root)): text[: len(text) // 2] + "完"})
    elif what == "remove":
        file.unlink()
    elif what == "rename":
        file.rename(file.with_name(f"r{chance.randint(0, 30)}.md"))
    else:
        write(root, {str(file.relative_to(root)).replace(".md", "-twin.md"): text})


@pytest.mark.parametrize("seed", range(8))
def test_an_index_that_followed_random_edits_equals_one_built_at_once(seed: int, notes: Path, folder: Path) -> None:
    chance = random.Random(seed)
    open_and_ask(folder, notes)
    for step in range(6):
        for _ in range(chance.randint(1, 3)):
            edit(chance, notes)
        followed = open_and_ask(folder, notes)
        assert any(followed)
        assert followed == open_and_ask(folder.with_name(f"fresh-{step}"), notes)


def test_the_report_counts_added_updated_deleted_and_unchanged_documents(notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)
    write(notes, {"new.md": "新的笔记", "rnn.md": "改过的笔记"})
    (notes / "attention.md").unlink()
    report = Index.open(notes, folder, embedding=HashingEmbedder()).report
    assert report is not None
    assert (report.documents, report.added, report.updated, report.deleted, report.unchanged) == (3, 1, 1, 1, 1)


def test_progress_counts_up_to_the_chunks_that_are_embedded(notes: Path, folder: Path) -> None:
    told: list[tuple[int, int]] = []
    index = Index.open(notes, folder, embedding=HashingEmbedder(), progress=lambda *at: told.append(at))
    assert told[0] == (0, len(index))
    assert told[-1] == (len(index), len(index))


def test_notes_without_any_chunk_are_searched_without_a_hit(tmp_path: Path, folder: Path) -> None:
    notes = write(tmp_path / "n", {"a.md": "---\ntitle: 只有元数据\n---\n"})
    assert open_and_ask(folder, notes) == [[] for _ in range(len(QUERIES) * len(MODES))]


@pytest.mark.filterwarnings("error")
def test_notes_without_any_chunk_are_unchanged_the_second_time(tmp_path: Path, folder: Path) -> None:
    notes = write(tmp_path / "n", {"a.md": "---\ntitle: 只有元数据\n---\n"})
    open_and_ask(folder, notes)
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    assert index.report is not None
    assert (index.report.added, index.report.unchanged) == (0, 1)
    assert index.language in {"zh", "en"}


def test_what_was_guessed_is_reported_as_long_as_the_note_is_there(notes: Path, folder: Path) -> None:
    (notes / "latin.md").write_bytes("Das Gedächtnis größerer Modelle wächst natürlich.".encode("latin-1"))
    for _ in range(2):
        index = Index.open(notes, folder, embedding=HashingEmbedder())
        assert index.report is not None
        [warned] = index.report.warnings
        assert warned.path == "latin.md"
        assert "Windows-1252" in warned.reason
    assert index.search("Gedächtnis", k=1, mode="sparse")[0].document == "latin.md"


def test_an_index_inside_its_notes_does_not_index_itself(notes: Path) -> None:
    for folder in (notes / "ix", notes):
        open_and_ask(folder, notes)
        index = Index.open(notes, folder, embedding=HashingEmbedder())
        assert set(index.documents()) == set(NOTES)


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on POSIX only")
def test_notes_that_are_named_twice_are_indexed_once(
    notes: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.closing(Index.open([notes, notes, notes / "deep"], folder, embedding=HashingEmbedder())) as index:
        assert set(index.documents()) == set(NOTES)
    assert caplog.messages == [
        f"{notes} was named twice; it is indexed once.",
        f"{notes / 'deep'} is within {notes}; it is indexed once.",
    ]


def test_folders_whose_names_are_no_utf8_work(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path)
    notes, folder = (Path(os.fsdecode(raw + name)) for name in (b"/\xb1\xca\xbc\xc7", b"/idx_\xb1"))
    write(notes, NOTES)
    before = open_and_ask(folder, notes)
    assert open_and_ask(folder, notes) == open_and_ask(folder) == before
    remember_notes(load_settings(), [notes])
    assert remembered_notes(load_settings()) == [notes.resolve()]
    with contextlib.closing(Index.open(notes, embedding=HashingEmbedder())) as index:
        assert answers(index) == before


def test_two_documents_of_one_path_are_refused_before_embedding(folder: Path) -> None:
    embedder = HashingEmbedder()
    with pytest.raises(IngestError, match=r"'a\.md'.*path of its own"):
        Index.from_documents([make_document("a.md", "x y"), make_document("a.md", "z w")], folder, embedding=embedder)
    assert embedder.documents_embedded == 0
    assert not folder.exists()


def test_a_new_index_measures_the_language_axis_once(notes: Path, folder: Path) -> None:
    embedder = HashingEmbedder()
    index = Index.open(notes, folder, embedding=embedder)
    assert embedder.documents_embedded == len(index) + 2 * len(PAIRS)


def test_documents_in_memory_are_indexed_like_files(tmp_path: Path, notes: Path, folder: Path) -> None:
    documents = [make_document(path, text) for path, text in sorted(NOTES.items())]
    index = Index.from_documents(documents, tmp_path / "memory", embedding=HashingEmbedder())
    assert answers(index) == open_and_ask(folder, notes)


def test_an_index_lives_below_the_home_under_the_name_of_its_notes(notes: Path, home: Path) -> None:
    index = Index.open(notes, embedding=HashingEmbedder())
    assert index.folder == default_folder(load_settings(), [notes])
    assert index.folder.parent == home / "indexes"
    assert index.folder.name.startswith("notes-")


# ---------------------------------------------------------------- searching


def test_a_hit_is_the_slice_of_its_document(notes: Path, folder: Path) -> None:
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    for hit in index.search("LSTM 的缺点", k=10):
        document = index.document(hit.document)
        assert document is not None
        assert document.text[hit.start : hit.end] == hit.text
        assert document.text.split("\n")[hit.start_line - 1] == hit.text.split("\n")[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("copies", [8, 120])
def test_copies_of_a_note_do_not_crowd_out_the_others(notes: Path, folder: Path, mode: str, copies: int) -> None:
    write(notes, {f"copy/{i:03}.md": "LSTM GRU 的区别。LSTM GRU\n" for i in range(copies)})
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    hits = index.search("LSTM 和 GRU 的区别", k=3, mode=mode)  # type: ignore[arg-type]
    texts = [hit.text for hit in hits]
    assert hits[0].document == "copy/000.md"
    assert any(hit.document == "rnn.md" for hit in hits)
    behind = [hit.document.startswith("copy/") for hit in hits[1:]]
    assert behind == sorted(behind)
    assert len(texts) == 3


def test_a_hit_says_which_leg_gave_it_which_rank(notes: Path, folder: Path) -> None:
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    [sparse] = index.search("GRU", k=5, mode="sparse")
    assert sparse.legs["dense"] is None
    assert sparse.legs["sparse"] is not None
    assert (sparse.legs["sparse"].rank, sparse.legs["sparse"].score) == (1, sparse.score)
    hybrid = next(hit for hit in index.search("GRU", k=5) if hit.document == "rnn.md")
    assert hybrid.legs["sparse"] == sparse.legs["sparse"]
    assert hybrid.legs["dense"] is not None
    assert hybrid.coverage == 1.0


@pytest.mark.parametrize(
    ("query", "k", "mode", "message"),
    [("", 5, "hybrid", "empty"), (" \n", 5, "hybrid", "empty"), ("x", 0, "hybrid", "at least 1"), ("x", 5, "fuzzy", "hybrid, dense, sparse"),
     ("x" * 20_001, 5, "hybrid", "20,001 characters")],
)  # fmt: skip
def test_a_search_that_cannot_be_meant_is_refused(
    notes: Path, folder: Path, query: str, k: int, mode: str, message: str
) -> None:
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    with pytest.raises(UsageError, match=message):
        index.search(query, k=k, mode=mode)  # type: ignore[arg-type]


def test_of_a_long_question_its_ends_are_embedded_and_all_words_searched_for(notes: Path, folder: Path) -> None:
    class Listening(HashingEmbedder):
        heard: list[str]

        def embed_query(self, text: str) -> list[float]:
            self.heard.append(text)
            return super().embed_query(text)

    model = Listening()
    model.heard = []
    index = Index.open(notes, folder, embedding=model)
    middle = "low-rank matrices of LoRA"
    question = "BEGIN " + "x " * 4_000 + middle + " y" * 4_000 + " END"
    model.heard.clear()
    assert index.search(question)[0].document == index.search(middle, mode="sparse")[0].document
    assert max(map(len, model.heard)) <= 3_001 and any(t.startswith("BEGIN") and t.endswith("END") for t in model.heard)
    assert [hit.document for hit in index.search_many([question])[0]] == [h.document for h in index.search(question)]
    assert max(map(len, model.heard)) <= 3_001


def test_passages_at_a_line_are_the_chunk_there_and_those_behind(notes: Path, folder: Path) -> None:
    write(notes, {"long.md": "\n\n".join(f"## 第{i}节\n\n{SECTION.format(i, i)}" for i in range(4))})
    index = Index.open(notes, folder, embedding=HashingEmbedder())
    assert [hit.heading[0] for hit in index.passages_at("long.md", 6)] == ["第1节", "第2节"]
    assert [hit.heading[0] for hit in index.passages_at("long.md", 10_000)] == ["第3节"]
    assert index.passages_at("gone.md", 1) == []


async def test_the_async_twins_return_the_same_hits(notes: Path, folder: Path) -> None:
    index = await Index.aopen(notes, folder, embedding=HashingEmbedder())
    assert await index.asearch("LSTM", k=3) == index.search("LSTM", k=3)


# ---------------------------------------------------------------- refusing what does not fit


def test_another_model_is_refused_with_the_remedy(notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)
    with pytest.raises(IndexMismatchError, match=r"hashing@1.*other@1.*--rebuild"):
        Index.open(notes, folder, embedding=HashingEmbedder("other"))


def test_another_dimension_is_refused(notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)
    with pytest.raises(IndexMismatchError, match=r"hashing@1/64.*hashing@1/32"):
        Index.open(None, folder, embedding=HashingEmbedder(dimension=32))


def test_other_chunk_sizes_are_refused_with_the_remedy(
    notes: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_and_ask(folder, notes)
    monkeypatch.setenv("RAGKIT_CHUNK_TARGET", "200")
    with pytest.raises(IndexMismatchError, match=r"chunker.*--rebuild"):
        open_and_ask(folder, notes)


def test_another_analyser_is_refused_with_the_remedy(
    notes: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_and_ask(folder, notes)
    monkeypatch.setattr(fingerprint, "ANALYSER_VERSION", "zen-99")
    with pytest.raises(IndexMismatchError, match=r"analyser zen-5.*zen-99.*--rebuild"):
        open_and_ask(folder, notes)


def test_rebuilding_under_other_settings_embeds_nothing_that_the_same_model_embedded(
    notes: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = open_and_ask(folder, notes)
    monkeypatch.setattr(fingerprint, "ANALYSER_VERSION", "zen-99")
    monkeypatch.setattr(commit, "ANALYSER_VERSION", "zen-99")
    embedder = HashingEmbedder()
    with contextlib.closing(Index.open(notes, folder, embedding=embedder, rebuild=True)) as index:
        assert index.report is not None
        assert index.report.embedded_chunks == 0
        assert answers(index) == expected


def test_rebuilding_takes_another_model(notes: Path, folder: Path) -> None:
    open_and_ask(folder, notes)
    embedder = HashingEmbedder("other", dimension=32)
    index = Index.open(notes, folder, embedding=embedder, rebuild=True)
    assert index.manifest["model"] == "other"
    assert embedder.documents_embedded > len(index)
    assert index.search("LSTM", k=1)[0].document == "rnn.md"


def test_neither_notes_nor_index_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="Neither"):
        Index.open(embedding=HashingEmbedder())


def test_the_setting_faiss_factory_decides_the_type_of_new_segments(
    notes: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = open_and_ask(folder.with_name("flat"), notes)
    monkeypatch.setenv("RAGKIT_FAISS_FACTORY", "SQ8")
    with contextlib.closing(Index.open(notes, folder, embedding=HashingEmbedder())) as index:
        assert (folder / segments(folder)[0] / "vectors.faiss").is_file()
        assert answers(index) == expected
    monkeypatch.setenv("RAGKIT_FAISS_FACTORY", "Nonsense")
    with pytest.raises(ConfigError, match="Nonsense"):
        Index.open(notes, folder, embedding=HashingEmbedder(), rebuild=True)
    assert open_and_ask(folder) == expected


@pytest.mark.parametrize("factory", ["IVF8,Flat", "PQ8x4fs"])
def test_a_segment_too_small_for_the_faiss_factory_compares_everything_until_it_is_merged(
    factory: str, notes: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(notes, {f"n{i}.md": f"# Note {i}\n\nText {i} about thing {i * 7}.\n" for i in range(40)})
    settings = load_settings(faiss_factory=factory)
    with contextlib.closing(Index.open(notes, folder, embedding=HashingEmbedder(), settings=settings)) as index:
        index.add_documents([make_document("new.md", "# New\n\nThe zebra is new.")])
        kinds = [part.segment.vectors.kind for part in index._engine.parts]  # type: ignore[attr-defined]
        assert kinds == [factory, "Flat"]
        assert index.search("zebra", k=1)[0].document == "new.md"
        index.compact()
        assert [part.segment.vectors.kind for part in index._engine.parts] == [factory]  # type: ignore[attr-defined]
        assert index.search("zebra", k=1)[0].document == "new.md"
    assert capfd.readouterr().err == "", "FAISS says nothing about clusterings of few rows"


def test_a_faiss_factory_that_no_rows_can_train_is_refused_however_small_the_segment(notes: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="PCA9999"):
        Index.open(notes, folder, embedding=HashingEmbedder(), settings=load_settings(faiss_factory="PCA9999,Flat"))
