"""Names in a question that the notes never mention, and words that are no names."""

from __future__ import annotations

import pytest

from ragkit.retrieval.names import unknown_names
from ragkit.text.tokens import tokenize

KNOWN = set(tokenize("the KV cache keeps keys and values; attention, transformer, LSTM, GRU, BERT, training"))


def names(question: str) -> list[str]:
    return unknown_names(question, KNOWN.__contains__, lambda term: [word for word in KNOWN if word[0] == term[0]])


@pytest.mark.parametrize(
    "question",
    [
        "Tell Me About The KV Cache",
        "TELL ME ABOUT THE KV CACHE",
        "PLEASE EXPLAIN QUOKKA MARSUPIALS",
        "Explain Multi Headed Layer Norms In Training",
        "What Is The Zorblax Layer",
        "tell Me about the KV cache",
        "the KV cache:Please",
        "Hi.\nPlease explain attention",
        'He said "Explain attention"',
        "Please 告诉 Me 什么是 attention",
    ],
)
def test_ordinary_words_are_no_names_however_they_are_written(question: str) -> None:
    assert names(question) == []


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is Zorblax?", ["Zorblax"]),
        ("Explain Zorblax", ["Zorblax"]),
        ("Compare Zorblax with Vexoria and BERT", ["Zorblax", "Vexoria"]),
        ("Who is Ann Lee Smith", ["Ann", "Lee", "Smith"]),
        ("Zorblax 的缺点是什么", ["Zorblax"]),
        ("Tell Me About GPT-9", ["GPT-9"]),
        ("HOW DOES GPT-9 WORK", ["GPT-9"]),
        ("How Does QWYX Work In Training", ["QWYX"]),
    ],
)
def test_names_stay_names(question: str, expected: list[str]) -> None:
    assert names(question) == expected
