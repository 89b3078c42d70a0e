"""Keys turn up nowhere, and nobody else can read what ragkit keeps."""

from __future__ import annotations

import base64
import json
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ragkit import Agent, Index, load_settings
from ragkit.agent.sessions import Session
from ragkit.cli import main as command_line
from ragkit.cli.common import set_up_logging
from ragkit.errors import RagkitError
from ragkit.testing import HashingEmbedder

CANARIES = {
    name: f"CANARY-{name}/+ü7f3a9c" if name == "token" else f"CANARY{name}7f3a9c"
    for name in ("key", "password", "token", "config")
}
NOTES = {"cache.md": "# KV cache\n\nThe KV cache keeps the keys and values of earlier tokens.\n"}


@pytest.fixture
def echo() -> Iterator[tuple[int, dict[str, int]]]:
    """An endpoint that fails and tells in its error everything that it was sent; the status can be set."""
    status = {"code": 401}

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            told = {"message": f"refused {self.path} {dict(self.headers)}", "type": "auth"}
            body = json.dumps({"error": told}).encode()
            self.send_response(status["code"])
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.send_header("x-echo", self.headers.get("authorization", ""))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, status
    server.shutdown()


def forms(secret: str) -> set[str]:
    """A secret as it stands in text, JSON, an address and a header."""
    raw = secret.encode()
    return {
        secret,
        json.dumps(secret)[1:-1],
        quote(secret, safe=""),
        quote(secret),
        *(base64.b64encode(b"x" * shift + raw).decode()[4:-4] for shift in range(3)),
        raw.hex(),
    }


def leaks(places: Mapping[str, str]) -> list[str]:
    """Where which secret stands."""
    return [
        f"{name} in {place}: …{text[max(0, text.index(form) - 80) : text.index(form) + 10]}"
        for name, secret in CANARIES.items()
        for form in forms(secret)
        for place, text in places.items()
        if form in text
    ]


def test_the_search_finds_each_form() -> None:
    for name, secret in CANARIES.items():
        for form in forms(secret):
            assert leaks({"log": f"…{form}…"})[0].startswith(name)


def test_no_secret_is_written_anywhere_when_an_endpoint_fails(
    tmp_path: Path,
    home: Path,
    make_notes: Callable[[Path, Mapping[str, str]], Path],
    echo: tuple[int, dict[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    port, status = echo
    address = f"http://me:{CANARIES['password']}@127.0.0.1:{port}/v1"
    config = tmp_path / "ragkit.toml"
    config.write_text(
        f'openai_api_key = "{CANARIES["config"]}"\nbackend_token = "{CANARIES["token"]}"\n', encoding="utf-8"
    )
    config.chmod(0o644)
    monkeypatch.setenv("OPENAI_API_KEY", CANARIES["key"])
    said: list[str] = []
    notes = make_notes(tmp_path / "notes", NOTES)
    before, root = list(logging.root.handlers), logging.root.level
    set_up_logging(2)
    try:
        for given, code in (({}, 401), ({"config": config}, 500), ({"config": config}, 404)):
            status["code"] = code
            settings = load_settings(home=home, chat_timeout=5, **given)
            index = Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=settings)
            agent = Agent.load("interview", index=index, model=f"openai:m@{address}", settings=settings)
            agent.session = Session.start(home)
            try:
                answer = agent.ask("What does the KV cache keep?")
                said.append(json.dumps(answer.to_json(), ensure_ascii=False) + repr(answer))
            except RagkitError as exc:
                said.append(str(exc) + repr(exc))
                monkeypatch.setattr(command_line.state, "debug", True)
                command_line._show_trace()
            said.append(repr(settings) + str(settings) + settings.model_dump_json() + agent.chat.name)
    finally:
        logging.root.handlers[:] = before
        logging.root.setLevel(root)
    out, err = capfd.readouterr()
    places = {"stdout": out, "stderr": err, "errors and answers": "\n".join(said)}
    for folder in (home, tmp_path / "index"):
        for file in folder.rglob("*"):
            if file.is_file():
                places[str(file.relative_to(folder))] = file.read_bytes().decode("utf-8", "replace")
    assert leaks(places) == []
    assert "others may read it" in err and "Traceback" in err


PROGRAM = """
import contextlib, io, os, sys
os.umask(0)
import ragkit.api
from ragkit.cli import main
from ragkit.index.model_choice import model_for
from ragkit.testing import HashingEmbedder
ragkit.api.model_for = lambda folder, given, *rest: model_for(folder, HashingEmbedder(), *rest)
def run(*arguments, typed=""):
    sys.stdin = io.TextIOWrapper(io.BytesIO(typed.encode()), encoding="utf-8")
    with contextlib.suppress(SystemExit):
        main.main([*arguments, "--notes", sys.argv[1]])
run("index", sys.argv[1])
run("ask", "What does the KV cache keep?", "--session", "s1", "--model", "extractive")
run("search", "KV cache")
run("chat", "--model", "extractive", typed="What does the KV cache keep?\\n/good well said\\n")
run("feedback", "list")
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX modes")
def test_everything_below_the_home_is_its_owners_alone_whatever_the_umask(
    tmp_path: Path,
    make_notes: Callable[[Path, Mapping[str, str]], Path],
    child_environment: dict[str, str],
) -> None:
    notes = make_notes(tmp_path / "notes", NOTES)
    home = tmp_path / "deep" / "home"
    environment = {**child_environment, "RAGKIT_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(notes)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    kept = {str(path.relative_to(home)): stat.S_IMODE(path.lstat().st_mode) for path in [home, *home.rglob("*")]}
    assert {name.split("/")[0] for name in kept} >= {"indexes", "sessions", "feedback"}, (kept, done.stderr[-2000:])
    wide = {name: oct(mode) for name, mode in kept.items() if mode & 0o077}
    assert wide == {}
