"""The plan of a researcher on the screen: a list that changes in place, or a line for each change."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ragkit.agent.plan import Plan, PlanItem
from ragkit.text.sanitize import one_line

_WIDTH = 160


def listed(items: tuple[PlanItem, ...]) -> str:
    """The plan, an item a line."""
    return "\n".join(one_line(item.line, _WIDTH) for item in items)


class PlanView:
    """Shows a plan while it is worked on.

    Args:
        console: A terminal to draw on; None: each change is told as a line.
        tell: Prints a line.
    """

    def __init__(self, console: Console | None, tell: Callable[[str], None]) -> None:
        self._console = console
        self._tell = tell
        self._items: tuple[PlanItem, ...] = ()
        self._live: Live | None = None

    def show(self, plan: Plan) -> None:
        """Show the plan as it stands now."""
        before, self._items = self._items, plan.items
        if self._console is None:
            for at, item in enumerate(plan.items):
                if at >= len(before) or before[at] != item:
                    self._tell(one_line(item.line, _WIDTH))
            return
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        self._live.update(Text(listed(plan.items)), refresh=True)

    def stop(self) -> None:
        """Leave the list as it is at last on the screen; safe to call twice."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._tell(listed(self._items))
