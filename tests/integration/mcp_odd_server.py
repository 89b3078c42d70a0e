"""An MCP server on stdio that ends when asked to, whose tools have odd names: ``mcp_odd_server.py FILE``.

FILE says how `add` describes itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mcp.server.fastmcp import FastMCP

server = FastMCP("odd")


def add(a: int, b: int = 1) -> str:
    return f"the sum of {a} and {b} is {a + b}"


def end() -> str:
    os._exit(3)


def named(name: str) -> None:
    def tool() -> str:
        return f"this is {name}"

    server.add_tool(tool, name=name, description=name)


server.add_tool(add, description=Path(sys.argv[1]).read_text(encoding="utf-8"))
server.add_tool(end, description="end")
for odd in ("repo.search", "repo/list", "repo.list", "repo_read", "repo.read", "x" * 80):
    named(odd)

if __name__ == "__main__":
    server.run()
