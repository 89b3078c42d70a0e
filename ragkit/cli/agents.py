"""``ragkit agents``: which agents there are, whether their files are right, which servers they may start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ragkit.cli.approve import can_ask, servers_of
from ragkit.cli.common import emit_json, path_given, say, state
from ragkit.errors import AgentError
from ragkit.text.sanitize import one_line

app = typer.Typer(no_args_is_help=True, help="Agents: list, show, check, trust.", rich_markup_mode=None)


@app.command("list")
def list_agents() -> None:
    """Show the agents that can be named, and the files that cannot be read."""
    from ragkit.agent.spec import find_agents

    found = find_agents(state.settings().agents_dir)
    rows = [
        {
            "name": each.name,
            "path": str(each.path),
            "description": each.spec.header.description if each.spec else "",
            "workflow": each.spec.header.workflow if each.spec else "",
            "tools": [*each.spec.header.tools, *(f"{name}_*" for name in each.spec.header.mcp)] if each.spec else [],
            "error": str(each.error) if each.error else "",
        }
        for each in found
    ]
    if state.json:
        emit_json({"agents": rows})
        return
    for row in rows:
        say(
            f"{row['name']:14} {one_line(str(row['description'] or row['error']), 100)}",
            "yellow" if row["error"] else None,
        )
        say(f"{'':14} {one_line(str(row['path']))}", style="dim")


@app.command("show")
def show(agent: Annotated[str, typer.Argument(help="Name or file of the agent.")]) -> None:
    """Show what an agent file says: every key with its value, the system prompt, the examples."""
    from ragkit.agent.spec import load_agent

    spec = load_agent(agent, state.settings().agents_dir)
    header: dict[str, Any] = spec.header.model_dump(mode="json")
    if state.json:
        examples = [{"question": e.question, "calls": len(e.calls), "answer": e.answer} for e in spec.examples]
        emit_json({**header, "path": str(spec.path), "prompt": spec.prompt, "examples": examples})
        return
    say(one_line(str(spec.path)), style="dim")
    for key, value in header.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        say(f"{key:22} {one_line(shown, 300)}")
    say()
    say(spec.prompt)
    for example in spec.examples:
        say(f"\nexample: {one_line(example.question)} → {one_line(example.answer)}", style="dim")


@app.command("check")
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Agent files; none: all that can be found.", parser=path_given)
    ] = None,
) -> None:
    """Check agent files: unknown keys and tools, names that two files have, examples. Fails if one is wrong."""
    from ragkit.agent.spec import duplicate, find_agents, load_agent

    wrong: dict[str, str] = {}
    right: list[str] = []
    if files:
        for file in files:
            try:
                right.append(str(load_agent(str(file), state.settings().agents_dir).path))
            except AgentError as exc:
                wrong[str(file)] = str(exc)
    else:
        found = find_agents(state.settings().agents_dir)
        for each in found:
            same = [other for other in found if other.name == each.name]
            if each.error is not None:
                wrong[str(each.path)] = str(each.error)
            elif len(same) > 1:
                wrong[str(each.path)] = str(duplicate([*(o for o in same if o is not each), each]))
            else:
                right.append(str(each.path))
    if state.json:
        emit_json({"right": right, "wrong": [{"path": path, "error": error} for path, error in wrong.items()]})
    else:
        for path in right:
            say(f"✓ {one_line(path)}")
        for error in wrong.values():
            say(f"✗ {one_line(error, 2000)}", style="red")
    if wrong:
        raise typer.Exit(1)


@app.command("trust")
def trust(agent: Annotated[str, typer.Argument(help="Name or file of the agent.")]) -> None:
    """Look at the MCP servers of an agent, and allow them to be started and their tools to be offered."""
    from ragkit.agent.spec import load_agent

    settings = state.settings()
    spec = load_agent(agent, settings.agents_dir)
    if spec.header.mcp and not can_ask():
        raise AgentError("Nobody can be asked here.", "Run this on a terminal.")
    settings.ensure_home()
    servers = servers_of(spec, settings)
    names = [tool.name for tool in servers.tools] if servers else []
    if servers is not None:
        servers.close()
    if state.json:
        emit_json({"agent": spec.name, "tools": names})
    else:
        say(f"{spec.name} may use: {', '.join(names)}" if names else f"{spec.name} names no MCP servers.")
