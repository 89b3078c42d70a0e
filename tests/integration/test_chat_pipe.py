"""``ragkit chat`` without a terminal: one question a line, plain text out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def surroundings(
    tmp_path_factory: pytest.TempPathFactory, two_notes: Path, child_environment: dict[str, str], bundled_e5: Any
) -> tuple[Path, dict[str, str]]:
    """Two notes, and an environment whose home keeps their index over the tests of this file."""
    base = tmp_path_factory.mktemp("pipe")
    (base / "home").mkdir(mode=0o700)
    # Converting the weights takes longer than everything else here; the suite does it once.
    (base / "home" / "models").symlink_to(bundled_e5.prepare().parent)
    home = {"RAGKIT_HOME": str(base / "home"), "RAGKIT_EMBEDDING_MODEL": "bundled"}
    return two_notes, {**child_environment, **home}


def chat(
    surroundings: tuple[Path, dict[str, str]], typed: bytes, *options: str, **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a chat over `typed`, in the notes' parent folder."""
    notes, environment = surroundings
    command = [sys.executable, "-m", "ragkit.cli", "chat", "--notes", str(notes), "--model", "extractive", *options]
    return subprocess.run(
        command,
        input=typed,
        capture_output=True,
        timeout=180,
        env={**environment, **more},
        cwd=notes.parent,
        check=False,
    )


def test_questions_and_commands_from_a_pipe(surroundings: tuple[Path, dict[str, str]]) -> None:
    typed = "为什么需要位置编码？\n\n/open 1\nWhat does the KV cache keep?\n".encode()
    result = chat(surroundings, typed)
    out, err = result.stdout.decode(), result.stderr.decode()
    assert result.returncode == 0, err
    assert "\x1b" not in out and "\x1b" not in err
    lines = out.splitlines()
    assert [line for line in lines if line.startswith("› ")] == [
        "› 为什么需要位置编码？", "› /open 1", "› What does the KV cache keep?"
    ]  # fmt: skip
    assert any(line.startswith("[1] position.md:3") for line in lines)
    assert "> 3  自注意力对词的顺序不敏感，所以需要位置编码告诉模型每个词在哪里。" in lines
    assert any("cache.md:" in line for line in lines)
    assert "Traceback" not in err
    assert "2 notes" in err and "/help for commands" in err and "ragkit[local]" in err


def test_what_fails_is_one_line_and_the_rest_goes_on(surroundings: tuple[Path, dict[str, str]]) -> None:
    typed = b"x" * 9000 + b"\n/sorces\n\xff\xfe KV cache\n/quit\nnever asked\n"
    result = chat(surroundings, typed, "--quiet")
    out, err = result.stdout.decode(), result.stderr.decode()
    assert result.returncode == 0, err
    assert err.splitlines() == [
        "Error: The question has 9,000 characters; at most 8,000 are taken. Put long text into a note and index it.",
        "Unknown command /sorces. Did you mean /sources?",
    ]
    assert "› \ufffd\ufffd KV cache" in out
    assert "cache.md:" in out
    assert "never asked" not in out


def test_session_is_gone_on_with(surroundings: tuple[Path, dict[str, str]]) -> None:
    assert chat(surroundings, b"KV cache\n", "--session", "mine").returncode == 0
    again = chat(surroundings, b"/session\n/sources\n", "--session", "mine", NO_COLOR="1", TERM="dumb")
    assert "1 earlier turn " in again.stderr.decode()
    assert "session mine, 1 turn\n" in again.stdout.decode()
    assert "cache.md:" in again.stdout.decode()
    kept = Path(surroundings[1]["RAGKIT_HOME"]) / "sessions" / "mine.jsonl"
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--json"], 2, "ragkit ask --json"),
        (["--session", "../x"], 2, "'../x'"),
        (["--agent", "nobody"], 1, "'nobody'"),
        (["--model", "nonsense"], 1, "'nonsense'"),
    ],
)
def test_what_cannot_be_meant_ends_before_the_prompt(
    surroundings: tuple[Path, dict[str, str]], options: list[str], code: int, message: str
) -> None:
    result = chat(surroundings, b"never asked\n", *options)
    assert result.returncode == code
    assert result.stdout == b""
    assert message in result.stderr.decode()
    assert len(result.stderr.decode().splitlines()) == 1
