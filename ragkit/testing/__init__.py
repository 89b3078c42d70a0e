"""Fakes for tests of code that uses ragkit: a scripted chat model and a hashing embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragkit.testing.embedder import HashingEmbedder

if TYPE_CHECKING:
    from ragkit.testing.chat import ScriptedChatModel

__all__ = ["HashingEmbedder", "ScriptedChatModel"]


def __getattr__(name: str) -> Any:
    if name == "ScriptedChatModel":
        # Only this one needs LangChain, which takes half a second to import.
        from ragkit.testing.chat import ScriptedChatModel

        return ScriptedChatModel
    raise AttributeError(f"module 'ragkit.testing' has no attribute {name!r}")
