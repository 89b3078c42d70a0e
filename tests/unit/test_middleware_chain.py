"""Several middleware in one: the order, what each gets, and what a chain refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool

from ragkit.agent.middleware.chain import Chain, chained
from ragkit.testing import ScriptedChatModel


class Noting(AgentMiddleware[Any, Any]):
    """Writes down when it is entered and left."""

    def __init__(self, mark: str, seen: list[str], *, plain: bool = False) -> None:
        super().__init__()
        self.mark, self.seen, self.plain = mark, seen, plain

    @property
    def name(self) -> str:
        return self.mark

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[..., Any]) -> Any:
        self.seen.append(f"{self.mark}>")
        response = handler(request)
        assert isinstance(response, ModelResponse)
        self.seen.append(f"<{self.mark}")
        return response.result[0] if self.plain else response

    def wrap_tool_call(self, request: Any, handler: Callable[..., Any]) -> Any:
        self.seen.append(f"{self.mark}({request.tool_call['name']}")
        result = handler(request)
        self.seen.append(f"{self.mark})")
        return result


class Before(AgentMiddleware[Any, Any]):
    def before_model(self, state: Any, runtime: Any) -> None: ...


@tool
def add(a: int, b: int) -> int:
    """The sum."""
    return a + b


def run(middleware: list[AgentMiddleware[Any, Any]]) -> list[str]:
    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "c1", "type": "tool_call"}
    model = ScriptedChatModel(replies=[AIMessage("", tool_calls=[call]), AIMessage("3")])
    given = create_agent(model, [add], middleware=middleware).invoke({"messages": [HumanMessage("1+2?")]})
    assert [message.text for message in given["messages"]][-2:] == ["3", "3"]
    return [mark for member in middleware for mark in getattr(member, "seen", ())]


@pytest.mark.parametrize("apart", [[], [1]])
def test_a_chain_does_what_its_members_do_apart(apart: list[int]) -> None:
    seen: list[str] = []
    members = [Noting("a", seen), Noting("b", seen, plain=True), Noting("c", seen)]
    joined = chained(members, [members[at] for at in apart])
    assert len(joined) == (3 if apart else 1)
    run(joined)
    model = ["a>", "b>", "c>", "<c", "<b", "<a"]
    assert seen == [*model, "a(add", "b(add", "c(add", "c)", "b)", "a)", *model]


def test_two_chains_of_an_agent_have_names_of_their_own() -> None:
    seen: list[str] = []
    members = [Noting(mark, seen) for mark in "abc"]
    names = [member.name for member in chained(members, [members[1]])]
    assert len(set(names)) == 3 and names[1] == "b"


def test_a_hook_that_would_be_lost_is_refused() -> None:
    with pytest.raises(ValueError, match="Before has before_model"):
        Chain([Before()], "x")
