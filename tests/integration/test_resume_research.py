"""A researcher that is killed goes on: its plan stands, parts that were answered are not asked again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crash_kit import every, in_child
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from resume_kit import Hook, check_transcript, die_at, effects, finish_turn, hooked, make_place, nothing, sender

from ragkit import Agent
from ragkit.agent.answer import Answer
from ragkit.agent.keeping import UNKNOWN

posix = pytest.mark.skipif(os.name == "nt", reason="needs fork and SIGKILL")
GOAL = "Explain caches, recurrent networks and warm-up."
PARTS = {
    "Where do the keys and values of earlier tokens stay?": "The KV cache keeps the keys and values of earlier tokens.",
    "How does an RNN read its tokens?": "An RNN reads one token after the other.",
    "What does the learning rate do in warm-up?": "The learning rate grows in the first steps of warm-up.",
}
NOTES = {f"{n}.md": f"# Note {n}\n\n{text}\n" for n, text in enumerate(PARTS.values())}
AGENT = """---
name: chief
description: Looks into things.
workflow: research
rewrite: never
translate: never
max_steps: 20
---
You look into things.
"""


class Researcher(BaseChatModel):
    """Plans, sends an item for each part, answers it, and sums up; by the transcript alone."""

    hook: Any = nothing

    @property
    def _llm_type(self) -> str:
        return "researcher"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        system = str(messages[0].content)
        if system.startswith("Split the goal"):
            reply = self._said("plan", json.dumps({"questions": list(PARTS)}))
        elif system.startswith("Below are a goal"):
            reply = self._said("missing", json.dumps({"questions": []}))
        elif system.startswith("From the answers"):
            reply = self._said(
                "summary", json.dumps({"sentences": [{"text": next(iter(PARTS.values())), "sources": [1]}]})
            )
        else:
            check_transcript(messages)
            part = next(part for part in PARTS if any(part in str(m.content) for m in messages))
            sent = any(isinstance(m, ToolMessage) and m.name == "send" for m in messages)
            reply = self._said("part", f"{PARTS[part]} [1]") if sent else self._said("part", "")
            if not sent:
                reply.tool_calls = [{"name": "send", "args": {"item": part}, "id": "call_0", "type": "tool_call"}]
        return ChatResult(generations=[ChatGeneration(message=reply)])

    def _said(self, what: str, text: str) -> AIMessage:
        self.hook(what)
        return AIMessage(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notes, their index and the agent file."""
    return make_place(tmp_path_factory.mktemp("research"), NOTES, "chief.md", AGENT)


def chief(place: Path, home: Path, hook: Hook = nothing) -> Agent:
    return sender(place, "chief.md", home, Researcher(hook=hook), hook)


def drain(agent: Agent) -> Answer:
    return finish_turn(agent, GOAL)


def run_in_child(place: Path, home: Path, point: int, log: Path | None = None) -> int:
    def action() -> None:
        seen: list[str] = []
        hook = seen.append if log else die_at(point)
        hooked(hook)
        drain(chief(place, home, hook))
        if log:
            log.write_text(json.dumps(seen))

    return in_child(action)


def points(place: Path, home: Path) -> list[str]:
    log = home.with_suffix(".log")
    assert run_in_child(place, home, -1, log) == 0
    found: list[str] = json.loads(log.read_text())
    return found


@posix
def test_killed_anywhere_the_report_is_the_same_and_nothing_happens_twice(
    place: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    whole = drain(chief(place, tmp_path / "free"))
    assert len(effects(tmp_path / "free")) == 3 and "## Summary" in whole.text
    seen = points(place, tmp_path / "whole")
    killed = 0
    for point in every(list(range(len(seen))), 12):
        home = tmp_path / str(point)
        assert run_in_child(place, home, point) == -signal.SIGKILL
        killed += 1
        agent = chief(place, home)
        if agent.session.answers:  # it was saved before the kill
            assert agent.unfinished() is None
            continue
        answer = drain(agent)
        done = effects(home)
        unknown = [step for step in answer.steps if step.observation == UNKNOWN]
        assert max(done.values()) == 1 and 3 - len(done) <= len(unknown) <= 1
        assert len([w for w in answer.warnings if "not known" in w]) == len(unknown)
        assert (answer.text, answer.citations, answer.plan) == (whole.text, whole.citations, whole.plan)
        assert len(answer.steps) == len(whole.steps) and answer.usage == whole.usage
        assert not list((home / "sessions").glob("s.turn*"))
    record_property("killed", f"{killed} of {len(seen)} points")


@posix
def test_what_was_done_before_the_kill_is_not_asked_again(place: Path, tmp_path: Path) -> None:
    seen = points(place, tmp_path / "whole")
    home = tmp_path / "home"
    assert run_in_child(place, home, seen.index("summary")) == -signal.SIGKILL
    asked: list[str] = []
    agent = chief(place, home, asked.append)
    assert len(drain(agent).citations) == 3
    assert asked == ["summary"]


@posix
def test_a_part_that_was_under_way_goes_on(place: Path, tmp_path: Path) -> None:
    seen = points(place, tmp_path / "whole")
    second = [at for at, what in enumerate(seen) if what == "before the effect"][1]
    home = tmp_path / "home"
    assert run_in_child(place, home, second) == -signal.SIGKILL
    asked: list[str] = []
    answer = drain(chief(place, home, asked.append))
    assert "plan" not in asked and asked.count("part") == 3  # what became of the second, and both calls of the third
    assert sum(step.observation == UNKNOWN for step in answer.steps) == 1 and len(effects(home)) == 2
