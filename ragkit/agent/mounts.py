"""What one turn mounts on the agent loop: its chat model, its tools and its middleware.

Whatever takes part in every turn is added here: a tool in `turn_tools`, anything around model and
tool calls in `turn_middleware`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.utils.function_calling import convert_to_openai_tool

from ragkit.agent.extractive import NoModel, quote_passages
from ragkit.agent.json_protocol import SHORT_THOUGHT, JsonProtocolModel
from ragkit.agent.middleware.chain import chained
from ragkit.agent.middleware.durable import Journal, Replay, UniqueCalls
from ragkit.agent.middleware.model_guard import ModelGuard
from ragkit.agent.middleware.strategy import Strategy
from ragkit.agent.middleware.tool_gate import ToolGate
from ragkit.agent.middleware.tool_guard import ToolFailures, ToolGuard
from ragkit.agent.middleware.tool_results import ToolResults
from ragkit.agent.middleware.turn_control import TurnControl
from ragkit.agent.native_tools import NativeToolModel
from ragkit.agent.parts import AgentParts
from ragkit.agent.tools import TOOLS
from ragkit.agent.turn import TurnState

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.tools import BaseTool

    from ragkit.agent.checkpoints import Kept


def turn_model(parts: AgentParts, tools: Iterable[BaseTool] = ()) -> BaseChatModel:
    """The chat model as the loop calls it: its own tool calls, checked, or the JSON protocol around it."""
    header = parts.spec.header
    thought = 0 if header.thought == "off" else header.thought_chars
    if parts.chat.extractive:
        return NoModel()
    if parts.chat.tool_calling == "json":
        return JsonProtocolModel(
            inner=parts.chat.model(),
            max_tokens=header.max_answer_tokens + max(0, thought - SHORT_THOUGHT) // 2,
            thought_chars=thought,
            told=[convert_to_openai_tool(tool)["function"] for tool in tools],
        )
    return NativeToolModel(inner=parts.chat.model())


def answers_from_sheets(parts: AgentParts) -> bool:
    """Whether a model that is driven by JSON answers from a sheet of lines: not if examples show it otherwise."""
    header = parts.spec.header
    return header.answer_json == "lines" and not parts.spec.examples and header.thought_chars <= SHORT_THOUGHT


def turn_tools(parts: AgentParts, turn: TurnState) -> dict[str, BaseTool]:
    """The tools of a turn by name: those of the agent file, then the program's own."""
    tools = {name: TOOLS[name](turn) for name in parts.spec.header.tools}
    return {**tools, **{tool.name: tool for tool in parts.tools}}


def turn_middleware(
    parts: AgentParts,
    turn: TurnState,
    tools: Mapping[str, BaseTool],
    kept: Kept | None = None,
) -> list[AgentMiddleware[Any, Any]]:
    """The middleware of a turn, from the outermost to the innermost.

    `TurnControl` stands outside: it decides whether a model or a tool is called at all, so what
    stands between sees only calls that are made. `ToolGate` stands inside the program's own middleware: what it
    lets through is what runs, whatever they made of the call. The guards stand inside of all: a prompt fits
    whatever middleware added to it, and a tool's time begins when it does. A turn that is kept for a
    restart has `Replay` around everything and `Journal` next to the tools.
    """
    reply = quote_passages if parts.chat.extractive else None
    narrowed = parts.spec.header.tools if parts.spec.header.narrow_tools else ()
    results = ToolResults(turn, own=parts.spec.header.tools)
    gate = ToolGate(turn, parts.settings.allow_tools, parts.approve)
    outside = [Replay(turn, kept)] if kept else []
    strategy = Strategy(turn, parts.spec.header)
    mounted = [
        TurnControl(turn, reply, narrowed, sheets=answers_from_sheets(parts)),
        UniqueCalls(),
        results,
        strategy,
        ToolFailures(),
        *parts.middleware,
        gate,
    ]
    guards = [
        ToolGuard(turn, parts.settings.tool_seconds, tuple(tools), kept),
        ModelGuard(turn, parts.window, parts.chat.name),
    ]
    journals = [Journal(kept, turn.caller)] if kept or turn.caller else []
    return [*outside, *mounted, *journals, *guards]


def turn_graph(parts: AgentParts, turn: TurnState, kept: Kept | None = None) -> Any:
    """The agent loop of a turn, ready to stream.

    With `kept`, every step of it is checkpointed there, and calls with effects are entered in its journal.
    """
    tools = turn_tools(parts, turn)
    return create_agent(
        turn_model(parts, tools.values()),
        list(tools.values()),
        system_prompt=parts.spec.prompt,
        middleware=chained(turn_middleware(parts, turn, tools, kept), apart=parts.middleware),
        checkpointer=kept.saver if kept else None,
    )
