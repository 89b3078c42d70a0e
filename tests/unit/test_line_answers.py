"""A sheet of lines: its prompt, the reply that is read from it, and where each sentence is said to come from."""

from __future__ import annotations

import json

import pytest
from langchain_core.messages import AIMessageChunk

from ragkit.agent.json_protocol import GAVE_UP, SENTENCES, JsonProtocolModel
from ragkit.agent.line_answers import Line, Sheet, rules
from ragkit.testing import ScriptedChatModel

GATES = "An LSTM has three gates: input, forget and output."
CELL = "The cell state carries information over many steps."
SHEET = Sheet(
    question="Which gates has an LSTM?\nAnswer in English.",
    blocks=(("rnn.md | LSTM", (Line(1, GATES), Line(1, CELL))), ("gru.md | GRU", (Line(2, "A GRU has two gates."),))),
    wrap=lambda text: f"<data>\n{text}\n</data>",
    idf=lambda term: 1.0,
)


def reply(*lines: int, answer: str) -> str:
    return json.dumps({"lines": list(lines), "answer": answer})


def test_the_prompt_begins_with_what_never_changes_and_numbers_all_lines() -> None:
    system, human = SHEET.messages("You answer.")
    assert system == rules("You answer.") and str(system.content).startswith(
        "You answer.\n\nReply with one JSON object"
    )
    expected = f"<data>\nrnn.md | LSTM\n1: {GATES}\n2: {CELL}\ngru.md | GRU\n3: A GRU has two gates.\n</data>\n\n"
    assert human.content == expected + SHEET.question
    assert SHEET.schema()["properties"]["lines"]["items"] == {"enum": [1, 2, 3]}


def test_each_sentence_gets_the_passage_of_the_line_that_says_it() -> None:
    written = "It has three gates: input, forget and output. A GRU has two gates."
    assert SHEET.read(reply(1, answer=written)) == [
        ("It has three gates: input, forget and output.", [1]),
        ("A GRU has two gates.", [2]),  # although the model named another line
    ]


def test_where_words_do_not_decide_the_line_that_the_model_named_does() -> None:
    assert SHEET.read(reply(3, answer="两个。")) == [("两个。", [2])]


def test_what_a_semicolon_parts_is_one_sentence() -> None:
    assert SHEET.read(reply(1, answer="It has three gates; a GRU has two. 三个门；其中有遗忘门。")) == [
        ("It has three gates; a GRU has two.", [1]),
        ("三个门；其中有遗忘门。", [1]),
    ]


def test_no_line_is_no_answer() -> None:
    assert SHEET.read(reply(answer="")) == []
    assert SHEET.read(reply(answer="I think there are three.")) == []


def test_a_reply_that_was_cut_off_keeps_its_complete_sentences() -> None:
    cut = '{"lines": [1], "answer": "It has three gates. They are inp'
    assert SHEET.read(cut) == [("It has three gates.", [1])]


def test_an_answer_that_was_cut_at_its_longest_ends_with_a_whole_sentence() -> None:
    long = ("It has three gates. " + "and so on " * 60)[:400]
    assert SHEET.read(reply(1, answer=long)) == [("It has three gates.", [1])]


@pytest.mark.parametrize(
    "text",
    ["", "three gates", '{"lines": [9], "answer": "x."}', '{"lines": [1], "answer": 3}', '{"answer": "x."}',
     '{"lines": [1], "lines": [2], "answer": "x."}', '{"lines": [1], "answer": "no full stop yet'],
)  # fmt: skip
def test_a_reply_in_another_form_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(ValueError) as failed:
        SHEET.read(text)
    assert 0 < len(str(failed.value)) <= 400


def streamed(*texts: str) -> list[AIMessageChunk]:
    model = JsonProtocolModel(inner=ScriptedChatModel(replies=list(texts)))
    return [
        chunk
        for chunk in model.stream("Which gates?", sheet=SHEET, citable=[1, 2])
        if isinstance(chunk, AIMessageChunk)
    ]


def test_the_answer_streams_with_its_markers() -> None:
    chunks = streamed(reply(1, 3, answer="It has three gates: input, forget and output. A GRU has two gates."))
    texts = [str(chunk.content) for chunk in chunks if chunk.content]
    assert len(texts) > 5
    assert "".join(texts) == "It has three gates: input, forget and output. [1] A GRU has two gates. [2]"
    (sentences,) = [chunk.additional_kwargs[SENTENCES] for chunk in chunks if SENTENCES in chunk.additional_kwargs]
    assert sentences[1] == ["A GRU has two gates.", [2]]


def test_a_reply_without_lines_gives_up() -> None:
    chunks = streamed(reply(answer=""))
    assert any(GAVE_UP in chunk.additional_kwargs for chunk in chunks) and not any(chunk.content for chunk in chunks)


def test_a_bad_reply_goes_back_with_the_reason_and_the_other_form_is_understood() -> None:
    action = {"tool": "answer", "sentences": [{"text": GATES, "sources": [1]}]}
    chunks = streamed("no JSON at all", json.dumps({"thought": "", "action": action}))
    assert "".join(str(chunk.content) for chunk in chunks) == f"{GATES} [1]"


def test_the_number_of_an_item_is_no_sentence_of_its_own() -> None:
    said = [text for text, _ in SHEET.read(reply(1, answer="两种做法：1. 先检索再重排。\n2. 直接生成。"))]
    assert said == ["两种做法：1. 先检索再重排。", "2. 直接生成。"]
