"""Names that a note writes out once and shortens from then on."""

from __future__ import annotations

import pytest

from ragkit import verify
from ragkit.citations.aliases import makers
from ragkit.citations.evidence import Passage

WHOLE = Passage(text="DeepSeek-R1-Zero 只用规则奖励。", document="r1.md")
SHORT = Passage(text="R1 放弃 PRM：通用推理里很难定义细粒度的步骤，步骤对错难以自动判断。", document="r1.md")


def test_a_passage_with_the_short_name_has_the_maker_of_the_whole_one_elsewhere_in_its_note() -> None:
    texts = ["DeepSeek-R1 and Kimi K2.5", "R1 and K2.5 share it", "K2 does not", "R1 elsewhere"]
    assert makers(texts, ["a.md", "a.md", "a.md", "b.md"]) == [{"DeepSeek", "Kimi"}, {"DeepSeek", "Kimi"}, set(), set()]


def test_passages_without_a_name_of_their_note_say_nothing_of_each_other() -> None:
    assert makers(["DeepSeek-R1 does", "R1 does"], ["", ""]) == [set(), set()]


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("R1", "supported"), ("DeepSeek-R1", "supported"), ("DeepSeek R1", "supported"), ("Qwen-R1", "partly")],
)
def test_the_whole_name_is_borne_out_by_the_lines_with_the_short_one(name: str, verdict: str) -> None:
    sentence = f"{name} 放弃 PRM，因为通用推理里很难定义细粒度的步骤，步骤对错难以自动判断。[2]"
    assert [found.verdict for found in verify(sentence, [WHOLE, SHORT])] == [verdict]


def test_another_note_lends_no_name() -> None:
    sentence = "DeepSeek-R1 放弃 PRM，因为通用推理里很难定义细粒度的步骤，步骤对错难以自动判断。[1]"
    elsewhere = Passage(text=WHOLE.text, document="other.md")
    assert verify(sentence, [SHORT, elsewhere])[0].verdict != "supported"
