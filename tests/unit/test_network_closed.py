"""The conftest of this suite keeps its word: no test reaches another machine."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Callable

import httpx
import pytest

ELSEWHERE = ("192.0.2.1", 80)  # reserved for documentation, RFC 5737
LOOPBACK = ("127.0.0.1", 9)


def _socket(kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.settimeout(0.2)
    return sock


WAYS: dict[str, Callable[[tuple[str, int]], object]] = {
    "connect": lambda address: _socket().connect(address),
    "connect_ex": lambda address: _socket().connect_ex(address),
    "create_connection": lambda address: socket.create_connection(address, timeout=0.2),
    "sendto": lambda address: _socket(socket.SOCK_DGRAM).sendto(b"x", address),
    "urllib": lambda address: urllib.request.urlopen(f"http://{address[0]}:{address[1]}", timeout=0.2),
    "httpx": lambda address: httpx.get(f"http://{address[0]}:{address[1]}", timeout=0.2),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("address", [ELSEWHERE, LOOPBACK], ids=["elsewhere", "loopback"])
def test_a_unit_test_cannot_connect(way: Callable[[tuple[str, int]], object], address: tuple[str, int]) -> None:
    with pytest.raises(RuntimeError, match="the network is closed"):
        way(address)


def test_names_are_not_looked_up() -> None:
    with pytest.raises(RuntimeError, match="the network is closed"):
        socket.getaddrinfo("huggingface.co", 443)


@pytest.mark.loopback
def test_a_marked_test_reaches_its_own_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


@pytest.mark.loopback
def test_a_marked_test_still_reaches_no_other_machine() -> None:
    with pytest.raises(RuntimeError, match="the network is closed"):
        socket.create_connection(ELSEWHERE, timeout=0.2)


def test_no_setting_of_the_developers_machine_is_seen() -> None:
    assert [name for name in os.environ if name.startswith(("RAGKIT_", "OPENAI_"))] == ["RAGKIT_HOME"]
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.listdir() == []
