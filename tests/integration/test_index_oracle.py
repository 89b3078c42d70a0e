"""The index equals one that was built at once, under any history of edits."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from crash_kit import THOROUGH
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from ragkit.api import Index
from ragkit.index.engine import Filter
from ragkit.index.repair import verify_index
from ragkit.ingest.loader import make_document
from ragkit.retrieval.retriever import MODES
from ragkit.testing import HashingEmbedder

WORDS = "梯度 注意力 训练 LSTM GRU rank matrix 损失 zebra 编码 token 缓存".split()
NAMES = st.sampled_from([f"{folder}{name}.md" for folder in ("", "a/", "b/") for name in "xyz"])
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join), min_size=1, max_size=3).map(
    lambda parts: "\n\n".join(f"# {part.split()[0]}\n\n{part * 12}" for part in parts)
)
FILTERS = (
    None,
    Filter(documents=("a/*",)),
    Filter(heading="lstm"),
    Filter(language="zh"),
    Filter(documents=("*x.md", "y.md")),
)


def ask(index: Index) -> list[Any]:
    return [
        [(h.chunk, h.rank, h.score, h.legs, h.coverage) for h in index.search(query, k=4, mode=mode, where=where)]
        for query in ("LSTM 训练", "梯度 缓存 matrix")
        for mode in MODES
        for where in FILTERS
    ]


class Edits(RuleBasedStateMachine):
    """Any order of changes; after each the index answers like a new one over the same documents."""

    documents = Bundle("documents")

    @initialize(text=TEXTS)
    def begin(self, text: str) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="ragkit-oracle-"))
        self.texts = {"x.md": text}
        self.index = Index.from_documents(self._documents(), self.base / "index", embedding=HashingEmbedder())
        self.changed = True

    def _documents(self) -> list[Any]:
        return [make_document(path, text) for path, text in sorted(self.texts.items())]

    @rule(new=st.dictionaries(NAMES, TEXTS, min_size=1, max_size=3))
    def add(self, new: dict[str, str]) -> None:
        self.texts.update(new)
        self.index.add_documents([make_document(path, text) for path, text in new.items()])
        self.changed = True

    @rule(data=st.data(), keep=st.integers(1, 40))
    def edit(self, data: st.DataObject, keep: int) -> None:
        path = data.draw(st.sampled_from(sorted(self.texts)))
        self.texts[path] = f"# 完\n\n{self.texts[path][:keep]}"
        self.index.add_documents([make_document(path, self.texts[path])])
        self.changed = True

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if len(self.texts) > 1:
            path = data.draw(st.sampled_from(sorted(self.texts)))
            del self.texts[path]
            self.index.remove(path)
            self.changed = True

    @rule(data=st.data(), to=NAMES)
    def rename_or_copy(self, data: st.DataObject, to: str) -> None:
        path = data.draw(st.sampled_from(sorted(self.texts)))
        self.texts[to] = self.texts[path]
        if data.draw(st.booleans()) and path != to:
            del self.texts[path]
        before = len(self.index.documents())
        self.index.close()
        self.index = Index.from_documents(self._documents(), self.base / "index", embedding=HashingEmbedder())
        assert self.index.report is not None
        assert self.index.report.embedded_chunks == 0, "a text that is known was embedded again"
        assert abs(len(self.index.documents()) - before) <= 1
        self.changed = True

    @rule()
    def compact(self) -> None:
        self.index.compact()
        self.changed = True

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = Index.open(None, self.base / "index", embedding=HashingEmbedder())
        self.changed = True

    @invariant()
    def equals_a_new_index(self) -> None:
        if not getattr(self, "changed", False):
            return
        self.changed = False
        fresh = Index.from_documents(self._documents(), self.base / "fresh", embedding=HashingEmbedder())
        assert ask(self.index) == ask(fresh)
        assert self.index.documents() == fresh.documents()
        assert len(self.index) == len(fresh)
        assert self.index.language == fresh.language
        assert verify_index(self.base / "index") == []
        self._compare_with_brute_force()
        fresh.close()
        shutil.rmtree(self.base / "fresh")

    def _compare_with_brute_force(self) -> None:
        """Cosines by a plain product of all vectors, ties by path and place."""
        chunks = [chunk for path in sorted(self.texts) for chunk in self.index.chunks(path)]
        model = self.index.model
        vectors = model.encode_documents([chunk.search_text for chunk in chunks])
        query = model.encode_query("LSTM 训练")
        scores = vectors.astype(np.float64) @ query
        weight = 0.05
        positions = self.index._engine.language_axis.positions(vectors)
        best = np.argsort(-(scores - weight * positions).astype(np.float32), kind="stable")[:4]
        found = self.index._engine.dense_search(query, 4, language_weight=weight)
        assert np.allclose([score for _, score in found], (scores - weight * positions)[best], atol=1e-6)

    def teardown(self) -> None:
        if hasattr(self, "base"):
            self.index.close()
            shutil.rmtree(self.base)


Edits.TestCase.settings = settings(
    max_examples=150 if THOROUGH else 8,
    stateful_step_count=40 if THOROUGH else 12,
    suppress_health_check=list(HealthCheck),
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes
)
TestEdits = Edits.TestCase
