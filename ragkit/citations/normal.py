"""Exact places of quotes, whatever was done to width and white space on the way.

Two texts are the same here if they are after Unicode's NFKC (full width to half width, compatibility forms,
composed accents), with every run of white space as one blank, and none between a Han character and its
neighbour, invisible characters left out. Case, punctuation and words must be the same. The place that is
given back is one of the original text: ``text[start:end]`` is what a reader sees.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from ragkit.text.language import is_cjk
from ragkit.text.sanitize import INVISIBLE


@dataclass(frozen=True)
class Normal:
    """A text after normalisation, and where each of its characters came from."""

    text: str
    starts: tuple[int, ...]
    """Offset in the original of each character's first source character."""
    ends: tuple[int, ...]
    """Offset behind its last one."""

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The slice of the original that became ``text[start:end]``; `end` > `start`."""
        return self.starts[start], self.ends[end - 1]


def normalise(text: str) -> Normal:
    """Normalise `text` and remember offsets."""
    out: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at, size = 0, len(text)
    while at < size:
        end = at + 1
        # A letter and the marks that combine with it are composed together or not at all.
        while end < size and unicodedata.combining(text[end]):
            end += 1
        piece = text[at:end]
        if ord(piece[0]) not in INVISIBLE:
            for char in unicodedata.normalize("NFKC", piece):
                if char.isspace():
                    if out and out[-1] == " ":
                        ends[-1] = end
                        continue
                    char = " "
                out.append(char)
                starts.append(at)
                ends.append(end)
        at = end
    return _without_blanks(out, starts, ends)


def _without_blanks(out: list[str], starts: list[int], ends: list[int]) -> Normal:
    """Blanks at both ends and beside Han characters taken out: ``用 BM25 检索`` is ``用BM25检索``."""
    kept = [
        i
        for i, char in enumerate(out)
        if char != " " or (0 < i < len(out) - 1 and not is_cjk(out[i - 1]) and not is_cjk(out[i + 1]))
    ]
    return Normal("".join(out[i] for i in kept), tuple(starts[i] for i in kept), tuple(ends[i] for i in kept))


def find_quote(quote: str, text: str) -> tuple[int, int] | None:
    """Start and end in `text` of the first place that reads like `quote`, or None.

    Empty quotes stand nowhere.
    """
    bare = quote.strip()
    if bare and (exact := text.find(bare)) != -1 and normalise(bare).text:
        return exact, exact + len(bare)
    wanted = normalise(quote).text
    if not wanted:
        return None
    source = normalise(text)
    at = source.text.find(wanted)
    return None if at == -1 else source.original(at, at + len(wanted))
