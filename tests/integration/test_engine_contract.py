"""One suite over every engine: FAISS, Milvus Lite, the stand-in for Pinecone, and a Milvus cluster if there is one.

Each engine indexes the same notes with the same model and must answer as the embedded engine does:
the same chunks in the same order, dense scores and BM25 within 1e-4, the same coverage.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pytest
from pinecone_fake import KEY, FakePinecone, fake_pinecone

from ragkit.api import Index
from ragkit.index.backends import open_store
from ragkit.index.engine import Engine, Filter
from ragkit.multi import MultiIndex
from ragkit.retrieval.identifiers import identifier_bonus
from ragkit.retrieval.retriever import MODES
from ragkit.settings import Settings, load_settings
from ragkit.testing import HashingEmbedder
from ragkit.text.tokens import query_terms
from ragkit.values import Hit

CLUSTER: Final = os.environ.get("RAGKIT_TEST_MILVUS_URI", "")
"""Read before the fixtures clear the environment."""
TOLERANCE: Final = 1e-4
HOSTILE: Final = "it's \"100%\" of_C:\\temp [x] 位置'.md"
WORDS: Final = (
    "attention position encoding cache keys values tokens gradient lora matrices rank weights training batch"
).split()


def long_note(name: str, seed: int) -> str:
    """Several chunks of words drawn from a few, so that terms, lengths and copies differ between chunks."""
    rng = np.random.default_rng(seed)
    sections = [
        f"## {name} part {i}\n\n"
        + " ".join(str(word) for word in rng.choice(WORDS, int(rng.integers(40, 400))))
        + ".\n"
        for i in range(6)
    ]
    return f"# {name}\n\n" + "\n".join(sections)


SAME: Final = "# Copy\n\nThe same text stands in several notes, so that scores tie exactly.\n"
NOTES: Final = {
    "attention.md": "# 注意力\n\n注意力机制让每个词元看到所有其他词元，复杂度是序列长度的平方。\n",
    "deep/lora.md": '---\ntags: [Tuning, "y\'z"]\n---\n# LoRA\n\nLoRA freezes the weights and trains two low-rank matrices.\n',
    "deep/er/rnn.md": "# RNN\n\nLSTM 用门控缓解梯度消失，GRU 的参数更少。\n\n## 缺点\n\n循环网络不能并行训练。\n",
    "b-copy.md": SAME,
    "a-copy.md": SAME,
    "deep/copy.md": SAME,
    "kv.md": "# KV cache\n\nThe KV cache keeps the keys and values of earlier tokens; GPT-3 uses it.\n",
    "dogs.md": "# Dogs\n\n## Food\n\nMeat.\n\n## **Whistle** training\n\nThey hear a high note.\n\n## Über\n\nNo.\n",
    "pump.md": "# Pump\n\nThe Archimedes pump stops with E-4711x when it runs dry.\n",
    "marks.md": "# \n\n*** --- ***\n",
    HOSTILE: '# Say "it\'s" 100%\n\nA note whose name and heading are full of quotes and signs_.\n',
    "long-one.md": long_note("one", 1),
    "long-two.md": long_note("two", 2),
}
IDENTIFIED: Final = (
    "Which error does the pump report as E-4711x, and in what manual is it written down?",
    "请问哪本说明书提到了水泵的 Archimedes 型号",
)
"""Questions with one term that a single note holds."""
QUESTIONS: Final = (
    "注意力的复杂度",
    "LSTM 和 GRU 的区别",
    "low-rank matrices",
    "the same text in several notes",
    "attention cache weights 训练",
    "training batch of the gradient",
    "zebra quagga",
    "位置",
    *IDENTIFIED,
)


class Make(Protocol):
    """Opens an index over a folder of notes with one engine; None for the notes: as it is."""

    def __call__(self, notes: Path | None, *, embedder: HashingEmbedder | None = None, **options: Any) -> Index: ...


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


def maker(settings: Settings) -> Make:
    def make(notes: Path | None, *, embedder: HashingEmbedder | None = None, **options: Any) -> Index:
        folder = settings.home / "index" if settings.backend == "faiss" else None
        return Index.open(notes, folder, embedding=embedder or HashingEmbedder(), settings=settings, **options)

    return make


def backend_settings(kind: str, home: Path, service: FakePinecone | None) -> Settings:
    if kind == "faiss":
        return load_settings(home=home)
    if kind == "milvus-lite":
        return load_settings(home=home, backend="milvus", backend_uri=str(home / "lite.db"))
    if kind == "pinecone":
        assert service is not None
        return load_settings(home=home, backend="pinecone", backend_uri=service.address, backend_token=KEY)
    return load_settings(
        home=home,
        backend="milvus",
        backend_uri=CLUSTER,
        backend_token=os.environ.get("RAGKIT_TEST_MILVUS_TOKEN"),
        backend_collection=f"ragkit_test_{uuid.uuid4().hex[:12]}",
        backend_vector_index="FLAT",
    )


@pytest.fixture(scope="module")
def service() -> Iterator[FakePinecone]:
    with fake_pinecone() as fake:
        yield fake


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """What every engine is compared with."""
    base = tmp_path_factory.mktemp("reference")
    index = Index.open(
        write(base / "notes", NOTES), base / "index", embedding=HashingEmbedder(), settings=load_settings(home=base)
    )
    yield index
    index.close()


ENGINES: Final = [
    "faiss",
    "milvus-lite",
    "pinecone",
    pytest.param("milvus-cluster", marks=pytest.mark.skipif(not CLUSTER, reason="RAGKIT_TEST_MILVUS_URI is not set")),
]


def clear_away(settings: Settings) -> None:
    """Leave nothing behind on a cluster that is somebody's."""
    if settings.backend_uri == CLUSTER:
        store = open_store(settings)
        store.drop()
        store.close()


@pytest.fixture(scope="module", params=ENGINES)
def settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, service: FakePinecone
) -> Iterator[Settings]:
    chosen = backend_settings(request.param, tmp_path_factory.mktemp(request.param), service)
    yield chosen
    clear_away(chosen)


@pytest.fixture(scope="module")
def index(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """The notes, indexed with one engine."""
    opened = maker(settings)(write(tmp_path_factory.mktemp("notes") / "notes", NOTES))
    yield opened
    opened.close()


def engine_of(index: Index) -> Engine:
    return index._engine


def places(engine: Engine, ranked: Sequence[tuple[int, float]]) -> list[tuple[str, int, float]]:
    return [((chunk := engine.chunk(ordinal)).document, chunk.start, score) for ordinal, score in ranked]


def assert_same(found: list[tuple[str, int, float]], expected: list[tuple[str, int, float]]) -> None:
    assert [hit[:2] for hit in found] == [hit[:2] for hit in expected]
    assert [hit[2] for hit in found] == pytest.approx([hit[2] for hit in expected], abs=TOLERANCE)


def ordinals(engine: Engine) -> list[int]:
    """Every chunk's ordinal, by path and place."""
    return [ordinal for path in engine.titles() for ordinal, _ in engine.chunks_of(path)]


@pytest.mark.parametrize("weight", [0.0, 0.3])
@pytest.mark.parametrize("n", [1, 5, 1000])
@pytest.mark.parametrize("question", QUESTIONS)
def test_dense_search_finds_what_the_embedded_engine_finds(
    index: Index, embedded: Index, question: str, n: int, weight: float
) -> None:
    vector = index.model.encode_query(question)
    ours, theirs = engine_of(index), engine_of(embedded)
    found = places(ours, ours.dense_search(vector, n, language_weight=weight))
    expected = places(theirs, theirs.dense_search(vector, n, language_weight=weight))
    # Scores that differ in the last bit only may stand in either order; everything else is decided.
    assert sorted(hit[:2] for hit in found) == sorted(hit[:2] for hit in expected) or n < 1000
    assert [hit[2] for hit in found] == pytest.approx([hit[2] for hit in expected], abs=TOLERANCE)
    exact = {(document, start): score for document, start, score in expected}
    assert all(score == pytest.approx(exact.get((d, s), score), abs=TOLERANCE) for d, s, score in found)


@pytest.mark.parametrize("n", [1, 5, 1000])
@pytest.mark.parametrize("question", QUESTIONS)
def test_bm25_and_coverage_are_those_of_the_embedded_engine(
    index: Index, embedded: Index, question: str, n: int
) -> None:
    terms = query_terms(question)
    ours, theirs = engine_of(index), engine_of(embedded)
    found, expected = ours.sparse_search(terms, n), theirs.sparse_search(terms, n)
    assert_same(places(ours, found), places(theirs, expected))
    assert ours.coverage(terms, [o for o, _ in found]) == theirs.coverage(terms, [o for o, _ in expected])


@pytest.mark.parametrize("question", IDENTIFIED)
def test_identifiers_count_as_they_do_in_the_embedded_engine(index: Index, embedded: Index, question: str) -> None:
    terms = query_terms(question)
    ours, theirs = engine_of(index), engine_of(embedded)
    found, expected = (
        [(engine.chunk(at).document, share) for at, share in identifier_bonus(engine, terms, ordinals(engine)).items()]
        for engine in (ours, theirs)
    )
    assert found == expected
    assert [document for document, share in found if share > 0] == ["pump.md"]


@pytest.mark.parametrize("question", IDENTIFIED)
def test_a_search_over_several_indexes_counts_them_too(index: Index, embedded: Index, question: str) -> None:
    best = MultiIndex({"here": index, "there": embedded}).search(question, k=1)[0]
    # Scores that differ in the last bit only decide which of the two copies stands first.
    assert best.document in {"here/pump.md", "there/pump.md"}
    assert best.score == pytest.approx(embedded.search(question, k=1)[0].score, abs=TOLERANCE * 100)


@pytest.mark.parametrize("mode", MODES)
def test_whole_searches_agree(index: Index, embedded: Index, mode: Any) -> None:
    for question in QUESTIONS:
        found, expected = index.search(question, k=8, mode=mode), embedded.search(question, k=8, mode=mode)
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=TOLERANCE * 100)
        if mode == "sparse":
            assert [comparable(hit) for hit in found] == [comparable(hit) for hit in expected]


def comparable(hit: Hit) -> Hit:
    return replace(hit, score=round(hit.score, 3))


def test_equal_scores_stand_in_the_order_of_paths(index: Index) -> None:
    engine = engine_of(index)
    copies = ["a-copy.md", "b-copy.md", "deep/copy.md"]
    terms = query_terms("the same text in several notes tie exactly")
    assert [hit[0] for hit in places(engine, engine.sparse_search(terms, 3))] == copies
    assert [hit[0] for hit in places(engine, engine.sparse_search(terms, 2))] == copies[:2]
    vector = index.model.encode_query("same text stands in several notes, so that scores tie exactly")
    assert [hit[0] for hit in places(engine, engine.dense_search(vector, 2))] == copies[:2]
    everything = ordinals(engine)
    assert everything == sorted(everything)


@pytest.mark.parametrize(
    "where",
    [
        Filter(documents=("deep/*",)),
        Filter(documents=("*.md",), language="zh"),
        Filter(documents=("deep/lora.md", "kv.md")),
        Filter(documents=("?-copy.md",)),
        Filter(documents=("[ab]-copy.md", "long-[!o]*")),
        Filter(documents=(HOSTILE.replace("[", "[[]"),)),
        Filter(documents=('*"100%"*',)),
        Filter(documents=("*of_C:\\temp*",)),
        Filter(documents=("*ofXC*",)),
        Filter(documents=("none.md",)),
        Filter(documents=('" or key like "%',)),
        Filter(heading="kv CACHE"),
        Filter(heading="whistle TRAINING"),
        Filter(heading="dogs > whistle"),
        Filter(heading="ÜBER"),
        Filter(heading='"it\'s" 100%'),
        Filter(heading="part 3"),
        Filter(heading='%" or key like "%'),
        Filter(heading="缺点"),
        Filter(heading="\\"),
        Filter(tags=("tuning",)),
        Filter(tags=("Y'Z", "none")),
        Filter(tags=('") or ("1"=="1',)),
        Filter(language="other", heading="one"),
        Filter(language="zh", tags=("tuning",)),
        Filter(heading="\ud800"),
    ],
    ids=repr,
)
def test_filters_let_the_same_chunks_through(index: Index, embedded: Index, where: Filter) -> None:
    ours, theirs = engine_of(index), engine_of(embedded)
    vector = index.model.encode_query("attention weights 训练")
    found = places(ours, ours.dense_search(vector, 1000, where=where))
    assert sorted(hit[:2] for hit in found) == sorted(
        hit[:2] for hit in places(theirs, theirs.dense_search(vector, 1000, where=where))
    )
    terms = query_terms("the same text attention weights 训练 note 100")
    if where.heading.casefold() in ("whistle training", "dogs > whistle", "über"):
        assert [hit[0] for hit in found] == ["dogs.md"]
    assert_same(
        places(ours, ours.sparse_search(terms, 5, where=where)),
        places(theirs, theirs.sparse_search(terms, 5, where=where)),
    )


def test_nothing_comes_of_nothing(index: Index) -> None:
    engine = engine_of(index)
    vector = index.model.encode_query("attention")
    assert engine.dense_search(vector, 0) == []
    assert engine.sparse_search([], 5) == []
    assert engine.sparse_search(["zebra"], 5) == []
    assert engine.coverage(["attent"], []) == []
    assert engine.vectors([]).shape == (0, 64)
    assert engine.chunks_of("none.md") == []
    assert engine.document("none.md") is None


@pytest.mark.parametrize("ordinal", [-1, 10**6, 10**9, 2**63 - 1])
def test_an_unknown_ordinal_is_a_key_error(index: Index, ordinal: int) -> None:
    with pytest.raises(KeyError):
        engine_of(index).chunk(ordinal)


def test_an_ordinal_past_the_end_of_a_document_is_a_key_error(index: Index) -> None:
    last = ordinals(engine_of(index))[-1]
    with pytest.raises(KeyError):
        engine_of(index).chunk(last + 1)


def test_chunks_documents_titles_and_vectors_are_those_of_the_embedded_engine(index: Index, embedded: Index) -> None:
    ours, theirs = engine_of(index), engine_of(embedded)
    assert len(ours) == len(theirs)
    assert ours.titles() == theirs.titles() and list(ours.titles()) == list(theirs.titles())
    for path in NOTES:
        assert ours.document(path) == theirs.document(path)
        assert [chunk for _, chunk in ours.chunks_of(path)] == [chunk for _, chunk in theirs.chunks_of(path)]
    assert [ours.chunk(o) for o in ordinals(ours)] == [theirs.chunk(o) for o in ordinals(theirs)]
    np.testing.assert_allclose(ours.vectors(ordinals(ours)), theirs.vectors(ordinals(theirs)), atol=1e-6)
    assert ours.chinese_share() == theirs.chinese_share()


@pytest.mark.parametrize("term", ["attent", "cach", "注意", "gpt-3", "zebra", "lstm"])
def test_terms_are_those_of_the_embedded_engine(index: Index, embedded: Index, term: str) -> None:
    ours, theirs = engine_of(index), engine_of(embedded)
    assert ours.knows(term) == theirs.knows(term)
    assert ours.idf(term) == theirs.idf(term)
    assert ours.like(term) == sorted(theirs.like(term))


def test_facts_name_what_was_indexed(index: Index, embedded: Index) -> None:
    ours, theirs = engine_of(index).facts(), engine_of(embedded).facts()
    assert {key: ours[key] for key in ("model", "documents", "chunks")} == {
        key: theirs[key] for key in ("model", "documents", "chunks")
    }
    assert ours["generation"]


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """An engine with nothing in it yet."""
    with fake_pinecone() as fake:
        chosen = backend_settings(request.param, tmp_path / "home", fake)
        yield maker(chosen)
        clear_away(chosen)


def same_as_rebuilt(index: Index, notes: Path, base: Path) -> None:
    """An updated index answers as a new one does, to the score."""
    fresh = Index.open(notes, base, embedding=HashingEmbedder(), settings=load_settings(home=base))
    ours, theirs = engine_of(index), engine_of(fresh)
    assert len(ours) == len(theirs) and ours.titles() == theirs.titles()
    for question in QUESTIONS:
        terms = query_terms(question)
        found, expected = ours.sparse_search(terms, 1000), theirs.sparse_search(terms, 1000)
        assert places(ours, found) == places(theirs, expected)
        assert ours.coverage(terms, [o for o, _ in found]) == theirs.coverage(terms, [o for o, _ in expected])
    vector = index.model.encode_query("attention weights 训练")
    found = places(ours, ours.dense_search(vector, 1000))
    assert sorted(hit[:2] for hit in found) == sorted(
        hit[:2] for hit in places(theirs, theirs.dense_search(vector, 1000))
    )
    fresh.close()


def test_added_changed_and_deleted_notes_are_seen_and_only_they_are_embedded(make: Make, tmp_path: Path) -> None:
    notes = write(tmp_path / "notes", NOTES)
    first = make(notes)
    assert first.report is not None and first.report.added == len(NOTES)
    first.close()
    write(
        notes,
        {"kv.md": NOTES["kv.md"] + "\n## Paging\n\n" + "Pages hold the cache. " * 60, "new.md": "# New\n\nzebra\n"},
    )
    (notes / "attention.md").unlink()
    (notes / "deep" / "lora.md").rename(notes / "deep" / "renamed.md")
    embedder = HashingEmbedder()
    second = make(notes, embedder=embedder)
    report = second.report
    assert report is not None
    assert (report.added, report.updated, report.deleted) == (2, 1, 2)
    assert report.unchanged == len(NOTES) - 3
    # The chunks of the renamed note, and that of kv.md which stayed as it was, are not embedded again.
    assert report.embedded_chunks == embedder.documents_embedded <= 3
    assert report.chunks == len(second)
    assert second.search("zebra", mode="sparse")[0].document == "new.md"
    assert second.document("attention.md") is None and second.chunks("attention.md") == []
    assert "attention.md" not in {hit.document for hit in second.search("注意力机制", k=50)}
    same_as_rebuilt(second, notes, tmp_path / "rebuilt")
    second.close()
    write(notes, {"attention.md": NOTES["attention.md"], "kv.md": NOTES["kv.md"]})  # and back again
    third = make(notes)
    same_as_rebuilt(third, notes, tmp_path / "again")
    third.close()


def test_what_was_sent_from_a_folder_that_cannot_be_read_now_stays(
    make: Make, tmp_path: Path, unprivileged: None
) -> None:
    notes = write(tmp_path / "notes", NOTES)
    make(notes).close()
    (notes / "deep").chmod(0)
    try:
        index = make(notes)
    finally:
        (notes / "deep").chmod(0o700)
    assert index.report is not None
    assert (index.report.deleted, index.report.unchanged) == (0, len(NOTES))
    assert [item.path for item in index.report.skipped] == ["deep"]
    index.close()


def test_notes_that_did_not_change_embed_and_write_nothing(make: Make, tmp_path: Path) -> None:
    notes = write(tmp_path / "notes", NOTES)
    first = make(notes)
    generation = first.manifest["generation"]
    first.close()
    embedder = HashingEmbedder()
    second = make(notes, embedder=embedder)
    assert second.report is not None and second.report.unchanged == len(NOTES)
    assert embedder.documents_embedded == 0
    assert second.manifest["generation"] == generation
    second.close()


def test_opened_without_notes_it_is_read_as_it_is(make: Make, tmp_path: Path) -> None:
    notes = write(tmp_path / "notes", NOTES)
    make(notes).close()
    (notes / "kv.md").unlink()
    index = make(None)
    assert index.report is None
    assert index.search("KV cache")[0].document == "kv.md"
    index.close()
