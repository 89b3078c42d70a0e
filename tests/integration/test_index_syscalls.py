"""Killed at system calls, inside SQLite and numpy too: the index is the old one or the new one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from crash_kit import operations, state, thorough

from ragkit.index.repair import verify_index

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from crash_kit import change
change(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
"""
CALLS = ("mkdir", "fsync", "rename", "pwrite64", "write", "unlink", "unlinkat", "rmdir", "ftruncate", "flock")
LIMIT = 400
"""Calls of one kind that are stopped at."""


def traceable() -> bool:
    """Whether strace is here and may be used."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], check=False, capture_output=True).returncode == 0


@thorough
@pytest.mark.skipif(not traceable(), reason="strace is not installed, or may not trace: apt-get install strace")
@pytest.mark.parametrize("name", ["update", "delete", "compact", "migrate"])
def test_killed_at_a_system_call(name: str, tmp_path: Path, child_environment: dict[str, str]) -> None:
    operation = operations(tmp_path)[name]
    environment = {**child_environment, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    kit = str(Path(__file__).parent)

    def run(folder: Path, *inject: str) -> int:
        command = [sys.executable, "-c", CHILD, kit, name, str(tmp_path), str(folder)]
        traced = ["strace", "-f", "-qq", "-o", os.devnull, *inject] if inject else []
        return subprocess.run([*traced, *command], env=environment, check=False, capture_output=True).returncode

    done = Path(shutil.copytree(operation.before, tmp_path / "done"))
    assert run(done) == 0
    allowed = {state(operation.before), state(done)}
    points = 0
    for call in CALLS:
        for when in range(1, LIMIT + 1):
            folder = Path(shutil.copytree(operation.before, tmp_path / f"{call}-{when}"))
            if run(folder, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}") == 0:
                break  # there are no more of them
            assert verify_index(folder) == []
            assert state(folder) in allowed
            shutil.rmtree(folder)
            points += 1
    assert points >= 20
