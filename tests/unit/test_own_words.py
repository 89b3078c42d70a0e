"""Sentences of a small model against their sources: what stays, what is said in the note's words, what goes."""

from __future__ import annotations

import pytest
from turn_kit import turn_of

from ragkit.agent import own_words
from ragkit.agent.answer import Step
from ragkit.agent.compose import Composed, Rules, compose
from ragkit.agent.own_words import OWN_WORDS, PART

SINK = "开头的 token 充当 attention sink，一旦被挤出缓存，困惑度会急剧上升。"
NOTES = [
    f"StreamingLLM 的做法。{SINK}",
    "PPO 在显存里放四个模型，DPO 只放两个模型。",
    "RoPE 只作用在 Q 和 K 上，不作用在 V 上。",
]
QUESTION = "让模型没完没了地写下去，只留最近的内容，为什么最前面那几个字绝对不能扔？"


def written(*sentences: tuple[str, int], question: str = QUESTION, strict: bool = True) -> Composed:
    turn = turn_of(NOTES, question)
    turn.index.model = type("Model", (), {"name": "other"})()  # type: ignore[misc]
    return compose(turn, "", [(text, [n]) for text, n in sentences], rules=Rules(own_words=strict))


def test_what_holds_stays_as_it_was_written() -> None:
    said = "RoPE 只作用在 Q 和 K 上。"
    found = written((said, 3))
    assert found.kept[0].text == said and found.removed == ()


def test_a_question_that_is_repeated_before_the_answer_gives_way_to_the_words_of_the_note() -> None:
    said = "最前面那几个字绝对不能扔，因为它们充当 attention sink，一旦被挤出，困惑度会急剧上升。"
    [kept] = written((said, 1)).kept
    assert kept.text == SINK
    assert [gone.reason for gone in written((said, 1)).removed] == [OWN_WORDS]
    assert written((said, 1), strict=False).kept[0].text == said


WEAK = "PPO 在显存里放四个模型，所以训练时学习率和批大小都要调。"
"""Its source says a part of it, and no line of it the rest."""


def test_a_sentence_that_is_borne_out_in_part_stays_only_where_nothing_better_does() -> None:
    alone = written((WEAK, 2))
    assert [kept.text for kept in alone.kept] == [WEAK] and alone.citations[0].verdict == "partly"
    both = written((WEAK, 2), ("RoPE 只作用在 Q 和 K 上。", 3))
    assert [kept.markers for kept in both.kept] == [(3,)]
    assert [(gone.sentence, gone.reason) for gone in both.removed] == [(WEAK, PART)]


@pytest.mark.parametrize("wrong", ["PPO 在显存里一共要放 77 个模型，而 DPO 在显存里只需要放 33 个模型。"])
def test_figures_that_the_source_has_otherwise_go_in_any_case(wrong: str) -> None:
    found = written((wrong, 2), question="PPO 要放几个模型？")
    assert all("77" not in kept.text for kept in found.kept) and found.removed


def test_a_struck_sentence_is_shown_with_its_reason() -> None:
    turn = turn_of(NOTES, QUESTION)
    turn.index.model = type("Model", (), {"name": "other"})()  # type: ignore[misc]
    pair = [(WEAK, [2]), ("RoPE 只作用在 Q 和 K 上。", [3])]
    found = compose(turn, "", pair, rules=Rules(own_words=True, strike=True))
    assert found.kept[0].text == f"~~{WEAK}~~ ({PART})" and found.kept[0].markers == ()


@pytest.mark.parametrize("denied", ["RoPE 作用在 V 上，训练的开销因此更小。", "RoPE 作用在 V 上。"])
def test_what_the_source_denies_never_stays(denied: str) -> None:
    found = written((denied, 3), question="RoPE 作用在哪里？")
    assert all(kept.text != denied for kept in found.kept)


def test_a_quote_and_the_sentence_that_says_the_same_are_shown_once() -> None:
    said = "最前面那几个字绝对不能扔，因为它们充当 attention sink，一旦被挤出，困惑度会急剧上升。"
    assert [kept.text for kept in written((said, 1), (SINK, 1)).kept] == [SINK]
    assert [kept.text for kept in written((SINK, 1), (said, 1)).kept] == [SINK]


def test_a_result_without_a_source_is_nothing_better() -> None:
    turn = turn_of(NOTES, "PPO 放几个模型？6*7 是多少？")
    turn.index.model = type("Model", (), {"name": "other"})()  # type: ignore[misc]
    step = Step(thought="", tool="calculate", arguments={"expression": "6*7"}, observation="6*7 = 42", seconds=0.0)
    turn.steps.append(step)
    found = compose(turn, "", [(WEAK, [2]), ("结果是 42。", [2])], rules=Rules(own_words=True))
    assert not found.abstained and [kept.text for kept in found.kept] == [WEAK, "结果是 42。"]


def test_what_was_computed_from_the_question_is_no_wrong_figure() -> None:
    turn = turn_of(
        ["混合精度下模型按 FP16 存储参数，每个参数占 2 字节显存。"], "70 亿参数的模型按 FP16 存储占多少显存？"
    )
    turn.index.model = type("Model", (), {"name": "other"})()  # type: ignore[misc]
    expression = "7e9 * 2 / 1e9"
    step = Step(
        thought="",
        tool="calculate",
        arguments={"expression": expression},
        observation=f"{expression} = 14",
        seconds=0.0,
    )
    turn.steps.append(step)
    said = "70 亿参数的模型按 FP16 存储参数，共占显存 14 GB。"
    found = compose(turn, "", [(said, [1])], rules=Rules(own_words=True))
    assert [kept.text for kept in found.kept] == [said]


ENGLISH = "The learning rate for full-parameter DPO is typically 5e-7 to 5e-6, well below SFT."
CHINESE = "全参 SFT 的学习率一般在 5e-6 到 2e-5，训练三个 epoch。"


@pytest.mark.parametrize("near", [0.9, 0.5])
def test_figures_of_a_source_in_another_language_are_said_in_its_words(near: float) -> None:
    turn = turn_of([CHINESE, ENGLISH], "全参 SFT 和 DPO 的学习率各取多少？")
    turn.index.model = type("Model", (), {"name": own_words.BUNDLED})()  # type: ignore[misc]
    turn.index.similarity = lambda sentence, lines: [near] * len(lines)  # type: ignore[method-assign]
    said = "全参 DPO 的学习率一般在 5e-7 到 5e-6。"
    for text, expected in ((said, near == 0.9), (said.replace("5e-7", "3e-7"), False)):
        kept = [kept.text for kept in compose(turn, "", [(text, [1])], rules=Rules(own_words=True)).kept]
        assert (kept == [ENGLISH]) is expected and text not in kept
