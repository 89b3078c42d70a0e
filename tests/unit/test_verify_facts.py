"""Sentences that share nearly every word with their source and say something else; and true ones beside each."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ragkit import verify
from ragkit.citations.atoms import analyse, opposite
from ragkit.citations.figures import FIGURE, figure, written_otherwise

MODELS = """| Model | Parameters | Year |
|---|---|---|
| BERT | 110M | 2018 |
| GPT-2 | 1.5B | 2019 |
| T5 | 11B | 2020 |"""
CITIES = """| City | Country | Population |
|---|---|---|
| Berlin | Germany | 3.7 million |
| Paris | France | 2.1 million |"""
PEOPLE = "- Berlin: 2 million\n- Paris: 3.7 million\n- Rome: 2.8 million"
STATES = """- **SGD**：只存参数本身，不留任何动量。
- **Lion**：存一份动量，更新方向取符号。
- **AdamW**：存两份状态，一阶矩和二阶矩。"""
COMPARED = """| | W8A8 | W4A16 |
|---|---|---|
| 权重 | 8 bit 整数 | 4 bit 整数 |
| 计算 | 直接用 INT8 Tensor Core | 先反量化回 FP16 再乘 |"""


def verdict_of(sentence: str, source: str) -> str:
    [found] = verify(f"{sentence} [1].", [source])
    return found.verdict


PUBLISHED = "It was published independently by Leviathan et al. (Google, 2022) and Chen et al. (DeepMind, 2023)."


@pytest.mark.parametrize(
    ("source", "sentence", "expected"),
    [
        (PUBLISHED, "Google DeepMind's internal red team has two people: Leviathan (2022) and Chen (2023)", False),
        (PUBLISHED, "Leviathan (Google, 2022) and Chen (DeepMind, 2023) won prizes for translating medieval poetry", False),
        (PUBLISHED, "Leviathan (Google, 2022) and Chen (DeepMind, 2023) described it at the same time", True),
        (PUBLISHED, "Chen et al. (DeepMind, 2023) came after Leviathan et al. (Google, 2022)", True),
        (MODELS, "The smallest among these language models is BERT (2018) with 110M", True),
        ("PagedAttention（vLLM，2023）把 KV Cache 分成 16 个 token 的块。",
         "PagedAttention（vLLM，2023）按 16 个 token 一块存放 KV Cache", True),
    ],
)  # fmt: skip
def test_names_and_numbers_alone_bear_out_no_sentence(source: str, sentence: str, expected: bool) -> None:
    assert (verdict_of(sentence, source) == "supported") is expected


@pytest.mark.parametrize(
    ("source", "true", "false"),
    [
        (MODELS, "T5 has 11B params", "T5 has 110M params"),
        (MODELS, "GPT-2 was released in 2019", "GPT-2 was released in 2018"),
        (CITIES, "Berlin lies in Germany", "Berlin lies in France"),
        (CITIES, "Paris has 2.1 million inhabitants", "Paris has 3.7 million inhabitants"),
        (PEOPLE, "Paris and Rome have 3.7 and 2.8 million", "Berlin has 3.7 million"),
        (STATES, "AdamW 存两份状态，一阶矩和二阶矩", "Lion 存两份状态，一阶矩和二阶矩"),
        (STATES, "Lion 的更新方向取符号，只存一份动量", "AdamW 的更新方向取符号，存一份动量"),
        (COMPARED, "W4A16 先反量化回 FP16 再乘", "W8A8 先反量化回 FP16 再乘"),
        ("The price is 5 euros.", "The price is €5", "The price is 5 dollars"),
        ("The price is $5.", "The price is 5 dollars", "The price is €5"),
        ("The budget is $5 million.", "The budget is 5 million dollars", "The budget is $5"),
        ("Revenue was 5 billion.", "Revenue was 5B", "Revenue was 5"),
        ("预算是5万元。", "预算是 5 万元", "预算是5元"),
        ("Take 50 mg of it twice a day.", "Twice a day take 50 mg of it", "Take 50 g of it twice a day"),
        ("The bag weighs 5 kg.", "The weight of the bag is 5 kg", "The bag weighs 5 lb"),
        ("准确率为 0.75。", "准确率为 75%", "准确率为 85%"),
        ("GRU 的参数量是同尺寸 LSTM 的四分之三。", "GRU 的参数量只有同尺寸 LSTM 的 75%", "GRU 的参数量是同尺寸 LSTM 的三分之二"),
        ("The batch holds 25 items.", "The batch holds twenty-five items", "The batch holds thirty-five items"),
        ("每层的计算量是 $O(nd^2)$。", "每层的计算量是 O(nd²)", "每层的计算量是 O(nk²)"),
        ("b=0 时完全不惩罚长文档，b=1 时完全按长度归一。", "b=1 时完全按长度归一", "b=1 时完全不惩罚长文档，b=0 时完全按长度归一"),
        ("Lucene 的默认值是 $k_1$=1.2、b=0.75。", "Lucene 的默认值是 b=0.75、k1=1.2", "Lucene 的默认值是 k1=0.75、b=1.2"),
        (MODELS, "The parameters of T5 are 11B", "The parameters of T5 are 1.5B"),
        ("It fires when the sum exceeds 150.", "It fires when the sum exceeds 150", "It fires when the sum is below 150"),
        ("GPT 有 24 层，而 BERT 有 12 层。", "BERT 有 12 层", "BERT 有 24 层"),
        ("On it ORM reaches 72.4%, while PRM reaches 78.2%.", "ORM reaches 72.4% on it", "ORM reaches 78.2% on it"),
        ("论文以相同精度把向量缩小 14 倍，共有 2 个阶段。", "以相同精度把向量缩小 14 倍", "以相同精度把向量缩小 2 倍"),
    ],
)  # fmt: skip
def test_a_fact_of_something_else_is_seen(source: str, true: str, false: str) -> None:
    assert verdict_of(true, source) == "supported"
    assert verdict_of(false, source) != "supported"


@pytest.mark.parametrize(
    ("source", "true", "false"),
    [
        (
            "Open the valve before the pump is started.",
            "The valve is opened before the pump is started",
            "The valve is opened after the pump is started",
        ),
        ("Keep it below 8 degrees.", "It is kept below 8 degrees", "Keep it above 8 degrees"),
        ("The value rose to 45 points.", "The value rose to 45 points", "The value fell to 45 points"),
        ("All patients in the group recovered.", "All patients recovered", "Some patients in the group recovered"),
        ("k3 估计恒非负而且无偏。", "k3 估计恒非负，也无偏", "k3 估计恒非负，但是有偏"),
        ("训练时 GPU 利用率很低。", "训练时 GPU 利用率不高", "训练时 GPU 利用率很高"),
        (
            "因果掩码下，后面新增 token 不会改变历史 token 的键和值，所以只算一次。",
            "后面新增 token 不会改变历史 token 的键和值",
            "因为后面新增 token 会改变历史 token 的键和值，所以要重算",
        ),
    ],
)
def test_a_contrary_word_or_a_lost_negation_is_seen(source: str, true: str, false: str) -> None:
    assert verdict_of(true, source) == "supported"
    assert verdict_of(false, source) != "supported"


@pytest.mark.parametrize(
    ("source", "true", "false"),
    [
        ("DPO 比 PPO 更稳定。", "DPO 比 PPO 稳定", "PPO 比 DPO 更稳定"),
        ("LSTM 由 GRU 改成。", "LSTM 由 GRU 改成", "GRU 由 LSTM 改成"),
        ("In 2019 Acme acquired Globex.", "Globex was acquired by Acme in 2019", "In 2019 Globex acquired Acme"),
        ("GPT-2 outperforms BERT on it.", "On it GPT-2 outperforms BERT", "BERT outperforms GPT-2 on it"),
        ("Mamba is faster than Transformer.", "Mamba is the faster one", "Transformer is faster than Mamba"),
        ("Encoders and decoders share it.", "Decoders and encoders share it", "Nobody shares it"),
    ],
)
def test_the_same_words_the_other_way_round(source: str, true: str, false: str) -> None:
    assert verdict_of(true, source) == "supported"
    assert verdict_of(false, source) != "supported"


def test_a_verb_may_deny_for_a_negation() -> None:
    assert verdict_of("上限不让一篇长文占满窗口", "上限防止一篇长文占满窗口。") == "supported"


@pytest.mark.parametrize("pair", ["before after", "large small", "increase decrease", "rose fell", "expensive cheap"])
def test_antonyms_are_known_by_what_texts_are_folded_to(pair: str) -> None:
    one, two = analyse(f"it is {pair}").keys[-2:]
    assert opposite(one, two)
    assert opposite(two, one)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("四分之三", ("0.75", "")),
        ("百分之三十", ("30", "%")),
        ("七成", ("70", "%")),
        ("three quarters", ("0.75", "")),
        ("a third", ("0.333333", "")),
        ("twenty-five", ("25", "")),
        ("ninety", ("90", "")),
    ],
)
def test_shares_and_tens_in_words(words: str, value: tuple[str, str]) -> None:
    assert re.fullmatch(FIGURE, words)
    assert figure(words) == value


@pytest.mark.parametrize(
    ("value", "unit", "numbers", "in_words", "same"),
    [
        ("75", "%", [("0.75", "")], False, True),
        ("67", "亿", [("6.7", "b")], False, True),
        ("75", "", [("0.75", "")], False, False),
        ("12", "", [("12", "k")], False, False),
        ("0.333333", "", [("2", ""), ("6", "")], True, True),
        ("0.333333", "", [("2", ""), ("6", "")], False, False),
        ("0.333333", "", [("3", "倍")], True, True),
        ("5", "kg", [("5", "kg")], False, False),
    ],
)
def test_amounts_in_another_form(
    value: str, unit: str, numbers: list[tuple[str, str]], in_words: bool, same: bool
) -> None:
    assert written_otherwise(value, unit, numbers, in_words=in_words) is same


def test_sentences_written_by_hand_keep_what_the_verifier_finds_of_them() -> None:
    folder = Path(__file__).parents[2] / "evals" / "citations" / "written"
    passages = {row["id"]: row for row in map(json.loads, (folder / "passages.jsonl").open(encoding="utf-8"))}
    found: dict[bool, list[bool]] = {True: [], False: []}
    for item in map(json.loads, (folder / "corruptions.jsonl").open(encoding="utf-8")):
        sources = [{k: v for k, v in passages[name].items() if k != "id"} for name in item["passages"]]
        [verdict] = verify(f"{item['sentence'].rstrip('。.')} [1].", sources)[:1]
        found[item["kind"] == "untouched"].append(verdict.verdict == "supported")
    true, false = (sum(found[kind]) / len(found[kind]) for kind in (True, False))
    assert true >= 0.86
    assert false <= 0.32
