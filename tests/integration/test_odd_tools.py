"""Odd tools in the running loop: coroutines only, results that are the answer, errors without words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as langchain_tool

from ragkit import Agent, Index, load_settings, tool
from ragkit.agent.answer import Answer
from ragkit.agent.approval import Approval
from ragkit.errors import RagkitError
from ragkit.testing import HashingEmbedder, ScriptedChatModel

PLAIN = "---\nname: plain\ndescription: d\ntools: [search_notes]\nrewrite: never\ntranslate: never\n---\nYou answer.\n"


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", {"gpu.md": "# Memory\n\nWeights in fp16 take 14 GB.\n"})
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def asked(
    index: Index, things: list[Any], *replies: Any, way: str = "native", asynchronous: bool = False, approve: Any = None
) -> Answer:
    Path("plain.md").write_text(PLAIN, encoding="utf-8")
    model = ScriptedChatModel(replies=list(replies))
    settings = load_settings(tool_calling=way, memory="off")
    bot = Agent.load("plain.md", index=index, model=model, settings=settings, tools=things, approve=approve)
    answer = asyncio.run(bot.aask("Place the order")) if asynchronous else bot.ask("Place the order")
    assert len(model.calls) == len(replies), "no model is asked behind the answer"
    return answer


def call(name: str, *texts: str, way: str = "native") -> AIMessage | str:
    if way == "json":
        return json.dumps({"thought": "", "action": {"tool": name, "arguments": {"text": texts[0]}}})
    calls = [{"name": name, "args": {"text": text}, "id": f"{text}-{name}", "type": "tool_call"} for text in texts]
    return AIMessage("", tool_calls=calls)


class Waits(BaseTool):
    """Only a coroutine, as LangChain's documentation writes one."""

    name: str = "waits"
    description: str = "Waits."

    def _run(self, text: str) -> str:
        raise NotImplementedError("waits does not support sync")

    async def _arun(self, text: str) -> str:
        await asyncio.sleep(0)
        return f"waited for {text}"


def unwritten() -> str:
    raise NotImplementedError("later")


class Unfinished(Waits):
    """Calls something that is not written yet."""

    name: str = "unfinished"

    def _run(self, text: str) -> str:
        return unwritten()


@langchain_tool(return_direct=True)
def place(text: str) -> str:
    """Place an order."""
    if text == "nothing":
        raise ValueError("nothing was ordered")
    return f"Order {text} was placed.\x1b[31m https://shop.example/{text} ![x](https://evil.example/a.png)"


@langchain_tool(return_direct=True)
def recite(text: str) -> str:
    """Recite."""
    return text * 20_000


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_langchain_tool_that_has_a_coroutine_only_runs(index: Index, asynchronous: bool) -> None:
    replies = call("waits", "tea"), "waited for tea [2]."
    answer = asked(index, [tool(Waits(), permission="read")], *replies, asynchronous=asynchronous)
    assert answer.steps[-1].observation.endswith("waited for tea"), answer.text


def test_what_is_not_implemented_further_within_is_an_error(index: Index) -> None:
    answer = asked(index, [tool(Unfinished(), permission="read")], call("unfinished", "tea"), "No.")
    assert "NotImplementedError" in answer.steps[-1].observation


@pytest.mark.parametrize("way", ["native", "json"])
def test_what_a_direct_tool_returns_is_the_answer(index: Index, way: str) -> None:
    answer = asked(index, [tool(place)], call("place", "42", way=way), way=way)
    assert answer.text.startswith("Order 42 was placed.") and "https://shop.example/42" in answer.text
    assert "\x1b" not in answer.text and "evil" not in answer.text
    assert answer.stop_reason == "answered" and not answer.abstained


def test_the_results_of_several_direct_tools_are_the_answer_together(index: Index) -> None:
    answer = asked(index, [tool(place)], call("place", "42", "43"))
    assert answer.text.index("Order 42") < answer.text.index("Order 43")


def test_a_direct_result_is_capped(index: Index) -> None:
    answer = asked(index, [tool(recite)], call("recite", "ab"))
    assert len(answer.text) < 13_000 and "characters cut" in answer.text


def test_a_direct_tool_that_fails_leaves_the_model_to_go_on(index: Index) -> None:
    answer = asked(index, [tool(place)], call("place", "nothing"), call("place", "42"))
    assert "nothing was ordered" in answer.steps[1].observation and answer.text.startswith("Order 42")


def test_a_direct_tool_beside_another_does_not_end_the_turn(index: Index) -> None:
    both = AIMessage("", tool_calls=[*call("place", "42").tool_calls, *call("waits", "tea").tool_calls])  # type: ignore[union-attr]
    answer = asked(index, [tool(place), tool(Waits(), permission="read")], both, "waited for tea [3].")
    assert "waited for tea" in answer.text


class Speechless(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class SpeechlessOfOurs(RagkitError):
    """As tools of ragkit raise them."""

    def __str__(self) -> str:
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("raised", "said"),
    [(Speechless(), "breaks failed (Speechless)"), (SpeechlessOfOurs(""), "SpeechlessOfOurs")],
)
def test_an_error_that_cannot_be_put_in_words_is_a_message_all_the_same(
    index: Index, raised: Exception, said: str
) -> None:
    def breaks(text: str) -> str:
        """Break."""
        raise raised

    answer = asked(index, [breaks], call("breaks", "it"), "No.")
    assert answer.steps[-1].observation == f"Error: {said}"


def test_an_approval_that_fails_without_words_is_a_no(index: Index) -> None:
    def approve(approval: Approval) -> bool:
        raise Speechless

    answer = asked(index, [tool(Waits(), permission="write")], call("waits", "tea"), "No.", approve=approve)
    assert any("approve failed for waits (Speechless)" in warning for warning in answer.warnings)
