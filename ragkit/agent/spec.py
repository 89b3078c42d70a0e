"""Agents as Markdown files: front matter with tools and limits, body with the system prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError, field_validator

from ragkit.agent.strategy_keys import StrategyKeys
from ragkit.content import content_dir
from ragkit.errors import AgentError
from ragkit.ingest.yaml_safe import load_yaml, split_front_matter

TOOL_NAMES: Final = ("search_notes", "read_note", "calculate")
"""Tools an agent file may name."""


class AgentHeader(StrategyKeys):
    """Front matter of an agent file. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")
    description: str = Field(min_length=1, max_length=300)
    tools: tuple[str, ...] = TOOL_NAMES
    model: str | None = None
    """Chat model; None takes the setting."""
    passages: int = Field(default=4, ge=1, le=20)
    """Passages a search returns."""
    max_steps: int = Field(default=4, ge=1, le=25)
    """Tool calls per question; afterwards only answering remains."""
    max_steps_json: int = Field(default=2, ge=1, le=25)
    """The same for a model that is driven by the JSON protocol; small models plan badly."""
    max_passages: int = Field(default=8, ge=1, le=40)
    """Passages per question; afterwards only answering remains."""
    enough_coverage: float = Field(default=0.5, ge=0, le=2)
    """With a model that is driven by the JSON protocol: when one passage contains this share of what
    the question asks for, only answering remains. Small models go on searching otherwise."""
    max_answer_tokens: int = Field(default=400, ge=32, le=8192)
    rewrite: Literal["auto", "always", "never"] = "auto"
    """``auto``: follow-ups are made self-contained; ``always``: differently worded queries are added too."""
    translate: Literal["auto", "always", "never"] = "auto"
    """Whether a question is put into the notes' language, see `ragkit.retrieval.planner`."""
    hyde: Literal["auto", "always", "never"] = "never"
    """The same for searching with a hypothetical passage; ``true`` and ``false`` are ``always`` and ``never``."""

    @field_validator("hyde", mode="before")
    @classmethod
    def _yes_or_no(cls, hyde: object) -> object:
        return {True: "always", False: "never"}[hyde] if isinstance(hyde, bool) else hyde

    @field_validator("tools")
    @classmethod
    def _known_tools(cls, tools: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [tool for tool in tools if tool not in TOOL_NAMES]
        if unknown:
            raise ValueError(f"unknown tool {unknown[0]!r}; available: {', '.join(TOOL_NAMES)}")
        if len(set(tools)) != len(tools):
            raise ValueError("a tool is named twice")
        if "search_notes" not in tools:
            raise ValueError("search_notes is missing; without it nothing can be cited")
        return tools


@dataclass(frozen=True)
class AgentSpec:
    """An agent: its header, its system prompt and the file both came from."""

    header: AgentHeader
    prompt: str
    path: Path

    @property
    def name(self) -> str:
        return self.header.name


def load_agent(name_or_path: str | Path) -> AgentSpec:
    """Read an agent by name (shipped, or in ``./agents``) or by path to its file.

    Raises:
        AgentError: If there is no such agent, or the file is wrong; names file and line.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix == ".md" or "/" in str(name_or_path):
        if not path.is_file():
            raise AgentError(f"Agent file not found: {path}", "Check the path.")
        return parse_agent(path)
    known = available_agents()
    if str(name_or_path) not in known:
        raise AgentError(f"Unknown agent {str(name_or_path)!r}.", f"Available: {', '.join(sorted(known)) or 'none'}.")
    return parse_agent(known[str(name_or_path)])


def available_agents() -> dict[str, Path]:
    """Agent files by name; those in ``./agents`` of the working folder come before shipped ones."""
    found: dict[str, Path] = {}
    for folder in (content_dir("agents"), Path("agents")):
        if folder.is_dir():
            found.update({file.stem: file for file in sorted(folder.glob("*.md"))})
    return found


def parse_agent(path: Path) -> AgentSpec:
    """Read one agent file.

    Raises:
        AgentError: Naming file, line and what is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise AgentError(f"{path} cannot be read: {exc}.", "It must be a UTF-8 text file.") from exc
    front, body = split_front_matter(text)
    if front is None:
        raise AgentError(
            f"{path}:1: front matter is missing or not closed.", "Start the file with --- and close it with ---."
        )
    try:
        data = load_yaml(front)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = mark.line + 2 if mark else 1
        raise AgentError(
            f"{path}:{line}: front matter is not valid YAML ({getattr(exc, 'problem', exc)}).", "Mend that line."
        ) from exc
    if not isinstance(data, dict):
        raise AgentError(f"{path}:1: front matter must be a list of `key: value` lines.", "")
    try:
        header = AgentHeader.model_validate(data)
    except ValidationError as exc:
        first = exc.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "front matter"
        reason = first["msg"].removeprefix("Value error, ")
        allowed = f"Allowed keys: {', '.join(AgentHeader.model_fields)}." if first["type"] == "extra_forbidden" else ""
        raise AgentError(f"{path}:{_line_of(text, key)}: {key}: {reason}.", allowed) from exc
    prompt = text[body:].strip()
    if not prompt:
        raise AgentError(f"{path}: the system prompt is empty.", "Write it below the front matter.")
    return AgentSpec(header, prompt, path)


def _line_of(text: str, key: str) -> int:
    match = re.search(rf"^{re.escape(key)}\s*:", text, re.MULTILINE)
    return text.count("\n", 0, match.start()) + 1 if match else 1
