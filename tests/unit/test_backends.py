"""What stands above the databases: commits that a kill cannot halve, readers that see one generation, exact scores."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from memory_store import Killed, MemoryStore, Shelf

from ragkit.errors import IndexFailure, IndexLockedError, IndexMismatchError, IngestError
from ragkit.index.backends import engine as engine_module
from ragkit.index.backends import sending as sending_module
from ragkit.index.backends import store as store_module
from ragkit.index.backends import writer as writer_module
from ragkit.index.backends.engine import RemoteEngine, stored_weight, weight_bound
from ragkit.index.backends.records import Head, in_parts, pack_axis, read_head, unpack_axis
from ragkit.index.backends.store import NO_TERM, ordinal_of, place_of, term_id, unreachable, without_credentials
from ragkit.index.backends.writer import update_store
from ragkit.index.bm25 import BM25Settings
from ragkit.index.engine import Engine, Filter
from ragkit.index.language_axis import LanguageAxis
from ragkit.index.snapshot import Snapshot
from ragkit.index.writer import IndexSettings, update_index
from ragkit.models.embeddings import WrappedEmbedder
from ragkit.testing import HashingEmbedder
from ragkit.text.tokens import query_terms
from ragkit.values import IndexReport

SETTINGS = IndexSettings()
QUESTIONS = ("cache keys tokens", "注意力的复杂度", "gradient training batch", "number 3 of the note")
FIRST = {
    "a.md": "# Cache\n\nThe cache keeps the keys of earlier tokens.\n",
    "b.md": "# 注意力\n\n注意力的复杂度是序列长度的平方。\n",
    "c.md": "# Training\n\n" + "\n\n".join(f"## Number {i}\n\n{'The batch has a gradient. ' * 25}" for i in range(3)),
    "d.md": "# Cache\n\nThe cache keeps the keys of earlier tokens.\n",
}
SECOND = {
    "a.md": FIRST["a.md"] + "\nTraining changes the keys.\n",
    "c.md": "# Training\n\n"
    + "\n\n".join(f"## Number {i}\n\n{'The batch has a gradient. ' * 25}" for i in (0, 2, 4, 5)),
    "d.md": FIRST["d.md"],
    "e.md": "# 复杂度\n\n" + "训练的复杂度。" * 60,
}


def write(root: Path, files: dict[str, str]) -> Path:
    """Make the folder hold these notes and no others."""
    root.mkdir(exist_ok=True)
    for old in root.iterdir():
        if old.name not in files:
            old.unlink()
    for name, text in files.items():
        if not (root / name).is_file() or (root / name).read_text(encoding="utf-8") != text:
            (root / name).write_text(text, encoding="utf-8")
    return root


def update(store: MemoryStore, notes: Path, embedder: HashingEmbedder | None = None, **options: bool) -> IndexReport:
    model = WrappedEmbedder(embedder or HashingEmbedder())
    return update_store(store, [notes], model, SETTINGS, folder=notes.parent / "lock", **options)


def open_engine(shelf: Shelf, max_hits: int = 10_000) -> RemoteEngine:
    store = MemoryStore(shelf, max_hits=max_hits)
    head = read_head(store)
    assert head is not None and head.generation
    return RemoteEngine(store, head, SETTINGS.bm25)


def embedded(notes: Path, folder: Path) -> Engine:
    update_index(folder, [notes], WrappedEmbedder(HashingEmbedder()), SETTINGS, rebuild=True)
    snapshot = Snapshot.open(folder)
    assert snapshot is not None
    return snapshot


def told(engine: Engine, n: int = 100, *, dense: bool = True) -> list[object]:
    """Everything an engine says about the questions, without ordinals."""
    found: list[object] = [len(engine), engine.titles(), engine.chinese_share(), engine.like("gradent")]
    for question in QUESTIONS:
        terms = query_terms(question)
        ranked = engine.sparse_search(terms, n)
        found.append([(engine.chunk(ordinal).id, score) for ordinal, score in ranked])
        found.append(engine.coverage(terms, [ordinal for ordinal, _ in ranked]))
        found.append([engine.idf(term) for term in terms])
        if dense:
            vector = WrappedEmbedder(HashingEmbedder()).encode_query(question)
            near = [(engine.chunk(ordinal).id, round(score, 5)) for ordinal, score in engine.dense_search(vector, n)]
            found.append(sorted(near, key=lambda hit: (-hit[1], hit[0])))
    for path in ("a.md", "b.md", "c.md", "d.md", "e.md"):
        found.extend([engine.document(path), [chunk for _, chunk in engine.chunks_of(path)]])
    return found


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return write(tmp_path / "notes", FIRST)


def test_a_kill_at_any_write_leaves_the_old_generation_and_the_next_run_finishes(notes: Path, tmp_path: Path) -> None:
    shelf = Shelf()
    update(MemoryStore(shelf), write(notes, {**FIRST, "a.md": "# Before\n\nA version to be swept away.\n"}))
    update(MemoryStore(shelf), write(notes, FIRST))
    old = told(open_engine(shelf))
    assert old == told(embedded(notes, tmp_path / "old"))
    write(notes, SECOND)
    new = told(embedded(notes, tmp_path / "new"))
    assert old != new
    counted = MemoryStore(copy.deepcopy(shelf))
    update(counted, notes)
    assert told(open_engine(counted.shelf)) == new
    kinds = set()
    for at in range(1, counted.writes + 1):
        broken = copy.deepcopy(shelf)
        reader = open_engine(broken)
        with pytest.raises(Killed):
            update(MemoryStore(broken, dies_at=at), notes)
        seen = told(open_engine(broken))
        assert seen in (old, new), f"killed before write {at} of {counted.writes}"
        kinds.add(seen == new)
        assert told(reader) == old, f"an earlier reader, killed before write {at}"
        update(MemoryStore(broken), notes)
        assert told(open_engine(broken)) == new, f"finished after a kill before write {at}"
    assert kinds == {True, False}


def test_a_killed_first_run_shows_nothing_and_its_documents_are_not_embedded_again(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_SENT_AT_ONCE", 1)
    everything = HashingEmbedder()
    counted = MemoryStore(Shelf())
    update(counted, notes, everything)
    done = told(open_engine(counted.shelf))
    sent = []
    for at in range(2, counted.writes, 3):
        shelf = Shelf()
        first, second = HashingEmbedder(), HashingEmbedder()
        with pytest.raises(Killed):
            update(MemoryStore(shelf, dies_at=at), notes, first)
        head = read_head(MemoryStore(shelf))
        if head is not None and head.generation:
            continue  # killed after the commit
        complete = sum(1 for key in shelf.records if key.startswith("d-"))
        update(MemoryStore(shelf), notes, second)
        assert told(open_engine(shelf)) == done
        sent.append((complete, second.documents_embedded))
    parallel = everything.documents_embedded - 6  # texts that the language axis is measured with
    assert max(complete for complete, _ in sent) == len(FIRST)
    assert [embedded for complete, embedded in sent if complete == len(FIRST)] == [0] * sum(c == 4 for c, _ in sent)
    assert all(embedded < parallel for complete, embedded in sent if complete >= 1)


def test_what_changed_after_a_kill_is_not_mixed_with_what_was_sent_before(notes: Path, tmp_path: Path) -> None:
    shelf = Shelf()
    update(MemoryStore(shelf), notes)
    counted = MemoryStore(copy.deepcopy(shelf))
    write(notes, SECOND)
    update(counted, notes)
    for at in range(2, counted.writes, 5):
        broken = copy.deepcopy(shelf)
        write(notes, SECOND)
        with pytest.raises(Killed):
            update(MemoryStore(broken, dies_at=at), notes)
        # Partly as it was, partly new, one note as the killed run had it.
        write(notes, {"a.md": "# Other\n\nNothing of before.\n", "c.md": FIRST["c.md"], "e.md": SECOND["e.md"]})
        update(MemoryStore(broken), notes)
        assert told(open_engine(broken)) == told(embedded(notes, tmp_path / f"expected-{at}"))


def test_random_edits_with_kills_equal_a_rebuilt_index(notes: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    shelf = Shelf()
    files = dict(FIRST)
    texts = [*FIRST.values(), *SECOND.values(), "# Short\n\nkeys\n", "# 长\n\n" + "梯度消失的训练。" * 80]
    for step in range(25):
        for _ in range(rng.randint(1, 3)):
            name = rng.choice("abcdefg") + ".md"
            if rng.random() < 0.3 and len(files) > 1:
                files.pop(name, None)
            else:
                files[name] = rng.choice(texts)
        write(notes, files)
        for _ in range(rng.randint(0, 2)):
            try:
                update(MemoryStore(shelf, dies_at=rng.randint(1, 60)), notes)
            except Killed:
                continue
        update(MemoryStore(shelf), notes)
        assert told(open_engine(shelf)) == told(embedded(notes, tmp_path / "rebuilt")), f"after step {step}"
    # Nothing that no reader can see is left, apart from what a kill cut off in the middle of a document.
    head = read_head(MemoryStore(shelf))
    assert head is not None and head.chunks == len(open_engine(shelf))


def test_a_reader_sees_its_generation_until_the_run_after_the_next_begins(notes: Path) -> None:
    shelf = Shelf()
    update(MemoryStore(shelf), notes)
    first = open_engine(shelf)
    old = told(first)
    write(notes, SECOND)
    update(MemoryStore(shelf), notes)
    first._checked = 0.0
    assert told(first) == old
    fresh = open_engine(shelf)  # another one, with nothing in its caches
    same = RemoteEngine(MemoryStore(shelf), first.head, SETTINGS.bm25)
    assert told(same) == old
    write(notes, FIRST)
    update(MemoryStore(shelf), notes)
    for outdated in (first, same):
        outdated._checked = 0.0
        with pytest.raises(IndexFailure, match="Open it again"):
            outdated.sparse_search(["cach"], 5)
    fresh._checked = 0.0
    assert fresh.sparse_search(["cach"], 5)


def test_versions_that_nobody_can_see_are_removed(notes: Path) -> None:
    shelf = Shelf()
    for files in (
        FIRST,
        SECOND,
        FIRST,
        SECOND,
        {"a.md": FIRST["a.md"]},
        {"a.md": SECOND["a.md"]},
        {"a.md": "# x\n\ny\n"},
    ):
        write(notes, files)
        update(MemoryStore(shelf), notes)
    assert len(shelf.chunks) == 2  # the note as it is, and as it was one generation ago
    assert sum(key.startswith("d-") for key in shelf.records) == 1


def test_the_search_goes_deeper_until_nothing_better_can_be_left(notes: Path, tmp_path: Path) -> None:
    files = {f"{i:03d}.md": f"# Note\n\ncache {'keys ' * (i % 7)} tokens {i}\n" for i in range(120)}
    files |= {f"same-{i:03d}.md": "# Same\n\nexactly the same cache\n" for i in range(60)}
    write(notes, files)
    shelf = Shelf()
    update(MemoryStore(shelf), notes)
    remote, reference = open_engine(shelf), embedded(notes, tmp_path / "index")
    for n in (1, 3, 40):
        ours = [(remote.chunk(o).document, s) for o, s in remote.sparse_search(["cach", "same"], n)]
        theirs = [(reference.chunk(o).document, s) for o, s in reference.sparse_search(["cach", "same"], n)]
        assert ours == theirs  # the store returns its 60 ties backwards
    store = remote.store
    assert isinstance(store, MemoryStore) and max(store.searches) > 40 + 16


def test_at_the_limit_of_the_database_the_search_ends(notes: Path) -> None:
    write(notes, {f"{i:03d}.md": "# Same\n\nexactly the same cache\n" for i in range(60)})
    shelf = Shelf()
    update(MemoryStore(shelf), notes)
    remote = open_engine(shelf, max_hits=20)
    assert len(remote.sparse_search(["cach"], 5)) == 5
    assert len(remote.sparse_search(["cach"], 50)) == 20


def test_terms_that_share_a_dimension_change_nothing(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (engine_module, sending_module):
        monkeypatch.setattr(module, "term_id", lambda term: len(term) % 3)
    shelf = Shelf()
    update(MemoryStore(shelf), notes)
    assert told(open_engine(shelf)) == told(embedded(notes, tmp_path / "index"))
    assert open_engine(shelf).sparse_search(["nowhere", "zebra"], 5) == []


@pytest.mark.parametrize(("before", "after"), [(20, 400), (400, 20)])
def test_scores_are_exact_however_the_average_length_drifts(
    notes: Path, tmp_path: Path, before: int, after: int
) -> None:
    write(notes, {f"{i}.md": f"# Note {i}\n\n" + "cache keys tokens " * (before // 3 + i) for i in range(10)})
    shelf = Shelf()
    update(MemoryStore(shelf), notes)
    more = {f"more-{i}.md": f"# More {i}\n\n" + "gradient cache batch " * (after // 3 + i) for i in range(40)}
    write(notes, {"0.md": "# Note 0\n\ncache\n", **more})
    update(MemoryStore(shelf), notes)
    remote = open_engine(shelf)
    assert abs(remote.head.average / remote.head.reference - 1) > 0.3
    reference = embedded(notes, tmp_path / "index")
    for n in (3, 100):
        assert told(remote, n, dense=False) == told(reference, n, dense=False)


def test_the_bound_holds_for_every_chunk_there_can_be() -> None:
    rng = np.random.default_rng(1)
    for _ in range(2000):
        settings = BM25Settings(k1=float(rng.uniform(0, 3)), b=float(rng.uniform(0, 1)))
        length = int(rng.integers(1, 2000))
        count = int(rng.integers(1, length + 1))
        head = Head(
            {}, "", "", "", "", chunks=1, tokens=int(rng.integers(1, 2000)), reference=float(rng.uniform(1, 2000))
        )
        head = replace(head, longest=length + int(rng.integers(0, 100)))
        now = stored_weight(count, length, head.average, settings)
        stored = stored_weight(count, length, head.reference, settings)
        assert now <= stored * weight_bound(settings, head) * (1 + 1e-12)


def test_a_filter_finds_its_few_chunks_behind_many_others(notes: Path) -> None:
    files = {f"{i:03d}.md": f"# Cache\n\ncache cache tokens {i}\n" for i in range(200)}
    write(notes, {**files, "z.md": "# 注意力\n\n这里也说到 cache，不过只说一次，而且是在一段很长的中文里。\n"})
    shelf = Shelf()
    update(MemoryStore(shelf), notes)
    remote = open_engine(shelf)
    found = remote.sparse_search(["cach"], 3, where=Filter(documents=("z.md",)))
    assert [remote.chunk(ordinal).document for ordinal, _ in found] == ["z.md"]
    vector = WrappedEmbedder(HashingEmbedder()).encode_query("cache")
    found = remote.dense_search(vector, 3, where=Filter(language="zh"))
    assert [remote.chunk(ordinal).document for ordinal, _ in found] == ["z.md"]


def test_the_writer_that_began_first_stops(notes: Path, tmp_path: Path) -> None:
    shelf = Shelf()
    store = MemoryStore(shelf)
    begun = False

    def other_begins() -> None:
        nonlocal begun
        if not begun and "head" in shelf.records:
            begun = True
            model = WrappedEmbedder(HashingEmbedder())
            update_store(MemoryStore(shelf), [notes], model, SETTINGS, folder=tmp_path / "another-machine")

    store.before_write = other_begins
    with pytest.raises(IndexLockedError, match="began to write"):
        update(store, notes)
    assert told(open_engine(shelf)) == told(embedded(notes, tmp_path / "index"))


def test_a_second_writer_on_this_machine_is_refused(notes: Path) -> None:
    store = MemoryStore(Shelf())
    with (
        writer_module.writer_lock(notes.parent / "lock", store),
        pytest.raises(IndexLockedError, match="Another process"),
    ):
        update(store, notes)


def test_another_model_is_refused_until_the_collection_is_rebuilt(notes: Path) -> None:
    shelf = Shelf()
    update(MemoryStore(shelf), notes)
    reader = open_engine(shelf)
    other = HashingEmbedder("another", dimension=32)
    with pytest.raises(IndexMismatchError, match="another"):
        update(MemoryStore(shelf), notes, other)
    assert update(MemoryStore(shelf), notes, other, rebuild=True).added == len(FIRST)
    head = read_head(MemoryStore(shelf))
    assert head is not None and head.model["dimension"] == 32
    reader._checked = 0.0
    with pytest.raises(IndexFailure, match="Open it again"):
        reader.sparse_search(["cach"], 5)


def test_a_rebuild_over_notes_that_are_gone_drops_nothing(notes: Path, tmp_path: Path) -> None:
    shelf = Shelf()
    update(MemoryStore(shelf), notes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(IngestError):
        update(MemoryStore(shelf), tmp_path / "empty", rebuild=True)
    assert len(open_engine(shelf)) > 0


def test_what_the_database_cannot_hold_is_skipped_with_its_reason(notes: Path) -> None:
    write(notes, {**FIRST, "big.md": "---\ntitle: " + "x" * 5000 + "\n---\n# Big\n\ntext\n"})
    report = update(MemoryStore(Shelf()), notes)
    assert report.added == len(FIRST)
    [skipped] = report.skipped
    assert skipped.path == "big.md" and "memory" in skipped.reason


def test_a_chunk_with_too_many_terms_is_skipped_with_its_reason(notes: Path) -> None:
    store = MemoryStore(Shelf())
    store.max_terms = 40
    report = update(store, write(notes, {**FIRST, "wide.md": "# Wide\n\n" + " ".join(f"w{i}" for i in range(50))}))
    [skipped] = [item for item in report.skipped if item.path == "wide.md"]
    assert "50" in skipped.reason or "51" in skipped.reason
    assert "chunk_maximum" in skipped.reason and report.added + len(report.skipped) == len(FIRST) + 1


def test_okapi_is_refused(notes: Path) -> None:
    settings = replace(SETTINGS, bm25=BM25Settings(variant="okapi"))
    with pytest.raises(IndexFailure, match="bm25_variant"):
        update_store(MemoryStore(Shelf()), [notes], WrappedEmbedder(HashingEmbedder()), settings, folder=notes.parent)


def test_ordinals_lead_back_and_sort_like_paths_and_places() -> None:
    paths = ["a.md", "a/b.md", "ab.md", "B.md", "é.md", "位.md", "\U0001f600.md", "a" * 1024]
    chunks = [(path, number) for path in paths for number in (0, 1, 2, 255, 256, 70_000)]
    found = {place: ordinal_of(*place) for place in chunks}
    assert [place_of(ordinal) for ordinal in found.values()] == chunks
    assert sorted(chunks) == sorted(chunks, key=lambda place: found[place])


@pytest.mark.parametrize("ordinal", [-1, 2**9000, int.from_bytes(b"\xff" * 1028)])
def test_numbers_that_no_chunk_has_lead_nowhere(ordinal: int) -> None:
    with pytest.raises(KeyError):
        place_of(ordinal)


def test_term_dimensions_are_stable_and_leave_room_for_chunks_without_terms() -> None:
    assert term_id("cache") == term_id("cache") == 4_233_966_619
    assert 0 <= min(ids := [term_id(str(i)) for i in range(2000)]) and max(ids) < NO_TERM


def test_a_language_axis_survives_the_head() -> None:
    axis = LanguageAxis(np.array([0.25, -1.5, 3e-8], dtype=np.float32), 0.125, -2.5)
    again = unpack_axis(pack_axis(axis))
    assert (again.direction == axis.direction).all() and (again.english, again.chinese) == (0.125, -2.5)


@pytest.mark.parametrize("text", ["", "abc", "位置编码" * 100, "\U0001f600" * 50])
def test_parts_make_the_whole_and_fit(text: str) -> None:
    parts = in_parts(text, 40)
    assert "".join(parts) == text
    assert all(len(part.encode()) <= 40 for part in parts)


def test_no_error_shows_a_secret() -> None:
    assert without_credentials("https://me:secret@host:19530/x?token=secret") == "https://host:19530/x"
    error = str(unreachable("Milvus", "http://host", "bad token secret-1 given\nTraceback", "secret-1"))
    assert "secret" not in error and "***" in error and "Traceback" not in error


def test_halves_of_surrogate_pairs_do_not_break_a_record() -> None:
    assert store_module.dumps(["\ud800 位"]) == '["? 位"]'
