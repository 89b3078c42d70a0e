"""Excerpts of passages: verbatim, in order, of the size that was asked for, with something of each passage."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.agent.excerpt import GAP, excerpts, pieces_of
from ragkit.api import Index
from ragkit.errors import ModelError
from ragkit.models.tokens import typical_tokens
from ragkit.text.tokens import tokenize
from ragkit.values import Chunk, Hit


class Words:
    """An index to which a text is as near as the words it shares with the question."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    def idf(self, term: str) -> float:
        return 1.0

    def nearness(self, questions: Sequence[str], texts: Sequence[str], hits: Sequence[Hit]) -> Any:
        if self.broken:
            raise ModelError("The model is gone.", "Try again.")
        return np.array([[len({*tokenize(q)} & {*tokenize(t)}) / 10 for t in texts] for q in questions])


def passage(text: str) -> Hit:
    chunk = Chunk(
        id="id",
        document="note.md",
        heading=("Title",),
        text=text,
        start=0,
        end=len(text),
        start_line=1,
        end_line=1 + text.count("\n"),
    )
    return Hit(chunk=chunk, rank=1, score=1.0, coverage=0.5, legs={})


def shown(question: str, *texts: str, tokens: int = 60, broken: bool = False) -> dict[int, str]:
    numbered = {number: passage(text) for number, text in enumerate(texts, start=1)}
    return excerpts(cast(Index, Words(broken)), [question], numbered, tokens)


FILLER = "Unrelated remarks about gardens and rivers fill this line of the note. " * 4


def test_what_fits_is_shown_whole() -> None:
    assert shown("What is BM25?", "BM25 is a ranking function.", "Something else.") == {}


@pytest.mark.parametrize("broken", [False, True], ids=["with vectors", "by words alone"])
def test_the_sentence_that_answers_stays_and_gaps_are_marked(broken: bool) -> None:
    answer = "The k1 parameter of BM25 controls saturation."
    found = shown("What does k1 of BM25 control?", f"{FILLER}\n\n{answer}\n\n{FILLER}", tokens=50, broken=broken)
    assert answer in found[1]
    assert found[1].startswith(f"{GAP}\n") and found[1].endswith(f"\n{GAP}")
    assert typical_tokens(found[1]) < 60


def test_each_passage_shows_something_however_weak_it_is() -> None:
    best = "LSTM has three gates. " * 12
    found = shown("Which gates has an LSTM?", best, FILLER, FILLER, tokens=150)
    assert set(found) == {1, 2, 3}
    assert all(text.strip(GAP + "\n") for text in found.values())


def test_a_heading_stays_with_what_stands_under_it_and_not_without() -> None:
    text = f"## Sparse\n\n{FILLER}\n\n## Dense\n\n{FILLER}\nDense retrieval embeds both sides.\n"
    found = shown("What does dense retrieval embed?", text, tokens=15)
    assert "## Dense" in found[1] and "## Sparse" not in found[1]


def test_a_row_of_a_table_stays_with_the_head_of_the_table() -> None:
    rows = "\n".join(f"| model{n} | {n} GB of weights in memory | slow |" for n in range(40))
    text = f"| model | memory | speed |\n|---|---|---|\n{rows}\n| falcon | 7 GB | fast |\n"
    found = shown("How fast is falcon?", text, tokens=40)
    assert "| falcon | 7 GB | fast |" in found[1] and "| model | memory | speed |" in found[1]


def test_a_line_that_is_longer_than_the_room_is_cut_and_says_so() -> None:
    found = shown("word?", "word " * 500, "Another note about a word.", tokens=50)
    assert found[1].endswith(f"{GAP}(cut)") and typical_tokens(found[1]) < 50
    assert found[2] == "Another note about a word."


def test_short_code_and_formulas_are_never_torn_apart() -> None:
    code = "```python\ndef bm25(tf):\n    return tf\n```"
    formula = "$$\n\\text{BM25}(q,d)=\\sum_t w_t.\n$$"
    parts = [f"{FILLER}\n{code}\nAnd then.\n{formula}\nEnd."[p.start : p.end] for p in
             pieces_of(f"{FILLER}\n{code}\nAnd then.\n{formula}\nEnd.")]  # fmt: skip
    assert code in parts and formula in parts


def test_several_wordings_of_a_question_are_all_looked_for() -> None:
    text = f"{FILLER}\n\n梯度消失由连乘造成。\n\n{FILLER}"
    found = excerpts(cast(Index, Words()), ["Why do gradients vanish?", "为什么梯度消失？"], {1: passage(text)}, 30)
    assert "梯度消失由连乘造成。" in found[1]


LINES = st.lists(
    st.sampled_from(["# Title", "## 小节", "- 列表项，说明。", "A sentence. Another one!", "```", "| a | b |", "|---|---|",
                     "$$x$$", "", "   ", "长句子。" * 30, "word " * 40, "****", "1. first; second", "…", "$$"]),
    max_size=25,
)  # fmt: skip


@given(st.lists(LINES.map("\n".join), min_size=1, max_size=4), st.integers(50, 400))
@settings(deadline=None, max_examples=300)
def test_whatever_stands_in_a_passage(texts: list[str], tokens: int) -> None:
    found = shown("列表项 word 说明?", *texts, tokens=tokens)
    for number, text in found.items():
        source = texts[number - 1]
        at = 0
        for line in (
            line for part in text.removesuffix(f" {GAP}(cut)").split(f"{GAP}\n") for line in part.splitlines()
        ):
            if line in ("", GAP):
                continue
            at = source.index(line.strip(), at)  # verbatim, and in the order of the passage
    for text in texts:
        pieces = pieces_of(text)
        assert all(a.end <= b.start for a, b in itertools.pairwise(pieces))
        covered = "".join(text[p.start : p.end] for p in pieces)
        assert {c for c in text if c.isalnum()} <= set(covered)
