"""Sentence vectors beside an index: what gets one, upkeep, damage, and what they do to a ranking."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ragkit.api import Index
from ragkit.index.repair import Repair, repair_index, verify_index
from ragkit.index.sentences import FILE, SentenceVectors, sentences_of
from ragkit.models.cache import CachedEmbeddings, KeyValueFile, is_local
from ragkit.models.embeddings import ModelIdentity, Progress, SentenceTransformerModel, Vectors
from ragkit.opening import index_settings
from ragkit.retrieval.fusion import FusionSettings, fuse
from ragkit.settings import Settings
from ragkit.values import Chunk

WORDS = ("apple", "banana", "cherry", "damson", "elder", "fig")


class Counting:
    """One dimension for each of `WORDS` and one for everything else; counts the texts it embeds."""

    name = "counting"
    temperature: float | None = 0.01
    relevance_floor: float | None = None
    identity = ModelIdentity("counting", "1", len(WORDS) + 1, "")

    def __init__(self) -> None:
        self.texts: list[str] = []

    def _vector(self, text: str) -> Vectors:
        vector = np.array([text.lower().count(word) for word in WORDS] + [0.2], dtype=np.float32)
        return vector / np.linalg.norm(vector)

    def encode_documents(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        self.texts.extend(texts)
        return np.stack([self._vector(text) for text in texts])

    def encode_query(self, text: str) -> Vectors:
        return self._vector(text)


def chunk(text: str) -> Chunk:
    return Chunk(id="a" * 16, document="a.md", heading=(), text=text, start=0, end=len(text), start_line=1, end_line=1)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "mixed.md").write_text("# M\n\nThe apple is red. The banana is yellow. The fig is blue.\n", "utf-8")
    (folder / "even.md").write_text("# E\n\nThe apple and the cherry and the damson.\n", "utf-8")
    return folder


def opened(notes: Path, tmp_path: Path, model: Counting, **settings: object) -> Index:
    chosen = {"sentence_vectors": "on", "question_centring": 0.0, "language_correction": 0.0, **settings}
    return Index.open(notes, tmp_path / "index", embedding=model, settings=Settings(home=tmp_path / "home", **chosen))  # type: ignore[arg-type]


def test_headings_fences_rules_and_scraps_get_no_vector() -> None:
    text = "# A heading of some length\n\nThe first sentence. 第二句话也够长了。\n\n```python\nprint('a line of code')\n```\n| a | b |\n|---|---|\nOk.\n"
    assert sentences_of(chunk(text)) == [
        "The first sentence.",
        "第二句话也够长了。",
        "print('a line of code')",
        "| a | b |",
    ]


def test_the_best_sentence_is_found_to_eight_bits(notes: Path, tmp_path: Path) -> None:
    model = Counting()
    index = opened(notes, tmp_path, model)
    question = model.encode_query("banana")
    hits = {hit.document: hit for hit in index.search("banana", k=2)}
    exact = float(question @ model._vector("The banana is yellow."))
    assert hits["mixed.md"].sentence == pytest.approx(exact, abs=0.005)
    assert index.search("banana", k=1, mode="dense")[0].sentence is None


def test_a_fact_among_others_beats_a_chunk_that_is_vaguely_near() -> None:
    dense = [(0, 0.35), (1, 0.34)]
    best = {0: 0.30, 1: 0.40}
    settings = FusionSettings(temperature=0.01, sentences=0.4)
    assert [c.ordinal for c in fuse(dense, [], {}, settings)] == [0, 1]
    ranked = fuse(dense, [], {}, settings, best)
    assert [c.ordinal for c in ranked] == [1, 0]
    assert ranked[0].score == pytest.approx((0.6 * 0.34 + 0.4 * 0.40) / 0.01)
    assert ranked[0].sentence == 0.40
    assert [c.ordinal for c in fuse(dense, [], {}, FusionSettings(temperature=0.01, sentences=0.0), best)] == [0, 1]


def test_a_chunk_without_sentences_moves_with_the_others() -> None:
    dense = [(0, 0.35), (1, 0.34), (2, 0.33)]
    settings = FusionSettings(temperature=0.01, sentences=0.5)
    ranked = fuse(dense, [], {}, settings, {0: 0.25, 2: 0.23})
    assert [c.ordinal for c in ranked] == [0, 1, 2]
    assert ranked[1].score == pytest.approx((0.34 - 0.05) / 0.01)
    assert ranked[1].sentence is None


def test_a_candidate_of_the_sparse_leg_alone_brings_its_sentence() -> None:
    settings = FusionSettings(temperature=0.01, sentences=0.5, weight=0.0)
    ranked = fuse([(0, 0.35), (1, 0.31)], [(2, 4.0)], {2: 0.5}, settings, {0: 0.30, 1: 0.30, 2: 0.45})
    assert [c.ordinal for c in ranked] == [2, 0, 1]
    assert ranked[0].score == pytest.approx((0.5 * 0.31 + 0.5 * 0.45) / 0.01)


def test_only_new_chunks_are_embedded_and_gone_ones_leave(notes: Path, tmp_path: Path) -> None:
    model = Counting()
    opened(notes, tmp_path, model).close()
    assert "The banana is yellow." in model.texts
    model.texts.clear()
    opened(notes, tmp_path, model).close()
    assert model.texts == []
    (notes / "even.md").unlink()
    (notes / "new.md").write_text("# N\n\nThe elder is black.\n", "utf-8")
    index = opened(notes, tmp_path, model)
    assert sum("banana" in text for text in model.texts) == 0
    assert "The elder is black." in model.texts
    index.close()
    with sqlite3.connect(tmp_path / "index" / FILE) as db:
        assert db.execute("SELECT count(*) FROM entries").fetchone()[0] == 2 + 1, (
            "a row for each chunk, one that says done"
        )


def test_an_interrupted_run_goes_on_where_it_stopped(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragkit.index.sentences._BATCH", 1)

    class Stops(Counting):
        def encode_documents(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
            if any("banana" in text and "#" not in text for text in texts):
                raise KeyboardInterrupt
            return super().encode_documents(texts, progress)

    index = opened(notes, tmp_path, Counting(), sentence_vectors="off")
    with pytest.raises(KeyboardInterrupt):
        SentenceVectors(tmp_path / "index", Stops()).update(index._engine)
    model = Counting()
    vectors = SentenceVectors(tmp_path / "index", model)
    seen: list[tuple[int, int]] = []
    assert vectors.update(index._engine, lambda done, total: seen.append((done, total))) == 1
    assert seen == [(1, 1)]
    assert not any("damson" in text for text in model.texts)
    assert vectors.update(index._engine) == 0


def damage_rows(folder: Path, which: str = "") -> None:
    """Flip a bit in the rows of each chunk, or of one."""
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db, db:
        for key, value in db.execute("SELECT key, value FROM entries").fetchall():
            if key.endswith(which) and not key.endswith("-done"):
                hurt = value[:9] + bytes([value[9] ^ 1]) + value[10:]
                db.execute("UPDATE entries SET value = ? WHERE key = ?", (hurt, key))


def test_a_damaged_row_is_left_out_and_told_of_once(
    notes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened(notes, tmp_path, Counting()).close()
    damage_rows(tmp_path / "index")
    index = Index.open(
        None, tmp_path / "index", embedding=Counting(), settings=Settings(home=tmp_path, sentence_vectors="on")
    )
    for _ in range(3):
        assert [hit.sentence for hit in index.search("banana", k=2)] == [None, None]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "ragkit index --repair" in caplog.text


def test_a_damaged_row_is_embedded_again_when_the_index_is_next_brought_up_to_date(notes: Path, tmp_path: Path) -> None:
    index = opened(notes, tmp_path, Counting())
    expected = [(hit.document, hit.sentence) for hit in index.search("banana", k=2)]
    [mixed] = index.chunks("mixed.md")
    index.close()
    damage_rows(tmp_path / "index", mixed.id)
    model = Counting()
    index = opened(notes, tmp_path, model)
    assert set(sentences_of(mixed)) <= set(model.texts)
    assert not any("damson" in text for text in model.texts), "whole rows stay"
    assert [(hit.document, hit.sentence) for hit in index.search("banana", k=2)] == expected
    assert verify_index(tmp_path / "index") == []


@pytest.mark.parametrize("how", ["rows", "pages", "no database"])
def test_damaged_sentence_vectors_are_reported_and_repaired(how: str, notes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    index = opened(notes, tmp_path, Counting())
    expected = [(hit.document, hit.sentence) for hit in index.search("banana", k=2)]
    index.close()
    assert verify_index(folder) == []
    data = (folder / FILE).read_bytes()
    if how == "rows":
        damage_rows(folder)
    elif how == "pages":
        (folder / FILE).write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    else:
        (folder / FILE).write_bytes(b"no database at all" * 100)
    before = {file.name for file in folder.iterdir()}
    [found] = verify_index(folder)
    assert found.path == FILE and "search works without" in found.problem
    assert {file.name for file in folder.iterdir()} == before, "a check leaves nothing behind"
    done = repair_index(folder, Counting(), index_settings(Settings(home=tmp_path)))
    assert done.damaged == (found,)
    assert done.embedded_chunks == 2
    assert [name.startswith(f"{FILE}.damaged-") for name in done.kept] == [True] * (how != "rows")
    assert verify_index(folder) == []
    assert [
        (hit.document, hit.sentence) for hit in opened(notes, tmp_path, Counting()).search("banana", k=2)
    ] == expected
    assert repair_index(folder, Counting(), index_settings(Settings(home=tmp_path))) == Repair()


def test_a_file_that_is_no_database_costs_nothing_but_the_sentences(
    notes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened(notes, tmp_path, Counting(), sentence_vectors="off").close()
    (tmp_path / "index" / FILE).write_bytes(b"no database at all, but long enough to be looked at" * 20)
    index = opened(notes, tmp_path, Counting())
    assert index.search("banana", k=1)[0].sentence is None
    assert FILE in caplog.text


def test_auto_leaves_endpoints_and_wrapped_embedders_alone(notes: Path, tmp_path: Path) -> None:
    opened(notes, tmp_path, Counting(), sentence_vectors="auto").close()
    assert not (tmp_path / "index" / FILE).exists()


def test_rows_of_another_model_are_not_used(notes: Path, tmp_path: Path) -> None:
    index = opened(notes, tmp_path, Counting())
    other = Counting()
    other.identity = ModelIdentity("counting", "2", len(WORDS) + 1, "")  # type: ignore[misc]
    chunks = [c for path in index.documents() for c in index.chunks(path)]
    assert SentenceVectors(tmp_path / "index", other).best(other.encode_query("fig"), chunks) == {}
    assert len(SentenceVectors(tmp_path / "index", Counting()).best(other.encode_query("fig"), chunks)) == 2


def test_a_model_on_this_machine_is_local_behind_a_cache_too(tmp_path: Path) -> None:
    file = KeyValueFile(tmp_path / "cache.sqlite")
    model = SentenceTransformerModel("some/name")
    assert is_local(model)
    assert is_local(CachedEmbeddings(model, file))
    assert not is_local(CachedEmbeddings(Counting(), file))
