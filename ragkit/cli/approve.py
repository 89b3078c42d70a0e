"""Asking whoever sits at the terminal for a yes; a pipe, an end of input and anything else is a no."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.text import Text

from ragkit.agent.approval import Approval
from ragkit.cli.common import stderr

if TYPE_CHECKING:
    from ragkit.agent.mcp import McpTools
    from ragkit.agent.spec import AgentSpec
    from ragkit.settings import Settings

_YES = frozenset({"y", "yes"})


def can_ask() -> bool:
    """Whether somebody sits there who sees the question and can answer it."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()


def ask_terminal(approval: Approval) -> bool:
    """Show everything that is asked, and read a line; only y and yes mean yes."""
    if not can_ask():
        return False
    stderr.print(Text(f"\nMay this run? {approval.shown}"), style="yellow")
    stderr.print("Allow it? [y/N] ", end="")
    with _typed_now():
        line = sys.stdin.readline()
    if not line.endswith("\n"):
        stderr.print()
    return line.strip().lower() in _YES


def servers_of(spec: AgentSpec, settings: Settings) -> McpTools | None:
    """The MCP servers of an agent file, running; new and changed ones are asked about first.

    Raises:
        AgentError: If one is not approved or does not start.
    """
    if not spec.header.mcp:
        return None
    from ragkit.agent.mcp import McpTools

    return McpTools.open(spec, settings, ask_terminal if can_ask() else None)


@contextmanager
def _typed_now() -> Iterator[None]:
    """Drop what was typed before the question was there, and show what is typed now."""
    if sys.platform == "win32":
        yield
        return
    import termios

    try:
        before = termios.tcgetattr(sys.stdin)
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    except (OSError, ValueError, termios.error):
        yield
        return
    shown = [*before[:3], before[3] | termios.ECHO | termios.ICANON, *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSANOW, shown)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
