"""Sentence boundaries in both languages."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.sentences import sentence_spans, split_sentences

TABLE = {
    "第一句。第二句！第三句？": ["第一句。", "第二句！", "第三句？"],
    "One. Two! Three?": ["One.", "Two!", "Three?"],
    "它说“好。”然后走了。": ["它说“好。”", "然后走了。"],
    "See Fig. 3 for details. Done.": ["See Fig. 3 for details.", "Done."],
    "Use e.g. LoRA here. Then stop.": ["Use e.g. LoRA here.", "Then stop."],
    "J. Smith wrote it. Yes.": ["J. Smith wrote it.", "Yes."],
    "1. First item\n2. Second item": ["1. First item", "2. Second item"],
    "The rate is 3.5 percent.": ["The rate is 3.5 percent."],
    "ragkit.text.tokens is a module.": ["ragkit.text.tokens is a module."],
    "no stop at the end": ["no stop at the end"],
    "先做 A；再做 B。": ["先做 A；", "再做 B。"],
    "等等……好。": ["等等……", "好。"],
    "Really?! Yes.": ["Really?!", "Yes."],
    "混合 mixed。English here. 中文。": ["混合 mixed。", "English here.", "中文。"],
    "  \n \n": [],
    "": [],
}


@pytest.mark.parametrize(("text", "sentences"), TABLE.items())
def test_text_splits_into_these_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.text(alphabet="中文a1 .。！?;；…\n”)"))
def test_spans_hold_every_character_that_is_not_white_space_once_and_in_order(text: str) -> None:
    spans = list(sentence_spans(text))
    assert all(a < b for a, b in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert "".join("".join(text[a:b] for a, b in spans).split()) == "".join(text.split())


@pytest.mark.parametrize("unit", ["J. Smith, ", "1. ", ";a", " \n", ".)", "e.g. ", "…", "x. "])
@pytest.mark.parametrize("end", ["", "x", " 1. x"])
def test_time_grows_with_the_length_whatever_the_text(unit: str, end: str) -> None:
    began = time.process_time()
    list(sentence_spans(unit * (60_000 // len(unit)) + end))
    assert time.process_time() - began < 2  # quadratic: 10 s and more


def test_a_long_run_of_stops_inside_a_word_takes_no_time() -> None:
    began = time.process_time()
    assert list(sentence_spans(";" * 60_000 + "x")) == [(0, 60_001)]
    assert time.process_time() - began < 2
