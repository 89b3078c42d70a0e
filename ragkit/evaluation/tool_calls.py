"""The tool calls of an answer, each held against the schema of its tool."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator

from ragkit.agent.answer import Answer, Step
from ragkit.agent.middleware.turn_control import FIRST_THOUGHT
from ragkit.agent.mounts import turn_tools
from ragkit.agent.new_turn import new_turn
from ragkit.agent.runtime import Agent

Schemas = dict[str, Draft202012Validator]


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One tool call of a turn."""

    tool: str
    arguments: dict[str, Any]
    valid: bool
    """The tool is one the agent has, and the arguments satisfy its schema."""
    by_model: bool
    """False for the first search, which the framework makes."""
    seconds: float


def tool_schemas(agent: Agent) -> Schemas:
    """Argument schemas of the tools the agent has."""
    tools = turn_tools(agent, new_turn(agent, "", "", ()))
    return {name: Draft202012Validator(tool.get_input_jsonschema()) for name, tool in tools.items()}


def calls_of(answer: Answer, schemas: Schemas) -> list[ToolCall]:
    """The calls of an answer in order."""
    return [
        _call(step, n == 0 and step.thought in FIRST_THOUGHT.values(), schemas) for n, step in enumerate(answer.steps)
    ]


def _call(step: Step, first: bool, schemas: Schemas) -> ToolCall:
    schema = schemas.get(step.tool)
    # What was kept of a call may hold values that JSON cannot; the schema is one of JSON.
    arguments = json.loads(json.dumps(step.arguments, default=str))
    valid = schema is not None and schema.is_valid(arguments)
    return ToolCall(tool=step.tool, arguments=arguments, valid=valid, by_model=not first, seconds=step.seconds)
