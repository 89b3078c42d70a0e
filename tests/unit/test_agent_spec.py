"""Agent files: what is right loads, what is wrong names file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.agent.spec import TOOL_NAMES, available_agents, load_agent
from ragkit.agent.tools import TOOLS
from ragkit.errors import AgentError

GOOD = "---\nname: mine\ndescription: d\ntools: [search_notes]\nmax_steps: 3\n---\nYou answer.\n"


def write(folder: Path, text: str, name: str = "mine.md") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_agent_loads() -> None:
    spec = load_agent("interview")
    assert spec.name == "interview"
    assert spec.header.tools == ("search_notes", "read_note", "calculate")


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
