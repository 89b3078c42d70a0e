"""Compute threads: affinity, what a container grants, and the user's word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ragkit.models import threads


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight cores in the affinity, no container."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_affinity", lambda: 8)
    monkeypatch.setattr(threads, "_CGROUPS", tmp_path)
    read = threads._read
    monkeypatch.setattr(
        threads, "_read", lambda path: "0::/box/inner\n" if str(path) == "/proc/self/cgroup" else read(path)
    )
    (tmp_path / "box" / "inner").mkdir(parents=True)
    return tmp_path


def test_without_a_limit_the_affinity_counts(machine: Path) -> None:
    assert threads.available_cores() == 8


@pytest.mark.parametrize(
    ("file", "text", "cores"),
    [
        ("box/inner/cpu.max", "200000 100000\n", 2),
        ("box/cpu.max", "150000 100000\n", 2),
        ("box/inner/cpu.max", "50000 100000\n", 1),
        ("box/inner/cpu.max", "max 100000\n", 8),
        ("box/inner/cpu.max", "nonsense\n", 8),
        ("cpu.max", "1600000 100000\n", 8),
    ],
)
def test_a_container_grants_less(machine: Path, file: str, text: str, cores: int) -> None:
    (machine / file).write_text(text)
    assert threads.available_cores() == cores


def test_version_1_of_control_groups(machine: Path) -> None:
    (machine / "cpu").mkdir()
    (machine / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (machine / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert threads.available_cores() == 3
    (machine / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert threads.available_cores() == 8


def test_the_users_number_wins(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "cpu.max").write_text("200000 100000\n")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads.available_cores() == 5
    threads.share_cores()
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_openmp_is_told_about_a_quota_only(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    threads.share_cores()
    assert "OMP_NUM_THREADS" not in os.environ
    (machine / "cpu.max").write_text("200000 100000\n")
    threads.share_cores()
    assert os.environ["OMP_NUM_THREADS"] == "2"
