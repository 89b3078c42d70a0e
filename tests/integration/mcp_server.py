"""A real MCP server on stdio for the tests: ``mcp_server.py DESCRIPTION`` offers add, shout, fail and who."""

from __future__ import annotations

import os
import sys
from typing import Literal

from mcp.server.fastmcp import FastMCP

server = FastMCP("test")


def add(a: int, b: int = 1) -> str:
    return f"the sum of {a} and {b} is {a + b}"


def shout(text: str, tone: Literal["loud", "soft"] = "loud") -> str:
    return text.upper() if tone == "loud" else text


def fail() -> str:
    raise ValueError("the disk is full")


def who() -> str:
    return f"pid {os.getpid()} secret {os.environ.get('SECRET', '-')} key {os.environ.get('OPENAI_API_KEY', '-')}"


server.add_tool(add, description=sys.argv[1] if len(sys.argv) > 1 else "Add two numbers.")
for function in (shout, fail, who):
    server.add_tool(function, description=function.__name__)

if __name__ == "__main__":
    server.run()
