"""``ragkit verify``: an answer against a folder of notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from turn_kit import TEXTS, turn_of

from ragkit.agent.answer import Removed
from ragkit.agent.retry import corrected
from ragkit.citations.notes import Notes, verify_notes
from ragkit.cli.main import main
from ragkit.errors import ModelError
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import make_document

GRU = "# GRU\n\nGRU 有更新门和重置门两个门。\n\nGRU 由 Cho 于 2014 年提出。\n"
ROPE = "# RoPE\n\nRoPE 只作用在 Q 和 K 上，不作用在 V 上。\n"


def notes() -> Notes:
    documents = {path: make_document(path, text) for path, text in {"rnn/gru.md": GRU, "rope.md": ROPE}.items()}
    return Notes(documents, [chunk for document in documents.values() for chunk in chunk_document(document)])


@pytest.mark.parametrize(
    ("answer", "verdict", "place"),
    [
        ("GRU 有更新门和重置门两个门[1]。\n\n[1] rnn/gru.md", "supported", "rnn/gru.md:3"),
        ("GRU 有更新门和重置门两个门[^1]。\n\n[^1]: gru.md:3", "supported", "rnn/gru.md:3"),
        ("GRU 有更新门和重置门两个门[2]。\n\n## 来源\n1. rope.md\n2. rnn/gru.md:1-3", "supported", "rnn/gru.md:3"),
        ("GRU 有更新门和重置门两个门（rnn/gru.md:3）。", "supported", "rnn/gru.md:3"),
        ("GRU 有更新门和重置门两个门[1]。\n\n[1] rope.md:3", "misattributed", "rnn/gru.md:3"),
        ("GRU 由 Cho 于 2015 年提出[1]。\n\n[1] rnn/gru.md:5", "partly", "rnn/gru.md:5"),
        ("GRU 有更新门和重置门两个门。", "supported", "rnn/gru.md:3"),
        ("香蕉富含钾元素，适合早餐食用。", "unsupported", ""),
    ],
)
def test_sources_are_a_list_a_reference_or_looked_for(answer: str, verdict: str, place: str) -> None:
    [found] = verify_notes(answer, notes())
    assert found.verdict == verdict
    assert "".join(f"{span.document}:{span.start_line}" for span in found.spans) == place
    for span in found.spans:
        assert notes().documents[span.document].text[span.start : span.end] == span.quote


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("GRU 有更新门和重置门两个门[7]。", "[7]: it is in no source list"),
        ("GRU 有更新门和重置门两个门[1]。\n\n[1] gone.md:3", "[1]: gone.md is not in the notes"),
    ],
)
def test_a_source_that_is_not_there_is_said(answer: str, said: str) -> None:
    [found] = verify_notes(answer, notes())
    assert said in [reason.text for reason in found.reasons]


def test_the_command_says_in_json_what_stands_nowhere_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGKIT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "gru.md").write_text(GRU, encoding="utf-8")
    answer = tmp_path / "answer.md"
    for text, code in (("GRU 有更新门和重置门两个门。", 0), ("GRU 有更新门和重置门两个门。香蕉富含钾元素。", 1)):
        answer.write_text(text, encoding="utf-8")
        with pytest.raises(SystemExit) as left:
            main(["verify", str(answer), "--notes", str(folder), "--json"])
        assert left.value.code == code
        value = json.loads(capsys.readouterr().out)
        assert [item["verdict"] for item in value["sentences"]] == ["supported", "unsupported"][: code + 1]
        assert value["counts"]["unsupported"] == code
    with pytest.raises(SystemExit) as left:
        main(["verify", str(tmp_path / "none.md"), "--notes", str(folder)])
    assert left.value.code == 1
    assert "none.md cannot be read" in capsys.readouterr().err


class Model:
    def __init__(self, reply: object) -> None:
        self.reply = reply
        self.user = ""

    def complete_json(self, system: str, user: str, schema: object, max_tokens: int = 0) -> dict[str, object]:
        self.user = user
        if isinstance(self.reply, Exception):
            raise self.reply
        return {"sentences": self.reply}


def test_what_failed_goes_back_with_the_reason() -> None:
    model = Model([{"text": "LSTM 有三个门。", "sources": [1]}])
    failed = [Removed(sentence="LSTM 没有门。", reason="it denies what the source says")]
    assert corrected(turn_of(TEXTS), failed, model) == [("LSTM 有三个门。", [1])]  # type: ignore[arg-type]
    assert "it denies what the source says" in model.user and TEXTS[0] in model.user


@pytest.mark.parametrize("reply", [ModelError("no", ""), "x", [{"text": 3, "sources": [1]}], [7]])
def test_a_model_that_cannot_correct_leaves_the_answer_as_it_was(reply: object) -> None:
    failed = [Removed(sentence="LSTM 没有门。", reason="x")]
    assert corrected(turn_of(TEXTS), failed, Model(reply)) == []  # type: ignore[arg-type]
