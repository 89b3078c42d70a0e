"""How many compute threads there are, and how they wait: asleep, so that others get the cores.

Torch, the e5 engine and llama.cpp each bring a thread pool. Where two of them spin while they
wait, a question that takes 10 ms alone took seconds on a machine with two cores.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_PROCESS: Final = os.getpid()
"""The process that loaded ragkit; any other that runs this module was forked."""


class Turns:
    """Calls of a library that uses OpenMP, one after another; in the child of a fork on a thread of their own.

    OpenMP keeps its workers with the thread that called it. A fork leaves them behind, and the thread that
    forked would wait for them for ever in the child. A thread that begins there gets workers of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own: dict[int, ThreadPoolExecutor] = {}
        """By process: a child of a child needs another one."""

    def run(self, call: Callable[[], T]) -> T:
        """What `call` returns, when it is its turn."""
        process = os.getpid()
        if process == _PROCESS:
            with self._lock:
                return call()
        # No lock of the parent is taken: a thread that is not here may hold it. An executor without calls is for free.
        thread = self._own.setdefault(process, ThreadPoolExecutor(max_workers=1, thread_name_prefix="ragkit-model"))
        return thread.submit(call).result()


def wait_asleep() -> None:
    """Make OpenMP threads sleep while they wait; must run before the library is loaded.

    A policy that the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def available_cores() -> int:
    """Cores that this process may keep busy: its CPU affinity, less where a container grants less.

    ``OMP_NUM_THREADS`` wins over both.
    """
    try:
        wanted = int(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])
    except ValueError:
        wanted = 0
    return wanted if wanted > 0 else _granted()


def share_cores() -> None:
    """Let OpenMP start no more threads than a container grants; must run before the library is loaded.

    It knows about the affinity by itself, but not about the quota: eight threads on a quota of two
    cores are stopped for most of every period. A number that the user has set stays.
    """
    if _granted() < _affinity():
        os.environ.setdefault("OMP_NUM_THREADS", str(_granted()))


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 faster than float32."""
    import torch

    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, check, lambda: False)()) for check in checks)


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


def _granted() -> int:
    quotas = [quota for folder in _cgroup_folders() if (quota := _quota(folder)) is not None]
    return max(min([_affinity(), *(math.ceil(quota) for quota in quotas)]), 1)


def _cgroup_folders() -> list[Path]:
    """The control group of this process and those above it; the root for version 1."""
    own = ""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        if line.startswith("0::"):
            own = line.removeprefix("0::").strip("/")
    folder = _CGROUPS / own
    return [_CGROUPS / "cpu", *([folder, *folder.parents] if own else [folder])]


def _quota(folder: Path) -> float | None:
    """Cores that a control group grants; None if it sets no limit."""
    parts = _read(folder / "cpu.max").split() or [
        _read(folder / "cpu.cfs_quota_us").strip(),
        _read(folder / "cpu.cfs_period_us").strip(),
    ]
    try:
        quota, period = int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
