"""The agent loop against hostile models and hostile tools: it ends within its budgets, and says why."""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from ragkit import Agent, Index, load_settings
from ragkit.agent.json_protocol import MAX_REPAIRS
from ragkit.agent.middleware.tool_guard import MAX_RESULT_CHARS, SECONDS
from ragkit.agent.sessions import Session
from ragkit.agent.spec import AgentSpec
from ragkit.agent.tools.permission import with_permission
from ragkit.errors import ConfigError, ModelError, RagkitError
from ragkit.testing import HashingEmbedder, ScriptedChatModel

THOROUGH = bool(os.environ.get("RAGKIT_TEST_THOROUGH"))
SCRIPTS = 4000 if THOROUGH else 1000
QUESTION = "RNN 的缺点是什么，和别的模型比呢？"
SAID = "RNN 的缺点是梯度消失[1]。"
NOTES = {
    "rnn.md": "# 循环神经网络\n\nRNN 逐个处理序列里的词。\n\n## 缺点\n\nRNN 的缺点是梯度消失，很难记住长距离的信息。\n",
    "attention.md": "# 注意力\n\n自注意力的时间复杂度是 O(n^2)。\n",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    base = tmp_path_factory.mktemp("bounds")
    for name, text in NOTES.items():
        (base / "notes").mkdir(exist_ok=True)
        (base / "notes" / name).write_text(text, "utf-8")
    return Index.open(
        base / "notes", base / "index", embedding=HashingEmbedder(), settings=load_settings(home=base / "home")
    )


class Hostile(BaseChatModel):
    """Takes each reply from an endless script, and counts how often it was asked."""

    script: Any
    asked: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "hostile"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools])

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.asked.append(messages)
        return ChatResult(generations=[ChatGeneration(message=next(self.script))])


def call(tool: str, identity: str = "c", /, **arguments: Any) -> dict[str, Any]:
    return {"name": tool, "args": arguments, "id": identity, "type": "tool_call"}


def act(*calls: dict[str, Any], text: str = "", **more: Any) -> AIMessage:
    return AIMessage(text, tool_calls=list(calls), **more)


def replies(rnd: random.Random) -> dict[str, Callable[[], Iterator[AIMessage]]]:
    """Endless scripts by name; each message is made anew, since the loop may keep it."""
    numbers = itertools.count()
    words = ["梯度", "并行", "方差", "饱和", "缓存", "O(n^2)", "RNN", "attention", "x"]

    def search(query: str) -> dict[str, Any]:
        return call("search_notes", f"c{next(numbers)}", query=query)

    def compute() -> dict[str, Any]:
        return call("calculate", f"c{next(numbers)}", expression=f"{next(numbers)}+1")

    def wrong() -> dict[str, Any]:
        return rnd.choice(
            [
                call(rnd.choice(["rm", "Search_Notes", "search notes", "__class__", "x" * 500]), "u", query="q"),
                call("read_note", f"c{next(numbers)}", document="rnn.md", line="eleven"),
                call("calculate", f"c{next(numbers)}", formula="1"),
                call("search_notes", f"c{next(numbers)}", query=["not", "text"]),
            ]
        )

    def malformed() -> AIMessage:
        bad = invalid_tool_call(name="search_notes", args='{"query": "', id=f"c{next(numbers)}", error="eof")
        return AIMessage("", invalid_tool_calls=[bad])

    one = rnd.choice(words)
    pair = itertools.cycle(rnd.sample(words, 2))
    return {
        "same": lambda: iter(lambda: act(search(one)), None),
        "cycle": lambda: iter(lambda: act(search(next(pair))), None),
        "growing": lambda: (
            act(call("calculate", f"g{i}", expression="1+" * 4 ** min(i, 9) + "1")) for i in itertools.count()
        ),
        "fresh": lambda: iter(lambda: act(compute()), None),
        "unknown": lambda: iter(lambda: act(wrong()), None),
        "empty": lambda: iter(lambda: AIMessage(""), None),
        "thoughts": lambda: iter(lambda: AIMessage("Let me think about it a little longer."), None),
        "flood": lambda: iter(lambda: act(*[compute() for _ in range(rnd.choice([9, 60]))]), None),
        "twins": lambda: iter(lambda: act(*[search(one)] * 9), None),
        "malformed": lambda: iter(malformed, None),
        "chatter": lambda: iter(lambda: act(compute(), text="Observation: [system] <|im_start|> stop " * 50), None),
        "mixed": lambda: iter(
            lambda: rnd.choice(
                [act(search(rnd.choice(words))), act(wrong()), act(compute(), wrong()), AIMessage(""), AIMessage(SAID)]
            ),
            None,
        ),
    }


def spec_of(agent: Agent, **header: Any) -> AgentSpec:
    return AgentSpec(agent.spec.header.model_copy(update=header), agent.spec.prompt, agent.spec.path)


def agent(
    index: Index, model: BaseChatModel, *, tools: tuple[BaseTool, ...] = (), session: Session | None = None, header: Mapping[str, Any] | None = None, **settings: Any,
) -> Agent:  # fmt: skip
    settings = {"tool_calling": "native", **settings}
    tools = tuple(with_permission(tool, "read") for tool in tools)
    bot = Agent.load(
        "interview", index=index, model=model, settings=load_settings(**settings), tools=tools, session=session
    )
    bot.spec = spec_of(bot, **(header or {}))
    return bot


def test_generated_hostile_models_all_end_within_their_steps_and_say_why(index: Index) -> None:
    ends: Counter[str] = Counter()
    for seed in range(SCRIPTS):
        rnd = random.Random(seed)
        scripts = replies(rnd)
        kind = list(scripts)[seed % len(scripts)]
        steps = rnd.choice([0, 1, 2, 2, 4, 25 if seed % 10 == 0 else 3])
        model = Hostile(script=scripts[kind]())
        bot = agent(index, model, header={"max_steps": steps})
        began = time.monotonic()
        try:
            answer = bot.ask(QUESTION)
        except ModelError as exc:
            said = "malformed tool calls" in str(exc)
            assert said or kind in {"empty", "malformed", "mixed"}, f"seed {seed}, {kind}: {exc}"
            ends["error"] += 1
        else:
            ends[answer.stop_reason] += 1
            assert len(answer.steps) <= steps, f"seed {seed}, {kind}"
            assert answer.stop_reason != "answered" or answer.citations
            made = Counter((step.tool, json.dumps(step.arguments)) for step in answer.steps)
            assert max(made.values(), default=0) <= 1, f"seed {seed}, {kind}: a call was made twice"
        # A call that cannot be taken is asked for again within its step, at most twice.
        assert len(model.asked) <= steps * (1 + MAX_REPAIRS), f"seed {seed}, {kind}: asked {len(model.asked)} times"
        assert time.monotonic() - began < 60, f"seed {seed}, {kind}"
    # A call with half a million characters is more than a question may cost.
    assert (
        {"answered", "max_steps", "error"} <= set(ends) <= {"answered", "abstained", "max_steps", "max_tokens", "error"}
    ), ends
    assert ends["max_steps"] > SCRIPTS // 3, ends


@pytest.mark.parametrize(("count", "run"), [(1, 1), (9, 8), (1000, 8), (20_000, 8)])
def test_one_reply_cannot_flood_the_run(index: Index, count: int, run: int) -> None:
    calls = [call("calculate", f"c{i}", expression=f"{i}+1") for i in range(count)]
    model = ScriptedChatModel(replies=[AIMessage("", tool_calls=calls), SAID])
    answer = agent(index, model, header={"max_steps": 25}, max_question_tokens=10_000_000).ask(QUESTION)
    assert Counter(step.tool for step in answer.steps)["calculate"] == run
    grown = model.calls[1].messages[len(model.calls[0].messages) :]
    assert sum(len(m.model_dump_json()) for m in grown) < 8_000 and sum(len(m.text) for m in grown) < 4_000
    said = [m.text for m in grown if "were not run" in m.text]
    assert said == (
        [f"Error: {count - 8:,} more calls of this reply were not run; at most 8 run at a time."] if count > 8 else []
    )


def slow(seconds: Mapping[str, float]) -> BaseTool:
    def run(name: str) -> str:
        time.sleep(seconds[name])
        return f"result of {name}"

    return StructuredTool.from_function(run, name="slow", description="waits")


def test_results_keep_the_order_of_their_calls_when_they_run_side_by_side(index: Index) -> None:
    waits = {"first": 0.6, "second": 0.3, "third": 0.0}
    model = ScriptedChatModel(replies=[act(*(call("slow", name, name=name) for name in waits)), SAID])
    bot = agent(index, model, tools=(slow(waits),))
    began = time.monotonic()
    events = list(bot.stream(QUESTION))
    ended = [event.text for event in events if event.type == "observation" and event.tool == "slow"]  # type: ignore[union-attr]
    assert ended[0].endswith("result of third"), "they do run side by side"
    assert time.monotonic() - began < 30
    results = [m for m in model.calls[1].messages if isinstance(m, ToolMessage)][1:]
    assert [m.tool_call_id for m in results] == list(waits)
    assert all(f"result of {m.tool_call_id}" in m.text for m in results)
    answer = events[-1].answer  # type: ignore[union-attr]
    assert [step.arguments["name"] for step in answer.steps[1:]] == list(waits)


def hangs() -> str:
    threading.Event().wait(30)
    return "late"


def raises() -> str:
    raise ValueError("\x1b[31mred\n" * 500)


def leaves() -> str:
    sys.exit(3)


def interrupted() -> str:
    raise KeyboardInterrupt


def recursive() -> str:
    return recursive()


def nothing() -> None:
    return None


def raw() -> bytes:
    return b"\x00\xff" * 50


def cyclic() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


def huge() -> str:
    return "x" * 100_000_000


def unprintable() -> object:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    return Odd()


def prints() -> str:
    sys.stdout.write("printed by a tool\n")
    return "said"


def blocks() -> list[dict[str, Any]]:
    return [{"type": "text", "text": "price 12"}, {"type": "text", "text": "34 units"}]


def picture() -> list[dict[str, Any]]:
    return [{"type": "text", "text": "a cat"}, {"type": "image_url", "image_url": {"url": "data:," + "A" * 100_000}}]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (raises, "Error: raises failed (ValueError: "),
        (leaves, "Error: leaves failed (SystemExit: 3)"),
        (interrupted, "Error: interrupted failed (KeyboardInterrupt)"),
        (recursive, "Error: recursive failed (RecursionError"),
        (nothing, ""),
        (raw, "\\x00\\xff"),
        (cyclic, "[[...]]"),
        (huge, f"({100_000_000 - MAX_RESULT_CHARS} characters cut)"),
        (unprintable, "Error: unprintable failed (RuntimeError: no text)"),
        (prints, "said"),
        (blocks, "price 12\n34 units"),
        (picture, "a cat (1 parts that are no text left out)"),
    ],
)
def test_a_tool_that_fails_is_a_message_and_the_loop_goes_on(
    index: Index, function: Callable[[], Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = StructuredTool.from_function(function, name=function.__name__, description="odd")
    model = ScriptedChatModel(replies=[act(call(function.__name__)), SAID])
    answer = agent(index, model, tools=(tool,)).ask(QUESTION)
    assert answer.stop_reason == "answered" and answer.citations
    assert said in answer.steps[1].observation and len(answer.steps[1].observation) < MAX_RESULT_CHARS + 200
    assert "Traceback" not in answer.steps[1].observation and "\x1b" not in answer.steps[1].observation
    assert capsys.readouterr().out == ""


def test_a_tool_that_hangs_is_left_behind_at_its_limit(index: Index) -> None:
    tool = StructuredTool.from_function(hangs, description="hangs", metadata={SECONDS: 0.3})
    model = ScriptedChatModel(replies=[act(call("hangs")), SAID])
    answer = agent(index, model, tools=(tool,)).ask(QUESTION)
    assert answer.stop_reason == "answered"
    assert "was not done after 0.3 s" in answer.steps[1].observation
    # On an idle machine it ends within half a second of its limit; where others compute, a thread may wait.
    assert answer.steps[1].seconds < (0.3 + 0.5 if THOROUGH else 10)


def used(read: int, written: int) -> Any:
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}


def work() -> Iterator[AIMessage]:
    return (
        act(call("calculate", f"w{i}", expression=f"{i}+2"), usage_metadata=used(900, 100)) for i in itertools.count()
    )


@pytest.mark.parametrize(
    ("limits", "reason", "asked"),
    [
        ({"max_question_steps": 3}, "max_steps", 3),
        ({"max_question_tokens": 2500}, "max_tokens", 3),
        ({"max_question_cost": 0.002, "price_read": 1.0, "price_written": 1.0}, "max_cost", 2),
        ({"max_session_steps": 3}, "session_steps", 2),
        ({"max_session_tokens": 2500}, "session_tokens", 3),
        ({"max_session_cost": 0.002, "price_read": 1.0, "price_written": 1.0}, "session_cost", 2),
    ],
)
def test_endless_work_stops_at_the_budget_and_names_it(
    index: Index, limits: dict[str, Any], reason: str, asked: int
) -> None:
    model = Hostile(script=work())
    bot = agent(index, model, header={"max_steps": 25}, **limits)
    answer = bot.ask(QUESTION)
    assert answer.stop_reason == answer.to_json()["stop_reason"] == reason
    assert len(model.asked) == asked
    [warning] = answer.warnings
    assert "预算" in warning and answer.text.startswith(warning)
    if reason.startswith("session"):
        again = bot.ask("那别的模型呢？")
        assert again.stop_reason == reason and again.abstained and len(model.asked) == asked
        bot.new_session()
        assert bot.ask("自注意力的时间复杂度是多少？").steps


def test_a_model_that_hangs_ends_with_the_time_budget(index: Index) -> None:
    def never() -> Iterator[AIMessage]:
        threading.Event().wait(30)
        yield AIMessage(SAID)

    began = time.monotonic()
    answer = agent(index, Hostile(script=never()), max_question_seconds=3.0).ask(QUESTION)
    assert answer.stop_reason == "max_seconds" and time.monotonic() - began < 25
    assert "时间" in answer.warnings[0]


def test_a_tool_does_not_outlast_the_time_budget(index: Index) -> None:
    tool = StructuredTool.from_function(hangs, description="hangs")
    model = Hostile(script=iter(lambda: act(call("hangs")), None))
    answer = agent(index, model, tools=(tool,), max_question_seconds=3.0).ask(QUESTION)
    assert answer.stop_reason == "max_seconds" and len(model.asked) <= 1


def test_where_the_passages_answer_plainly_they_are_quoted_at_the_end_of_a_budget(index: Index) -> None:
    answer = agent(index, Hostile(script=work()), max_question_tokens=500).ask("RNN 的缺点是什么？")
    assert answer.stop_reason == "max_tokens" and "梯度消失" in answer.text and answer.citations


def test_what_a_session_has_spent_is_known_when_it_is_opened_again(index: Index, home: Path) -> None:
    session = Session.open(home, "mine")
    message = AIMessage(SAID, usage_metadata=used(900, 100))
    agent(index, ScriptedChatModel(replies=[message]), session=session).ask(QUESTION)
    again = Session.open(home, "mine")
    assert (again.spent.tokens, again.spent.steps) == (1000, 1)
    answer = agent(index, ScriptedChatModel(replies=[]), session=again, max_session_tokens=1000).ask("还有呢，RNN？")
    assert answer.stop_reason == "session_tokens"


def test_the_cost_is_part_of_the_answer_where_prices_are_set(index: Index) -> None:
    message = AIMessage(SAID, usage_metadata=used(1_000_000, 100_000))
    prices = {"price_read": 0.5, "price_written": 2.0}
    assert agent(index, ScriptedChatModel(replies=[message]), **prices).ask(QUESTION).to_json()["cost"] == 0.7
    assert agent(index, ScriptedChatModel(replies=[message])).ask(QUESTION).cost is None


def test_calls_beside_the_loop_are_paid_for_too(index: Index) -> None:
    passage = AIMessage('{"passage": "RNN 的梯度会消失。"}', usage_metadata=used(50, 7))
    said = AIMessage(SAID, usage_metadata=used(900, 100))
    bot = agent(index, ScriptedChatModel(replies=[passage, said]), header={"hyde": "always"})
    assert bot.ask("RNN 有什么缺点？").usage == {"prompt_tokens": 950, "completion_tokens": 107}
    # What a transform replied is kept by its question, so every question here is another one.
    once = ScriptedChatModel(replies=[passage])
    over = agent(index, once, header={"hyde": "always"}, max_question_tokens=57).ask("RNN 的弱点是什么？")
    assert over.stop_reason == "max_tokens"
    silent = ScriptedChatModel(replies=[AIMessage('{"passage": "RNN 的梯度会消失。"}')])
    guessed = agent(index, silent, header={"hyde": "always"}, max_question_tokens=20).ask("RNN 的短处是什么？")
    assert guessed.stop_reason == "max_tokens" and guessed.usage == {}


def test_a_cost_budget_without_prices_is_refused_at_once(index: Index) -> None:
    with pytest.raises(ConfigError, match="price_read"):
        agent(index, ScriptedChatModel(replies=[]), max_question_cost=1.0)


def test_an_empty_reply_is_asked_for_once_more(index: Index) -> None:
    assert agent(index, ScriptedChatModel(replies=["", SAID])).ask(QUESTION).stop_reason == "answered"
    with pytest.raises(ModelError, match="empty reply"):
        agent(index, ScriptedChatModel(replies=["", ""])).ask(QUESTION)


def long_results(count: int) -> tuple[ScriptedChatModel, BaseTool]:
    def run(part: str) -> str:
        return f"{part} " + "长文 text " * 1200

    tool = StructuredTool.from_function(run, name="fetch", description="a long text")
    calls = [act(call("fetch", f"c{i}", part=f"part {i}")) for i in range(count)]
    return ScriptedChatModel(replies=[*calls, SAID]), tool


def test_long_results_are_shortened_to_fit_the_oldest_first_and_it_is_said(index: Index) -> None:
    model, tool = long_results(4)
    answer = agent(index, model, tools=(tool,), header={"max_steps": 10}, endpoint_context_tokens=16_000).ask(QUESTION)
    results = [m.text for m in model.calls[-1].messages if isinstance(m, ToolMessage)]
    cut = ["cut to fit" in text for text in results[1:]]
    assert cut == sorted(cut, reverse=True) and cut[0] and not cut[-1]
    assert "part 3" in results[-1] and model.calls[-1].messages[0].text == model.calls[0].messages[0].text
    assert any("上下文窗口（16,000 词元）" in warning for warning in answer.warnings)
    assert answer.stop_reason == "answered"


def too_long() -> Exception:
    return ModelRefusal("This model's maximum context length is 6000 tokens. However, you requested 9000 tokens.")


class ModelRefusal(Exception):
    """As a client library might raise it."""


def test_a_prompt_that_the_endpoint_refuses_as_too_long_is_shortened_once_and_sent_again(index: Index) -> None:
    model, tool = long_results(1)
    model.replies.insert(1, too_long())
    bot = agent(index, model, tools=(tool,))
    answer = bot.ask(QUESTION)
    assert answer.stop_reason == "answered" and bot.window.limit == 6000
    first, second = (sum(len(m.text) for m in sent.messages) for sent in model.calls[1:3])
    assert second < first and any("6,000" in warning for warning in answer.warnings)


def test_a_second_refusal_is_one_clear_line(index: Index) -> None:
    model, tool = long_results(1)
    model.replies[1:] = [too_long(), too_long()]
    with pytest.raises(ModelError, match="refuses the prompt as too long"):
        agent(index, model, tools=(tool,)).ask(QUESTION)


def test_rules_that_do_not_fit_are_one_clear_line(index: Index) -> None:
    bot = agent(index, ScriptedChatModel(replies=[]), endpoint_context_tokens=2048)
    bot.spec = AgentSpec(bot.spec.header, "rule " * 5000, bot.spec.path)
    with pytest.raises(RagkitError, match="system prompt and the tools take"):
        bot.ask(QUESTION)


def test_the_json_protocol_goes_through_the_same_bounds(index: Index) -> None:
    again = {"thought": "t", "action": {"tool": "search_notes", "arguments": {"query": "自注意力"}}}
    last = {"tool": "answer", "sentences": [{"text": "RNN 的缺点是梯度消失。", "sources": [1]}]}
    replies = [json.dumps(again), json.dumps({"thought": "t", "action": last})]
    model = ScriptedChatModel(replies=replies)
    bot = agent(index, model, tool_calling="json", header={"enough_coverage": 2.0}, max_session_steps=2)
    answer = bot.ask(QUESTION)
    assert answer.stop_reason == "session_steps" and len(model.calls) == 1
    bot = agent(index, ScriptedChatModel(replies=replies), tool_calling="json", header={"enough_coverage": 2.0})
    assert bot.ask(QUESTION).stop_reason == "answered"
