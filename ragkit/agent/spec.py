"""Agents as Markdown files: front matter with tools and limits, body with the system prompt and examples.

An agent is found by its name in the shipped folder, in ``./agents`` and in the folder of the setting
``agents_dir``. A name stands for one file: the same name in two of them is an error, because a folder of
notes from elsewhere may have an ``agents`` folder too.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ValidationError

from ragkit.agent.examples import Call, Example, ExampleError, split_examples
from ragkit.agent.header import TOOL_NAMES, AgentHeader, McpServer
from ragkit.content import content_dir
from ragkit.errors import AgentError, ConfigError
from ragkit.ingest.yaml_safe import DuplicateKeyError, load_yaml, split_front_matter
from ragkit.settings import Settings

__all__ = ["TOOL_NAMES", "AgentHeader", "McpServer"]


@dataclass(frozen=True)
class AgentSpec:
    """An agent: its header, its system prompt, its examples and the file they came from."""

    header: AgentHeader
    prompt: str
    path: Path
    examples: tuple[Example, ...] = ()

    @property
    def name(self) -> str:
        return self.header.name


@dataclass(frozen=True)
class Found:
    """A file in a folder of agents, and what it holds or what is wrong with it."""

    name: str
    """Name in the file; that of the file if it cannot be read."""
    path: Path
    spec: AgentSpec | None
    error: AgentError | None


def load_agent(name_or_path: str | Path, agents_dir: Path | None = None, own: Collection[str] = ()) -> AgentSpec:
    """Read an agent by name or by path to its file.

    Args:
        name_or_path: A path if it ends with ``.md`` or has a slash in it.
        agents_dir: A folder of agents besides the shipped ones and ``./agents``.
        own: Names of tools that the program hands over, which examples may call.

    Raises:
        AgentError: If there is no such agent, two have this name, or the file is wrong; names file and line.
    """
    if _is_path(name_or_path):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise AgentError(f"Agent file not found: {path}", "Check the path.")
        return parse_agent(path, own)
    found = find_agents(agents_dir)
    named = [each for each in found if each.name == str(name_or_path)]
    if not named:
        known = ", ".join(sorted({each.name for each in found if each.spec})) or "none"
        raise AgentError(f"Unknown agent {str(name_or_path)!r}.", f"Available: {known}.")
    if len(named) > 1:
        raise duplicate(named)
    return named[0].spec or parse_agent(named[0].path, own)


def _is_path(asked: str | Path) -> bool:
    return Path(asked).suffix == ".md" or "/" in str(asked)


def model_named(spec: AgentSpec, asked: str | Path, settings: Settings) -> str | None:
    """The chat model that an agent file names, None without one.

    Args:
        spec: The agent.
        asked: How the user named it.
        settings: Hold the key that the model's address would get.

    Raises:
        ConfigError: If it names an address, and nobody but a folder that may be somebody else's named the file.
    """
    model = spec.header.model
    settings.check_address("agent", model or "")
    here = spec.path.resolve().parent == Path("agents").resolve()
    if model and here and not _is_path(asked) and settings.api_key and ("@" in model or "//" in model):
        raise ConfigError(
            f"The agent file {spec.path} names an address that would get your API key.",
            f"If you trust it, name the file: --agent {spec.path}",
        )
    return model


def duplicate(named: list[Found]) -> AgentError:
    """The error for a name that stands in several files."""
    places = [f"{each.path}:{_line_of(_text(each.path), ['name'])}" for each in named]
    return AgentError(
        f"{places[-1]}: name: agent {named[0].name!r} is defined in {places[0]} too.",
        f"Rename one of them, or name the file: --agent {named[-1].path}",
    )


def find_agents(agents_dir: Path | None = None) -> list[Found]:
    """Every agent file, shipped ones first; the same file under two paths, or a copy of it, counts once.

    Raises:
        AgentError: If `agents_dir` is no folder.
    """
    if agents_dir is not None and not agents_dir.expanduser().is_dir():
        raise AgentError(f"The folder of agents is not there: {agents_dir}", "Check the setting agents_dir.")
    found: list[Found] = []
    seen: set[str | Path] = set()
    for folder in (content_dir("agents"), Path("agents"), agents_dir and agents_dir.expanduser()):
        for path in sorted(folder.glob("*.md")) if folder is not None and folder.is_dir() else ():
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            spec, error = None, None
            try:
                text = _text(path)
                if (copy := f"{path.name}\n{text}") in seen:
                    continue
                spec = _parsed(path, text)
                seen.add(copy)
            except AgentError as exc:
                error = exc
            found.append(Found(spec.name if spec else path.stem, path, spec, error))
    return found


def available_agents(agents_dir: Path | None = None) -> dict[str, Path]:
    """Files of the agents that can be loaded, by name."""
    return {each.name: each.path for each in find_agents(agents_dir) if each.spec}


def parse_agent(path: Path, own: Collection[str] = ()) -> AgentSpec:
    """Read one agent file; `own` as in `load_agent`.

    Raises:
        AgentError: Naming file, line and what is wrong.
    """
    return _parsed(path, _text(path), own)


def _parsed(path: Path, text: str, own: Collection[str] = ()) -> AgentSpec:
    front, body = split_front_matter(text)
    if front is None:
        raise AgentError(
            f"{path}:1: front matter is missing or not closed.", "Start the file with --- and close it with ---."
        )
    try:
        data = load_yaml(front, unique=True)
    except DuplicateKeyError as exc:
        raise AgentError(f"{path}:{exc.line + 2}: {exc.key}: the key stands there twice.", "Keep one.") from exc
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
        raise _wrong_header(path, text, exc) from exc
    try:
        prompt, examples = split_examples(text[body:])
    except ExampleError as exc:
        line = text.count("\n", 0, body + exc.offset) + 1
        raise AgentError(f"{path}:{line}: {exc}.", "See docs/agents.md.") from exc
    known, servers = {*header.tools, *own}, tuple(f"{name}_" for name in header.mcp)
    for call in (call for example in examples for call in example.calls):
        if call.tool not in known and not call.tool.startswith(servers):
            line = text.count("\n", 0, body + call.offset) + 1
            remedy = "List it under tools, or hand it over as tools=."
            raise AgentError(f"{path}:{line}: the example calls {call.tool!r}.", remedy)
        if call.tool in header.tools and (wrong := _wrong_call(call)):
            line = text.count("\n", 0, body + call.offset) + 1
            raise AgentError(f"{path}:{line}: the example calls {call.tool}, but {wrong[0]}.", wrong[1])
    if not prompt:
        raise AgentError(
            f"{path}:{text.count(chr(10), 0, body) + 1}: the system prompt is empty.",
            "Write it below the front matter.",
        )
    return AgentSpec(header, prompt, path, examples)


def _wrong_call(call: Call) -> tuple[str, str] | None:
    """What is wrong with the arguments of an example's call, and those that its tool takes; None if they fit."""
    # Only here: reading an agent without examples needs no tool.
    from ragkit.agent.tools import ARGUMENTS
    from ragkit.agent.tools.arguments import fault

    arguments = ARGUMENTS[call.tool]
    if found := fault(arguments.model_json_schema(), call.arguments):
        return found, f"Arguments of {call.tool}: {', '.join(arguments.model_fields)}."
    return None


def _wrong_header(path: Path, text: str, wrong: ValidationError) -> AgentError:
    """All that is wrong with the keys of a front matter, each with its line; misspelt keys come first."""
    errors = sorted(wrong.errors(), key=lambda error: error["type"] != "extra_forbidden")
    misspelt = errors[0]["type"] == "extra_forbidden"
    faults: dict[str, None] = {}
    for error in errors:
        if misspelt and error["type"] == "missing":
            continue  # a misspelt key is also a missing one; the misspelling is what helps
        keys = [str(part) for part in error["loc"] if not isinstance(part, int)]
        reason = error["msg"].removeprefix("Value error, ")
        faults[f"{path}:{_line_of(text, keys)}: {'.'.join(keys) or 'front matter'}: {reason}."] = None
    above = [str(part) for part in errors[0]["loc"][:-1]]
    where = f"Allowed keys{' of ' if above else ''}{'.'.join(above)}"
    return AgentError(" ".join(faults), f"{where}: {', '.join(_keys(above))}." if misspelt else "")


def _keys(above: list[str]) -> list[str]:
    """The keys that may stand below these keys of a front matter."""
    model: type[BaseModel] = AgentHeader
    for key in above:
        # The name of a server is no key of the model; what is below it is.
        field = model.model_fields.get(key)
        kinds = [field.annotation, *get_args(field.annotation)] if field is not None else []
        model = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), model)
    return list(model.model_fields)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise AgentError(f"{path} cannot be read: {exc}.", "It must be a UTF-8 text file.") from exc


def _line_of(text: str, keys: list[str]) -> int:
    """Line, from 1, of a key in nested keys; the first line if it is nowhere."""
    at, line = 0, 1
    for depth, key in enumerate(keys):
        # A key of the file itself stands at the margin; that of a server may have the same name.
        indent = r"[ \t]+" if depth else ""
        match = re.compile(rf"^{indent}{re.escape(key)}\s*:", re.MULTILINE).search(text, at)
        if match is None:
            break
        at = match.end()
        line = text.count("\n", 0, at) + 1
    return line
