"""For tests that kill a turn: hooks around every write, the effects of tools in a file, transcripts that are whole."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool

from ragkit.agent import checkpoints, sessions
from ragkit.agent.checkpoints import TurnFile

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
