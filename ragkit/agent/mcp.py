"""Tools of MCP servers that an agent file names, by langchain-mcp-adapters (extra ``mcp``).

Two things are asked about before a model sees anything: starting the server, and the definitions of its
tools. Both are pinned, see `ragkit.agent.pins`. Each call of such a tool needs approval like any other tool
that reaches the network: what a server says about itself is no reason to trust it.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any, Final

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
    from langchain_mcp_adapters.sessions import create_session
    from langchain_mcp_adapters.tools import convert_mcp_tool_to_langchain_tool
except ImportError as exc:
    raise AgentError("The agent file names MCP servers.", 'Install what they need: pip install "ragkit[mcp]".') from exc

_START_SECONDS: Final = 30.0
_CALL_SECONDS: Final = 120.0
_MAX_TOOLS: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class McpTools:
    """Servers that run, and their tools. `close` ends them; so does the end of the process.

    Each server lives in a task of one event loop in a thread of its own, because a session must be
    left in the task that entered it, while tools are called from any thread.
    """

    def __init__(self) -> None:
        self.tools: list[BaseTool] = []
        self._loop = asyncio.new_event_loop()
        self._stops: list[tuple[asyncio.Event, Future[None]]] = []
        threading.Thread(target=self._loop.run_forever, daemon=True, name="ragkit-mcp").start()

    @classmethod
    def open(cls, spec: AgentSpec, settings: Settings, approve: Approve | None) -> McpTools:
        """Start the servers of an agent file.

        Args:
            spec: The agent.
            settings: Where approvals are kept.
            approve: Asked about whatever was not approved before; None refuses it.

        Raises:
            AgentError: If a server is not approved, does not start, or has tools that cannot be used.
        """
        pins, servers = Pins(settings.home), cls()
        try:
            for name, server in spec.header.mcp.items():
                servers._add(name, server, spec.path, pins, approve or (lambda approval: False))
        except BaseException:
            servers.close()
            raise
        return servers

    def close(self) -> None:
        """End the servers."""
        for stop, done in self._stops:
            self._loop.call_soon_threadsafe(stop.set)
            try:
                done.result(timeout=5)
            except Exception:  # a server that ends badly has ended
                continue
        self._stops = []
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _add(self, name: str, server: McpServer, file: Path, pins: Pins, approve: Approve) -> None:
        launch = launch_of(server, file)
        source = f"MCP server {name} of {file}"
        remedy = f"Look at what it does, then: ragkit agents trust {file}"
        if not pins.starts(launch) and not decided(approve, Approval(f"mcp:{name}", "network", dict(launch), source)):
            raise AgentError(f"The MCP server {name!r} of {file} is not approved.", remedy)
        session, found = self._start(name, launch)
        wanted = {tool.name: tool for tool in found if not server.tools or tool.name in server.tools}
        if absent := [tool for tool in server.tools if tool not in wanted]:
            raise AgentError(
                f"{file}: mcp: {name} has no tool {absent[0]!r}.", f"It has: {', '.join(t.name for t in found)}."
            )
        definitions = {key: tool.model_dump(mode="json", exclude_none=True) for key, tool in wanted.items()}
        if changed := pins.changed(launch, definitions, server.tools):
            shown = {key: definitions.get(key, "(gone)") for key in changed}
            if not decided(approve, Approval(f"mcp:{name}", "network", {"tools": shown}, source)):
                named = ", ".join(one_line(each, 40) for each in changed)
                raise AgentError(f"Tools of the MCP server {name!r} are new or have changed: {named}.", remedy)
            pins.keep(name, launch, definitions, server.tools)
        for tool in wanted.values():
            made = convert_mcp_tool_to_langchain_tool(session, tool, server_name=name, tool_name_prefix=True)
            if not _NAME.fullmatch(made.name):
                raise AgentError(
                    f"{file}: mcp: {name} has a tool called {one_line(made.name, 80)!r}.", "No model can call it."
                )
            self.tools.append(with_permission(self._blocking(made, name), "network", source=f"MCP server {name}"))

    def _start(self, name: str, launch: Mapping[str, Any]) -> tuple[Any, list[Any]]:
        ready: Future[tuple[Any, list[Any]]] = Future()
        stop = asyncio.Event()

        async def live() -> None:
            try:
                async with create_session(dict(launch)) as session:  # type: ignore[arg-type]
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

        done = asyncio.run_coroutine_threadsafe(live(), self._loop)
        self._stops.append((stop, done))
        try:
            return ready.result(timeout=_START_SECONDS)
        except FutureTimeout:
            raise AgentError(
                f"The MCP server {name!r} did not answer in {_START_SECONDS:g} s.", "Start it by hand to see why."
            ) from None
        except Exception as exc:
            raise AgentError(
                f"The MCP server {name!r} does not start: {one_line(_reason(exc))}.", "Check its command or url."
            ) from exc

    def _blocking(self, tool: BaseTool, server: str) -> BaseTool:
        assert isinstance(tool, StructuredTool) and tool.coroutine is not None
        call = tool.coroutine

        def run(**arguments: Any) -> Any:
            return self._wait(call(**arguments), server)

        return tool.model_copy(update={"func": run})

    def _wait(self, work: Awaitable[Any], server: str) -> Any:
        async def done() -> Any:
            return await work

        future = asyncio.run_coroutine_threadsafe(done(), self._loop)
        try:
            return future.result(timeout=_CALL_SECONDS)
        except ToolException:
            raise  # the server itself says that the call failed; the adapter makes a message of it
        except FutureTimeout:
            future.cancel()
            raise AgentError(f"The MCP server {server!r} did not answer in {_CALL_SECONDS:g} s.", "") from None
        except Exception as exc:
            raise AgentError(f"The MCP server {server!r} failed: {one_line(_reason(exc))}.", "") from exc


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
