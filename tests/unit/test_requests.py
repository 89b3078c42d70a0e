"""What a question asks for outright, and what it may have a use for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragkit.agent.requests import (
    SPECIAL,
    Offer,
    asked_for,
    asks_nothing_else,
    expressions,
    line_named,
    may_need,
    named,
    offered,
    settled,
    to_list,
)

ROOT = Path(__file__).resolve().parents[2]
TOOLS = frozenset({"search_notes", *SPECIAL})


@pytest.mark.parametrize(
    ("question", "tools"),
    [
        ("23.5 * 48 等于多少？", {"calculate"}),
        ("5321 - 48*17", {"calculate"}),
        ("987乘654得多少啊", {"calculate"}),
        ("could you work out two fifths of 3,615 for me", {"calculate"}),
        ("I need 23% of 860.", {"calculate"}),
        ("混合精度训练每个参数多少字节？13e9 个参数一共多少 GB？请用计算器算。", {"calculate"}),
        ("请记住：我的面试在 12 月 3 日。", {"remember"}),
        ("Dont forget, my phone screen got moved to Thursday.", {"remember"}),
        ("你还记得我的面试是哪天吗？", {"recall"}),
        ("who's interviewing me again? pretty sure i gave you the name", {"recall"}),
        ("一共有多少篇笔记？", {"list_notes"}),
        ("What files do I have under transformer/?", {"list_notes"}),
        ("Open rag/a.md at line 1. What is it about?", {"read_note"}),
        ("先看有哪些笔记，最后用计算器算 2 * 4096 * 8。", {"list_notes", "calculate"}),
        # What only looks like one of them.
        ("MRR 的公式怎么算？不需要计算具体数字。", set()),
        ("How does a calculator tool help in Toolformer? Do not calculate anything.", set()),
        ("What does MemGPT remember across sessions?", set()),
        ("怎么记住 LSTM 的三个门？", set()),
        ("为什么用两个 3 * 3 的卷积代替 5 * 5？", set()),
        ("How is the loss of DPO computed?", set()),
        ("How much time was left when Denver took the score to 24-10?", set()),
        ("100-20 等于多少", {"calculate"}),
        ("T5 的 span corruption 默认遮住多大比例？", set()),
    ],
)
def test_what_is_asked_for_outright(question: str, tools: set[str]) -> None:
    assert asked_for(question, ["rag/a.md", "rag/b.md"]) == tools


def test_questions_about_notes_ask_for_no_tool() -> None:
    lines = (ROOT / "evals" / "llm-interview" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines]
    assert len(questions) > 400
    assert [question for question in questions if asked_for(question)] == []


@pytest.mark.parametrize(
    ("question", "tool"),
    [
        ("If I rent 6 GPUs at $2.35 per hour each for 72 hours, what's the bill?", "calculate"),
        ("一块卡一万八，打七五折以后买四块一共要花多少钱？", "calculate"),
        ("总参数多少、每个 token 激活多少？激活的占百分之几？", "calculate"),
        ("我喜欢简短的回答", "remember"),
        ("Do you know my name?", "recall"),
        ("transformer/ 目录下都有什么", "list_notes"),
    ],
)
def test_what_may_be_of_use_is_offered(question: str, tool: str) -> None:
    assert tool in may_need(question)


def test_who_asks_what_was_said_before_has_nothing_to_be_kept() -> None:
    assert may_need("我之前说过我投的是什么岗位？") == {"recall"}


def test_a_plain_question_has_no_use_for_the_special_tools() -> None:
    assert may_need("LSTM 有哪几个门？") == may_need("Why is attention scaled?") == frozenset()


@pytest.mark.parametrize(
    ("question", "alone"),
    [
        ("What is 144 / 7?", True),
        ("31 * 29、899 / 31，两个结果都告诉我", True),
        ("GradScaler starts at a scale of 65536. Compute 65536 / 2.", False),
        ("请记住我的名字叫林朝。", True),
        ("请记住我在准备面试，然后解释 RLHF。", False),
        ("Which notes are there about rag?", True),
        ("Which notes are there? Why is attention scaled?", False),
    ],
)
def test_what_leaves_nothing_to_look_for(question: str, alone: bool) -> None:
    assert asks_nothing_else(question) is alone


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("(17 + 29) * 13 - 88。", ["(17 + 29) * 13 - 88"]),
        ("for 11**4, 13**4 and 17**4", ["11**4", "13**4", "17**4"]),
        ("算 sqrt(7056) + 11.5 吧", ["sqrt(7056) + 11.5"]),
        ("Llama-2-7B, 64×64×4, 2024-05 的 GPT-4 (2023)", ["2024-05"]),
        ("15 % of 13948", []),
        ("1,024 * 2", ["1,024 * 2"]),
        ("log2(4096) + 3.", ["log2(4096) + 3"]),
    ],
)
def test_expressions_that_stand_in_a_question(question: str, found: list[str]) -> None:
    assert expressions(question) == found


def test_first_what_was_asked_for_then_all_of_use() -> None:
    question = "What are 17**3 and 19**3? Use the calculator for each."
    first = offered(TOOLS, question, [])
    assert first == Offer(frozenset({"calculate"}), True, {"calculate.expression": ["17**3", "19**3"]})
    second = offered(TOOLS, question, [("calculate", {"expression": "17**3"})])
    assert second.must_call and second.values == {"calculate.expression": ["19**3"]}
    done = [("calculate", {"expression": text}) for text in ("17**3", "19**3")]
    assert settled(question, done) and not settled(question, done[:1])
    after = offered(TOOLS, question, done)
    assert not after.must_call and after.tools == {"search_notes", "calculate"}
    # What is not there, or used up, is not asked for.
    assert offered(TOOLS - {"calculate"}, question, []).must_call is False


def test_a_result_that_is_computed_with_does_not_settle_a_question() -> None:
    assert not settled("First compute 70e9 * 2, then divide that by 80e9.", [("calculate", {"expression": "70e9 * 2"})])


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("请记住：我的面试在 12 月 3 日上午十点。", "我的面试在 12 月 3 日上午十点。"),
        ("记一下，我投的岗位是推理优化工程师。", "我投的岗位是推理优化工程师。"),
        ("Please remember that my interview is with Hexafold.", "my interview is with Hexafold."),
        ("Make a note that my budget is 1,200 dollars. Then work out 1200/75.", "my budget is 1,200 dollars."),
        ("对了，面试我的那位主管姓欧阳，你替我记着点", "对了，面试我的那位主管姓欧阳，你替我记着点"),
        ("请记住：" + "长" * 501, ""),
    ],
)
def test_what_is_to_be_remembered_stays_in_the_users_words(question: str, text: str) -> None:
    offer = offered(TOOLS, question, [])
    assert offer.values.get("remember.text", [""]) == [text]


def test_a_named_note_is_read_first() -> None:
    question, notes = "What does reranking.md say first?", ["rag/reranking.md", "rag/other.md"]
    assert named(question, notes) == ["rag/reranking.md"]
    assert offered(TOOLS, question, [], notes) == Offer(
        frozenset({"read_note"}), True, {"read_note.document": ["rag/reranking.md"], "read_note.line": [1]}
    )
    read = offered(TOOLS, "Open reranking.md, what is it about?", [("read_note", {})], notes)
    assert not read.must_call and "read_note" not in read.tools


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ("打开 rag/a.md 第 40 行附近", 40),
        ("Open rag/a.md at line 12.", 12),
        ("What stands at rag/a.md:7?", 7),
        ("Read the beginning of rag/a.md", 1),
    ],
)
def test_the_line_to_read_comes_from_the_question(question: str, line: int) -> None:
    assert line_named(question) == line


@pytest.mark.parametrize(
    ("question", "filters"),
    [
        ("一共有多少篇笔记？", [""]),
        ("How many notes are there in total?", [""]),
        ("inference 文件夹里有哪些笔记？", ["inference"]),
        ("List the files in the RAG folder of my notes.", ["rag"]),
        ("哪些笔记讲强化学习？", []),
        ("Which notes mention quantisation?", []),
    ],
)
def test_the_list_of_notes_is_narrowed_by_what_the_question_names(question: str, filters: list[str]) -> None:
    folders = {"rag", "inference", "agents"}
    assert to_list(question, folders) == filters
    offer = offered(TOOLS, question, [], (), folders)
    assert offer.values.get("list_notes.filter", []) == filters
