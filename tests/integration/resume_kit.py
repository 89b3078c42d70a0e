"""For tests that kill a turn: hooks around every write, the effects of tools in a file, transcripts that are whole."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool

from ragkit import Agent, Index, load_settings
from ragkit.agent import checkpoints, sessions
from ragkit.agent.answer import Answer, Done
from ragkit.agent.checkpoints import TurnFile
from ragkit.agent.sessions import Session
from ragkit.testing import HashingEmbedder

Hook = Callable[[str], None]


def nothing(what: str) -> None:
    """No kill."""


def check_transcript(messages: list[BaseMessage]) -> None:
    """Every call id is there once and has exactly one result behind it, before the model speaks again."""
    asked = [call["id"] for message in messages if isinstance(message, AIMessage) for call in message.tool_calls]
    told = [message.tool_call_id for message in messages if isinstance(message, ToolMessage)]
    assert len(set(asked)) == len(asked), asked
    assert Counter(asked) == Counter(told)


def send_tool(home: Path, hook: Hook = nothing) -> BaseTool:
    """A tool that writes down each of its effects in a file."""
    effects = home / "effects"

    def send(item: str) -> str:
        """Send an item."""
        hook("before the effect")
        with effects.open("a", encoding="utf-8") as file:
            file.write(json.dumps(item) + "\n")
            file.flush()
        hook("after the effect")
        return f"sent {item}"

    return StructuredTool.from_function(send, name="send", description="send an item")


def make_place(base: Path, notes: Mapping[str, str], name: str, agent: str) -> Path:
    """Notes, their index and an agent file in a new folder."""
    (base / "notes").mkdir()
    for file, text in notes.items():
        (base / "notes" / file).write_text(text, encoding="utf-8")
    Index.open(base / "notes", base / "index", embedding=HashingEmbedder(), settings=load_settings()).close()
    (base / name).write_text(agent, encoding="utf-8")
    return base


def sender(place: Path, name: str, home: Path, model: BaseChatModel, hook: Hook = nothing) -> Agent:
    """The agent of a file in a session of its own, with a tool that writes down each effect in a file."""
    home.mkdir(exist_ok=True)
    return Agent.load(
        place / name,
        index=Index.open(None, place / "index", embedding=HashingEmbedder()),
        model=model,
        settings=load_settings(tool_calling="native"),
        session=Session.open(home, "s"),
        tools=[send_tool(home, hook)],
        approve=lambda approval: True,
    )


def finish_turn(agent: Agent, question: str) -> Answer:
    """The answer of the unfinished turn, or of the question where nothing was kept."""
    events = agent.resume() if agent.unfinished() else agent.stream(question)
    return next(event.answer for event in events if isinstance(event, Done))


def effects(home: Path) -> Counter[str]:
    path = home / "effects"
    return Counter(json.loads(line) for line in path.read_text().splitlines()) if path.exists() else Counter()


def hooked(hook: Hook) -> None:
    """Call `hook` before and after every write to a disk (in a child process, which nothing is taken back in)."""

    def around(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            hook(f"before {name}")
            result = original(*args, **kwargs)
            hook(f"after {name}")
            return result

        setattr(owner, name, call)

    around(TurnFile, "_write")
    around(checkpoints._Saver, "put")
    around(checkpoints._Saver, "put_writes")
    around(checkpoints, "remove_turn")
    around(sessions, "append_line")


def die_at(point: int) -> Hook:
    count = -1

    def hook(what: str) -> None:
        nonlocal count
        count += 1
        if count == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook
