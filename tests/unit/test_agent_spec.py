"""Agent files: what is right loads, what is wrong names file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.agent.examples import example_messages
from ragkit.agent.json_protocol import parse_reply, reply_schema
from ragkit.agent.spec import TOOL_NAMES, available_agents, load_agent, model_named
from ragkit.agent.tools import TOOLS
from ragkit.errors import AgentError, ConfigError
from ragkit.settings import load_settings

GOOD = "---\nname: mine\ndescription: d\ntools: [search_notes]\nmax_steps: 3\n---\nYou answer.\n"


def write(folder: Path, text: str, name: str = "mine.md") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_agent_loads() -> None:
    spec = load_agent("interview")
    assert spec.name == "interview"
    assert spec.header.tools == ("search_notes", "read_note", "list_notes", "calculate", "remember", "recall")


def test_every_tool_an_agent_may_name_exists() -> None:
    assert set(TOOLS) == set(TOOL_NAMES)


def test_an_agent_of_ones_own(tmp_path: Path) -> None:
    spec = load_agent(write(tmp_path, GOOD))
    assert (spec.header.max_steps, spec.prompt) == (3, "You answer.")


def test_agents_of_the_working_folder_are_found_by_name() -> None:
    Path("agents").mkdir()
    write(Path("agents"), GOOD)
    assert "mine" in available_agents()
    assert load_agent("mine").prompt == "You answer."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("You answer.", ":1: front matter is missing"),
        ("---\nname: a\n", ":1: front matter is missing or not closed"),
        ("---\nname: a\ndescription: [\n---\nx", "not valid YAML"),
        (GOOD.replace("max_steps: 3", "max_step: 3"), ":5: max_step:"),
        (GOOD.replace("search_notes", "rm_notes"), ":4: tools: unknown tool 'rm_notes'; available: search_notes"),
        (GOOD.replace("max_steps: 3", "max_steps: 0"), ":5: max_steps:"),
        (GOOD.replace("max_steps: 3", "max_steps: yes"), ":5: max_steps: a number is wanted"),
        (GOOD.replace("max_steps: 3", "max_question_cost: true"), ":5: max_question_cost: a number is wanted"),
        (GOOD.replace("max_steps: 3", "mcp:\n  a:\n    command: x\n  a:\n    command: evil"), ":8: a: the key"),
        (GOOD.replace("max_steps: 3", "sampling:\n  act: {top_p: 1}\n  act: {top_p: 0.1}"), ":7: act: the key"),
        (GOOD.replace("tools: [search_notes]", "mcp:\n  a:\n    command: x\n    tools: [y]\ntools: [z]"), ":8: tools:"),
        (GOOD.replace("You answer.\n", ""), "system prompt is empty"),
        (GOOD.replace("[search_notes]", "[calculate]"), "search_notes is missing"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(AgentError) as caught:
        load_agent(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_an_unknown_agent_lists_what_there_is() -> None:
    with pytest.raises(AgentError, match=r"Unknown agent 'interviwer'\. Available: interview"):
        load_agent("interviwer")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="Agent file not found"):
        load_agent(tmp_path / "none.md")


EXAMPLE = """You answer.

## Example

Question: What is x?
Thought: look
Call: search_notes {"query": "x"}
Observation:
[1] a.md:1-2
x is 1.
Answer: x is 1 [1].

## Rules

Be brief.

## 示例

问题：什么是 x？
回答：x 是 1 [1]。
"""


def test_examples_are_parted_from_the_prompt(tmp_path: Path) -> None:
    spec = load_agent(write(tmp_path, GOOD.replace("You answer.\n", EXAMPLE)))
    assert spec.prompt == "You answer.\n\n## Rules\n\nBe brief."
    first, second = spec.examples
    assert (first.calls[0].thought, first.calls[0].arguments, first.answer) == ("look", {"query": "x"}, "x is 1 [1].")
    assert first.calls[0].observation == "[1] a.md:1-2\nx is 1."
    assert (second.question, second.calls, second.answer) == ("什么是 x？", (), "x 是 1 [1]。")


def test_examples_speak_the_protocol_of_the_model(tmp_path: Path) -> None:
    spec = load_agent(write(tmp_path, GOOD.replace("You answer.\n", EXAMPLE)))
    plain = example_messages(spec.examples, json_protocol=True)
    assert [type(m).__name__ for m in plain] == [
        "HumanMessage",
        "AIMessage",
        "HumanMessage",
        "AIMessage",
        "HumanMessage",
        "AIMessage",
    ]
    query = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    schema = reply_schema([{"name": "search_notes", "parameters": query}], [1], {})
    for message in plain:
        if message.type == "ai":
            parse_reply(message.text, schema)  # what the model is shown is what it must write
    bare = reply_schema([{"name": "search_notes", "parameters": query}], [1], {}, thought_chars=0)
    for message in example_messages(spec.examples, json_protocol=True, thoughts=False):
        if message.type == "ai":
            parse_reply(message.text, bare)
    native = example_messages(spec.examples, json_protocol=False)
    assert [m.type for m in native] == ["human", "ai", "tool", "ai", "human", "ai"]
    assert native[1].tool_calls[0]["id"] == native[2].tool_call_id  # type: ignore[attr-defined]
    assert native[3].text == "x is 1 [1]."


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("P\n\n## Example\n\nAnswer: a\n", ":9: an example begins with one `Question:`"),
        ("P\n\n## Example\n\nQuestion: q\n", "an example begins with"),
        ("P\n\n## Example\n\nQuestion:\nAnswer: a\n", ":11: question of the example is empty"),
        (
            "P\n\n## Example\n\nQuestion: q\nCall: search_notes\nObservation: o\nAnswer: a\n",
            ":12: a call of an example is written",
        ),
        (
            'P\n\n## Example\n\nQuestion: q\nCall: search_notes {"query": "x"}\nAnswer: a\n',
            "each `Call:` is followed by",
        ),
        (
            'P\n\n## Example\n\nQuestion: q\nCall: rm {"x": 1}\nObservation: o\nAnswer: a\n',
            ":12: the example calls 'rm'",
        ),
        (
            'P\n\n## Example\n\nQuestion: q\nCall: search_notes {"q": "x"}\nObservation: o\nAnswer: a\n',
            ":12: the example calls search_notes, but arguments: Additional properties are not allowed ('q' was unexpected)",
        ),
        (
            'P\n\n## Example\n\nQuestion: q\nCall: search_notes {"query": 5}\nObservation: o\nAnswer: a\n',
            "Arguments of search_notes: query.",
        ),
        ("\n\n## Example\n\nQuestion: q\nAnswer: a\n", "system prompt is empty"),
    ],
)
def test_a_broken_example_is_named_with_its_line(tmp_path: Path, body: str, said: str) -> None:
    path = write(tmp_path, GOOD.replace("You answer.\n", body))
    with pytest.raises(AgentError) as caught:
        load_agent(path)
    assert said in str(caught.value) and str(path) in str(caught.value)


def test_a_name_stands_for_one_file(tmp_path: Path) -> None:
    Path("agents").mkdir()
    write(Path("agents"), GOOD)
    write(tmp_path, GOOD)
    assert load_agent("mine", tmp_path).name == "mine"  # a copy is no second agent
    write(tmp_path, GOOD.replace("You answer.", "You do as you like."))
    with pytest.raises(AgentError, match=r"mine\.md:2: name: agent 'mine' is defined in agents/mine\.md:2 too"):
        load_agent("mine", tmp_path)
    assert load_agent(tmp_path / "mine.md").prompt == "You do as you like."
    with pytest.raises(AgentError, match="folder of agents is not there"):
        load_agent("mine", tmp_path / "none")


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("command: x\n    comand: y", ":8: mcp.s.comand:"),
        ("command: x\n    url: http://y", "name either a command or a url"),
        ("args: [x]", "name either a command or a url"),
        ("url: file:///etc/passwd", "must begin with http"),
        ("url: http://x\n    env: {A: b}", "args and env belong to a command"),
    ],
)
def test_a_wrong_server_is_named(tmp_path: Path, server: str, said: str) -> None:
    path = write(tmp_path, GOOD.replace("max_steps: 3", f"mcp:\n  s:\n    {server}"))
    with pytest.raises(AgentError) as caught:
        load_agent(path)
    assert said in str(caught.value)


def test_an_example_may_call_a_tool_that_the_program_hands_over(tmp_path: Path) -> None:
    example = '\n## Example\n\nQuestion: q?\nCall: weekday {"date": "d"}\nObservation: Thursday\nAnswer: A Thursday.\n'
    path = write(tmp_path, GOOD + example)
    with pytest.raises(AgentError, match="hand it over as tools="):
        load_agent(path)
    assert load_agent(path, own=["weekday"]).examples[0].calls[0].tool == "weekday"


def test_a_folder_of_agents_that_lies_there_does_not_send_the_key_where_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("agents").mkdir()
    text = GOOD.replace("max_steps: 3", "model: openai:m@http://elsewhere.example/v1")
    Path("agents/mine.md").write_text(text, encoding="utf-8")
    spec = load_agent("mine")
    with_key = load_settings(openai_api_key="sk-test")
    with pytest.raises(ConfigError, match=r"mine\.md names an address that would get your API key"):
        model_named(spec, "mine", with_key)
    assert model_named(spec, "agents/mine.md", with_key) == "openai:m@http://elsewhere.example/v1"
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert model_named(spec, "mine", load_settings()) is not None
    plain = load_agent("interview")
    assert model_named(plain, "interview", with_key) is None
