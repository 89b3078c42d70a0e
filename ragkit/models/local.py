"""llama.cpp in this process: one server for each model file, reachable on 127.0.0.1 with a random key.

The server speaks the OpenAI protocol, so a local model and a remote endpoint share one client. Its
port is closed to anybody without the key.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ragkit.errors import ModelError
from ragkit.models.bundled import INSTALL
from ragkit.models.gguf import check_gguf
from ragkit.models.serial import SerialGate
from ragkit.models.threads import available_cores, wait_asleep

_lock = threading.Lock()
_running: dict[tuple[Path, int], LocalEndpoint] = {}


@dataclass(frozen=True)
class LocalEndpoint:
    """A running llama.cpp server."""

    base_url: str
    api_key: str
    server: Any
    """Kept alive as long as the endpoint is used."""
    context_tokens: int
    gate: SerialGate = field(init=False)
    """Every call goes through it, whoever makes it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "gate", SerialGate(self.context_tokens, self.count_tokens))

    def count_tokens(self, text: str) -> int | None:
        """Tokens of `text` by the model's own tokenizer; None if the server does not tell."""
        import httpx

        try:
            reply = httpx.post(
                f"{self.base_url.removesuffix('/v1')}/tokenize",
                json={"content": text},
                headers={"Authorization": f"Bearer {self.api_key}"},
                timeout=10,
                trust_env=False,
            )
            return len(reply.json()["tokens"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None


def start_local(path: Path, context_tokens: int) -> LocalEndpoint:
    """Load a GGUF model, or return the server that already runs it.

    Args:
        path: Model file; verified by the caller if it is a bundled one.
        context_tokens: Context window to reserve.

    Raises:
        ModelError: If xllamacpp is missing or the file is no usable model.
    """
    key = (path.resolve(), context_tokens)
    with _lock:
        if key not in _running:
            _running[key] = _start(path, context_tokens)
        return _running[key]


def _threads() -> int:
    """All cores of a small machine; half of a larger one, where cores are mostly shared by two threads."""
    count = available_cores()
    return count if count <= 4 else count // 2


def _start(path: Path, context_tokens: int) -> LocalEndpoint:
    if not path.is_file():
        raise ModelError(f"Model file not found: {path}", "Check the path after gguf:.")
    check_gguf(path)
    wait_asleep()
    try:
        import xllamacpp
    except ImportError as exc:
        raise ModelError("llama.cpp (xllamacpp) is not installed.", INSTALL) from exc
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = context_tokens
    # Two places in the cache: the rules of an agent stay in one while translations and rewritings use the other.
    # Calls still come one after the other, and each has the whole window.
    parameters.n_parallel = 2
    parameters.kv_unified = True
    parameters.cache_idle_slots = False
    parameters.cpuparams.n_threads = _threads()
    parameters.cpuparams.poll = 0  # sleep instead of spinning while threads wait for each other
    parameters.verbosity = -1
    parameters.hostnames = ["127.0.0.1"]
    parameters.ui = False
    api_key = secrets.token_urlsafe(24)
    parameters.api_keys = [api_key]
    try:
        server = xllamacpp.Server(parameters)
    except (RuntimeError, ValueError) as exc:
        raise ModelError(
            f"llama.cpp cannot load {path}: {str(exc)[:200]}.", "Check the file and the free memory."
        ) from exc
    return LocalEndpoint(f"{server.listening_address}/v1", api_key, server, context_tokens)
