"""Questions for a number, and answers that name none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragkit.agent.amounts import asks_for_a_number, names_a_number


@pytest.mark.parametrize(
    "question",
    [
        "How many GPUs does ChatGPT keep in its decode pool at peak hours?",
        "Which value of the target margin gamma did the SimPO authors find best?",
        "In what ratio does Jamba interleave attention layers and Mamba layers?",
        "What learning rate was used?",
        "How much memory does a token of the KV cache take?",
        "How much does Groq charge per million tokens?",
        "Mistral 7B 预训练一共用了多少张显卡、花了多少天?",
        "语料各来源的比例分别是百分之几？",
        "attention 层用了几个 KV head？",
        "GPT-2 的词表有多大？",
        "第一步会迈多大？",
        "分成几大类？",
    ],
)
def test_these_ask_for_a_number(question: str) -> None:
    assert asks_for_a_number(question)


@pytest.mark.parametrize(
    "question",
    [
        "How many experts are there, and why so many?",
        "Does it matter how many heads there are?",
        "How much does the order of the documents matter?",
        "What does the learning rate do?",
        "What is the value matrix for?",
        "Which value function does it fit?",
        "What is a rate limit?",
        "Explain how much memory training takes.",
        "How does LoRA work?",
        "RoPE 作用在 Q、K、V 中的哪几个上?",
        "网页隔几个月就重抓一轮，为什么反而不好？",
        "让小模型每轮多猜几个词，是不是猜得越多整体就越快？",
        "合并多路结果靠的是什么方法，常数一般取多少？",
        "无论多少数据都够吗？",
        "很多大模型用 RMSNorm，有没有例外？",
        "过几天会不会忘？",
        "过了几天，loss 突然升高。",
        "LSTM 有哪几个门？",
        "减少多少层会掉点吗？",
    ],
)
def test_these_ask_for_something_else_or_for_more(question: str) -> None:
    assert not asks_for_a_number(question)


@pytest.mark.parametrize(
    "text",
    [
        "Weights take 14 GB.",
        "It is about twice as fast.",
        "Only a few steps are needed.",
        "As many as there are query heads.",
        "None.",
        "It grows linearly with the context.",
        "It keeps k of them.",
        "每 √n 层存一个。",
        "约为原来的一半。",
        "三个门。",
        "只需要少量样本。",
    ],
)
def test_these_name_a_number(text: str) -> None:
    assert names_a_number(text, "How many?")


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Size the pools so that both saturate together.", "How many GPUs are in the pool?"),
        ("Mistral 7B 的显存装不下，还有激活值。", "Mistral 7B 用了多少张卡？"),
        ("Llama 3 8B uses SimPO.", "Which value of gamma was best for Llama 3 8B?"),
        ("统一放在一起训练。", "用了多少张卡？"),
    ],
)
def test_these_name_none_or_only_what_the_question_names(text: str, question: str) -> None:
    assert not names_a_number(text, question)


def test_a_number_that_merely_begins_like_one_of_the_question_counts() -> None:
    assert names_a_number("7.5 天。", "7 B 的模型训练了多少天？")
    assert names_a_number("70 天。", "Mistral 7 训练了多少天？")


def test_every_reference_answer_to_a_question_for_a_number_names_one(repository: Path) -> None:
    lines = (repository / "evals" / "llm-interview" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [row for row in map(json.loads, lines) if row["gold"] and asks_for_a_number(row["question"])]
    assert len(asked) >= 35
    assert not [row["id"] for row in asked if not names_a_number(row["reference_answer"], row["question"])]
