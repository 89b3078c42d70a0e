"""The researcher and the quizmaster over a real index, with a scripted chat model and without any."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkit import Agent, Index, load_settings
from ragkit.agent.answer import Answer, Done
from ragkit.agent.plan import Plan
from ragkit.agent.quiz import points_of, sections_of
from ragkit.agent.sessions import Session
from ragkit.content import content_dir
from ragkit.errors import EndpointDownError
from ragkit.testing import HashingEmbedder, ScriptedChatModel

NOTES = {
    "rnn.md": "# 循环神经网络\n\n## RNN 的缺点\n\nRNN 的缺点是梯度消失，很难记住长距离的信息。它不能并行训练，所以训练很慢。\n\n"
    "## LSTM 的门\n\nLSTM 有遗忘门、输入门和输出门三个门。遗忘门决定丢掉细胞状态里的哪些信息。\n",
    "attention.md": "# 注意力\n\n## 缩放\n\n缩放点积注意力要除以根号 dk。点积的方差会随维度增大，softmax 进入饱和区。\n",
    "gpu.md": "# GPU memory\n\n## KV cache\n\nThe KV cache of a 7B model takes 0.5 MB a token. It grows linearly with the context.\n\n"
    "## Weights\n\nWeights in fp16 take 14 GB. Quantising them to four bits takes 4 GB.\n",
}  # fmt: skip


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def agent(index: Index, name: str, *replies: Any, session: Session | None = None) -> Agent:
    if name == "researcher":
        # Translating is tested elsewhere, and would take replies of the script.
        shipped = (content_dir("agents") / "researcher.md").read_text(encoding="utf-8")
        Path("mine.md").write_text(
            shipped.replace("rewrite: never", "rewrite: never\ntranslate: never"), encoding="utf-8"
        )
        name = "mine.md"
    if not replies:
        return Agent.load(name, index=index, model="extractive", session=session)
    model = ScriptedChatModel(replies=[r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in replies])
    return Agent.load(name, index=index, model=model, settings=load_settings(tool_calling="json"), session=session)


def say(text: str, *sources: int) -> dict[str, Any]:
    return {"thought": "", "action": {"tool": "answer", "sentences": [{"text": text, "sources": list(sources)}]}}


def sound(answer: Answer, index: Index) -> None:
    for citation in answer.citations:
        source = index.document(citation.document)
        assert source is not None
        assert source.text[citation.start : citation.end] == citation.quote
        assert source.text.count("\n", 0, citation.start) + 1 == citation.start_line
        assert source.text.count("\n", 0, citation.end) + 1 == citation.end_line
        assert f"[{citation.marker}]" in answer.text
    assert len({c.marker for c in answer.citations}) == len(answer.citations)


def test_a_goal_becomes_a_plan_answers_and_a_report(index: Index) -> None:
    bot = agent(
        index, "researcher",
        {"questions": ["RNN 的缺点是什么？", "LSTM 有哪几个门？", "RNN 的缺点有哪些？"]},
        say("RNN 的缺点是梯度消失，很难记住长距离的信息。", 1),
        say("LSTM 有遗忘门、输入门和输出门三个门。", 1),
        {"questions": ["缩放点积注意力要除以什么？"]},
        say("缩放点积注意力要除以根号 dk。", 1),
        {"sentences": [{"text": "RNN 的缺点是梯度消失，LSTM 有遗忘门、输入门和输出门。", "sources": [1]}]},
    )  # fmt: skip
    events = list(bot.stream("研究循环神经网络：缺点和改进"))
    plans = [event for event in events if isinstance(event, Plan)]
    assert [item.state for item in plans[0].items] == ["waiting", "waiting"]  # the third asks what the first does
    assert [item.state for item in plans[-1].items] == ["done", "done", "done"]
    assert any(item.state == "working" for plan in plans for item in plan.items)
    answer = events[-1].answer if isinstance(events[-1], Done) else None
    assert answer is not None and not answer.abstained
    assert answer.plan == plans[-1].items
    assert answer.text.startswith("## 概述")
    assert [line for line in answer.text.split("\n") if line.startswith("## ")][1:] == [
        "## RNN 的缺点是什么？", "## LSTM 有哪几个门？", "## 缩放点积注意力要除以什么？",
    ]  # fmt: skip
    assert {c.document for c in answer.citations} == {"rnn.md", "attention.md"}
    assert len(answer.steps) == 3
    assert [item["state"] for item in answer.to_json()["plan"]] == ["done"] * 3
    sound(answer, index)


def test_the_users_limit_of_steps_holds_over_all_parts_of_a_goal(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGKIT_MAX_QUESTION_STEPS", "1")
    bot = agent(
        index, "researcher",
        {"questions": ["RNN 的缺点是什么？", "LSTM 有哪几个门？"]},
        say("RNN 的缺点是梯度消失，很难记住长距离的信息。", 1),
        say("LSTM 有遗忘门、输入门和输出门三个门。", 1),
        {"questions": []},
        {"sentences": []},
    )  # fmt: skip
    answer = bot.ask("研究循环神经网络：缺点和改进")
    assert len([step for step in answer.steps if "budget" not in step.observation]) == 1
    # Nobody looked, so nothing is said of what the notes hold.
    assert [item.state for item in answer.plan] == ["done", "unreached"]
    assert answer.text.endswith("## 没有来得及查\n\n- LSTM 有哪几个门？") and "笔记里没有" not in answer.text
    assert answer.stop_reason == "max_steps" and "步数预算（1）已用完" in answer.warnings[-1]


def test_a_report_of_which_nothing_was_reached_says_so(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGKIT_MAX_QUESTION_TOKENS", "1")
    bot = agent(index, "researcher", {"questions": ["What is an RNN?", "Which gates has an LSTM?"]})
    answer = bot.ask("Compare RNN and LSTM")
    assert answer.abstained and answer.stop_reason == "max_tokens"
    assert "do not contain" not in answer.text and "## Not looked up" in answer.text


def test_what_the_notes_do_not_hold_is_said_in_the_report(index: Index) -> None:
    bot = agent(
        index, "researcher", {"questions": ["RNN 的缺点是什么？", "量子计算机 Sycamore9000 用什么门？"]},
        say("RNN 的缺点是梯度消失，很难记住长距离的信息。", 1), {"questions": []},
    )  # fmt: skip
    answer = bot.ask("比较 RNN 和量子计算机")
    assert [item.state for item in answer.plan] == ["done", "missing"]
    assert answer.text.endswith("## 笔记里没有\n\n- 量子计算机 Sycamore9000 用什么门？")


def test_a_model_that_plans_nothing_still_gets_a_report(index: Index) -> None:
    bot = agent(
        index,
        "researcher",
        "no json",
        *[say("RNN 的缺点是梯度消失，很难记住长距离的信息。", 1)] * 3,
        "no json",
        "no json",
    )
    answer = bot.ask("RNN 的缺点是什么？LSTM 有哪几个门？")
    assert len(answer.plan) == 2 and answer.plan[0].state == "done"
    sound(answer, index)


def test_without_a_model_the_report_quotes_the_sections_that_the_goal_finds(index: Index) -> None:
    answers = [agent(index, "researcher").ask(goal) for goal in ["循环神经网络的缺点和门", "循环神经网络的缺点和门"]]
    assert answers[0].text == answers[1].text
    answer = answers[0]
    assert not answer.abstained and len(answer.plan) >= 2 and answer.text.count("未配置语言模型") == 1
    assert "rnn.md" in {c.document for c in answer.citations}
    sound(answer, index)


def test_a_goal_of_several_questions_is_parted_at_them(index: Index) -> None:
    answer = agent(index, "researcher").ask("What does the KV cache take? How large are the weights in fp16?")
    assert [item.text for item in answer.plan] == ["What does the KV cache take", "How large are the weights in fp16"]
    assert "gpu.md" in {c.document for c in answer.citations}
    sound(answer, index)


def test_a_goal_without_anything_in_the_notes_abstains(index: Index) -> None:
    answer = agent(index, "researcher").ask("Zxqv9 qwrtp vbnml?")
    assert answer.abstained and answer.citations == ()


def test_closing_the_events_ends_the_research(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[Any] = []
    search = Index.search_queries

    def counted(self: Index, *args: Any, **kwargs: Any) -> Any:
        searched.append(args)
        return search(self, *args, **kwargs)

    monkeypatch.setattr(Index, "search_queries", counted)
    bot = agent(index, "researcher")
    events = bot.stream("循环神经网络的缺点和门")
    next(events)
    events.close()  # type: ignore[attr-defined]
    cut = len(searched)
    bot.ask("循环神经网络的缺点和门")
    assert cut < len(searched) - cut
    assert len(bot.session.answers) == 1


def test_an_endpoint_that_goes_away_during_a_part_is_said_in_the_report(index: Index) -> None:
    bot = agent(
        index, "researcher", {"questions": ["RNN 的缺点是什么？", "LSTM 有哪几个门？"]},
        say("RNN 的缺点是梯度消失，很难记住长距离的信息。", 1),
    )  # fmt: skip
    down = EndpointDownError("The endpoint went away.", "Wait.")
    bot.chat.model().replies += [down] * 9  # type: ignore[attr-defined]
    answer = bot.ask("研究循环神经网络：缺点和改进")
    assert answer.stop_reason == "endpoint_down"
    assert any("The endpoint went away." in warning for warning in answer.warnings)
    sound(answer, index)


# --- quizmaster


@pytest.mark.parametrize(
    ("ask", "reply", "stop"),
    [
        ("考考我 RNN 的缺点", "缺点是梯度消失，难以记住长距离信息，也不能并行训练，训练慢", "结束"),
        (
            "quiz me on the KV cache",
            "It takes 0.5 MB a token for a 7B model and grows linearly with the context",
            "stop",
        ),
    ],
)
def test_a_quiz_asks_grades_with_citations_and_goes_on(
    index: Index, tmp_path: Path, ask: str, reply: str, stop: str
) -> None:
    session = Session(tmp_path / "s.jsonl")
    first = agent(index, "quizmaster", session=session).ask(ask)
    assert not first.abstained and first.citations == ()
    # Another process goes on with the session.
    second = agent(index, "quizmaster", session=Session(tmp_path / "s.jsonl")).ask(reply)
    assert "2/2" in second.text or "2 of 2" in second.text
    assert second.citations and all(c.verdict == "supported" for c in second.citations)
    sound(second, index)
    assert second.text.split("\n")[-1].startswith(("下一题", "Next question")) or "100%" in second.text
    last = agent(index, "quizmaster", session=Session(tmp_path / "s.jsonl")).ask(stop)
    assert "100%" in last.text


def test_a_poor_reply_is_told_what_is_missing_and_what_has_no_basis(index: Index) -> None:
    bot = agent(index, "quizmaster")
    bot.ask("考考我 RNN 的缺点")
    answer = bot.ask("主要是梯度消失，很难记住长距离的信息。它由火星人用香蕉发明。")
    assert "1/2" in answer.text and "还应说到" in answer.text and "不能并行训练" in answer.text
    assert "火星人" in answer.text.split("没有依据")[1]
    sound(answer, index)


def test_a_wrong_reply_and_a_skip_show_the_answer(index: Index) -> None:
    bot = agent(index, "quizmaster")
    bot.ask("考考我 RNN 的缺点")
    wrong = bot.ask("我喜欢吃苹果和香蕉")
    assert "没有说到要点" in wrong.text and wrong.citations
    skipped = bot.ask("跳过")
    assert "答案在这里" in skipped.text and skipped.citations
    sound(skipped, index)


def test_no_question_is_asked_twice_and_the_topic_ends(index: Index) -> None:
    bot = agent(index, "quizmaster")
    said = [bot.ask("考考我 RNN 的缺点").text]
    for _ in range(8):
        said.append(bot.ask("跳过").text.split("\n")[-1])
        if "没有更多" in said[-1]:
            break
    assert "没有更多" in said[-1]
    assert len(said[:-1]) == len(set(said[:-1])) and len(said) >= 3


def test_a_topic_that_the_notes_lack_is_not_asked_about(index: Index) -> None:
    assert agent(index, "quizmaster").ask("quiz me on zxqv9").abstained


def test_the_section_that_was_asked_for_is_asked_about_and_none_beside_it(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    softmax = "## Softmax\n\nSoftmax turns scores into weights. The weights add up to one.\n\n"
    cache = "## KV cache\n\nThe KV cache keeps the keys and values of earlier tokens.\n\n"
    (notes / "attention.md").write_text(f"# Attention\n\n{softmax}{cache}", encoding="utf-8")
    with Index.open(notes, tmp_path / "index", embedding=HashingEmbedder()) as small:
        bot = agent(small, "quizmaster")
        assert bot.ask("quiz me on KV cache").text == "Please explain: Attention / KV cache."
        last = bot.ask("It keeps the keys and values of earlier tokens")
        assert "1 of 1" in last.text and "no more questions on this topic" in last.text and "Softmax" not in last.text
        # Of the whole note, what has more than one point comes first.
        assert agent(small, "quizmaster").ask("quiz me on attention").text == "Please explain: Attention / Softmax."
        # A vector that is near is no word of the topic.
        bot = agent(small, "quizmaster")
        small.model.relevance_floor = -1.0
        assert bot.ask("quiz me on quantum gravity").abstained


def test_a_model_words_the_question_and_finds_points_in_other_words(index: Index) -> None:
    bot = agent(
        index, "quizmaster", {"question": "为什么循环神经网络难以处理长序列？"}, {"made": [True, True]}, {"question": "LSTM 靠什么控制信息？"},
    )  # fmt: skip
    assert bot.ask("考考我 RNN 的缺点").text == "为什么循环神经网络难以处理长序列？"
    graded = bot.ask("梯度消失；无法并行")
    assert "2/2" in graded.text and graded.text.endswith("下一题：LSTM 靠什么控制信息？")


def test_a_model_cannot_find_a_point_in_a_reply_that_has_nothing_of_it(index: Index) -> None:
    bot = agent(
        index, "quizmaster", {"question": "为什么？RNN 的缺点？"}, {"made": [True, True]}, {"question": "LSTM 靠什么？"}
    )
    bot.ask("考考我 RNN 的缺点")
    assert "没有说到要点" in bot.ask("苹果好吃").text


def test_the_tool_asks_and_grades_across_turns(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "coach.md"
    path.write_text(
        "---\nname: coach\ndescription: d\ntools: [search_notes, quiz_me]\nrewrite: never\ntranslate: never\n---\nYou coach.\n",
        encoding="utf-8",
    )
    session = Session(tmp_path / "s.jsonl")
    ask = {"thought": "", "action": {"tool": "quiz_me", "arguments": {"topic": "RNN 的缺点", "reply": ""}}}
    bot = agent(
        index,
        str(path),
        ask,
        {"question": "为什么循环神经网络难以处理长序列？"},
        say("为什么循环神经网络难以处理长序列？", 3),
        session=session,
    )
    first = bot.ask("用 RNN 的缺点考考我")
    assert "为什么循环神经网络难以处理长序列" in first.text and first.state.get("quiz_me"), first.steps
    grade = {
        "thought": "",
        "action": {"tool": "quiz_me", "arguments": {"topic": "", "reply": "梯度消失，不能并行训练"}},
    }
    bot = agent(
        index,
        str(path),
        grade,
        {"made": [True, True]},
        say("right: 2 of 2 points", 3),
        session=Session(tmp_path / "s.jsonl"),
    )
    second = bot.ask("梯度消失，不能并行训练")
    told = next((step.observation for step in second.steps if step.tool == "quiz_me"), str(second))
    assert "right: 2 of 2 points" in told and "made: RNN 的缺点是梯度消失" in told


def test_code_makes_no_points_and_a_bare_heading_gets_its_note(index: Index) -> None:
    text = "梯度可能爆炸，要裁剪。\n\n```python\n# 一行注释\nimport torch\nz = torch.cat([x, h]) @ W + b\n```\n\n初始化也很重要，遗忘门偏置设为一。\n"
    chunk = index.passages_at("rnn.md", 1, after=0)[0].chunk
    hit = replace(
        index.passages_at("rnn.md", 1, after=0)[0],
        chunk=replace(chunk, heading=("循环神经网络",), text=f"## 易错点\n\n{text}"),
    )
    (part,) = sections_of(hit)
    assert part.heading == "循环神经网络 / 易错点"
    assert points_of(part.text) == ["梯度可能爆炸，要裁剪。", "初始化也很重要，遗忘门偏置设为一。"]
