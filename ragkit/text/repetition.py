"""Whether a text that is being written goes round in circles, as small models do until their window is full."""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 200
"""Characters of what is said again and again."""
_ROUND: Final = 800
"""Characters at the end that must be nothing else: at least four times the same."""


def goes_round(text: str) -> bool:
    """Whether the last 800 characters are one piece of at most 200 characters over and over, without a change."""
    end = text[-_ROUND:]
    return len(end) == _ROUND and any(
        end[period] == end[0] and end.startswith(end[period:]) for period in range(1, _LONGEST + 1)
    )
