"""ragkit: hybrid retrieval and a ReAct agent over your notes, in Chinese and English, with citations that hold.

The names below are loaded at first use, so ``import ragkit`` needs neither torch nor langchain nor faiss.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ragkit.agent.answer import Answer, Citation, Event
    from ragkit.agent.runtime import Agent
    from ragkit.agent.tools.permission import tool
    from ragkit.api import Index
    from ragkit.citations.verdicts import Verdict
    from ragkit.citations.verify import verify
    from ragkit.errors import RagkitError
    from ragkit.settings import Settings, load_settings
    from ragkit.values import Chunk, Document, Hit

_HOMES = {
    "Agent": "ragkit.agent.runtime",
    "Answer": "ragkit.agent.answer",
    "Chunk": "ragkit.values",
    "Citation": "ragkit.agent.answer",
    "Document": "ragkit.values",
    "Event": "ragkit.agent.answer",
    "Hit": "ragkit.values",
    "Index": "ragkit.api",
    "RagkitError": "ragkit.errors",
    "Settings": "ragkit.settings",
    "Verdict": "ragkit.citations.verdicts",
    "load_settings": "ragkit.settings",
    "tool": "ragkit.agent.tools.permission",
    "verify": "ragkit.citations.verify",
}

__all__ = [
    "Agent",
    "Answer",
    "Chunk",
    "Citation",
    "Document",
    "Event",
    "Hit",
    "Index",
    "RagkitError",
    "Settings",
    "Verdict",
    "load_settings",
    "tool",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module 'ragkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])


def _version() -> str:
    # Reading it costs more time than everything else here.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ragkit")
    except PackageNotFoundError:
        return "0.0.0"
