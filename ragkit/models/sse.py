"""Server-sent events, decoded as the WHATWG standard says, from bytes cut anywhere.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = b"\xef\xbb\xbf"


class EventDecoder:
    """Turns pieces of an event stream into the ``data`` of its events.

    Lines end with LF, CR or CRLF, also where a piece ends between CR and LF. Comments and other fields are
    left out, several ``data`` lines are joined. Bytes that are no UTF-8 become U+FFFD.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._scanned = 0
        self._data: list[str] = []
        self._begun = False

    def feed(self, piece: bytes) -> Iterator[str]:
        """The events that are complete with this piece."""
        self._rest += piece
        if not self._begun:
            if len(self._rest) < len(_BOM) and _BOM.startswith(self._rest):
                return
            self._begun, self._rest = True, self._rest.removeprefix(_BOM)
        at = 0
        for end in _LINE_END.finditer(self._rest, self._scanned):
            if end.group() == b"\r" and end.end() == len(self._rest):
                break  # its LF may be in the next piece
            yield from self._line(self._rest[at : end.start()])
            at = end.end()
        self._rest = self._rest[at:]
        # A long line in many pieces is searched once, not once a piece.
        self._scanned = max(0, len(self._rest) - 1)

    def finish(self) -> Iterator[str]:
        """What the stream ended on: servers leave the last blank line out, against the standard."""
        for line in (self._rest.removesuffix(b"\r"), b""):
            yield from self._line(line)
        self._rest = b""

    def _line(self, line: bytes) -> Iterator[str]:
        if not line:
            if self._data:
                yield "\n".join(self._data)
            self._data = []
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" ").decode("utf-8", "replace"))
