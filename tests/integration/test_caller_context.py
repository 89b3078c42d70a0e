"""A turn runs in the context of whoever asks, and awaits the program's coroutines on the loop that asks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool as langchain_tool

from ragkit import Agent, Index, load_settings, tool
from ragkit.agent.answer import Answer
from ragkit.agent.approval import Approval
from ragkit.testing import HashingEmbedder, ScriptedChatModel

TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")
ASK = "RNN 的缺点是什么？"
SAY = "RNN 的缺点是梯度消失 [1]。"
PLAIN = "---\nname: plain\ndescription: d\ntools: [search_notes]\nrewrite: never\ntranslate: never\n---\nYou answer.\n"


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", {"rnn.md": "# 循环神经网络\n\nRNN 的缺点是梯度消失，不能并行训练。\n"})
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def loaded(index: Index, *calls: str, settings: Mapping[str, Any] | None = None, **given: Any) -> Agent:
    """An agent whose model calls tools without arguments, one after the other, and then answers."""
    Path("plain.md").write_text(PLAIN, encoding="utf-8")
    replies: list[Any] = [
        AIMessage("", tool_calls=[{"name": name, "args": {}, "id": f"c{at}", "type": "tool_call"}])
        for at, name in enumerate(calls)
    ]
    model = ScriptedChatModel(replies=[*replies, SAY])
    chosen = load_settings(tool_calling="native", **(settings or {}))
    return Agent.load("plain.md", index=index, model=model, settings=chosen, **given)


def told(answer: Answer, name: str) -> str:
    return next(step.observation for step in answer.steps if step.tool == name)


def whose() -> str:
    """Whose data this is."""
    return f"of {TENANT.get()}"


async def awaited_whose() -> str:
    """Whose data this is, found out slowly."""
    await asyncio.sleep(0)
    return f"of {TENANT.get()}"


async def all_of(agent: Agent) -> Answer:
    return [event async for event in agent.astream(ASK)][-1].answer  # type: ignore[union-attr]


WAYS: dict[str, Callable[[Agent], Answer]] = {
    "ask": lambda agent: agent.ask(ASK),
    "stream": lambda agent: list(agent.stream(ASK))[-1].answer,  # type: ignore[union-attr]
    "aask": lambda agent: asyncio.run(agent.aask(ASK)),
    "astream": lambda agent: asyncio.run(all_of(agent)),
}


@pytest.mark.parametrize("function", [whose, awaited_whose])
@pytest.mark.parametrize("way", WAYS)
def test_tools_see_the_context_of_whoever_asks(index: Index, way: str, function: Callable[..., Any]) -> None:
    token = TENANT.set("alice")
    try:
        answer = WAYS[way](loaded(index, function.__name__, tools=[function]))
    finally:
        TENANT.reset(token)
    assert told(answer, function.__name__).endswith("of alice")


def test_the_context_is_that_of_the_question_wherever_its_events_are_read(index: Index) -> None:
    agent = loaded(index, "whose", tools=[whose])
    token = TENANT.set("alice")
    events = agent.stream(ASK)
    TENANT.reset(token)
    assert told(list(events)[-1].answer, "whose").endswith("of alice")  # type: ignore[union-attr]
    assert TENANT.get() == "nobody"


@pytest.mark.parametrize("way", WAYS)
def test_approvals_see_the_context_too(index: Index, way: str) -> None:
    seen: list[str] = []

    @tool(permission="write")
    def save() -> str:
        """Save it."""
        return "saved"

    def approve(approval: Approval) -> bool:
        seen.append(TENANT.get())
        return True

    token = TENANT.set("alice")
    try:
        WAYS[way](loaded(index, "save", tools=[save], approve=approve))
    finally:
        TENANT.reset(token)
    assert seen == ["alice"]


def test_a_question_asked_within_a_chain_is_a_run_of_its_own(index: Index) -> None:
    """The callbacks of a chain would get the messages of the agent within, and its graph their checkpoints."""
    agent = loaded(index, "whose", tools=[whose])
    chain = RunnableLambda(lambda question: agent.ask(question).text)
    heard: list[str] = []

    async def listen() -> None:
        heard.extend([event["event"] async for event in chain.astream_events(ASK, version="v2")])

    asyncio.run(listen())
    assert "on_chain_end" in heard and not [event for event in heard if event.startswith("on_chat_model")]


@pytest.mark.parametrize("ready", [lambda made: made, lambda made: langchain_tool(made)], ids=["function", "langchain"])
@pytest.mark.parametrize("way", ["aask", "astream"])
def test_a_coroutine_is_awaited_on_the_loop_that_asks(index: Index, way: str, ready: Callable[[Any], Any]) -> None:
    async def program() -> Answer:
        asked: asyncio.Queue[asyncio.Future[str]] = asyncio.Queue()

        async def ping() -> str:
            """Ping the service."""
            reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            await asked.put(reply)
            return await reply

        async def serve() -> None:
            (await asked.get()).set_result("pong")

        service = asyncio.create_task(serve())
        agent = loaded(index, "ping", tools=[tool(ready(ping))], settings={"tool_seconds": 5.0})
        answer = await (agent.aask(ASK) if way == "aask" else all_of(agent))
        await service
        return answer

    assert told(asyncio.run(program()), "ping").endswith("pong")


def test_a_question_that_blocks_its_loop_gives_coroutines_another(index: Index) -> None:
    async def program() -> Answer:
        return loaded(index, "awaited_whose", tools=[awaited_whose], settings={"tool_seconds": 5.0}).ask(ASK)

    assert told(asyncio.run(program()), "awaited_whose").endswith("of nobody")


def test_many_questions_leave_the_threads_of_the_loop_to_the_tools(index: Index) -> None:
    async def program() -> list[Answer]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))

        async def look_up() -> str:
            """Look something up."""
            return await asyncio.to_thread(lambda: "found")

        settings = {"tool_seconds": 5.0}
        agents = [loaded(index, "look_up", tools=[look_up], settings=settings) for _ in range(3)]
        return list(await asyncio.gather(*(agent.aask(ASK) for agent in agents)))

    assert all(told(answer, "look_up").endswith("found") for answer in asyncio.run(program()))


@pytest.mark.parametrize("way", ["ask", "aask"])
def test_a_coroutine_is_cancelled_when_its_time_is_over(index: Index, way: str) -> None:
    ended = threading.Event()

    async def slow() -> str:
        """Takes its time."""
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.set()
            raise
        return "done"

    answer = WAYS[way](loaded(index, "slow", tools=[slow], settings={"tool_seconds": 0.2}))
    assert "left behind" in told(answer, "slow")
    assert ended.wait(5)


def test_a_coroutine_ends_with_the_question_that_is_cancelled(index: Index) -> None:
    began, ended = threading.Event(), threading.Event()

    async def slow() -> str:
        """Takes its time."""
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return "done"

    async def program(agent: Agent) -> None:
        asking = asyncio.create_task(agent.aask(ASK))
        while not began.is_set():
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        for _ in range(200):
            if ended.is_set():
                return
            await asyncio.sleep(0.02)

    agent = loaded(index, "slow", tools=[slow])
    begin = time.monotonic()
    asyncio.run(program(agent))
    assert ended.is_set() and time.monotonic() - begin < 20
    assert agent.session.answers == []


@pytest.mark.parametrize(("reply", "runs"), [(True, True), (False, False), ("yes", False), (None, False)])
@pytest.mark.parametrize("way", WAYS)
def test_an_approval_may_be_awaited(index: Index, way: str, reply: Any, runs: bool) -> None:
    ran: list[str] = []

    @tool(permission="write")
    def save() -> str:
        """Save it."""
        ran.append("")
        return "saved"

    async def approve(approval: Approval) -> Any:
        await asyncio.sleep(0)
        return reply

    answer = WAYS[way](loaded(index, "save", tools=[save], approve=approve))
    assert bool(ran) is runs and answer.warnings == ()


def test_an_approval_is_awaited_on_the_loop_that_asks(index: Index) -> None:
    loops: list[Any] = []

    @tool(permission="write")
    async def save() -> str:
        """Save it."""
        loops.append(asyncio.get_running_loop())
        return "saved"

    async def approve(approval: Approval) -> bool:
        loops.append(asyncio.get_running_loop())
        return True

    async def program() -> None:
        await loaded(index, "save", tools=[save], approve=approve).aask(ASK)
        assert loops == [asyncio.get_running_loop()] * 2

    asyncio.run(program())


def fails(approval: Approval) -> bool:
    raise ConnectionError("the desk is closed")


async def awaited_fails(approval: Approval) -> bool:
    raise ConnectionError("the desk is closed")


@pytest.mark.parametrize("approve", [fails, awaited_fails])
def test_an_approval_that_fails_is_a_no_and_a_warning(index: Index, approve: Any) -> None:
    ran: list[str] = []

    @tool(permission="write")
    def save() -> str:
        """Save it."""
        ran.append("")
        return "saved"

    answer = loaded(index, "save", tools=[save], approve=approve).ask(ASK)
    assert not ran and "did not approve" in told(answer, "save")
    [warning] = answer.warnings
    assert warning == "approve failed for save (ConnectionError: the desk is closed); the call was not made."
