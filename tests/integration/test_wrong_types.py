"""What a program passes by mistake is refused by name, and what it plainly means is taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import pytest
import typing_extensions
from langchain.agents.middleware import ToolRetryMiddleware

from ragkit import Agent, Index, load_settings, tool
from ragkit.agent.session_store import delete_session, known_session, list_sessions, to_markdown
from ragkit.agent.sessions import Session
from ragkit.agent.spec import parse_agent
from ragkit.agent.tools.permission import as_tools
from ragkit.errors import AgentError, SessionBusyError, UsageError
from ragkit.retrieval.rewrite import Turn
from ragkit.testing import HashingEmbedder, ScriptedChatModel

ASK = "RNN 的缺点是什么？"
SAY = "RNN 的缺点是梯度消失 [1]。"


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", {"rnn.md": "# 循环神经网络\n\nRNN 的缺点是梯度消失，不能并行训练。\n"})
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def loaded(index: Index, **given: Any) -> Agent:
    given.setdefault("model", ScriptedChatModel(replies=[SAY]))
    return Agent.load("interview", index=index, settings=load_settings(tool_calling="native"), **given)


@pytest.mark.parametrize(
    "past", [("什么是 RNN？", "一种网络。"), ["什么是 RNN？", "一种网络。"], Turn("什么是 RNN？", "一种网络。")]
)
def test_the_history_may_be_pairs(index: Index, past: Any) -> None:
    assert index.search("它的缺点是什么？", history=[past])
    assert [answer.question for answer in Session.seeded([past]).answers] == ["什么是 RNN？"]


@pytest.mark.parametrize("past", ["什么是 RNN？", ("a",), ("a", 3), {"question": "a", "answer": "b"}, None])
def test_another_history_is_refused(index: Index, past: Any) -> None:
    with pytest.raises(UsageError, match=r"Turn 1 of the history is a .*\[\(question, answer\)"):
        index.search("它的缺点是什么？", history=[past])


@pytest.mark.parametrize("model", [3, object(), ["openai:x"]])
def test_what_is_no_model_is_refused(index: Index, model: Any) -> None:
    with pytest.raises(UsageError, match=r"The model is a .*openai:NAME@URL"):
        loaded(index, model=model)


def test_a_session_may_be_named(index: Index, home: Path) -> None:
    loaded(index, session="monday").ask(ASK)
    assert [answer.question for answer in Session.open(str(home), "monday").answers] == [ASK]
    with pytest.raises(UsageError, match="not allowed"):
        loaded(index, session="../monday")
    with pytest.raises(UsageError, match=r"The session is a PosixPath.*Session\.open\(home, name\)"):
        loaded(index, session=Path("monday"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("-x", "Session name '-x' begins with -"),
        ("a" * 300, "300 characters is too long: a+….*at most 64"),
        ("a b", "Session name 'a b' is not allowed"),
    ],
)
def test_what_is_wrong_with_the_name_of_a_session_is_said(index: Index, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        loaded(index, session=name)


def lone(city: str) -> str:
    """Say a city."""
    return city


@pytest.mark.parametrize("tools", [lone, tool(lone), [lone], None])
def test_a_lone_tool_is_taken_as_the_only_one(index: Index, tools: Any) -> None:
    assert [each.name for each in loaded(index, tools=tools).tools] == ["lone"] * (tools is not None)


def test_a_lone_middleware_is_taken_as_the_only_one(index: Index) -> None:
    assert len(loaded(index, middleware=ToolRetryMiddleware()).middleware) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"memory": "ann"}, r"The memory is a str: 'ann'\. .*Memory\.open\(user="),
        ({"middleware": ["x"]}, r"'x' is no middleware\. .*AgentMiddleware"),
        ({"middleware": [ToolRetryMiddleware]}, "is no middleware"),
        ({"middleware": 3}, "3 is no middleware"),
        ({"tools": "lone"}, "'lone' cannot be a tool"),
        ({"tools": 3}, "3 cannot be a tool"),
    ],
)
def test_what_is_no_part_of_an_agent_is_refused(index: Index, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        loaded(index, **given)


def test_homes_are_paths_or_texts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Session.open("~/x", "monday").path == tmp_path / "x" / "sessions" / "monday.jsonl"
    with pytest.raises(UsageError, match="not allowed"):
        Session.open(tmp_path, 3)  # type: ignore[arg-type]


def test_sessions_are_listed_read_exported_and_deleted(index: Index, tmp_path: Path) -> None:
    home = str(tmp_path / "mine")
    loaded(index, session=Session.open(home, "monday")).ask(ASK)
    assert [(info.id, info.turns, info.first_question) for info in list_sessions(home)] == [("monday", 1, ASK)]
    [past] = known_session(home, "monday").answers
    assert past.question == ASK and past.citations[0].document == "rnn.md"
    assert ASK in to_markdown(known_session(home, "monday"))
    delete_session(home, "monday")
    assert list_sessions(home) == []
    with pytest.raises(AgentError, match="There is no session 'monday'"):
        known_session(home, "monday")


def test_a_second_question_in_a_session_is_told_of_the_first(tmp_path: Path) -> None:
    session = Session.open(tmp_path, "monday")
    first = session.begin_turn(ASK, "interview", "m")
    assert first is not None
    try:
        with pytest.raises(SessionBusyError, match=r"Another question is being answered in this session \(monday"):
            Session.open(tmp_path, "monday").begin_turn(ASK, "interview", "m")
    finally:
        first.close()


class Old(TypedDict):
    name: str


class New(typing_extensions.TypedDict):
    name: str


@dataclasses.dataclass
class Data:
    name: str


def takes(kind: Any) -> Callable[..., str]:
    def find(person: Any) -> str:
        """Find a person."""
        return str(person)

    find.__annotations__["person"] = kind
    return find


def test_a_typed_dictionary_that_has_no_schema_is_refused_with_what_to_do() -> None:
    assert [tool.name for kind in (New, Data) for tool in as_tools([takes(kind)])] == ["find", "find"]
    try:
        as_tools([takes(Old)])  # has a schema from Python 3.12 on
    except UsageError as exc:
        assert "typing_extensions" in str(exc) and "dataclass" in str(exc)


def test_every_fault_of_an_agent_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.md"
    path.write_text(
        "---\nname: Mine\ndescription: d\nmax_steps: 99\ntolos: [search_notes]\nhyde: perhaps\n---\nYou answer.\n",
        encoding="utf-8",
    )
    with pytest.raises(AgentError) as caught:
        parse_agent(path)
    said = str(caught.value)
    assert [
        f":{line}: {key}: " in said for line, key in ((2, "name"), (4, "max_steps"), (5, "tolos"), (6, "hyde"))
    ] == [True] * 4
    assert said.index("tolos") < said.index("max_steps") and "Allowed keys:" in said


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("sampling: {anwser: {temperature: 1}}", "Allowed keys of sampling: rewrite, act, answer"),
        ("sampling: {answer: {temprature: 1}}", "Allowed keys of sampling.answer: temperature"),
        ("mcp: {files: {comand: x}}", "Allowed keys of mcp.files: command"),
    ],
)
def test_the_keys_that_are_allowed_are_those_of_the_place(tmp_path: Path, key: str, said: str) -> None:
    path = tmp_path / "mine.md"
    path.write_text(f"---\nname: mine\ndescription: d\n{key}\n---\nYou answer.\n", encoding="utf-8")
    with pytest.raises(AgentError) as caught:
        parse_agent(path)
    assert said in str(caught.value)
