"""Tools of MCP servers that an agent file names, by langchain-mcp-adapters (extra ``mcp``).

Two things are asked about before a model sees anything: starting the server, and the definitions of its
tools. Both are pinned, see `ragkit.agent.pins`. Each call of such a tool needs approval like any other tool
that reaches the network: what a server says about itself is no reason to trust it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Awaitable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from langchain_core.tools import BaseTool, StructuredTool, ToolException

from ragkit.agent.approval import Approval, Approve
from ragkit.agent.coroutines import decided
from ragkit.agent.header import McpServer
from ragkit.agent.pins import Pins
from ragkit.agent.spec import AgentSpec
from ragkit.agent.tools.permission import with_permission
from ragkit.errors import AgentError
from ragkit.settings import Settings
from ragkit.text.sanitize import one_line

try:
    from anyio import BrokenResourceError, ClosedResourceError
    from langchain_mcp_adapters.sessions import create_session
    from langchain_mcp_adapters.tools import convert_mcp_tool_to_langchain_tool
    from mcp import McpError
    from mcp.types import CONNECTION_CLOSED
except ImportError as exc:
    raise AgentError("The agent file names MCP servers.", 'Install what they need: pip install "ragkit[mcp]".') from exc

_START_SECONDS: Final = 30.0
_CALL_SECONDS: Final = 120.0
_MAX_TOOLS: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")

log = logging.getLogger(__name__)


class _Unsent(Exception):
    """A call that did not reach its server, because that has ended."""


@dataclass(eq=False)
class _Server:
    """One server, and the session with it; that is another one each time it is started."""

    name: str
    launch: dict[str, Any]
    chosen: Sequence[str]
    """The tools that the agent file takes of it; empty: all."""
    session: Any = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    done: Future[None] = field(default_factory=Future)
    dead: bool = False
    one: threading.Lock = field(default_factory=threading.Lock)
    """Held while it is started again."""

    async def call_tool(self, *given: Any, **named: Any) -> Any:
        """What the adapter calls of a session, in the one that there is now."""
        return await self.session.call_tool(*given, **named)

    def definitions(self, found: Sequence[Any]) -> dict[str, Any]:
        """Of the tools that are taken, by name."""
        return {
            tool.name: tool.model_dump(mode="json", exclude_none=True)
            for tool in found
            if not self.chosen or tool.name in self.chosen
        }


class McpTools:
    """Servers that run, and their tools. `close` ends them; so does the end of the process.

    Each server lives in a task of one event loop in a thread of its own, because a session must be
    left in the task that entered it, while tools are called from any thread. One that has ended is started
    again by the next call of a tool of its, if its tools are what was approved.
    """

    def __init__(self, pins: Pins) -> None:
        self.tools: list[BaseTool] = []
        self._pins = pins
        self._loop = asyncio.new_event_loop()
        self._servers: list[_Server] = []
        self._closed = False
        threading.Thread(target=self._loop.run_forever, daemon=True, name="ragkit-mcp").start()

    @classmethod
    def open(cls, spec: AgentSpec, settings: Settings, approve: Approve | None) -> McpTools:
        """Start the servers of an agent file.

        Args:
            spec: The agent.
            settings: Where approvals are kept.
            approve: Asked about whatever was not approved before; None refuses it.

        Raises:
            AgentError: If a server is not approved, does not start, or lacks a tool that the file names.
        """
        servers = cls(Pins(settings.home))
        try:
            for name, server in spec.header.mcp.items():
                servers._add(name, server, spec.path, approve or (lambda approval: False))
        except BaseException:
            servers.close()
            raise
        return servers

    def close(self) -> None:
        """End the servers."""
        self._closed = True
        for server in self._servers:
            self._end(server)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _add(self, name: str, header: McpServer, file: Path, approve: Approve) -> None:
        server = _Server(name, launch_of(header, file), header.tools)
        source = f"MCP server {name} of {file}"
        remedy = f"Look at what it does, then: ragkit agents trust {file}"
        if not self._pins.starts(server.launch) and not decided(
            approve, Approval(f"mcp:{name}", "network", dict(server.launch), source)
        ):
            raise AgentError(f"The MCP server {name!r} of {file} is not approved.", remedy)
        self._servers.append(server)
        found = self._start(server)
        definitions = server.definitions(found)
        if absent := [tool for tool in server.chosen if tool not in definitions]:
            raise AgentError(
                f"{file}: mcp: {name} has no tool {absent[0]!r}.", f"It has: {', '.join(t.name for t in found)}."
            )
        if changed := self._pins.changed(server.launch, definitions, server.chosen):
            shown = {key: definitions.get(key, "(gone)") for key in changed}
            if not decided(approve, Approval(f"mcp:{name}", "network", {"tools": shown}, source)):
                named = ", ".join(one_line(each, 40) for each in changed)
                raise AgentError(f"Tools of the MCP server {name!r} are new or have changed: {named}.", remedy)
            self._pins.keep(name, server.launch, definitions, server.chosen)
        # Those that keep their names come first, so that none of them gives way to a written one.
        wanted = {tool.name: tool for tool in found if tool.name in definitions}
        for tool in sorted(wanted.values(), key=lambda each: _NO_NAME.search(each.name) is not None):
            made = convert_mcp_tool_to_langchain_tool(cast(Any, server), tool, server_name=name, tool_name_prefix=True)
            called = _NO_NAME.sub("_", made.name)
            if not _NAME.fullmatch(called) or any(called == other.name for other in self.tools):
                why = "another has that name" if _NAME.fullmatch(called) else "no model can call it"
                log.warning("%s: mcp: %s: tool %r is left out: %s", file, name, one_line(tool.name, 80), why)
                continue
            made = self._blocking(made.model_copy(update={"name": called}), server)
            self.tools.append(with_permission(made, "network", source=f"MCP server {name}"))

    def _start(self, server: _Server) -> list[Any]:
        """Start a server; its tools.

        Raises:
            AgentError: If it does not start, or does not answer.
        """
        ready: Future[tuple[Any, list[Any]]] = Future()
        stop = asyncio.Event()

        async def live() -> None:
            try:
                async with create_session(dict(server.launch)) as session:  # type: ignore[arg-type]
                    await session.initialize()
                    tools: list[Any] = []
                    cursor: str | None = None
                    while len(tools) <= _MAX_TOOLS:
                        page = await session.list_tools(cursor=cursor)
                        tools.extend(page.tools)
                        cursor = page.nextCursor
                        if not cursor:
                            break
                    ready.set_result((session, tools[:_MAX_TOOLS]))
                    await stop.wait()
            except BaseException as exc:
                if not ready.done():
                    ready.set_exception(exc)

        server.stop, server.done = stop, asyncio.run_coroutine_threadsafe(live(), self._loop)
        try:
            server.session, found = ready.result(timeout=_START_SECONDS)
        except FutureTimeout:
            raise AgentError(
                f"The MCP server {server.name!r} did not answer in {_START_SECONDS:g} s.",
                "Start it by hand to see why.",
            ) from None
        except Exception as exc:
            raise AgentError(
                f"The MCP server {server.name!r} does not start: {one_line(_reason(exc))}.",
                "Check its command or url.",
            ) from exc
        return found

    def _end(self, server: _Server) -> None:
        self._loop.call_soon_threadsafe(server.stop.set)
        with suppress(Exception):  # a server that ends badly has ended
            server.done.result(timeout=5)

    def _revive(self, server: _Server) -> None:
        """Start a server again that has ended.

        Raises:
            AgentError: If it does not start, its tools are not what was approved, or all were closed.
        """
        with server.one:
            if self._closed:
                raise AgentError(f"The MCP server {server.name!r} was closed with its agent.", "Load the agent again.")
            if not server.dead and not server.done.done():
                return
            server.dead = True
            self._end(server)
            log.warning("the MCP server %r has ended; it is started again", server.name)
            definitions = server.definitions(self._start(server))
            if changed := self._pins.changed(server.launch, definitions, server.chosen):
                self._end(server)
                named = ", ".join(one_line(each, 40) for each in changed)
                raise AgentError(
                    f"Tools of the MCP server {server.name!r} are not what was approved: {named}.",
                    "Load the agent again.",
                )
            server.dead = False

    def _blocking(self, tool: BaseTool, server: _Server) -> BaseTool:
        assert isinstance(tool, StructuredTool) and tool.coroutine is not None
        call = tool.coroutine

        def run(**arguments: Any) -> Any:
            self._revive(server)
            try:
                return self._wait(call(**arguments), server)
            except _Unsent:
                self._revive(server)
            try:
                return self._wait(call(**arguments), server)
            except _Unsent:
                raise AgentError(f"The MCP server {server.name!r} ends as soon as it is started.", "") from None

        return tool.model_copy(update={"func": run})

    def _wait(self, work: Awaitable[Any], server: _Server) -> Any:
        async def done() -> Any:
            return await work

        used = server.session
        future = asyncio.run_coroutine_threadsafe(done(), self._loop)
        try:
            return future.result(timeout=_CALL_SECONDS)
        except ToolException:
            raise  # the server itself says that the call failed; the adapter makes a message of it
        except FutureTimeout:
            future.cancel()
            raise AgentError(f"The MCP server {server.name!r} did not answer in {_CALL_SECONDS:g} s.", "") from None
        except (ClosedResourceError, BrokenResourceError) as exc:
            self._ended(server, used)
            raise _Unsent from exc
        except Exception as exc:
            # It had the call, which may have had an effect: it is not made again by itself.
            if isinstance(exc, McpError) and exc.error.code == CONNECTION_CLOSED:
                self._ended(server, used)
            raise AgentError(f"The MCP server {server.name!r} failed: {one_line(_reason(exc))}.", "") from exc

    @staticmethod
    def _ended(server: _Server, session: Any) -> None:
        # Another call may have started it again meanwhile.
        if server.session is session:
            server.dead = True


def launch_of(server: McpServer, file: Path) -> dict[str, Any]:
    """How a server is reached, in the adapters' words; a command runs in the folder of the agent file."""
    if server.url is not None:
        return {"transport": "streamable_http", "url": server.url, "headers": dict(server.headers)}
    folder = file.resolve().parent
    command = server.command or ""
    beside = folder / command
    return {
        "transport": "stdio",
        "command": str(beside) if "/" in command and not Path(command).is_absolute() else command,
        "args": list(server.args),
        "env": dict(server.env),
        "cwd": str(folder),
    }


def _reason(exc: BaseException) -> str:
    """The innermost reason of a group of exceptions."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return str(exc) or type(exc).__name__
