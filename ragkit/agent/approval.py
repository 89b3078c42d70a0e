"""The user's yes or no to something with an effect: what is asked, who is asked, and what no answer means.

Who can be asked is a callback (`Agent.load(approve=...)`), or whoever reads the events of the run and
answers an `ApprovalAsked`. Where neither is the case the answer is no.
"""

from __future__ import annotations

import json
import re
import threading
import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, get_args

from ragkit.text.sanitize import escape_json, one_line

Permission = Literal["read", "write", "network"]
"""``read``: looks at what is on this machine and changes nothing; ``write``: changes something that outlives
the question; ``network``: talks to another process or machine. The last two need approval."""
PERMISSIONS: Final[tuple[Permission, ...]] = get_args(Permission)
REFUSED: Final = "Error: not allowed: the user did not approve this call. Go on without it; do not call it again."
"""What the model reads after a no."""
_FOREIGN: Final = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "FULLWIDTH LATIN", "FULLWIDTH DIGIT", "MATHEMATICAL")
_SIGNS: Final = frozenset("\u2044\u2215\u29f8\uff0f\uff3c\u2024\ufe52\uff0e\uff20\uff1a\u02d0\ua789\u00a0\u3000")
"""Slashes, points, colons and spaces that are not those of ASCII."""
_WORD: Final = re.compile(r"\S+")
_POLL: Final = 0.05


@dataclass(frozen=True)
class Approval:
    """What somebody is asked to allow."""

    tool: str
    permission: Permission
    arguments: dict[str, Any]
    """Exactly what the tool will get."""
    source: str = ""
    """Where the tool comes from, if not from ragkit."""
    read: tuple[str, ...] = ()
    """Text that the user did not write and that the model had read when it made the call."""

    @property
    def shown(self) -> str:
        r"""All of it as text that is safe on a terminal: nothing cut, and nothing hidden.

        Control, bidirectional and invisible characters stand there as ``\uXXXX``; below come those
        that look like others.
        """
        whole = escape_json(json.dumps(self.arguments, ensure_ascii=False, indent=2, default=str))
        origin = f" of {one_line(self.source)}" if self.source else ""
        lines = [f"{one_line(self.tool)}{origin} ({self.permission})", whole]
        if found := look_alikes(whole):
            named = ", ".join(f"{char} (U+{ord(char):04X} {unicodedata.name(char, '?')})" for char in found)
            lines.append(f"These characters look like others: {named}")
        if self.read:
            lines.append(f"The model has read: {', '.join(map(one_line, self.read))}")
        return "\n".join(lines)


Approve = Callable[[Approval], bool | Awaitable[bool]]
"""Decides about one effect; anything but True means no, and so does an error.

A coroutine function is awaited where those of tools are, see `ragkit.agent.coroutines`."""


def look_alikes(text: str, limit: int = 8) -> list[str]:
    """Characters that pass for ASCII ones, from words that have ASCII letters or slashes too."""
    found: dict[str, None] = {}
    for word in _WORD.findall(text):
        if word.isascii() or not re.search(r"[A-Za-z/\\.]", word):
            continue
        for char in word:
            if not char.isascii() and (char in _SIGNS or unicodedata.name(char, "").startswith(_FOREIGN)):
                found[char] = None
    return list(found)[:limit]


@dataclass(frozen=True)
class ApprovalAsked:
    """Something waits for a yes: call `settle` before the next event is read, else it is a no."""

    approval: Approval
    type: ClassVar[str] = "approval"
    _decided: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)
    _answers: list[bool] = field(default_factory=list, repr=False, compare=False)

    def settle(self, allowed: bool) -> None:
        """Give the answer; the first one counts."""
        self._answers.append(allowed is True)
        self._decided.set()

    def wait(self, cancelled: threading.Event) -> bool:
        """The answer, once there is one; no if nobody wants the answer to the question any more."""
        while not self._decided.wait(_POLL):
            if cancelled.is_set():
                return False
        return self._answers[0]
