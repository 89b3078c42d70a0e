"""Answers that were checked in the notes' language and are then put into that of the question."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ragkit.agent.spotlight import Spotlight
from ragkit.agent.translating import faithful, is_in, translated
from ragkit.errors import ModelError

GATES = "LSTM 有遗忘门、输入门和输出门三个门。"
ENGLISH = "An LSTM has three gates: the forget, input and output gate."


class Translator:
    """Gives `reply` back and keeps what it was asked."""

    def __init__(self, *reply: str, error: bool = False) -> None:
        self.reply, self.error = reply, error
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        self.asked.append((system, user, schema))
        if self.error:
            raise ModelError("gone", "Wait.")
        return {"translations": list(self.reply)}


@pytest.mark.parametrize(
    ("text", "language", "right"),
    [
        (GATES, "zh", True), (GATES, "en", False), (ENGLISH, "en", True), (ENGLISH, "zh", False),
        ("RMSNorm(x) = x / rms(x)", "zh", True), ("RMSNorm(x) = x / rms(x)", "en", True), ("4 GB.", "zh", True),
        ("The paper calls it 注意力 and nothing else in all of its pages.", "en", True),
    ],
)  # fmt: skip
def test_whether_a_sentence_is_in_the_language_of_the_question(text: str, language: Any, right: bool) -> None:
    assert is_in(text, language) is right


@pytest.mark.parametrize(
    ("original", "translation", "language", "kept"),
    [
        (GATES, ENGLISH, "en", True),
        (ENGLISH, GATES, "zh", True),
        ("LoRA trains two low-rank matrices A and B.", "LoRA训练两个低秩矩阵A和B。", "zh", True),
        ("显存碎片低于 4%。", "Fragmentation is below 4 %.", "en", True),
        ("显存碎片低于 4%。", "Fragmentation is below 40 %.", "en", False),
        ("它有三个门。", "It has gates.", "en", False),
        ("RLHF 并不优化交叉熵。", "RLHF does not optimise cross-entropy.", "en", True),
        ("RLHF 并不优化交叉熵。", "RLHF optimises cross-entropy.", "en", False),
        (GATES, "A GRU has three gates: forget, input and output.", "en", False),
        (GATES, "An LSTM has three gates, and so has a GRU: forget, input and output.", "en", False),
        (GATES, GATES, "en", False),
        (ENGLISH, ENGLISH, "zh", False),
        (GATES, "", "en", False),
        ("GRU 的参数量是 LSTM 的四分之三。", "A GRU has three-quarters of the parameters of an LSTM.", "en", True),
        ("GRU 的参数量是 LSTM 的四分之三。", "A GRU has one-third of the parameters of an LSTM.", "en", False),
        ("Two thirds of the heads can go.", "三分之二的头可以去掉。", "zh", True),
        ("两者都为零时梯度恒为零。", "If both are zero, the gradient stays zero.", "en", True),
        ("需要 2 张卡。", "It needs some cards.", "en", False),
        ("模型化的 PRM 会引来 hacking。", "A learned process reward model invites hacking.", "en", True),
        ("模型化的 PRM 会引来 hacking。", "A learned reward model invites hacking.", "en", False),
        ("步骤对错很难判断。", "It is hard to tell whether a step is right or not.", "en", True),
        ("这些 LLM 都用它。", "All of these LLMs use it.", "en", True),
        ("It becomes a loss over pairs.", "它成为成对的损失，```json````json`", "zh", False),
        ("It becomes a loss over pairs.", "它成为成对的损失，见 https://x.y", "zh", False),
        ("The cost is $O(n)$ in `n`.", "代价对 `n` 是 $O(n)$。", "zh", True),
        ("DPO (Rafailov et al., 2023) needs no reward model.", "DPO（拉斐洛夫等人，2023）无需奖励模型。", "zh", False),
        ("DPO (Rafailov et al., 2023) needs no reward model.", "DPO（Rafailov 等，2023）无需奖励模型。", "zh", True),
        ("It adds Gaussian noise.", "它加入高斯噪声。", "zh", True),
        ("遗忘门由 Gers 等补上。", "The forget gate was added by others.", "en", False),
    ],
)
def test_a_translation_that_changes_what_can_be_compared_is_not_faithful(
    original: str, translation: str, language: Any, kept: bool
) -> None:
    assert faithful(original, translation, language) is kept


def test_an_abbreviation_of_the_question_may_stand_in_the_translation() -> None:
    assert not faithful("循环网络有三个门。", "An RNN has three gates.", "en")
    assert faithful("循环网络有三个门。", "An RNN has three gates.", "en", known="Which gates has an RNN?")


def test_only_what_is_in_another_language_is_sent() -> None:
    model = Translator("It has three gates.")
    found = translated(["Weights take 4 GB.", "它有三个门。", "它有三个门。"], "en", model, Spotlight("qqqq"))
    assert found == {"它有三个门。": "It has three gates."}
    ((system, user, schema),) = model.asked
    assert "English" in system and json.loads(user) == ["它有三个门。"]
    assert schema["properties"]["translations"]["maxItems"] == 1


def test_nothing_to_translate_asks_nobody() -> None:
    model = Translator()
    assert translated(["Weights take 4 GB."], "en", model, Spotlight()) == {} and model.asked == []


@pytest.mark.parametrize("model", [Translator(error=True), Translator(), Translator("a", "b"), Translator("")])
def test_without_a_usable_reply_everything_stays_as_it_was(model: Translator) -> None:
    assert translated([GATES], "en", model, Spotlight()) == {}


def test_markers_and_line_breaks_of_a_translation_are_left_out() -> None:
    model = Translator("An LSTM has three gates:\nforget, input and output. [7]")
    assert translated([GATES], "en", model, Spotlight()) == {
        GATES: "An LSTM has three gates: forget, input and output."
    }
