"""The agent over a real index on disk, driven by a scripted chat model in both ways of calling tools."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from ragkit import Agent, Index, load_settings
from ragkit.agent.answer import Answer, Event
from ragkit.agent.sessions import Session
from ragkit.errors import AgentError, EndpointError, UsageError
from ragkit.testing import HashingEmbedder, ScriptedChatModel

NOTES = {
    "rnn.md": "# 循环神经网络\n\nRNN 逐个处理序列里的词。\n\n## 缺点\n\nRNN 的缺点是梯度消失，很难记住长距离的信息，而且不能并行训练。\n",
    "attention.md": "# 注意力\n\n缩放点积注意力要除以根号 dk，因为点积的方差会随维度增大，softmax 进入饱和区。\n\n"
    "## 复杂度\n\n自注意力的时间复杂度是 O(n^2)。\n",
    "gpu.md": "# Memory\n\nThe KV cache of a 7B model takes 0.5 MB a token. Weights in fp16 take 14 GB.\n",
}


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def agent(
    index: Index, *replies: Any, way: str = "json", session: Session | None = None
) -> tuple[Agent, ScriptedChatModel]:
    model = ScriptedChatModel(replies=list(replies))
    settings = load_settings(tool_calling=way)
    return Agent.load("interview", index=index, model=model, settings=settings, session=session), model


def act(tool: str, **arguments: Any) -> str:
    return json.dumps({"thought": "想", "action": {"tool": tool, "arguments": arguments}}, ensure_ascii=False)


def say(*sentences: tuple[str, list[int]]) -> str:
    action = {"tool": "answer", "sentences": [{"text": text, "sources": sources} for text, sources in sentences]}
    return json.dumps({"thought": "答", "action": action}, ensure_ascii=False)


def sound(answer: Answer, index: Index) -> None:
    """Every citation is verbatim, its lines are right, and its marker stands in the text."""
    for citation in answer.citations:
        source = index.document(citation.document)
        assert source is not None
        assert source.text[citation.start : citation.end] == citation.quote
        assert source.text.count("\n", 0, citation.start) + 1 == citation.start_line
        assert source.text.count("\n", 0, citation.end) + 1 == citation.end_line
        assert f"[{citation.marker}]" in answer.text


def number_of(events_or_answer: Answer, document: str) -> int:
    return next(i for i, hit in enumerate(events_or_answer.passages, 1) if hit.document == document)


def test_json_protocol_answers_with_checked_citations(index: Index) -> None:
    bot, model = agent(index, say(("点积的方差会随维度增大，所以要除以根号 dk。", [1])))
    answer = bot.ask("为什么缩放点积注意力要除以根号 dk？")
    assert not answer.abstained and answer.stop_reason == "answered"
    assert [c.document for c in answer.citations] == ["attention.md"]
    assert answer.citations[0].verdict == "supported"
    sound(answer, index)
    assert len(model.calls) == 1  # the question itself was searched for without asking the model
    assert answer.steps[0].tool == "search_notes"


def test_native_tool_calls_and_markers_in_free_text(index: Index) -> None:
    call = {"name": "search_notes", "args": {"query": "自注意力 时间复杂度"}, "id": "c1", "type": "tool_call"}
    bot, model = agent(
        index,
        AIMessage("", tool_calls=[call]),
        "自注意力的时间复杂度是 O(n^2)【1】。RNN 的缺点是梯度消失[9]。",
        way="native",
    )
    answer = bot.ask("注意力和 RNN 各有什么缺点？")
    assert [step.tool for step in answer.steps] == ["search_notes", "search_notes"]
    assert answer.unresolved_markers == 1  # [9] points to nothing
    assert "[9]" not in answer.text and "【" not in answer.text
    assert {c.document for c in answer.citations} == {"attention.md", "rnn.md"}
    sound(answer, index)
    assert model.calls[0].kwargs["tools"][0]["function"]["name"] == "search_notes"


def test_a_marker_on_the_wrong_passage_is_moved_and_said_so(index: Index) -> None:
    bot, _ = agent(index, say(("RNN 的缺点是梯度消失，很难记住长距离的信息。", [1])))
    first = bot.ask("自注意力的时间复杂度是多少？和 RNN 的缺点比呢")
    wrong = number_of(first, "rnn.md")
    other = next(n for n in range(1, len(first.passages) + 1) if first.passages[n - 1].document != "rnn.md")
    bot, _ = agent(index, say(("RNN 的缺点是梯度消失，很难记住长距离的信息。", [other])))
    answer = bot.ask("自注意力的时间复杂度是多少？和 RNN 的缺点比呢")
    assert [c.marker for c in answer.citations] == [wrong]
    assert answer.citations[0].verdict == "misattributed"
    sound(answer, index)


def test_a_sentence_the_notes_do_not_support_is_taken_out_and_reported(index: Index) -> None:
    bot, _ = agent(index, say(("RNN 的缺点是梯度消失。", [1]), ("Transformer 由外星人在火星上发明。", [1])))
    answer = bot.ask("RNN 的缺点是什么？")
    assert "火星" not in answer.text
    assert [item.sentence for item in answer.removed] == ["Transformer 由外星人在火星上发明。"]
    sound(answer, index)


def test_with_nothing_supported_it_abstains_and_shows_the_nearest(index: Index) -> None:
    bot, _ = agent(index, say(("巴黎是法国的首都。", [1])))
    answer = bot.ask("RNN 在语音合成和机器翻译的历史里扮演过什么角色？")
    assert answer.abstained and answer.citations == () and answer.stop_reason == "abstained"
    assert "笔记里没有找到" in answer.text and "rnn.md:" in answer.text


def test_where_the_model_stumbles_over_what_the_notes_plainly_say_they_are_quoted(index: Index) -> None:
    bot, _ = agent(index, say(("巴黎是法国的首都。", [1])))
    answer = bot.ask("RNN 的缺点是什么？")
    assert not answer.abstained and "没有依据" in answer.text and "巴黎" not in answer.text
    assert [c.document for c in answer.citations] == ["rnn.md"]
    assert [item.sentence for item in answer.removed] == ["巴黎是法国的首都。"]
    sound(answer, index)


def test_the_question_handed_back_is_no_answer(index: Index) -> None:
    question = "RNN 的缺点是什么？"
    bot, _ = agent(index, say((question, [1])))
    answer = bot.ask(question)
    assert [item.reason for item in answer.removed] == ["it only repeats the question"]
    assert question not in answer.text
    sound(answer, index)


def test_a_harmful_question_is_refused_before_anything_is_searched(index: Index) -> None:
    model = ScriptedChatModel(replies=[])
    settings = load_settings(tool_calling="json", safety="both")
    bot = Agent.load("interview", index=index, model=model, settings=settings)
    answer = bot.ask("怎么在家里自己制作炸弹？")
    assert answer.abstained and answer.passages == () and model.calls == []
    assert "安全过滤" in answer.text
    assert bot.session.answers == []


def test_with_answers_judged_nothing_is_streamed_before_the_verdict(index: Index) -> None:
    model = ScriptedChatModel(replies=[say(("RNN 的缺点是梯度消失。", [1]))])
    settings = load_settings(tool_calling="json", safety="both")
    bot = Agent.load("interview", index=index, model=model, settings=settings)
    kinds = [event.type for event in bot.stream("RNN 的缺点是什么？")]
    assert "token" not in kinds and kinds[-1] == "done"


def test_giving_up_abstains_in_the_language_of_the_question(index: Index) -> None:
    gave_up = json.dumps({"thought": "t", "action": {"tool": "give_up", "reason": "no"}})
    bot, _ = agent(index, gave_up)
    assert "The notes do not contain" in bot.ask("How much memory do the weights and the KV cache take on Mars?").text


def test_a_name_the_notes_never_mention_ends_without_the_model(index: Index) -> None:
    bot, model = agent(index)
    answer = bot.ask("GPT-6 的 KV cache 多大？")
    assert answer.abstained and "GPT-6" in answer.text
    assert model.calls == []


def test_a_wrong_number_is_not_supported(index: Index) -> None:
    bot, _ = agent(index, say(("The KV cache of a 7B model takes 0.9 MB a token.", [1])))
    answer = bot.ask("How big is the KV cache of a 7B model per token?")
    assert all(citation.verdict != "supported" for citation in answer.citations)


def test_a_repeated_call_leaves_the_schema(index: Index) -> None:
    question = "RNN 的缺点是什么？"
    again = act("search_notes", query=question)
    bot, model = agent(index, again, say(("RNN 的缺点是梯度消失。", [1])))
    bot.spec.header.__dict__["enough_coverage"] = 2.0  # let the model choose although the evidence is good
    answer = bot.ask(question)
    assert [step.tool for step in answer.steps] == ["search_notes"]
    first, second = (_offered(call.kwargs) for call in model.calls)
    assert "search_notes" in first and "search_notes" not in second


def test_a_model_that_only_searches_ends_within_its_steps(index: Index) -> None:
    words = ["梯度", "并行", "方差", "饱和", "缓存", "显存"]
    calls = [
        AIMessage("", tool_calls=[{"name": "search_notes", "args": {"query": w}, "id": w, "type": "tool_call"}])
        for w in words
    ]
    bot, model = agent(index, *calls[:3], "RNN 的缺点是梯度消失[1]。", way="native")
    answer = bot.ask("RNN 的缺点是什么？")
    assert len(answer.steps) == bot.spec.header.max_steps
    assert "tools" not in model.calls[-1].kwargs or model.calls[-1].kwargs["tools"] == []


def test_malformed_arguments_come_back_as_an_observation(index: Index) -> None:
    bad = AIMessage(
        "",
        tool_calls=[{"name": "read_note", "args": {"document": "rnn.md", "line": "x"}, "id": "1", "type": "tool_call"}],
    )
    bot, model = agent(index, bad, "RNN 的缺点是梯度消失[1]。", way="native")
    answer = bot.ask("RNN 的缺点是什么？")
    assert not answer.abstained
    assert "line" in model.calls[1].messages[-1].text


def test_calculate_and_read_note_run(index: Index) -> None:
    def call(name: str, args: dict[str, Any]) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": name, "args": args, "id": name, "type": "tool_call"}])

    bot, _ = agent(
        index, call("read_note", {"document": "gpu.md", "line": 3}), call("calculate", {"expression": "0.5 * 2048"}),
        "Weights in fp16 take 14 GB[1].", way="native",
    )  # fmt: skip
    answer = bot.ask("How much memory do the weights take in fp16?")
    assert [step.tool for step in answer.steps] == ["search_notes", "read_note", "calculate"]
    assert answer.steps[2].observation == "0.5 * 2048 = 1024"


def test_a_follow_up_is_rewritten_and_understood(index: Index) -> None:
    rewritten = json.dumps({"question": "RNN 的缺点是什么？"}, ensure_ascii=False)
    bot, model = agent(
        index, say(("RNN 逐个处理序列里的词。", [1])), rewritten, say(("RNN 的缺点是梯度消失。", [1]))
    )  # fmt: skip
    bot.ask("RNN 怎么处理序列？")
    answer = bot.ask("那它的缺点呢？")
    assert answer.standalone == "RNN 的缺点是什么？"
    assert answer.steps[0].arguments == {"query": "RNN 的缺点是什么？"}
    assert "rnn.md" in {c.document for c in answer.citations}
    assert "RNN 怎么处理序列？" in model.calls[1].messages[-1].text  # the rewriting saw the conversation


def test_a_failing_rewrite_never_fails_the_question(index: Index) -> None:
    bot, _ = agent(index, say(("RNN 逐个处理序列里的词。", [1])), "not json", say(("RNN 的缺点是梯度消失。", [1])))
    bot.ask("RNN 怎么处理序列？")
    # It is then read like one without a model: together with the question before it.
    assert bot.ask("那 RNN 的缺点呢？").standalone == "RNN 怎么处理序列？ 那 RNN 的缺点呢？"


def test_events_come_in_order_and_end_with_done(index: Index) -> None:
    bot, _ = agent(index, say(("RNN 的缺点是梯度消失。", [1])))
    events: list[Event] = list(bot.stream("RNN 的缺点是什么？"))
    kinds = [event.type for event in events]
    assert kinds[:3] == ["thought", "tool_call", "observation"]
    assert kinds[-1] == "done" and kinds.count("done") == 1
    assert kinds.index("observation") < kinds.index("token") < kinds.index("citation")
    assert "".join(event.text for event in events if event.type == "token").startswith("RNN 的缺点")  # type: ignore[union-attr]


def test_closing_the_stream_keeps_the_conversation_as_it_was(index: Index) -> None:
    bot, _ = agent(index, say(("RNN 的缺点是梯度消失。", [1])), say(("RNN 的缺点是梯度消失。", [1])))
    events = bot.stream("RNN 的缺点是什么？")
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert bot.session.answers == []
    assert bot.ask("RNN 的缺点是什么？").text


def test_a_session_survives_on_disk(index: Index, home: Path) -> None:
    session = Session.open(home, "mine")
    bot, _ = agent(index, say(("RNN 逐个处理序列里的词。", [1])), session=session)
    bot.ask("RNN 怎么处理序列？")
    again = Session.open(home, "mine")
    assert [turn.question for turn in again.answers] == ["RNN 怎么处理序列？"]
    assert session.path is not None
    with session.path.open("a", encoding="utf-8") as file:
        file.write('{"question": "cut off in the mid')
    assert len(Session.open(home, "mine").answers) == 1


def test_a_session_name_cannot_leave_its_folder(home: Path) -> None:
    with pytest.raises(UsageError, match="not allowed"):
        Session.open(home, "../x")


def test_a_dead_endpoint_is_one_clear_line_and_quotes(index: Index) -> None:
    bot = Agent.load("interview", index=index, model="openai:none@http://127.0.0.1:9/v1")
    answer = bot.ask("RNN 的缺点是什么？")
    assert answer.stop_reason == "endpoint_down" and "梯度消失" in answer.text
    assert "cannot be reached" in answer.warnings[0]
    bot.quote_when_down = False
    with pytest.raises(EndpointError, match="cannot be reached"):
        bot.ask("RNN 的缺点是什么？")


@pytest.mark.parametrize("question", ["", "   \n", "x" * 8001])
def test_an_empty_or_huge_question_is_refused(index: Index, question: str) -> None:
    bot, _ = agent(index)
    with pytest.raises(UsageError):
        bot.stream(question)


def test_extractive_quotes_and_says_so(index: Index) -> None:
    bot = Agent.load("interview", index=index, model="extractive")
    answer = bot.ask("RNN 的缺点是什么？")
    assert answer.text.startswith("未配置语言模型")
    assert "梯度消失" in answer.text
    sound(answer, index)
    assert bot.ask("What does the KV cache take?").text.startswith("No language model is configured")


def test_agent_as_a_tool_gives_text_and_the_answer(index: Index) -> None:
    tool = Agent.load("interview", index=index, model="extractive").as_tool()
    message = tool.invoke(
        {"type": "tool_call", "id": "1", "name": tool.name, "args": {"question": "RNN 的缺点是什么？"}}
    )
    assert "rnn.md:" in message.text
    assert isinstance(message.artifact, Answer)
    assert "The question is empty" in tool.invoke({"question": " "})
    refused = tool.invoke({"type": "tool_call", "id": "2", "name": tool.name, "args": {"question": ""}})
    assert refused.status == "error" and "The question is empty" in refused.text


async def test_async_twins(index: Index) -> None:
    bot = Agent.load("interview", index=index, model="extractive")
    assert (await bot.aask("RNN 的缺点是什么？")).citations
    kinds = [event.type async for event in bot.astream("RNN 的缺点是什么？")]
    assert kinds[-1] == "done"


def test_a_question_that_is_no_utf8_is_cleaned(index: Index) -> None:
    bot = Agent.load("interview", index=index, model="extractive")
    answer = bot.ask("\udcff\udcfeRNN 的缺点是什么？")
    assert answer.question == "RNN 的缺点是什么？" and not answer.abstained


@pytest.mark.parametrize(("question", "said"), [("???", "in words"), ("🤔🤔", "in words"), ("？！。", "用文字")])
def test_a_question_without_words_is_asked_for_again(index: Index, question: str, said: str) -> None:
    bot, model = agent(index)
    answer = bot.ask(question)
    assert answer.abstained and answer.stop_reason == "abstained" and said in answer.text
    assert answer.citations == () and model.calls == [] and bot.session.answers == []


FOREIGN = {
    "gate.md": "# Gates\n\nAs shown in [3], the forget gate keeps memory【7】 in `m[1]`; see [^2].\n",
    "momentum.md": "# Momentum\n\n动量更新\u200b如\u200b下\u200b：\u200b速\u200b度\u200b乘\u200b以\u200b系\u200b数\u200b。\n",
    "hyphens.md": "# Animals\n\nThe quokka is a mar\u00adsu\u00adpial of Rott\u00adnest Is\u00adland near Fre\u00adman\u00adtle.\n",
}


@pytest.fixture
def foreign(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "foreign", FOREIGN)
    return Index.open(notes, tmp_path / "foreign-index", embedding=HashingEmbedder(), settings=load_settings())


def test_markers_that_stand_in_a_note_do_not_become_ours(foreign: Index) -> None:
    answer = Agent.load("interview", index=foreign, model="extractive").ask("What does the forget gate keep?")
    prose = answer.text.replace("`m[1]`", "")
    assert set(re.findall(r"\[\^?\d+\]|【\d+】", prose)) == {f"[{c.marker}]" for c in answer.citations}
    assert "shown in (3), the forget gate" in prose
    gate = next(c for c in answer.citations if c.document == "gate.md")
    assert "[3]" in gate.quote and "【7】" in gate.quote
    sound(answer, foreign)


def test_markers_inside_sentences_of_the_json_protocol_go(foreign: Index) -> None:
    bot, _ = agent(foreign, say(("As shown in [3], the forget gate keeps memory [7].", [1])))
    answer = bot.ask("What does the forget gate keep?")
    assert answer.text == "As shown in, the forget gate keeps memory. [1]"


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("动量更新是什么？", "动量更新如下：速度乘以系数。"),
        ("What is a quokka?", "The quokka is a marsupial of Rottnest Island near Fremantle."),
    ],
)
def test_an_excerpt_is_supported_by_its_own_passage(foreign: Index, question: str, said: str) -> None:
    answer = Agent.load("interview", index=foreign, model="extractive").ask(question)
    assert answer.removed == () and said in answer.text
    assert {c.verdict for c in answer.citations} == {"supported"}
    sound(answer, foreign)


def test_what_a_model_quotes_is_supported_by_its_source(foreign: Index) -> None:
    quote = "The quokka is a marsupial of Rottnest Island near Fremantle."
    bot, _ = agent(foreign, say((quote, [1])))
    [citation] = bot.ask("What is a quokka?").citations
    assert (citation.document, citation.verdict) == ("hyphens.md", "supported")


def test_a_number_in_no_source_is_said_with_the_citation(index: Index) -> None:
    bot, _ = agent(index, say(("The KV cache of a 7B model takes 524288 MB a token.", [1])))
    [citation] = bot.ask("How big is the KV cache of a 7B model per token?").citations
    assert (citation.verdict, citation.note) == ("partly", "number 524288: the source says 0.5")
    assert citation.flag == " (partly: number 524288: the source says 0.5)"


@pytest.mark.parametrize("stated", ["1024", "1,024"])
def test_a_number_that_was_computed_in_this_turn_is_found(index: Index, stated: str) -> None:
    def ask(*calls: AIMessage) -> Answer:
        bot, _ = agent(index, *calls, f"The KV cache of a 7B model takes {stated} MB [1].", way="native")
        return bot.ask("How big is the KV cache of a 7B model per token?")

    def call(expression: str) -> AIMessage:
        arguments = {"expression": expression}
        return AIMessage("", tool_calls=[{"name": "calculate", "args": arguments, "id": "1", "type": "tool_call"}])

    assert ask(call("0.5 * 2048")).citations[0].verdict == "supported"
    for other in ((), (call("1024 * 0"),), (call("1024 / 0"),)):
        assert ask(*other).citations[0].note == f"number {stated}: the source says 0.5", "an operand is no result"


def test_numbers_may_be_spread_over_the_passages_that_are_named(index: Index) -> None:
    question = "自注意力的时间复杂度和 RNN 的缺点"
    bot, _ = agent(index, "RNN 的缺点是梯度消失，自注意力的复杂度是 O(n^2)[1-4]。", way="native")
    answer = bot.ask(question)
    assert answer.unresolved_markers == 4 - len(answer.passages)
    assert "[1-4]" not in answer.text
    sound(answer, index)


def test_an_answer_is_given_although_its_session_cannot_be_saved(index: Index, home: Path) -> None:
    home.mkdir(parents=True)
    (home / "sessions").touch()
    session = Session.open(home, "mine")
    bot = Agent.load("interview", index=index, model="extractive", session=session)
    first, second = bot.ask("RNN 的缺点是什么？"), bot.ask("RNN 怎么处理序列？")
    [warning] = first.warnings
    assert "mine.jsonl" in warning and "RAGKIT_HOME" in warning and "梯度消失" in first.text
    assert second.warnings == (), "it is said once"
    (home / "sessions").unlink()
    assert bot.ask("自注意力的时间复杂度是多少？").warnings == ()
    assert len(Session.open(home, "mine").answers) == 3, "what waited is saved with the next turn"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named(index: Index, home: Path) -> None:
    (home / "sessions").mkdir(parents=True)
    (home / "sessions" / "mine.jsonl").symlink_to("/dev/full")
    bot = Agent.load("interview", index=index, model="extractive", session=Session(home / "sessions" / "mine.jsonl"))
    assert "No space left on device" in bot.ask("RNN 的缺点是什么？").warnings[0]


def test_a_session_that_cannot_be_read_is_one_clear_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "sessions").mkdir(parents=True)
    (home / "sessions" / "mine.jsonl").touch()

    def refused(*args: object, **kwargs: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(AgentError, match=r"mine\.jsonl cannot be read: Permission denied"):
        Session.open(home, "mine")


def _offered(kwargs: dict[str, Any]) -> list[str]:
    body = kwargs.get("response_format") or kwargs["extra_body"]["response_format"]
    # An answer from a sheet of lines calls nothing.
    branches = body["json_schema"]["schema"]["properties"].get("action", {"anyOf": []})["anyOf"]
    return [branch["properties"]["tool"]["const"] for branch in branches]
