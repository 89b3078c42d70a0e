"""True sentences in words of their own, and the slips that look like them."""

from __future__ import annotations

import pytest

from ragkit import verify
from ragkit.citations.aliases import initials
from ragkit.citations.alignment import align
from ragkit.citations.atoms import analyse
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.loader import make_document

FLASH = """## 三代差异

- **FlashAttention-1**（2022）：外层循环 K/V 块、内层循环 Q 块。
- **FlashAttention-2**（2023）：
  1. 减少非矩阵乘 FLOPs，例如把除法推迟到最后。
  2. 循环对调，外层 Q 块、内层 K/V 块，并在序列长度维度增加并行。
"""


def verdict(sentence: str, *passages: str) -> str:
    [found] = verify(f"{sentence}[1]", list(passages))
    return found.verdict


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("FlashAttention-2 把循环对调为外层 Q 块、内层 K/V 块，并在序列长度维度增加并行。", "supported"),
        ("FA-2 把循环对调为外层 Q 块、内层 K/V 块，并在序列长度维度增加并行。", "supported"),
        ("FlashAttention-7 把循环对调为外层 Q 块、内层 K/V 块，并在序列长度维度增加并行。", "partly"),
        ("FB-2 把循环对调为外层 Q 块、内层 K/V 块，并在序列长度维度增加并行。", "partly"),
    ],
)
def test_the_label_above_a_nested_list_names_what_its_items_are_of(sentence: str, expected: str) -> None:
    assert verdict(sentence, FLASH) == expected


def test_measures_of_the_kitchen_count() -> None:
    assert verdict("生抽放两勺，老抽放一勺。", "调料：生抽 2 勺，老抽 1 勺，冰糖 30 克。") == "supported"
    assert verdict("生抽放三勺，老抽放一勺。", "调料：生抽 2 勺，老抽 1 勺，冰糖 30 克。") != "supported"


def test_texts_too_long_to_be_aligned_are_compared_by_what_they_hold() -> None:
    said, there = "2024-03-08 " * 800, "2024-03-09 " * 800
    assert align(analyse(said), analyse(there)) == []
    assert verdict(said, there) == "partly"


def test_a_name_written_together_goes_by_its_capitals() -> None:
    assert initials("FlashAttention, PagedAttention and GradCache; LoRA, GPT-4, iPod, Attention") == {"fa", "pa", "gc"}


@pytest.mark.parametrize(
    ("sentence", "source", "expected"),
    [
        ("中间维度取 8/3 d。", "$d_{ff}=\\frac83 d$，所以中间维度取这个值。", "supported"),
        ("中间维度取 8/3 d。", "中间维度取 $\\frac{8}{3} d$。", "supported"),
        ("中间维度取 7/3 d。", "中间维度取 $\\frac{8}{3} d$。", "partly"),
        ("压成 64×64×4，下采样 8 倍，元素数减少 48 倍。", "SD 1.x 下采样 8 倍，512×512×3 变成 64×64×4，元素数减少 48 倍。", "supported"),
        ("压成 64×64×3，下采样 8 倍，元素数减少 48 倍。", "SD 1.x 下采样 8 倍，512×512×3 变成 64×64×4，元素数减少 48 倍。", "partly"),
    ],
)  # fmt: skip
def test_fractions_and_numbers_in_a_row(sentence: str, source: str, expected: str) -> None:
    assert verdict(sentence, source) == expected


KEPT = "自回归生成时，因果掩码保证历史 token 的 K、V 不会因为后面新增 token 而改变，所以可以算一次、存起来反复用。"


@pytest.mark.parametrize(
    ("sentence", "source", "expected"),
    [
        # Denied in another order.
        ("因果掩码保证了后面新增 token 不会改变历史 token 的 K 和 V，所以可以算一次反复用。", KEPT, "supported"),
        ("因果掩码保证了后面新增 token 会改变历史 token 的 K 和 V，所以可以算一次反复用。", KEPT, "unsupported"),
        # A verb that denies.
        ("答案简单时会跳过检索，直接回答。", "答案简单时不检索，直接回答。", "supported"),
        ("对策是给移交次数设上限，并禁止有新信息的回退。", "对策：移交次数设上限，禁止无新信息的回退。", "unsupported"),
        ("这几天别洗澡，别做剧烈运动。", "这几天不要洗澡，也不要做剧烈运动。", "supported"),
        ("Avoid touching the roller.", "Do not touch the roller.", "supported"),
        ("Abort the removal rather than force it.", "Abort the removal; never force it.", "supported"),
        # An adjective that begins like a negation.
        ("先算好全部句向量及其梯度，再分小块重算。", "先无梯度算完全部句向量、求出其梯度，再分小块重算。", "supported"),
    ],
)
def test_what_one_denies_and_the_other_says_otherwise(sentence: str, source: str, expected: str) -> None:
    assert verdict(sentence, source) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("BERTScore 依靠编码器，对否定词和数字不敏感。", "supported"),  # everyday words, exchanged freely
        ("BERTScore 依赖解码器，对否定词和数字不敏感。", "partly"),
    ],
)
def test_everyday_words_may_be_exchanged_and_terms_may_not(sentence: str, expected: str) -> None:
    assert verdict(sentence, "BERTScore 依赖编码器，对否定词和数字不敏感。") == expected


@pytest.mark.parametrize(
    ("sentence", "source", "expected"),
    [
        ("代价不是要把全库过一遍 LLM。", "代价是全库过一遍 LLM。", "partly"),
        # The source denies it in its way.
        ("负半轴没有梯度，可能造成神经元死亡。", "负半轴无梯度，可能神经元死亡，但激活稀疏。", "supported"),
        ("所以 GPU 利用率不高，训练没法并行。", "所以 GPU 利用率低，训练无法并行。", "supported"),
        ("Basic DPO does not explore, PPO explores on-policy.", "PPO explores on-policy, basic DPO: none.", "supported"),
    ],
)  # fmt: skip
def test_a_negation_of_what_the_source_says_and_denies_nowhere(sentence: str, source: str, expected: str) -> None:
    assert verdict(sentence, source) == expected


@pytest.mark.parametrize(
    ("sentence", "source", "expected"),
    [
        ("λ 取 1 时只追求多样，λ 取 0 时退化为纯相关性排序。", "λ=1 退化为纯相关性排序，λ=0 只追求多样。", "unsupported"),
        ("λ 取 0 时只追求多样，λ 取 1 时退化为纯相关性排序。", "λ=1 退化为纯相关性排序，λ=0 只追求多样。", "supported"),
        ("最终配比里代码约占 25%，数学约占 17%。", "最终配比约为：通用知识 50%、数学 25%、代码 17%、多语言 8%。", "unsupported"),
        ("最终配比里代码约占 17%，数学约占 25%。", "最终配比约为：通用知识 50%、数学 25%、代码 17%、多语言 8%。", "supported"),
        ("It uses 200 safe prompts and 250 unsafe contrasts.", "It uses 250 safe prompts and 200 unsafe contrasts.", "unsupported"),
        ("It uses 200 unsafe contrasts and 250 safe prompts.", "It uses 250 safe prompts and 200 unsafe contrasts.", "supported"),
        ("Heparin's half-life is 5 h and enoxaparin's is 1.5 h.", "| Drug | Half-life |\n|---|---|\n| Heparin | 1.5 h |\n| Enoxaparin | 5 h |", "unsupported"),
        ("Heparin's half-life is 1.5 h and enoxaparin's is 5 h.", "| Drug | Half-life |\n|---|---|\n| Heparin | 1.5 h |\n| Enoxaparin | 5 h |", "supported"),
        ("营业收入同比下降 4.1%，归母净利润同比增长 15.3%。", "营业收入 52 亿元，同比增长 15.3%；归母净利润 6 亿元，同比下降 4.1%。", "unsupported"),
        ("归母净利润同比下降 4.1%，营业收入同比增长 15.3%。", "营业收入 52 亿元，同比增长 15.3%；归母净利润 6 亿元，同比下降 4.1%。", "supported"),
        ("全量备份保留 7 天，增量备份保留 4 周。", "- 全量备份：保留 4 周\n- 增量备份：保留 7 天", "unsupported"),
        ("The primary failed at 03:40 and db-2 was promoted at 03:12.", "At 03:12 the primary failed. At 03:40 db-2 was promoted.", "unsupported"),
        ("North America grew 7%, less than Europe's 18%.", "Europe grew faster than North America (18% against 7%).", "supported"),
        ("The Suez Canal has no locks, the Panama Canal has three sets.", "Of the Suez Canal and the Panama Canal the former has no locks, the latter three sets.", "supported"),
        ("小火车周二停运。", "岚山小火车每周三停运。", "partly"),
        ("小火车星期三停运。", "岚山小火车每周三停运，一周一次。", "supported"),
        ("妊娠期可以用 ACEI 和 ARB。", "妊娠期禁用 ACEI 和 ARB。", "unsupported"),
        ("毛利率从 30.8% 变到 32.5%。", "毛利率从 32.5% 变到 30.8%。", "unsupported"),
        ("标注员更偏好 1.3B 模型的输出，而不是 175B 的。", "1.3B 模型的输出比 175B 的更受标注员偏好。", "supported"),
        ("跨层共享只省显存和参数，计算量一点没省。", "跨层共享只省显存与参数，不省计算，推理速度并不变快。", "supported"),
    ],
)  # fmt: skip
def test_what_belongs_together_stays_together(sentence: str, source: str, expected: str) -> None:
    assert verdict(sentence, source) == expected


HACKING = "策略学会钻 RM 的空子：RM 分数一直涨，真实质量却下降（over-optimization）。"
SHAPING = "超长奖励整形：超过软上限后按超出的长度线性扣分；奖励模型另外训练。"


def test_what_the_heading_names_comes_from_nowhere_else() -> None:
    texts = (
        "# Mixture of Experts (MoE)\n\nA higher CF drops less but costs padding compute, memory and communication.",
        "An MoE layer replaces the FFN with experts.",
    )
    chunks = [chunk_document(make_document("moe.md", text))[0] for text in texts]
    said = "A higher CF in an MoE layer drops less tokens but also costs padding compute, memory and communication.[1]"
    assert [found.verdict for found in verify(said, chunks)] == ["supported"]


def test_a_few_words_that_stand_elsewhere_make_no_patchwork() -> None:
    assert verdict("这是 reward hacking：策略学会钻奖励模型的空子。", HACKING, SHAPING) != "stitched"
    whole = "策略学会钻 RM 的空子，超过软上限后按超出的长度线性扣分。"
    assert verdict(whole, HACKING, SHAPING) == "stitched"
