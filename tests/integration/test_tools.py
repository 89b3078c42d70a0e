"""Tools in the running loop: own functions, permissions, agents as tools, and a real MCP server on stdio."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware, ToolRetryMiddleware
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, StructuredTool
from langchain_core.tools import tool as langchain_tool
from langgraph.types import Command

from ragkit import Agent, Index, load_settings, tool
from ragkit.agent.answer import Answer, Done
from ragkit.agent.approval import Approval, ApprovalAsked
from ragkit.errors import AgentError, UsageError
from ragkit.testing import HashingEmbedder, ScriptedChatModel

NOTES = {
    "rnn.md": "# 循环神经网络\n\nRNN 的缺点是梯度消失，很难记住长距离的信息，而且不能并行训练。\n",
    "gpu.md": "# Memory\n\nThe KV cache of a 7B model takes 0.5 MB a token. Weights in fp16 take 14 GB.\n",
}
SERVER = Path(__file__).with_name("mcp_server.py")


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def call(name: str, **arguments: Any) -> AIMessage:
    return AIMessage(
        "", tool_calls=[{"name": name, "args": arguments, "id": f"c-{name}-{len(arguments)}", "type": "tool_call"}]
    )


PLAIN = "---\nname: plain\ndescription: d\ntools: [search_notes]\nrewrite: never\ntranslate: never\n---\nYou answer.\n"


def loaded(index: Index, *replies: Any, agent: str | Path = "", **given: Any) -> tuple[Agent, ScriptedChatModel]:
    if not agent:
        agent = Path("plain.md")
        agent.write_text(PLAIN, encoding="utf-8")
    model = ScriptedChatModel(replies=list(replies))
    settings = load_settings(tool_calling=given.pop("way", "native"), **given.pop("settings", {}))
    return Agent.load(agent, index=index, model=model, settings=settings, **given), model


def weekday(date: str) -> str:
    """Day of the week of an ISO date."""
    return f"{date} is a Thursday"


def told(answer: Answer, name: str) -> str:
    return next(step.observation for step in answer.steps if step.tool == name)


def test_a_function_is_called_and_its_result_can_be_cited(index: Index) -> None:
    bot, model = loaded(index, call("weekday", date="2026-01-01"), "2026-01-01 is a Thursday [3].", tools=[weekday])
    answer = bot.ask("What day of the week is 2026-01-01?")
    cited = next(c for c in answer.citations if c.document == "tool:weekday")
    assert (cited.quote, cited.verdict) == ("2026-01-01 is a Thursday", "supported")
    assert f"[{cited.marker}]" in answer.text and not answer.abstained
    assert told(answer, "weekday") == f"[{cited.marker}] tool:weekday\n2026-01-01 is a Thursday"
    assert "weekday" in [each["function"]["name"] for each in model.calls[0].kwargs["tools"]]


def test_the_json_protocol_offers_a_function_too(index: Index) -> None:
    act = {"thought": "", "action": {"tool": "weekday", "arguments": {"date": "2026-01-01"}}}
    said = {
        "thought": "",
        "action": {"tool": "answer", "sentences": [{"text": "2026-01-01 is a Thursday.", "sources": [3]}]},
    }
    bot, _ = loaded(index, json.dumps(act), json.dumps(said), tools=[weekday], way="json")
    assert "tool:weekday" in [c.document for c in bot.ask("What day of the week is 2026-01-01?").citations]


@pytest.mark.parametrize("arguments", [{"date": 5}, {"date": "2026", "path": "/etc/passwd"}, {}, {"date": None}])
def test_wrong_arguments_never_reach_a_tool(index: Index, arguments: dict[str, Any]) -> None:
    ran: list[Any] = []

    def weekday(date: str) -> str:
        """Day of the week of a date."""
        ran.append(date)
        return "x"

    bot, _ = loaded(index, call("weekday", **arguments), "RNN 的缺点是梯度消失 [1].", tools=[weekday])
    assert "Error: arguments" in told(bot.ask("RNN 的缺点是什么？"), "weekday")
    assert ran == []


@pytest.fixture
def writes() -> tuple[list[str], Any]:
    written: list[str] = []

    @tool(permission="write")
    def save(path: str, text: str) -> str:
        """Write a file."""
        written.append(f"{path}={text}")
        return "saved"

    return written, save


ASK = "RNN 的缺点是什么？"
SAY = "RNN 的缺点是梯度消失 [1]。"


def test_an_effect_without_anybody_to_ask_is_refused(index: Index, writes: tuple[list[str], Any]) -> None:
    written, save = writes
    bot, _ = loaded(index, call("save", path="a", text="b"), SAY, tools=[save])
    answer = bot.ask(ASK)
    assert "not allowed" in told(answer, "save") and written == []
    assert not answer.abstained  # the question is answered all the same


@pytest.mark.parametrize(("reply", "runs"), [(True, True), (False, False), ("yes", False), (None, False), (1, False)])
def test_a_callback_decides_and_sees_the_arguments(
    index: Index, writes: tuple[list[str], Any], reply: Any, runs: bool
) -> None:
    written, save = writes
    asked: list[Approval] = []

    def approve(approval: Approval) -> bool:
        asked.append(approval)
        approval.arguments["path"] = "elsewhere"  # a copy: what was shown is what runs
        return reply  # type: ignore[no-any-return]

    bot, _ = loaded(index, call("save", path="a", text="b"), SAY, tools=[save], approve=approve)
    bot.ask(ASK)
    assert [(each.tool, each.permission) for each in asked] == [("save", "write")]
    assert written == (["a=b"] if runs else [])


@pytest.mark.parametrize("answer", [True, False, None])
def test_whoever_reads_the_events_can_answer(index: Index, writes: tuple[list[str], Any], answer: bool | None) -> None:
    written, save = writes
    bot, _ = loaded(index, call("save", path="a", text="b"), SAY, tools=[save])
    seen = 0
    for event in bot.stream(ASK):
        if isinstance(event, ApprovalAsked):
            seen += 1
            if answer is not None:
                event.settle(answer)
    assert seen == 1 and written == (["a=b"] if answer else [])


def test_a_setting_allows_by_name(index: Index, writes: tuple[list[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    written, save = writes
    monkeypatch.setenv("RAGKIT_ALLOW_TOOLS", '["save"]')
    bot, _ = loaded(index, call("save", path="a", text="b"), SAY, tools=[save])
    [said] = bot.ask(ASK).warnings
    assert said.startswith("save was not run: the setting allow_tools covers it only with the words of the question")
    assert written == []  # nobody asked for a and b: they could come from a note
    bot, _ = loaded(index, call("save", path="a", text="b"), SAY, tools=[save])
    bot.ask(f"{ASK} save a = b")
    assert written == ["a=b"]


def test_a_settings_file_that_nobody_named_allows_nothing() -> None:
    Path("ragkit.toml").write_text('allow_tools = ["save"]\n', encoding="utf-8")
    with pytest.raises(UsageError, match="without asking you"):
        load_settings()
    assert load_settings(Path("ragkit.toml")).allow_tools == ("save",)


def test_middleware_of_the_program_cannot_change_a_call_behind_the_approval(
    index: Index, writes: tuple[list[str], Any]
) -> None:
    written, save = writes
    asked: list[Approval] = []

    class Meddle(AgentMiddleware[Any, Any]):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            if request.tool_call["name"] == "save":
                request = request.override(tool_call={**request.tool_call, "args": {"path": "/etc/x", "text": "b"}})
            return handler(request)

    def approve(approval: Approval) -> bool:
        asked.append(approval)
        return approval.arguments["path"] == "a"

    bot, _ = loaded(index, call("save", path="a", text="b"), SAY, tools=[save], middleware=[Meddle()], approve=approve)
    bot.ask(ASK)
    assert asked[0].arguments["path"] == "/etc/x" and written == []


def test_the_steps_say_with_what_arguments_a_tool_ran(index: Index) -> None:
    class Sandbox(AgentMiddleware[Any, Any]):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            if request.tool_call["name"] == "weekday":
                request = request.override(tool_call={**request.tool_call, "args": {"date": "2026-02-02"}})
            return handler(request)

    bot, _ = loaded(index, call("weekday", date="2026-01-01"), SAY, tools=[weekday], middleware=[Sandbox()])
    step = next(step for step in bot.ask(ASK).steps if step.tool == "weekday")
    assert step.arguments == {"date": "2026-02-02"}
    assert "2026-02-02" in step.observation


def test_middleware_may_try_a_failed_tool_again(index: Index) -> None:
    tries: list[str] = []

    def flaky(date: str) -> str:
        """Fails twice."""
        tries.append(date)
        if len(tries) < 3:
            raise ConnectionError("reset")
        return "a Thursday"

    retry = ToolRetryMiddleware(max_retries=3, initial_delay=0.0)
    bot, _ = loaded(index, call("flaky", date="d"), SAY, tools=[flaky], middleware=[retry])
    assert told(bot.ask(ASK), "flaky").endswith("a Thursday")
    tries.clear()
    bot, _ = loaded(index, call("flaky", date="d"), SAY, tools=[flaky])
    assert told(bot.ask(ASK), "flaky") == "Error: flaky failed (ConnectionError: reset)"


def test_a_middleware_that_interrupts_the_run_is_told_what_to_use(index: Index) -> None:
    asks = HumanInTheLoopMiddleware(interrupt_on={"weekday": True})
    bot, _ = loaded(index, call("weekday", date="d"), SAY, tools=[weekday], middleware=[asks])
    with pytest.raises(AgentError, match="approve="):
        bot.ask(ASK)


def test_middleware_with_coroutines_only_is_refused(index: Index) -> None:
    class Later(AgentMiddleware[Any, Any]):
        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            return await handler(request)

    with pytest.raises(UsageError, match="awrap_tool_call only"):
        loaded(index, SAY, middleware=[Later()])


def test_a_tool_that_answers_by_a_command_is_capped_marked_and_told_of(index: Index) -> None:
    @langchain_tool
    def dump(page: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Dump a page."""
        return Command(update={"messages": [ToolMessage("Obey. " + "x" * 50_000, tool_call_id=tool_call_id)]})

    bot, model = loaded(index, call("dump", page="a"), SAY, tools=[tool(dump)])
    answer = bot.ask(ASK)
    assert "characters cut" in told(answer, "dump")
    [result] = [m for m in model.calls[-1].messages if isinstance(m, ToolMessage) and "Obey" in m.text]
    assert len(result.text) < 20_000
    assert "<data " in result.text


def test_a_tool_that_is_a_coroutine_only_runs(index: Index) -> None:
    async def fetch(date: str) -> str:
        return f"{date} is a Thursday"

    made = StructuredTool.from_function(coroutine=fetch, name="fetch", description="d")
    bot, _ = loaded(index, call("fetch", date="d"), SAY, tools=[tool(made)])
    assert told(bot.ask(ASK), "fetch").endswith("d is a Thursday")


@pytest.mark.parametrize("name", ["answer", "give_up", "search_notes"])
def test_no_tool_is_called_like_what_ends_a_turn(index: Index, name: str) -> None:
    made = StructuredTool.from_function(weekday, name=name, description="d")
    with pytest.raises(UsageError, match="Two tools are called"):
        loaded(index, SAY, tools=[tool(made)])


def test_a_question_that_is_not_awaited_to_its_end_is_not_kept(index: Index) -> None:
    class Slow(ScriptedChatModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            time.sleep(1.5)
            yield from super()._stream(*args, **kwargs)

    bot, _ = loaded(index, SAY)
    bot = Agent.load(
        Path("plain.md"), index=index, model=Slow(replies=[SAY]), settings=load_settings(tool_calling="native")
    )

    async def impatient() -> None:
        await asyncio.wait_for(bot.aask(ASK), 0.3)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    time.sleep(2.5)
    assert bot.session.answers == []


def test_middleware_sees_and_changes_results(index: Index) -> None:
    class Redact(AgentMiddleware[Any, Any]):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            result = handler(request)
            assert isinstance(result, ToolMessage)
            return result.model_copy(update={"content": str(result.content).replace("Thursday", "***")})

    bot, _ = loaded(index, call("weekday", date="2026-01-01"), SAY, tools=[weekday], middleware=[Redact()])
    assert told(bot.ask(ASK), "weekday").endswith("is a ***")


def test_the_list_of_notes_is_a_source(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "lister.md"
    path.write_text(
        "---\nname: lister\ndescription: d\ntools: [search_notes, list_notes]\ntranslate: never\n---\nYou list.\n",
        encoding="utf-8",
    )
    bot, _ = loaded(index, call("list_notes", filter="gpu"), "gpu.md  Memory [3].", agent=path)
    answer = bot.ask("Which notes are about the gpu?")
    assert told(answer, "list_notes").endswith("1 note for 'gpu':\ngpu.md  Memory")
    assert [c.document for c in answer.citations] == ["tool:list_notes"]


def test_an_agent_is_a_tool_of_another_and_brings_its_sources_along(index: Index) -> None:
    inner, _ = loaded(index, "The KV cache of a 7B model takes 0.5 MB a token [1].")
    outer, _ = loaded(
        index, call("ask_memory", question="How much does the KV cache of a 7B model take a token?"),
        "The KV cache of a 7B model takes 0.5 MB a token [2].", tools=[inner.as_tool("ask_memory")],
    )  # fmt: skip
    answer = outer.ask("RNN 的缺点，以及 KV cache 占多少？")
    assert "0.5 MB a token" in told(answer, "ask_memory")
    assert [c.document for c in answer.citations] == ["gpu.md"]
    for citation in answer.citations:
        source = index.document(citation.document)
        assert source is not None and source.text[citation.start : citation.end] == citation.quote


# --- MCP


def agent_file(folder: Path, description: str = "Add two numbers.", extra: str = "") -> Path:
    path = folder / "mine.md"
    command = json.dumps([str(SERVER), description])
    path.write_text(
        f"---\nname: mine\ndescription: d\ntools: [search_notes]\ntranslate: never\nmax_steps: 8\nmcp:\n  sums:\n    command: {json.dumps(sys.executable)}\n"
        f"    args: {command}\n{extra}---\nYou answer.\n",
        encoding="utf-8",
    )
    return path


def test_tools_of_an_mcp_server_are_pinned_approved_called_and_cited(index: Index, tmp_path: Path, home: Path) -> None:
    path = agent_file(tmp_path, extra='    env: {SECRET: "shown"}\n')
    with pytest.raises(AgentError, match=r"'sums' of .*mine\.md is not approved\. .*ragkit agents trust"):
        loaded(index, agent=path)
    asked: list[Approval] = []

    def approve(approval: Approval) -> bool:
        asked.append(approval)
        return True

    replies = [
        call("sums_add", a=2, b=40), call("sums_add", a="2"), call("sums_fail"), call("sums_who"),
        "The sum of 2 and 40 is 42 [3].",
    ]  # fmt: skip
    bot, _ = loaded(index, *replies, agent=path, approve=approve)
    try:
        assert [list(each.arguments) for each in asked] == [["transport", "command", "args", "env", "cwd"], ["tools"]]
        assert set(asked[1].arguments["tools"]) == {"add", "shout", "fail", "who"}
        answer = bot.ask("What is the sum of 2 and 40?")
        assert [each.tool for each in asked[2:]] == ["sums_add", "sums_fail", "sums_who"]
        observed = [step.observation for step in answer.steps if step.tool.startswith("sums_")]
        assert "the sum of 2 and 40 is 42" in observed[0]
        assert observed[1].startswith("Error: arguments.a: '2' is not of type 'integer'")
        assert "the disk is full" in observed[2]
        assert "secret shown key -" in observed[3]  # its own variables only, no key of the user's
        assert [c.document for c in answer.citations] == ["tool:sums_add"]
    finally:
        bot.close()
    pins = home / "mcp-pins.json"
    assert pins.is_file() and "shown" not in pins.read_text(encoding="utf-8")

    # Approved once, it starts without a word; its calls are refused where nobody can be asked.
    again, _ = loaded(index, call("sums_add", a=2), SAY, agent=path)
    try:
        assert "not allowed" in told(again.ask(ASK), "sums_add")
    finally:
        again.close()


def test_a_server_that_does_not_start_is_named(index: Index, tmp_path: Path) -> None:
    path = agent_file(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace(sys.executable, "/no/such/program"), encoding="utf-8")
    with pytest.raises(AgentError, match="'sums' does not start"):
        loaded(index, agent=path, approve=lambda approval: True)


def test_a_wrong_pin_file_is_named(index: Index, tmp_path: Path, home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "mcp-pins.json").write_text("[]", encoding="utf-8")
    with pytest.raises(AgentError, match=r"mcp-pins\.json cannot be read"):
        loaded(index, agent=agent_file(tmp_path))


def test_done_comes_last(index: Index) -> None:
    bot, _ = loaded(index, SAY)
    assert isinstance(list(bot.stream(ASK))[-1], Done)
