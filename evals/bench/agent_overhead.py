"""What ragkit and its loop cost per step, without the model: processor time beside replies that take none.

    python evals/bench/agent_overhead.py [--steps 24] [--runs 20] [--tool-calling native|json] [--kept] [--json]

A scripted model calls the calculator step after step; notes, embedder and replies cost next to
nothing. Two lengths of run are compared, so that what a question costs once (search, checks, the
building of the graph) is told apart from what each step costs. The search of the first step counts
to the question. With `--kept` the conversation is one on disk: each step is checkpointed, for a restart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from langchain_core.messages import AIMessage

from ragkit import Agent, Index, load_settings
from ragkit.agent.sessions import Session
from ragkit.agent.spec import AgentSpec
from ragkit.testing import HashingEmbedder, ScriptedChatModel

LIMIT_MS: Final = 15.0
QUESTION: Final = "RNN 的缺点是什么，和别的模型比呢？"
NOTE: Final = "# 循环神经网络\n\n## 缺点\n\nRNN 的缺点是梯度消失，很难记住长距离的信息。\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=24, help="model calls of a long run, 2 to 25")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--tool-calling", choices=["native", "json"], default="native")
    parser.add_argument("--kept", action="store_true", help="in a session on disk")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), given.steps, given.runs, given.tool_calling, given.kept)
    if given.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:24} {value:.2f}" if isinstance(value, float) else f"{name:24} {value}")


def measure(folder: Path, steps: int, runs: int, tool_calling: str, kept: bool = False) -> dict[str, Any]:
    """Milliseconds of processor and wall time for each step and for each question."""
    (folder / "notes").mkdir()
    (folder / "notes" / "rnn.md").write_text(NOTE, encoding="utf-8")
    settings = load_settings(tool_calling=tool_calling, home=folder / "home")
    index = Index.open(folder / "notes", folder / "index", embedding=HashingEmbedder(), settings=settings)
    ask(index, 2, tool_calling, kept)
    long_cpu, long_wall = spread([ask(index, steps, tool_calling, kept) for _ in range(runs)])
    short_cpu, short_wall = spread([ask(index, 1, tool_calling, kept) for _ in range(runs)])
    return {
        "steps": steps,
        "runs": runs,
        "tool_calling": tool_calling,
        "kept": kept,
        "step_cpu_ms": (long_cpu - short_cpu) / (steps - 1),
        "step_wall_ms": (long_wall - short_wall) / (steps - 1),
        "question_cpu_ms": short_cpu,
        "question_wall_ms": short_wall,
        "within_limit": (long_cpu - short_cpu) / (steps - 1) <= LIMIT_MS,
    }


def spread(times: list[tuple[float, float]]) -> tuple[float, float]:
    """Medians of processor and wall time, in milliseconds."""
    cpu, wall = zip(*times, strict=True)
    return statistics.median(cpu) * 1000, statistics.median(wall) * 1000


def ask(index: Index, steps: int, tool_calling: str, kept: bool) -> tuple[float, float]:
    """Processor and wall time, in seconds, of a question with so many model calls."""
    replies: list[Any] = [reply(i, tool_calling) for i in range(steps - 1)]
    last = {"tool": "answer", "sentences": [{"text": "RNN 的缺点是梯度消失。", "sources": [1]}]}
    answer = "RNN 的缺点是梯度消失[1]。"
    replies.append(answer if tool_calling == "native" else json.dumps({"thought": "", "action": last}))
    model = ScriptedChatModel(replies=replies)
    session = Session.start(index.settings.ensure_home()) if kept else None
    agent = Agent.load("interview", index=index, model=model, settings=index.settings, session=session)
    limits = {"max_steps": 25, "max_steps_json": 25, "enough_coverage": 2.0, "narrow_tools": False}
    agent.spec = AgentSpec(agent.spec.header.model_copy(update=limits), agent.spec.prompt, agent.spec.path)
    cpu, wall = time.process_time(), time.perf_counter()
    given = agent.ask(QUESTION)
    times = time.process_time() - cpu, time.perf_counter() - wall
    if len(given.steps) != steps or len(model.calls) != steps:
        raise RuntimeError(f"{len(given.steps)} steps and {len(model.calls)} model calls, not {steps}")
    return times


def reply(number: int, tool_calling: str) -> AIMessage:
    """A call of the calculator."""
    arguments = {"expression": f"{number}+1"}
    if tool_calling == "json":
        return AIMessage(json.dumps({"thought": "", "action": {"tool": "calculate", "arguments": arguments}}))
    call = {"name": "calculate", "args": arguments, "id": f"c{number}", "type": "tool_call"}
    return AIMessage("", tool_calls=[call])


if __name__ == "__main__":
    main()
