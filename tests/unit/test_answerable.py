"""The score of an answerable question: each signal says what it claims, and the threshold declines."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ragkit.agent.evidence import verified
from ragkit.agent.requests import asks_a_tool
from ragkit.retrieval.answerable import FITS, NAMES, WORDS_ONLY, Fit, fit_for, signals_of
from ragkit.retrieval.names import names_in
from ragkit.values import Chunk, Hit, LegScore


def hits(*texts: str, coverage: float = 0.5) -> list[Hit]:
    return [
        Hit(
            chunk=Chunk(
                id=str(rank), document="a.md", heading=(), text=text, start=0, end=len(text), start_line=1, end_line=1
            ),
            rank=rank,
            score=30.0 - 2 * rank,
            legs={"dense": LegScore(rank, 0.4 - rank / 100), "sparse": LegScore(rank, 1.0)},
            coverage=coverage,
        )
        for rank, text in enumerate(texts, start=1)
    ]


def idf(term: str) -> float:
    return 9.0 if term in {"\x00", "falcon"} else 2.0


def judged(question: str, *texts: str) -> dict[str, float]:
    found = signals_of(question, hits(*texts), idf, 0.01)
    return {name: getattr(found, name) for name in NAMES}


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("GPT-6 的预训练用了多少张卡？", ["GPT-6"]),
        ("OpenAI 的 o3 用 vLLM 部署吗？", ["OpenAI", "o3", "vLLM"]),
        ("text-embedding-v4 接口收多少钱？", ["text-embedding-v4"]),
        ("What does Mistral pay? How is it trained?", ["Mistral"]),
        ("注意力为什么要缩放？", []),
        ("How does low-rank adaptation work?", []),
        ("Is the IO-aware kernel an approximation?", ["IO"]),  # what English joins to the name is none of it
        ("四百 Gb/s 网络或 80 GB 显存够吗？", []),  # units
    ],
)
def test_names_of_a_question(question: str, names: list[str]) -> None:
    assert names_in(question) == names


@pytest.mark.parametrize(
    ("name", "text", "missing"),
    [
        ("GPT-4", "GPT 4 is a model.", 0.0),
        ("GPT-4", "GPT-40 is a model.", 1.0),
        ("GPT-4", "GPT-3 is a model.", 1.0),  # likeness never makes one number another
        ("Reflextion", "Reflexion keeps its mistakes.", 0.0),  # misspelt
        ("Groq", "Groups of chips.", 1.0),
        ("flashattn2", "FlashAttention-2 swaps the loops.", 0.0),
        ("flashattn2", "FlashAttention-3 uses FP8.", 1.0),
        ("bata2", "其中 $\\beta_2$ 取 0.999。", 0.0),
        ("chatgml-6b", "ChatGLM-6B 用 prefix LM。", 0.0),
        ("A100", "H100 有 80 GB。", 1.0),  # letters too few to be misspelt
        ("Qwen", "Qwen2.5 有 152k 词表。", 0.0),
    ],
)
def test_a_name_counts_in_all_its_spellings_and_no_other(name: str, text: str, missing: float) -> None:
    assert judged(f"说说 {name} 吧", text)["names_missing"] == missing


@pytest.mark.parametrize(
    ("question", "text", "missing"),
    [
        ("How many experts will the next, not yet released Mixtral have?", "Mixtral has 8 experts.", 1.0),
        ("尚未发布的 Qwen 有多少层？", "Qwen 有 64 层。", 1.0),
        ("下一代 Qwen 有多少层？", "下一代 Qwen 计划有 96 层。", 0.0),
        ("What does a Mixtral expert see of the next token?", "Mixtral has 8 experts.", 0.0),
    ],
)
def test_what_is_yet_to_come_is_none_of_what_the_notes_name_like_it(question: str, text: str, missing: float) -> None:
    found = judged(question, text)
    assert (found["names_missing"], found["names_apart"]) == (missing, missing)


def test_names_that_never_stand_together() -> None:
    found = judged("比较 Mamba 和 Falcon", "Mamba is one.", "Falcon is another.")
    assert found["names_missing"] == 0 and found["names_apart"] == 0.5


def test_a_quantity_needs_a_number_beside_the_words_of_the_question() -> None:
    asked = "训练步数是多少？"
    assert judged(asked, "训练步数是 1000。")["number_missing"] < 0.5
    assert judged(asked, "训练步数很重要。共 3 章。")["number_missing"] > 0.5
    assert judged("训练步数为什么重要？", "训练步数很重要。")["number_missing"] == 0


def test_a_price_needs_an_amount_of_money() -> None:
    assert judged("每百万 token 收多少钱？", "每百万 token 有上限 100。")["amount_missing"] == 1
    assert judged("每百万 token 收多少钱？", "每百万 token 收 2 美元。")["amount_missing"] == 0
    assert judged("How many layers?", "12 layers")["amount_missing"] == 0


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("And what does it cost to set it higher?", False),  # memory or time as well
        ("What is the cost of a higher capacity factor?", False),
        ("How much does the serverless plan cost in a month?", True),
        ("What does a single H100 cost?", True),
        ("What is the cost per million tokens?", True),
    ],
)
def test_not_every_cost_is_one_of_money(question: str, asked: bool) -> None:
    assert judged(question, "It drops fewer tokens.")["amount_missing"] == float(asked)


def test_a_few_is_no_question_for_a_number_beside_another_one() -> None:
    assert judged("RNN 有几个门？", "RNN 没有门。")["number_missing"] > 0
    assert judged("几个模型一起写，为什么会重复？", "RNN 没有门。")["number_missing"] == 0


def test_a_term_that_stands_nowhere_is_counted() -> None:
    assert judged("which falcon", "A model.")["unseen"] == 1
    assert judged("which model", "A model.")["unseen"] == 0


def test_more_evidence_never_lowers_the_probability() -> None:
    for fit in (*FITS.values(), WORDS_ONLY):
        for name, weight in fit.weights.items():
            assert (weight < 0) == (
                name in {"names_missing", "names_apart", "unseen", "number_missing", "amount_missing"}
            )
        assert 0 < fit.threshold < 1


def test_a_model_that_was_not_measured_gets_the_fit_without_vectors() -> None:
    assert fit_for("somebody/else") is WORDS_ONLY
    assert not {"sentence", "margin", "lead"} & set(WORDS_ONLY.weights)


def test_a_probability_stays_one_for_any_signal() -> None:
    far = Fit(bias=1e6, weights={"coverage": -1e9}, threshold=0.5)
    assert 0 <= far.probability(signals_of("a b", hits("a b"), idf, None)) <= 1


@pytest.mark.parametrize(
    ("verdicts", "removed", "sign"),
    [(["supported"], 0, 1), (["supported"], 1, 0), (["partly"], 0, 0), (["partly"], 2, -1), ([], 0, 0)],
)
def test_support_moves_the_score(verdicts: Sequence[str], removed: int, sign: int) -> None:
    moved = verified(0.6, verdicts, removed) - 0.6
    assert (moved > 1e-9) - (moved < -1e-9) == sign


@pytest.mark.parametrize(
    "question",
    ["23.5 * 48 等于多少？", "请记住我的名字", "What is 144 / 7?", "一共有多少篇笔记？", "sqrt(2048) 是多少"],
)
def test_questions_for_a_tool(question: str) -> None:
    assert asks_a_tool(question)


@pytest.mark.parametrize(
    "question", ["注意力为什么要缩放？", "GPT-4 和 GPT-3 差在哪？", "How does BM25 rank?", "RAG 是什么"]
)
def test_questions_for_the_notes(question: str) -> None:
    assert not asks_a_tool(question)
