"""The chat on a real terminal: editing, answers, commands, Ctrl-C, Ctrl-D."""

from __future__ import annotations

import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pexpect = pytest.importorskip("pexpect")
if not hasattr(pexpect, "spawn"):
    pytest.skip("needs a pty", allow_module_level=True)

PROMPT = "›"


@pytest.fixture(scope="module")
def surroundings(
    tmp_path_factory: pytest.TempPathFactory, two_notes: Path, child_environment: dict[str, str], bundled_e5: Any
) -> tuple[Path, dict[str, str]]:
    """Two notes, and an environment whose home keeps their index over the tests of this file."""
    base = tmp_path_factory.mktemp("pty")
    (base / "home").mkdir(mode=0o700)
    # Converting the weights takes longer than everything else here; the suite does it once.
    (base / "home" / "models").symlink_to(bundled_e5.prepare().parent)
    own = {
        "RAGKIT_HOME": str(base / "home"),
        "RAGKIT_EMBEDDING_MODEL": "bundled",
        "TERM": "xterm-256color",
        # Nobody answers here when the editor asks the terminal where its cursor is.
        "PROMPT_TOOLKIT_NO_CPR": "1",
    }
    return two_notes, {**child_environment, **own}


def _heed_interrupts() -> None:
    """A test run in the background starts with SIGINT ignored, and so would everything it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A chat in a pty."""

    def __init__(self, notes: Path, environment: dict[str, str], *options: str) -> None:
        arguments = ["-m", "ragkit.cli", "chat", "--notes", str(notes), *options]
        self.child: Any = pexpect.spawn(
            sys.executable, arguments, env=environment, cwd=str(notes.parent), encoding="utf-8", timeout=120,
            dimensions=(40, 160), preexec_fn=_heed_interrupts,
        )  # fmt: skip
        self.see("/help for commands")
        self.see(PROMPT)

    def see(self, text: str) -> str:
        """Wait for `text`; returns what came before it, without control sequences."""
        self.child.expect_exact(text)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]", "", self.child.before)

    def type(self, keys: str) -> None:
        """Press keys, a little later than the last drawing."""
        time.sleep(0.15)
        self.child.send(keys)

    def ask(self, message: str, *expected: str) -> None:
        """Send a message and wait for these texts in this order."""
        self.type(f"{message}\r")
        for text in expected:
            self.see(text)

    def ends(self) -> int:
        """Exit status, once the chat is over."""
        self.child.expect(pexpect.EOF)
        self.child.close()
        return int(self.child.exitstatus)


@pytest.fixture
def terminal(surroundings: tuple[Path, dict[str, str]]) -> Iterator[Terminal]:
    """A chat that quotes passages."""
    opened = Terminal(*surroundings, "--model", "extractive")
    yield opened
    opened.child.close(force=True)


def test_a_conversation(terminal: Terminal) -> None:
    terminal.ask(
        "为什么需要位置编码？", "→ search_notes", "← ", "自注意力", "[1] position.md:3", "extractive · ", PROMPT
    )
    terminal.ask("/sources", "[1] position.md:3", "位置编码", "自注意力对词的顺序不敏感", PROMPT)
    terminal.ask("/open 1", "> 3  自注意力", PROMPT)
    terminal.ask("/why", "[1] position.md:", "score ", "dense #", "query: 为什么需要位置编码？", PROMPT)
    terminal.ask("/trace", "question: 为什么需要位置编码？", '→ search_notes {"query"', "answered after 1 step", PROMPT)
    terminal.ask("/model", "chat model: extractive", PROMPT)
    terminal.ask("/agent", "agent: interview", PROMPT)
    terminal.ask("/session", ", 1 turn", ".jsonl", PROMPT)
    terminal.ask("/new", "new session", PROMPT)
    terminal.ask("/notes", "cache.md", "position.md", "2 notes", PROMPT)
    terminal.ask("/sorces", "Unknown command /sorces. Did you mean /sources?", PROMPT)
    terminal.ask("/open 7", "The last answer has no sources. Usage: /open N", PROMPT)
    terminal.ask("/quit")
    assert terminal.ends() == 0


def test_control_c_and_control_d_at_the_prompt(terminal: Terminal) -> None:
    terminal.type("never sent")
    terminal.type("\x03")
    terminal.type("\x03")
    terminal.see("Ctrl-D or /quit leaves")
    terminal.ask("KV cache", "cache.md:", "extractive · ", PROMPT)
    terminal.type("\x04")
    assert terminal.ends() == 0


def test_one_message_of_several_lines(terminal: Terminal, surroundings: tuple[Path, dict[str, str]]) -> None:
    terminal.type("KV")
    terminal.type("\x1b\r")
    terminal.type("cache\\")
    terminal.type("\r")
    terminal.type("\x1b[200~键\n值\x1b[201~")
    terminal.ask("", r'{"query": "KV\ncache\n键\n值"}', "extractive · ", PROMPT)
    history = Path(surroundings[1]["RAGKIT_HOME"]) / "history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "+KV\n+cache\n+键\n+值\n" in history.read_text(encoding="utf-8")


def test_completion_of_commands_and_sources(terminal: Terminal) -> None:
    terminal.type("/mo")
    terminal.see("show or switch the chat model")
    terminal.type("\x03")
    terminal.ask("KV cache", "extractive · ", PROMPT)
    terminal.type("/open ")
    terminal.see("cache.md:")
    terminal.type("\t\r")
    terminal.see("> ")


def test_control_c_stops_an_answer_that_does_not_come(surroundings: tuple[Path, dict[str, str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        terminal = Terminal(*surroundings, "--model", f"openai:silent@http://127.0.0.1:{port}/v1")
        terminal.ask("What does the KV cache keep?", "Ctrl-C stops")
        began = time.monotonic()
        terminal.child.send("\x03")
        terminal.see("stopped")
        terminal.see(PROMPT)
        assert time.monotonic() - began < 1.0
        terminal.ask("/model extractive", "chat model: extractive", PROMPT)
        terminal.ask("What does the KV cache keep?", "[1] cache.md:3", PROMPT)
        terminal.ask("/exit")
        assert terminal.ends() == 0


def test_dumb_terminal_gets_plain_text(surroundings: tuple[Path, dict[str, str]]) -> None:
    notes, environment = surroundings
    terminal = Terminal(notes, {**environment, "TERM": "dumb"}, "--model", "extractive")
    terminal.child.sendline("KV cache")
    terminal.child.expect_exact("[1] cache.md:")
    assert "\x1b" not in terminal.child.before
    terminal.child.expect_exact(PROMPT)
    terminal.child.sendintr()
    terminal.child.expect_exact("Ctrl-D or /quit leaves")
    terminal.child.expect_exact(PROMPT)
    terminal.child.sendeof()
    assert terminal.ends() == 0
