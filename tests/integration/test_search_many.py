"""Many questions at once: the same hits as one by one, one batch for the model, one product for the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragkit.api import Index
from ragkit.errors import UsageError
from ragkit.index.engine import Ranked
from ragkit.ingest.loader import make_document
from ragkit.models.cache import CachedEmbeddings, KeyValueFile
from ragkit.models.embeddings import BundledE5Model, WrappedEmbedder
from ragkit.models.encoding import encode_queries
from ragkit.retrieval.retriever import Retriever
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder

NOTES = {
    "gates.md": "# 门\n\nLSTM 有三个门，GRU 只有两个门。\n\n遗忘门决定丢掉什么。\n",
    "cache.md": "# KV cache\n\nThe KV cache keeps keys and values of earlier tokens.\n",
    "tea.md": "# 泡茶\n\n绿茶要用八十度左右的水冲泡。\n",
}
ASKED = ["GRU 有几个门？", "What does the KV cache keep?", "绿茶用多少度的水？"]


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
def test_many_find_what_one_by_one_finds(index: Index, mode: Any) -> None:
    assert index.search_many(ASKED, k=2, mode=mode) == [index.search(text, k=2, mode=mode) for text in ASKED]
    assert index.search_many([], mode=mode) == []


def test_settings_of_the_stages_hold_for_many_too(index: Index) -> None:
    object.__setattr__(
        index, "settings", index.settings.model_copy(update={"diversity": 0.7, "merge_neighbours": True})
    )
    assert index.search_many(ASKED, k=2) == [index.search(text, k=2) for text in ASKED]


@pytest.mark.parametrize(("asked", "k"), [(["x", " "], 5), (["x"], 0)])
def test_what_one_search_refuses_many_refuse(index: Index, asked: list[str], k: int) -> None:
    with pytest.raises(UsageError):
        index.search_many(asked, k=k)


def test_an_engine_that_can_is_asked_once(index: Index) -> None:
    asked: list[tuple[int, ...]] = []

    class Batches:
        def __getattr__(self, name: str) -> Any:
            return getattr(index._engine, name)

        def dense_search_many(self, vectors: Any, n: int, *, language_weights: Sequence[float]) -> list[Ranked]:
            asked.append(vectors.shape)
            pairs = zip(vectors, language_weights, strict=True)
            return [index._engine.dense_search(vector, n, language_weight=weight) for vector, weight in pairs]

    found = Retriever(Batches(), index.model).search_many(ASKED, k=2)  # type: ignore[arg-type]
    assert asked == [(3, index.model.identity.dimension)]
    assert found == index.search_many(ASKED, k=2)


def test_questions_are_kept_by_the_cache(tmp_path: Path) -> None:
    embedder = HashingEmbedder()
    cached = CachedEmbeddings(WrappedEmbedder(embedder), KeyValueFile(tmp_path / "vectors"))
    first = cached.encode_queries([*ASKED, ASKED[0]])
    assert (cached.computed, first.shape) == (3, (4, 64))
    np.testing.assert_array_equal(first, [cached.encode_query(text) for text in [*ASKED, ASKED[0]]])
    assert cached.computed == 3
    assert encode_queries(cached, []).shape == (0, 64)


def test_the_bundled_model_embeds_batches_like_single_questions(bundled_e5: BundledE5Model) -> None:
    asked = [f"{text} {i}" for i in range(3) for text in ASKED]
    single = np.stack([bundled_e5.encode_query(text) for text in asked])
    bundled_e5.encode_documents(["torch is loaded"])
    batch = bundled_e5.encode_queries(asked)
    assert batch.shape == (9, 384)
    np.testing.assert_allclose(np.linalg.norm(batch, axis=1), 1, atol=1e-5)
    assert (single * batch).sum(axis=1).min() >= 0.99
    np.testing.assert_array_equal(bundled_e5.encode_queries(asked[:2]), single[:2])


def test_many_over_several_segments_with_deleted_chunks(index: Index) -> None:
    index.add_documents(
        [make_document(f"more/{i}.md", f"# 第 {i} 篇\n\nGRU 和缓存的第 {i} 条笔记。\n") for i in range(40)]
    )
    index.remove(["more/7.md", "tea.md"])
    for mode in ("hybrid", "dense"):
        assert index.search_many(ASKED, k=4, mode=mode) == [index.search(text, k=4, mode=mode) for text in ASKED]
