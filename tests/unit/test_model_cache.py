"""What a model said once is not asked again; a damaged file says so."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragkit.errors import EndpointError, RagkitError
from ragkit.models.cache import CachedCompletions, CachedEmbeddings, KeyValueFile
from ragkit.models.embeddings import WrappedEmbedder
from ragkit.testing import HashingEmbedder

TEXTS = ["遗忘门", "low rank", "遗忘门", "位置编码"]


class Completes:
    def __init__(self, *replies: Any) -> None:
        self.replies, self.calls = list(replies), 0

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        self.calls += 1
        reply = self.replies[min(self.calls, len(self.replies)) - 1]
        if isinstance(reply, Exception):
            raise reply
        return dict(reply)


def embeddings(path: Path) -> tuple[CachedEmbeddings, HashingEmbedder]:
    fake = HashingEmbedder()
    return CachedEmbeddings(WrappedEmbedder(fake), KeyValueFile(path)), fake


def test_a_second_call_embeds_nothing_and_gives_the_same(tmp_path: Path) -> None:
    first, _ = embeddings(tmp_path / "cache.sqlite")
    documents, question = first.encode_documents(TEXTS), first.encode_query("遗忘门")
    assert first.computed == 3 + 1
    # Another process: a new object over the same file.
    again, fake = embeddings(tmp_path / "cache.sqlite")
    before = (fake.documents_embedded, bool(again.identity), fake.queries_embedded)
    assert np.array_equal(again.encode_documents(TEXTS), documents)
    assert np.array_equal(again.encode_query("遗忘门"), question)
    assert (again.computed, (fake.documents_embedded, True, fake.queries_embedded)) == (0, before)
    plain = WrappedEmbedder(HashingEmbedder())
    assert np.allclose(documents, plain.encode_documents(TEXTS), atol=1e-6)


def test_passages_and_questions_are_kept_apart(tmp_path: Path) -> None:
    cached, _ = embeddings(tmp_path / "c")
    cached.encode_documents(["x"])
    cached.encode_query("x")
    assert cached.computed == 2


def test_progress_reaches_the_end_from_the_cache(tmp_path: Path) -> None:
    cached, _ = embeddings(tmp_path / "c")
    cached.encode_documents(TEXTS)
    told: list[int] = []
    cached.encode_documents(TEXTS, told.append)
    assert sum(told) == len(TEXTS)


def test_more_keys_than_one_statement_takes(tmp_path: Path) -> None:
    cached, _ = embeddings(tmp_path / "c")
    many = [f"text {i}" for i in range(1000)]
    first = cached.encode_documents(many)
    assert np.array_equal(cached.encode_documents(many), first)
    assert cached.computed == 1000


def test_several_threads_share_one_file(tmp_path: Path) -> None:
    cached, _ = embeddings(tmp_path / "c")
    expected = WrappedEmbedder(HashingEmbedder()).encode_documents([f"t{i}" for i in range(40)])

    def work(worker: int) -> bool:
        order: Sequence[int] = range(40) if worker % 2 else range(39, -1, -1)
        return all(np.allclose(cached.encode_documents([f"t{i}"])[0], expected[i], atol=1e-6) for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    done = cached.computed
    cached.encode_documents([f"t{i}" for i in range(40)])
    assert cached.computed == done


def test_two_connections_write_to_one_file(tmp_path: Path) -> None:
    files = [KeyValueFile(tmp_path / "c") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: [files[n].put({f"{n}-{i}": b"v"}) for i in range(30)], range(2)))
    assert len(files[0].get([f"{n}-{i}" for n in range(2) for i in range(30)])) == 60


def test_completions_are_asked_once_for_the_same_question(tmp_path: Path) -> None:
    model = Completes({"question": "RNN 的缺点"})
    cached = CachedCompletions(model, "m", KeyValueFile(tmp_path / "c"))
    for _ in range(3):
        assert cached.complete_json("s", "u", {"type": "object"}) == {"question": "RNN 的缺点"}
    assert model.calls == cached.computed == 1
    for arguments in (("s2", "u", {}), ("s", "u2", {}), ("s", "u", {"a": 1}), ("s", "u", {"type": "object"}, 9)):
        cached.complete_json(*arguments)  # type: ignore[arg-type]
    assert model.calls == 5
    CachedCompletions(model, "another model", KeyValueFile(tmp_path / "c")).complete_json("s", "u", {"type": "object"})
    assert model.calls == 6


def test_a_failure_is_not_kept(tmp_path: Path) -> None:
    model = Completes(EndpointError("busy"), {"ok": 1})
    cached = CachedCompletions(model, "m", KeyValueFile(tmp_path / "c"))
    with pytest.raises(EndpointError):
        cached.complete_json("s", "u", {})
    assert cached.complete_json("s", "u", {}) == {"ok": 1}


def test_a_file_that_is_no_cache_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(RagkitError, match=r"Cache .*c cannot be used.*Delete it") as caught:
        KeyValueFile(tmp_path / "c")
    assert "\n" not in str(caught.value)


def test_damage_behind_the_first_page_is_named_when_it_is_met(tmp_path: Path) -> None:
    path = tmp_path / "c"
    file = KeyValueFile(path)
    keys = [f"{i:064d}" for i in range(500)]
    file.put({key: b"v" * 500 for key in keys})
    file.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(RagkitError, match="Delete it"):
        KeyValueFile(path).get(keys)


def test_entries_cut_short_are_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "c"
    cached, _ = embeddings(path)
    expected = cached.encode_documents(TEXTS)
    model = Completes({"a": 1})
    CachedCompletions(model, "m", KeyValueFile(path)).complete_json("s", "u", {})
    with sqlite3.connect(path) as db:
        db.execute("UPDATE entries SET value = substr(value, 1, 3)")
    again, _ = embeddings(path)
    assert np.array_equal(again.encode_documents(TEXTS), expected)
    assert CachedCompletions(model, "m", KeyValueFile(path)).complete_json("s", "u", {}) == {"a": 1}
    assert (again.computed, model.calls) == (3, 2)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_that_may_only_be_read_gives_what_it_has(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = KeyValueFile(tmp_path / "c")
    first.put({"a": b"1"})
    first.close()
    before = sorted(path.name for path in tmp_path.iterdir())

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    if what == "file":
        monkeypatch.setattr("ragkit.models.cache.os.open", refused)
    else:
        monkeypatch.setattr("ragkit.models.cache.os.access", lambda path, how: how != os.W_OK)
    file = KeyValueFile(tmp_path / "c")
    file.put({"b": b"2"})
    assert file.get(["a", "b"]) == {"a": b"1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == before
