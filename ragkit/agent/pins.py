"""What the user approved of MCP servers, by hash: how they are started, and how their tools describe themselves.

A description goes to the model as it is, so a server that changes one after it was approved ("rug pull")
would speak to the model in the user's name. Whatever changed is asked about again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ragkit.errors import AgentError
from ragkit.index.fsops import write_json_atomically

FILE = "mcp-pins.json"


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class Pins:
    """The approvals kept below `home`.

    Raises:
        AgentError: If the file there is damaged.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        self._servers: dict[str, dict[str, Any]] = {}
        if not self.path.exists():
            return
        try:
            given = json.loads(self.path.read_text(encoding="utf-8"))
            self._servers = {
                str(key): {"name": str(pin["name"]), "tools": dict(pin["tools"])} for key, pin in given.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
            raise AgentError(f"{self.path} cannot be read.", "Remove it; servers are asked about again then.") from exc

    def starts(self, launch: Mapping[str, Any]) -> bool:
        """Whether the user allowed this way of starting a server."""
        return digest(launch) in self._servers

    def changed(self, launch: Mapping[str, Any], tools: Mapping[str, Any], chosen: Sequence[str] = ()) -> list[str]:
        """Names of the tools whose definition is not the approved one, and of approved ones that are gone.

        Args:
            launch: How the server is started.
            tools: Definitions by name.
            chosen: The tools that the agent file takes of the server; each choice is approved by itself.
        """
        known = self._servers.get(_key(launch, chosen), {}).get("tools", {})
        new = [name for name, definition in tools.items() if known.get(name) != digest(definition)]
        return [*new, *(name for name in known if name not in tools)]

    def keep(self, name: str, launch: Mapping[str, Any], tools: Mapping[str, Any], chosen: Sequence[str] = ()) -> None:
        """Remember what was approved; hashes only, since variables and headers may be secrets."""
        pinned = {tool: digest(definition) for tool, definition in tools.items()}
        self._servers.setdefault(digest(launch), {"name": name, "tools": {}})
        self._servers[_key(launch, chosen)] = {"name": name, "tools": pinned}
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json_atomically(self.path, self._servers)


def _key(launch: Mapping[str, Any], chosen: Sequence[str]) -> str:
    return digest({**launch, "tools": sorted(chosen)} if chosen else launch)
