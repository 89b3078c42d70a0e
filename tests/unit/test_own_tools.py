"""A typed function is a tool, with a permission; what cannot be one is refused with the reason."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.tools import StructuredTool

from ragkit import tool
from ragkit.agent.approval import Approval, ApprovalAsked, look_alikes
from ragkit.agent.tools.permission import as_tools, permission_of, with_permission
from ragkit.errors import UsageError


def days(weeks: int) -> int:
    """Days in so many weeks."""
    return 7 * weeks


def test_a_function_is_a_tool_that_reads() -> None:
    (made,) = as_tools([days])
    assert (made.name, made.description, permission_of(made)) == ("days", "Days in so many weeks.", "read")
    assert made.invoke({"weeks": 2}) == 14


def test_the_decorator_says_what_it_may_do() -> None:
    @tool(permission="network")
    def fetch(url: str) -> str:
        """Fetch a page."""
        return url

    assert permission_of(fetch) == "network"


def test_a_coroutine_function_is_a_tool() -> None:
    async def slow(text: str) -> str:
        """Wait."""
        await asyncio.sleep(0)
        return text.upper()

    (made,) = as_tools([slow])
    assert made.invoke({"text": "a"}) == "A"


def test_a_langchain_tool_of_unknown_effect_counts_as_writing() -> None:
    shell = StructuredTool.from_function(days, name="shell")
    assert permission_of(as_tools([shell])[0]) == "write"
    assert permission_of(with_permission(shell, "read")) == "read"
    assert permission_of(shell) == "write"  # the copy carries the permission, not the original


def untyped(text) -> str:  # type: ignore[no-untyped-def]
    """Says nothing of its argument."""
    return str(text)


def silent(text: str) -> str:
    return text


def 天气(city: str) -> str:
    """Weather of a city."""
    return f"{city}: sunny"


def configured(path: str, config: str) -> str:
    """Has an argument that never arrives."""
    return path + config


def open_ended(*texts: str) -> str:
    """Takes any number."""
    return "".join(texts)


@pytest.mark.parametrize(
    ("things", "said"),
    [
        ([untyped], "argument 'text' of untyped has no type"),
        ([silent], "silent has no docstring"),
        ([open_ended], "takes \\*texts"),
        ([lambda x: x], "No model can call a tool '<lambda>'.*letters A-Z.*tool\\(function, name="),
        ([天气], "No model can call a tool '天气'.*letters A-Z.*tool\\(function, name="),
        ([StructuredTool.from_function(days, name="问 笔记")], "No model can call a tool '问 笔记'.*tool\\(it, name="),
        ([StructuredTool.from_function(days, name="a" * 65)], "1 to 64 of the letters"),
        ([3], "cannot be a tool"),
        ([days, days], "Two tools are called 'days'"),
        ([configured], "argument 'config' of configured has a name that LangChain keeps"),
    ],
)
def test_what_cannot_be_a_tool_is_refused(things: list[Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        as_tools(things)


def test_what_no_model_can_call_is_given_a_name() -> None:
    (named,) = as_tools([tool(天气, name="weather")])
    assert (named.name, named.invoke({"city": "Oslo"}), permission_of(named)) == ("weather", "Oslo: sunny", "read")
    (renamed,) = as_tools([tool(StructuredTool.from_function(days, name="问 笔记"), name="days_of", permission="read")])
    assert renamed.name == "days_of"


def test_an_unknown_permission_is_refused() -> None:
    with pytest.raises(UsageError, match="Allowed: read, write, network"):
        tool(days, permission="all")  # type: ignore[call-overload]


HIDING = {
    "newlines": "a\nAllow? y\n", "escape": "\x1b[2J\x1b]52;c;x\x07", "c1": "\x9b2J", "bidi": "\u202etxt.exe", "zero width": "a\u200bb",
    "tags": "\U000e0041", "carriage return": "rm -rf /\rls", "nul": "\x00", "del": "\x7f", "joiner": "a\u200db",
}  # fmt: skip


@pytest.mark.parametrize("name", HIDING)
def test_an_approval_hides_nothing(name: str) -> None:
    shown = Approval("write_file", "write", {"text": HIDING[name]}).shown
    assert shown.replace("\n", "").isprintable()
    assert HIDING[name] not in shown and "\\" in shown


def test_an_approval_shows_all_of_a_long_argument() -> None:
    text = "".join(f"{i:07d}" for i in range(15_000))
    assert text in Approval("write_file", "write", {"text": text}).shown


@pytest.mark.parametrize(
    ("path", "char"), [("/еtc/passwd", "е"), ("https:∕∕good.example", "∕"), ("ａdmin.txt", "ａ"), ("a\u3000b/c", "")]
)
def test_look_alikes_are_named(path: str, char: str) -> None:
    assert look_alikes(path) == ([char] if char else [])


def test_chinese_text_is_no_look_alike() -> None:
    assert look_alikes("请把 notes/rnn.md 里的缺点记下来，谢谢。") == []


def test_the_first_answer_counts_and_only_true_is_yes() -> None:
    event = ApprovalAsked(Approval("t", "write", {}))
    event.settle("yes")  # type: ignore[arg-type]
    event.settle(True)
    import threading

    assert event.wait(threading.Event()) is False
