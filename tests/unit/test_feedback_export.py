"""Feedback as questions, pairs and chat examples."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ragkit.errors import UsageError
from ragkit.evaluation.datasets import load_dataset
from ragkit.feedback.export import SYSTEM, Form, check_form, export
from ragkit.feedback.notes import NotesNow
from ragkit.feedback.records import Exchange, Gold, Item, Passage, Quote, Record, Versions


def passage(document: str, text: str, start: int = 0, heading: tuple[str, ...] = ()) -> Passage:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Passage(document=document, start=start, end=start + len(text), text=text, sha256=digest, heading=heading)


PASSAGES = (
    passage("rnn.md", "RNN 的缺点是梯度消失，不能并行。", heading=("循环神经网络", "缺点")),
    passage("lstm.md", "LSTM 有三个门。"),
    passage("gru.md", "GRU 有两个门。"),
)
CITED = (Quote(document="rnn.md", start=0, end=13, quote="RNN 的缺点是梯度消失"),)


def item(status: str = "new", right: str | None = None, gold: tuple[Gold, ...] | None = None, **fields: Any) -> Item:
    values: dict[str, Any] = dict(
        id="abc123", rating="good", question="RNN 的缺点是什么？", standalone="RNN 的缺点是什么？",
        answer="RNN 的缺点是梯度消失。[1]", citations=CITED, passages=PASSAGES,
        versions=Versions(chat_model="local", embedding_model="e5"),
    )  # fmt: skip
    record = Record(**{**values, **fields})
    return Item.model_validate(dict(record=record, status=status, corrected_answer=right, corrected_gold=gold))


@pytest.mark.parametrize(
    ("status", "rating", "include_new", "rows", "reason"),
    [
        ("accepted", "good", False, 1, ""),
        ("fixed", "good", False, 1, ""),
        ("fixed", "bad", False, 1, ""),
        ("new", "good", False, 0, "not reviewed"),
        ("new", "good", True, 1, ""),
        ("new", "bad", True, 0, "bad and not fixed"),
        ("accepted", "bad", True, 0, "bad and not fixed"),
        ("dropped", "good", True, 0, "dropped"),
    ],
)
def test_who_is_exported(status: str, rating: str, include_new: bool, rows: int, reason: str) -> None:
    gold = (Gold(file="rnn.md", quote="梯度消失"),) if status == "fixed" else None
    result = export([item(status, gold=gold, rating=rating)], "eval", include_new=include_new)
    assert len(result.rows) == rows
    assert dict(result.skipped) == ({reason: 1} if reason else {})


def test_an_eval_row_is_a_question_set(tmp_path: Path) -> None:
    history = (Exchange(question="什么是 RNN？", answer="循环网络。"),)
    [row] = export([item("accepted", question="它的缺点呢？", history=history)], "eval").rows
    assert row == {
        "id": "fb-abc123",
        "question": "它的缺点呢？",
        "language": "zh",
        "type": "feedback",
        "gold": [{"file": "rnn.md", "quote": "RNN 的缺点是梯度消失"}],
        "reference_answer": "RNN 的缺点是梯度消失。[1]",
        "history": [{"question": "什么是 RNN？", "answer": "循环网络。"}],
    }
    (tmp_path / "questions.jsonl").write_text(json.dumps(row), encoding="utf-8")
    [question] = load_dataset(tmp_path, notes=tmp_path).questions
    assert question.gold[0].quote == "RNN 的缺点是梯度消失" and question.history[0].question == "什么是 RNN？"


def test_the_citations_of_a_bad_answer_are_no_gold() -> None:
    result = export([item("fixed", "别的。", rating="bad")], "eval")
    assert result.rows == () and result.skipped == {"nobody said which passage answers it": 1}


def test_an_abstention_that_was_right_is_a_question_without_gold() -> None:
    text = "笔记里没有找到这个问题的答案。\n最接近的段落：\n- rnn.md:1"
    [row] = export([item("accepted", abstained=True, citations=(), answer=text)], "eval").rows
    assert row["gold"] == [] and row["reference_answer"] == "笔记里没有找到这个问题的答案。"
    assert export([item("accepted", abstained=True, citations=(), answer=text)], "pairs").rows == ()
    none = export([item("fixed", "笔记里没有。", (), rating="bad")], "eval").rows
    assert none[0]["gold"] == []


def test_pairs_put_the_cited_chunk_against_those_retrieved_besides() -> None:
    rows = export([item("accepted", question="它的缺点呢？")], "pairs").rows
    assert rows == tuple(
        {
            "query": "RNN 的缺点是什么？",
            "positive": "循环神经网络 > 缺点\nRNN 的缺点是梯度消失，不能并行。",
            "negative": text,
        }
        for text in ("LSTM 有三个门。", "GRU 有两个门。")
    )


def test_a_copy_of_the_answer_is_no_negative() -> None:
    copies = (
        *PASSAGES,
        passage("copy.md", "另见：RNN 的缺点是梯度消失，不能并行。"),
        passage("again.md", PASSAGES[0].text),
    )
    rows = export([item("accepted", passages=copies)], "pairs").rows
    assert {row["negative"] for row in rows} == {"LSTM 有三个门。", "GRU 有两个门。"}


def test_a_fixed_place_is_the_positive_and_what_was_cited_a_negative() -> None:
    rows = export([item("fixed", gold=(Gold(file="lstm.md", quote="三个门"),), rating="bad")], "pairs").rows
    assert {row["positive"] for row in rows} == {"LSTM 有三个门。"}
    assert [row["negative"][:5] for row in rows] == ["循环神经网", "GRU 有"]


def test_a_place_that_was_never_retrieved_is_a_positive_too() -> None:
    rows = export([item("fixed", gold=(Gold(file="new.md", quote="答案在这里。"),), rating="bad")], "pairs").rows
    assert {row["positive"] for row in rows} == {"答案在这里。"} and len(rows) == 3


def test_pairs_without_a_negative_are_left_out() -> None:
    result = export([item("accepted", passages=PASSAGES[:1])], "pairs")
    assert result.rows == () and result.skipped == {"nothing was retrieved besides its sources": 1}


def test_sft_lines_are_a_chat_with_the_passages() -> None:
    history = (Exchange(question="什么是 RNN？", answer="循环网络。"),)
    [row] = export([item("accepted", history=history)], "sft").rows
    assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    assert row["messages"][0]["content"] == SYSTEM["zh"]
    asked = row["messages"][3]["content"]
    assert "[1] rnn.md | 循环神经网络 > 缺点\nRNN 的缺点" in asked and "[3] gru.md" in asked
    assert asked.endswith("问题：RNN 的缺点是什么？")
    assert row["messages"][4]["content"] == "RNN 的缺点是梯度消失。[1]"


def test_a_corrected_answer_names_its_passage() -> None:
    gold = (Gold(file="lstm.md", quote="三个门"),)
    [row] = export([item("fixed", "LSTM 有三个门。", gold, rating="bad")], "sft").rows
    assert row["messages"][-1]["content"] == "LSTM 有三个门。[2]"
    [row] = export([item("fixed", "LSTM[2] 有三个门。", gold, rating="bad")], "sft").rows
    assert row["messages"][-1]["content"] == "LSTM[2] 有三个门。"
    elsewhere = (Gold(file="new.md", quote="答案"),)
    assert export([item("fixed", "别的。", elsewhere)], "sft").skipped == {"its passages do not hold the answer": 1}


def test_answers_that_nobody_wrote_are_no_examples() -> None:
    quoted = item("accepted", versions=Versions(chat_model="extractive"))
    assert export([quoted], "sft").skipped == {"its answer only quotes the notes": 1}
    assert export([quoted], "eval").rows[0]["reference_answer"] == ""
    unsaid = item("fixed", gold=(Gold(file="lstm.md", quote="三个门"),), rating="bad")
    assert export([unsaid], "sft").skipped == {"its answer is not corrected": 1}
    assert export([unsaid], "eval").rows[0]["reference_answer"] == ""


def test_personal_data_is_replaced_and_counted() -> None:
    leaky = item(
        "accepted",
        question="我是 a@b.com，RNN 的缺点？",
        standalone="a@b.com RNN 的缺点",
        answer="打 13812345678。[1]",
        passages=(*PASSAGES, passage("p.md", "服务器 192.168.1.20")),
    )
    for form in ("eval", "pairs", "sft"):
        result = export([leaky], check_form(form))
        text = json.dumps(result.rows, ensure_ascii=False)
        assert "a@b.com" not in text and "13812345678" not in text and "192.168" not in text
        assert "<EMAIL>" in text and result.masked["EMAIL"] >= 1


def test_gold_with_personal_data_cannot_be_verbatim_and_is_left_out() -> None:
    private = (Quote(document="rnn.md", start=0, end=9, quote="问 a@b.com"),)
    result = export([item("accepted", citations=private)], "eval")
    assert result.rows == () and result.skipped == {"its gold quote holds personal data": 1}
    assert not result.masked


def test_the_last_record_of_a_question_counts() -> None:
    result = export(
        [item("accepted", id="old"), item("accepted", id="new"), item("accepted", id="o", question="x y")], "eval"
    )
    assert [row["id"] for row in result.rows] == ["fb-new", "fb-o"]
    assert result.skipped == {"asked again later": 1}


def test_unknown_forms_are_refused() -> None:
    with pytest.raises(UsageError, match="eval, pairs, sft"):
        check_form("csv")


QUOTING = Versions(chat_model="extractive")
SEVERAL = (*CITED, Quote(document="gru.md", start=0, end=9, quote="GRU 有两个门"))


@pytest.mark.parametrize("form", ["eval", "pairs"])
def test_what_is_only_quoted_beside_the_answer_is_no_gold(form: Form) -> None:
    # Without a chat model the best passages are quoted, right or not; "good" says that one of them is.
    result = export([item("accepted", citations=SEVERAL, versions=QUOTING)], form)
    assert result.rows == () and "--gold N" in next(iter(result.skipped))
    assert export([item("accepted", versions=QUOTING)], form).rows  # one quote is no question
    named = item("fixed", None, (Gold(file="rnn.md", quote="梯度消失"),), citations=SEVERAL, versions=QUOTING)
    [row, *_] = export([named], form).rows
    assert "梯度消失" in str(row.get("gold") or row["positive"]) and "GRU" not in str(row.get("gold", ""))
    assert export([item("accepted", citations=SEVERAL)], form).rows  # a chat model cites what it used


@pytest.mark.parametrize("model", ["extractive", "local"])
@pytest.mark.parametrize("before", ["", "未配置语言模型，以下是笔记原文摘录。\n"])
def test_of_an_abstention_only_the_abstention_is_kept(model: str, before: str) -> None:
    text = before + "笔记里没有找到这个问题的答案。\n最接近的段落：\n- rnn.md:1"
    away = item("accepted", abstained=True, citations=(), answer=text, versions=Versions(chat_model=model))
    assert export([away], "eval").rows[0]["reference_answer"] == "笔记里没有找到这个问题的答案。"
    assert export([away], "sft").rows[0]["messages"][-1]["content"] == "笔记里没有找到这个问题的答案。"
    bare = item("accepted", abstained=True, citations=(), answer="The notes do not say.", versions=away.record.versions)
    assert export([bare], "eval").rows[0]["reference_answer"] == "The notes do not say."


def test_places_that_the_notes_no_longer_hold_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "rnn.md").write_text("# RNN\r\n\r\nRNN 的缺点是梯度消失，不能并行。", encoding="utf-8")
    (tmp_path / "gru.md").write_text("GRU 已改写。", encoding="utf-8")
    notes = NotesNow([tmp_path])
    [row] = export([item("accepted", citations=SEVERAL)], "eval", notes=notes).rows
    assert row["gold"] == [{"file": "rnn.md", "quote": "RNN 的缺点是梯度消失"}]
    gone = item("accepted", citations=SEVERAL[1:])
    assert export([gone], "eval", notes=notes).skipped == {"its note says something else now": 1}
    elsewhere = item("fixed", None, (Gold(file="no such.md", quote="x"),))
    [reason] = export([elsewhere], "eval", notes=notes).skipped
    assert str(tmp_path) in reason
    assert export([gone], "pairs", notes=notes).rows  # pairs hold their texts themselves
    away = item("accepted", abstained=True, citations=(), answer="没有。")
    assert export([away], "eval", notes=notes).rows[0]["gold"] == []
