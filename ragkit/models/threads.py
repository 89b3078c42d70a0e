"""How compute threads wait: asleep, so that the other libraries of this process get the cores.

Torch, the e5 engine and llama.cpp each bring a thread pool. Where two of them spin while they
wait, a question that takes 10 ms alone took seconds on a machine with two cores.
"""

from __future__ import annotations

import os


def wait_asleep() -> None:
    """Make OpenMP threads sleep while they wait; must run before the library is loaded.

    A policy that the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
