"""What stands in place of a sentence that is borne out in part: a line of prose, not one of code."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ragkit.agent.own_words import OWN_WORDS, ruling_of
from ragkit.agent.turn import TurnState
from ragkit.citations.verdicts import Verdict
from ragkit.values import Chunk

LINE = "theta = base ** scale"


@pytest.mark.parametrize("code", [False, True])
def test_a_line_of_code_does_not_stand_for_a_sentence(code: bool) -> None:
    text = f"Pairs are rotated.\n\n```python\n{LINE}\n```\n" if code else f"Pairs are rotated.\n\n{LINE}\n"
    chunk = Chunk(
        id="1", document="a.md", heading=(), text=text, start=0, end=len(text), start_line=1, end_line=7, language="en"
    )
    index = SimpleNamespace(idf=lambda term: 1.0, similarity=None, model=SimpleNamespace(name="other"))
    turn: Any = SimpleNamespace(
        index=index,
        question="How do poses mix?",
        passages=[SimpleNamespace(chunk=chunk)],
        computed=lambda number: False,
    )
    sentence = "The theta base scale sets how strongly poses mix."
    verdict = Verdict(sentence=sentence, markers=(1,), sources=(1,), verdict="partly", share=0.43)
    ruling = ruling_of(cast(TurnState, turn), sentence, verdict)
    if code:
        assert ruling.weak and not ruling.quotes
    else:
        assert ruling.quotes == ((1, LINE),) and ruling.reason == OWN_WORDS
