"""The REPL asks for approval between two events, and draws the plan of a researcher."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import pytest
from rich.console import Console

from ragkit.agent.answer import Event
from ragkit.agent.approval import Approval, ApprovalAsked
from ragkit.agent.plan import Plan, PlanItem
from ragkit.cli.plan_view import PlanView
from ragkit.cli.repl.loop import Repl
from ragkit.cli.repl.screen import Screen


class Reader:
    echo = True

    def __init__(self, yes: bool) -> None:
        self.yes = yes
        self.asked: list[Approval] = []

    def read(self) -> str:
        raise EOFError

    def silent(self) -> AbstractContextManager[None]:
        return nullcontext()

    def confirm(self, approval: Approval) -> bool:
        self.asked.append(approval)
        return self.yes


class Talk:
    last = None

    def __init__(self, *events: Event) -> None:
        self.events = events

    def stream(self, question: str) -> Iterator[Event]:
        yield from self.events

    def doing(self) -> str:
        return "working"


def screen(*, interactive: bool) -> tuple[Screen, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    consoles = [Console(file=file, force_terminal=interactive, width=80, highlight=False) for file in (out, err)]
    return Screen(interactive=interactive, out=consoles[0], err=consoles[1]), out, err


@pytest.mark.parametrize("yes", [True, False])
def test_what_the_reader_says_is_the_answer(yes: bool) -> None:
    event, reader = ApprovalAsked(Approval("save", "write", {"path": "a"})), Reader(yes)
    shown, _, _ = screen(interactive=False)
    Repl(cast(Any, Talk(event)), shown, reader, lambda *given: False)._answer("x")
    assert [approval.tool for approval in reader.asked] == ["save"]
    assert event.wait(threading.Event()) is yes


FIRST = Plan((PlanItem("one", "working"), PlanItem("two\x1b[2J")))
SECOND = Plan((PlanItem("one", "done"), PlanItem("two\x1b[2J", "missing")))


def test_a_pipe_gets_a_line_for_each_change_of_the_plan() -> None:
    shown, out, err = screen(interactive=False)
    with shown.turn(lambda: "working"):
        shown.show(FIRST)
        shown.show(SECOND)
    lines = [line.split() for line in err.getvalue().splitlines()]
    assert [line[0] for line in lines] == ["▸", "○", "✓", "✗"]
    assert out.getvalue() == "" and "\x1b" not in err.getvalue()


def test_a_terminal_gets_the_list_in_place() -> None:
    shown, out, _ = screen(interactive=True)
    with shown.turn(lambda: "working"):
        shown.show(FIRST)
        shown.show(SECOND)
    assert "\x1b[2J" not in out.getvalue()


def test_a_drawn_plan_stays_on_the_screen_at_last() -> None:
    file = io.StringIO()
    told: list[str] = []
    view = PlanView(Console(file=file, force_terminal=True, width=80), told.append)
    view.show(FIRST)
    view.show(SECOND)
    view.stop()
    view.stop()
    assert told == ["✓ one\n✗ two�[2J"]
