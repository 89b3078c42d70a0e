"""A reply that goes round in circles is noticed, one that only looks alike is not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from ragkit.agent.native_tools import NativeToolModel
from ragkit.text.repetition import goes_round


@pytest.mark.parametrize("piece", ["no ", "是的，", "-", "The answer is 4. ", "再算一遍：268 / 61 = 4.39。" * 8])
def test_one_piece_over_and_over_goes_round(piece: str) -> None:
    assert goes_round("A good beginning. " + piece * (1000 // len(piece) + 4))


def test_it_is_noticed_wherever_the_piece_was_cut() -> None:
    text = "Step 3: divide by 61. " * 60
    assert all(goes_round(text[: len(text) - cut]) for cut in range(30))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ha" * 300,
        "".join(f"| row {i} | {i * 7} |\n" for i in range(200)),
        "".join(f"{i}. 第 {i} 条不同。" for i in range(200)),
        "A piece of some length that returns only after a long while. " * 4 + "Then it ends.",
        "".join(chr(0x4E00 + i) for i in range(201)) * 6,
    ],
)
def test_text_that_goes_on_does_not(text: str) -> None:
    assert not goes_round(text)


class Endless(BaseChatModel):
    """Writes the same for ever."""

    closed: bool = False

    @property
    def _llm_type(self) -> str:
        return "endless"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        try:
            for number in count():
                text = "It is 4.39. " if number else "The sum is 268. "
                yield ChatGenerationChunk(message=AIMessageChunk(content=text))
        finally:
            self.closed = True


def test_a_reply_that_goes_round_is_ended_and_its_stream_closed() -> None:
    endless = Endless()
    reply = NativeToolModel(inner=endless).invoke("sum?")
    assert reply.text.startswith("The sum is 268. It is 4.39. ")
    assert len(reply.text) < 1200
    assert endless.closed
