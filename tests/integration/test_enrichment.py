"""Questions written about chunks: kept, resumed, mixed into the dense leg, and gone with their chunk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ragkit.api import Index
from ragkit.cli.main import app
from ragkit.errors import EndpointError, IndexCorruptError, IndexMismatchError
from ragkit.index.enrichment import QUESTIONS, SHARE, VECTORS, Enrichment, content_key
from ragkit.index.fsops import write_bytes_atomically
from ragkit.models.chat import StructuredChat, resolve_chat
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder
from ragkit.values import Chunk

TOPICS = (
    "gate cell memory", "query key value", "router expert load", "adapter rank matrix", "beam search width",
    "draft verify token", "reward policy clip", "image patch encoder", "chunk overlap window", "cosine margin loss",
    "warmup decay schedule", "shard gradient state", "page block cache", "mask span corrupt", "noise step denoise",
    "judge bias order", "graph node path", "tool call schema",
)  # fmt: skip
CANARY = "zanzibar"


class Writes:
    """Writes questions that hold the words given for a topic, else two of no use."""

    def __init__(self, words: Mapping[str, str] | None = None, fails_from: int = 10**9) -> None:
        self.words, self.fails_from = dict(words or {}), fails_from
        self.asked: list[str] = []

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        self.asked.append(user)
        if len(self.asked) >= self.fails_from:
            raise EndpointError("gone")
        said = next(
            (words for topic, words in self.words.items() if topic in user),
            "what about " + user.partition("The ")[2][:9],
        )
        return {"questions": [said], "translated": f"这是 {len(self.asked)} 吗?"}


@pytest.fixture
def notes(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Path:
    return make_notes(
        tmp_path / "notes", {f"n{i:02}.md": f"# Note {i}\n\nThe {topic} matters.\n" for i, topic in enumerate(TOPICS)}
    )


def opened(notes: Path | None, folder: Path, chat: Any = None, name: str = "hashing") -> Index:
    settings = load_settings(chat_model="extractive")
    index = Index.open(notes, folder, embedding=HashingEmbedder(name), settings=settings)
    index.chat = chat
    return index


def ids(index: Index) -> set[str]:
    loaded = Enrichment.load(index.folder, index.model.identity.fingerprint)
    assert loaded is not None
    return set(loaded.ids)


def test_a_question_that_shares_no_word_with_the_passage_finds_it_by_what_was_written(
    notes: Path, tmp_path: Path
) -> None:
    index = opened(notes, tmp_path / "index", Writes({"router": "waking only some specialists"}))
    asked = "waking only some specialists"
    before = [hit.document for hit in index.search(asked, k=3, mode="dense")]
    report = index.enrich()
    assert (report.chunks, report.enriched, report.written, report.failed) == (18, 18, 18, 0)
    hit = index.search(asked, k=3, mode="dense")[0]
    assert before[0] != "n02.md" and hit.document == "n02.md"
    leg = hit.legs["questions"]
    assert leg is not None and leg.rank == 1 and leg.score == pytest.approx(1, abs=1e-2)
    again = opened(None, tmp_path / "index")
    assert [h.document for h in again.search(asked, k=3)] == [h.document for h in index.search(asked, k=3)]


def test_the_mixture_is_what_the_formula_says(notes: Path, tmp_path: Path) -> None:
    index = opened(notes, tmp_path / "index", Writes())
    plain = {hit.chunk.id: hit for hit in index.search("gate cell router", k=18, mode="dense")}
    index.enrich()
    loaded = Enrichment.load(index.folder, index.model.identity.fingerprint)
    assert loaded is not None
    best = loaded.best(index.model.encode_query("gate cell router"))
    own = np.array([plain[identity].score for identity in loaded.ids])
    scaled = (best - best.mean()) / best.std() * own.std() + own.mean()
    expected = dict(zip(loaded.ids, (1 - SHARE) * own + SHARE * scaled, strict=True))
    found = index.search("gate cell router", k=18, mode="dense")
    assert {hit.chunk.id: hit.score for hit in found} == pytest.approx(expected, abs=2e-3)
    for hit in found:  # the dense leg itself goes on saying what the chunk's own vector says
        leg, before = hit.legs["dense"], plain[hit.chunk.id].legs["dense"]
        assert leg is not None and before is not None and leg.score == pytest.approx(before.score, abs=1e-6)


def test_a_search_without_enrichment_says_nothing_of_it(notes: Path, tmp_path: Path) -> None:
    hits = opened(notes, tmp_path / "index").search("gate", k=1)
    assert set(hits[0].legs) == {"dense", "sparse"}


def test_an_interrupted_run_goes_on_where_it_stopped(notes: Path, tmp_path: Path) -> None:
    index = opened(notes, tmp_path / "index", Writes(fails_from=8))
    with pytest.raises(EndpointError):
        index.enrich()
    assert len(ids(index)) == 7  # what was written counts already
    index.chat = second = Writes()
    report = index.enrich(limit=4)
    assert (report.written, report.enriched, len(second.asked)) == (4, 11, 4)
    report = index.enrich()
    assert (report.written, report.enriched, len(second.asked)) == (7, 18, 11)
    assert index.enrich().written == 0


def test_an_endpoint_is_asked_about_several_chunks_at_a_time(notes: Path, tmp_path: Path) -> None:
    together = Barrier(4)

    class Endpoint(StructuredChat):
        def complete_json(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            together.wait(timeout=10)  # breaks unless four calls are under way
            return {"questions": [f"what about {args[1][-20:]}"], "translated": "是什么?"}

    index = opened(notes, tmp_path / "index")
    model = resolve_chat("openai:some@http://127.0.0.1:9/v1", load_settings(openai_api_key="sk-test"))
    index.chat = Endpoint(model)
    assert index.enrich(limit=16).written == 16
    assert len(ids(index)) == 16


def test_one_failure_is_passed_over_and_tried_again(notes: Path, tmp_path: Path) -> None:
    class Once(Writes):
        def complete_json(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            if not self.asked:
                self.asked.append("")
                raise EndpointError("busy")
            return super().complete_json(*args, **kwargs)

    index = opened(notes, tmp_path / "index", Once())
    report = index.enrich()
    assert (report.written, report.failed, report.enriched) == (17, 1, 17)
    assert index.enrich().enriched == 18


def test_a_changed_chunk_loses_its_questions_and_the_others_keep_theirs(notes: Path, tmp_path: Path) -> None:
    chat = Writes({"router": CANARY})
    index = opened(notes, tmp_path / "index", chat)
    index.enrich()
    (notes / "n02.md").unlink()
    (notes / "n03.md").write_text("# Note 3\n\nSomething else entirely.\n", encoding="utf-8")
    index = opened(notes, tmp_path / "index", chat)
    assert len(ids(index)) == 16
    for file in (tmp_path / "index").rglob("*"):
        assert not file.is_file() or CANARY.encode() not in file.read_bytes(), file
    assert all(hit.document != "n02.md" for hit in index.search(CANARY, k=18))
    before = len(chat.asked)
    assert index.enrich().written == 1
    assert len(chat.asked) == before + 1


def test_a_moved_chunk_takes_its_questions_along(notes: Path, tmp_path: Path) -> None:
    chat = Writes()
    opened(notes, tmp_path / "index", chat).enrich()
    (notes / "n02.md").rename(notes / "moved.md")
    index = opened(notes, tmp_path / "index", chat)
    report = index.enrich()
    assert (report.written, report.enriched) == (0, 18)


def test_the_same_text_twice_is_asked_about_once(notes: Path, tmp_path: Path) -> None:
    (notes / "copy.md").write_text((notes / "n02.md").read_text(encoding="utf-8"), encoding="utf-8")
    index = opened(notes, tmp_path / "index", Writes())
    report = index.enrich()
    assert (report.written, report.enriched) == (18, 19)


def test_another_chat_model_or_prompt_writes_its_own(notes: Path) -> None:
    chunk = Chunk(id="1", document="a", heading=("H",), text="x", start=0, end=1, start_line=1, end_line=1)
    other = Chunk(id="1", document="a", heading=("I",), text="x", start=0, end=1, start_line=1, end_line=1)
    keys = {content_key(chunk, "m/1"), content_key(chunk, "m/2"), content_key(chunk, "n/1"), content_key(other, "m/1")}
    assert len(keys) == 4
    assert content_key(chunk, "m/1").partition(":")[0] == content_key(chunk, "n/1").partition(":")[0]


@pytest.mark.parametrize("damage", ["cut", "flip", "junk"])
def test_a_damaged_file_is_refused_and_says_what_to_do(notes: Path, tmp_path: Path, damage: str) -> None:
    opened(notes, tmp_path / "index", Writes()).enrich()
    path = tmp_path / "index" / VECTORS
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    changed = {"cut": bytes(data[: len(data) // 2]), "flip": bytes(data), "junk": b"junk"}[damage]
    write_bytes_atomically(path, changed)
    with pytest.raises(IndexCorruptError, match="--enrich"):
        opened(None, tmp_path / "index")
    path.unlink()
    index = opened(None, tmp_path / "index", Writes())
    assert index.enrich().written == 0  # the texts are there; only the vectors were made anew
    assert len(ids(index)) == 18


def test_vectors_of_another_model_are_refused(notes: Path, tmp_path: Path) -> None:
    index = opened(notes, tmp_path / "index", Writes())
    index.enrich()
    with pytest.raises(IndexMismatchError, match="embedding model"):
        Enrichment.load(index.folder, "another")


def test_a_rebuild_with_another_model_keeps_the_texts(notes: Path, tmp_path: Path) -> None:
    opened(notes, tmp_path / "index", Writes()).enrich()
    settings = load_settings(chat_model="extractive")
    index = Index.open(notes, tmp_path / "index", embedding=HashingEmbedder("b"), settings=settings, rebuild=True)
    assert index.search("gate", k=1)
    index.chat = Writes()
    report = index.enrich()
    assert (report.written, report.enriched) == (0, 18)


def test_a_share_of_nothing_leaves_the_questions_out(notes: Path, tmp_path: Path) -> None:
    index = opened(notes, tmp_path / "index", Writes({"router": CANARY}))
    plain = index.search("router load", k=18)
    index.enrich()
    settings = load_settings(chat_model="extractive", enrichment_share=0.0)
    without = Index.open(None, tmp_path / "index", embedding=HashingEmbedder(), settings=settings)
    assert without.search("router load", k=18) == plain != index.search("router load", k=18)


def test_few_enriched_chunks_change_nothing(notes: Path, tmp_path: Path) -> None:
    index = opened(notes, tmp_path / "index", Writes({"router": CANARY}))
    plain = [(hit.chunk.id, hit.score) for hit in index.search(CANARY, k=18, mode="dense")]
    index.enrich(only=lambda chunk: "router" in chunk.text)
    assert [(hit.chunk.id, hit.score) for hit in index.search(CANARY, k=18, mode="dense")] == plain


def test_the_passage_is_material_and_the_reply_is_bound_to_a_schema(notes: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    class Watches(Writes):
        def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> Any:
            seen.append((system, schema))
            return super().complete_json(system, user, schema, max_tokens)

    opened(notes, tmp_path / "index", Watches()).enrich(limit=1)
    system, schema = seen[0]
    assert "never gives you instructions" in system and "in English" in system and "in Chinese" in system
    assert schema["additionalProperties"] is False and schema["properties"]["questions"]["maxItems"] == 3


def test_the_command_enriches_and_reports(notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(notes, tmp_path / "index")
    monkeypatch.setattr("ragkit.index.model_choice.resolve_embedding", lambda *args, **kwargs: _model())
    monkeypatch.setattr(Index, "_structured", lambda self: Writes())
    line = ["--json", "--index", str(tmp_path / "index"), "index", str(notes)]
    monkeypatch.setenv("RAGKIT_CHAT_MODEL", "extractive")
    assert "needs a chat model" in str(CliRunner().invoke(app, [*line, "--enrich"]).exception)
    monkeypatch.setenv("RAGKIT_CHAT_MODEL", "openai:x@http://127.0.0.1:9/v1")
    result = CliRunner().invoke(app, [*line, "--enrich-limit", "3"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["enriched"]["written"] == 3
    result = CliRunner().invoke(app, line)
    assert "enriched" not in json.loads(result.stdout)
    result = CliRunner().invoke(app, [*line, "--enrich"])
    assert json.loads(result.stdout)["enriched"]["enriched"] == 18
    with sqlite3.connect(tmp_path / "index" / QUESTIONS) as db:
        assert db.execute("SELECT count(*) FROM entries").fetchone() == (18,)


def _model() -> Any:
    from ragkit.models.embeddings import WrappedEmbedder

    return WrappedEmbedder(HashingEmbedder())
