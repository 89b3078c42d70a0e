"""Calls with a limit of time, and what they print."""

from __future__ import annotations

import contextvars
import sys
import threading
import time

import pytest

from ragkit.agent.limited import NotInTime, within


def test_the_value_comes_back() -> None:
    assert within(None, lambda: 7) == 7 and within(1, lambda: None) is None


def test_whatever_is_raised_comes_back() -> None:
    def ends() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        within(1, ends)


def test_a_call_that_hangs_is_left_behind_in_time() -> None:
    release = threading.Event()
    began = time.monotonic()
    with pytest.raises(NotInTime):
        within(0.2, release.wait)
    assert time.monotonic() - began < 10
    release.set()


def test_it_sees_the_context_of_the_caller() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("mine")
    assert within(1, variable.get) == "mine"


def test_prints_of_a_quiet_call_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    sys.stdout.write("before\n")
    within(5, lambda: sys.stdout.write("from inside"), quiet=True)
    within(5, lambda: sys.stdout.flush(), quiet=True)
    sys.stdout.write("after\n")
    shown = capsys.readouterr()
    assert shown.out == "before\nafter\n" and "from inside" in shown.err


def test_standard_output_keeps_its_other_sides(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout.encoding, sys.stdout.isatty()
    within(1, lambda: None, quiet=True)
    assert (sys.stdout.encoding, sys.stdout.isatty()) == before
    sys.stdout.buffer.write(b"bytes\n")
    sys.stdout.flush()
    assert capfd.readouterr().out == "bytes\n"
