"""Fakes for tests of code that uses ragkit: a scripted chat model, a hashing embedder, a faulty endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragkit.testing.embedder import HashingEmbedder
from ragkit.testing.fault_server import FaultServer, Step

if TYPE_CHECKING:
    from ragkit.testing.chat import ScriptedChatModel

__all__ = ["FaultServer", "HashingEmbedder", "ScriptedChatModel", "Step"]


def __getattr__(name: str) -> Any:
    if name == "ScriptedChatModel":
        # Only this one needs LangChain, which takes half a second to import.
        from ragkit.testing.chat import ScriptedChatModel

        return ScriptedChatModel
    raise AttributeError(f"module 'ragkit.testing' has no attribute {name!r}")
