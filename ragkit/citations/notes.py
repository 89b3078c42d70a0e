"""Check a written answer against a folder of notes: its source list, its ``file:line`` references, or the best place.

Sources are named as ``[1] path.md:12-20`` (also ``[^1]: path``, or ``1. path`` below a heading such as
"Sources" or 来源) at the end, or as ``path.md:12`` inside a sentence. A sentence that its own sources do not carry,
or that names none, is looked for in all notes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ragkit.citations.atoms import analyse
from ragkit.citations.checker import Checker
from ragkit.citations.evidence import Evidence, Passage
from ragkit.citations.verdicts import ORDER, Reason, Verdict
from ragkit.citations.verify import as_passage, statements
from ragkit.values import Chunk, Document

_PLACE: Final = r"(?P<path>[^\s:：|<>\"'`()（）\[\]]+\.\w{1,8})(?::(?P<first>\d{1,6})(?:\s*[-–]\s*(?P<last>\d{1,6}))?)?"
_SOURCE: Final = re.compile(rf"^\s*(?:[-*]\s+)?\[\^?(?P<number>\d{{1,3}})\]:?\s+[`(（]?{_PLACE}", re.MULTILINE)
_LISTED: Final = re.compile(rf"^\s*(?P<number>\d{{1,3}})[.)]\s+[`(（]?{_PLACE}", re.MULTILINE)
_HEADING: Final = re.compile(
    r"^[#*\s]*(?:sources|references|citations|来源|参考(?:资料|文献)?|引用)\s*[:：]?[*\s]*$",
    re.IGNORECASE | re.MULTILINE,
)
_INLINE: Final = re.compile(rf"\s*[(（\[`]*{_PLACE}[)）\]`]*")
_NEAREST: Final = 5


@dataclass(frozen=True)
class Notes:
    """The notes of a folder.

    Args:
        documents: By path.
        chunks: Of all documents, in order.
    """

    documents: dict[str, Document]
    chunks: Sequence[Chunk]

    def find(self, path: str) -> Document | None:
        """The document with this path, or the only one whose path ends with it."""
        wanted = path.strip("./").replace("\\", "/")
        if wanted in self.documents:
            return self.documents[wanted]
        ending = [name for name in self.documents if f"/{name}".endswith(f"/{wanted}")]
        return self.documents[ending[0]] if len(ending) == 1 else None


def verify_notes(answer: str, notes: Notes) -> list[Verdict]:
    """A verdict for every sentence; ``spans`` and ``sources`` name documents of the notes.

    Numbers in ``markers`` are those of the answer's own list; numbers in ``sources`` and ``spans[].passage`` too,
    or 0 for a place that the answer did not name.
    """
    body, listed = _split_sources(answer)
    everywhere = Evidence([as_passage(chunk) for chunk in notes.chunks])
    return [_checked(text, markers, listed, notes, everywhere) for text, markers in statements(body, everywhere)]


def _split_sources(answer: str) -> tuple[str, dict[int, re.Match[str]]]:
    """The answer without its source list, and the sources by number."""
    found: dict[int, re.Match[str]] = {}
    spans: list[tuple[int, int]] = []
    tail = 0
    for heading in _HEADING.finditer(answer):
        tail = heading.end()
        spans.append(heading.span())
    matches = list(_SOURCE.finditer(answer)) + (list(_LISTED.finditer(answer, tail)) if tail else [])
    for match in matches:
        found.setdefault(int(match["number"]), match)
        end = answer.find("\n", match.end())
        spans.append((match.start(), end if end != -1 else len(answer)))
    kept, last = "", 0
    for start, end in sorted(spans):
        if start >= last:
            kept += answer[last:start]
            last = end
    return kept + answer[last:], found


def _checked(
    text: str, markers: Sequence[int], listed: dict[int, re.Match[str]], notes: Notes, everywhere: Evidence
) -> Verdict:
    named: list[tuple[int, Passage]] = []
    lost: list[Reason] = []
    for number in markers:
        passage = _named(listed[number], notes) if number in listed else None
        if passage is None:
            place = f"{listed[number]['path']} is not in the notes" if number in listed else "it is in no source list"
            lost.append(Reason("marker", f"[{number}]: {place}"))
        else:
            named.append((number, passage))
    clean = text
    for match in reversed(list(_INLINE.finditer(text))):
        passage = _named(match, notes)
        if passage is not None and match["first"]:
            named.append((0, passage))
            clean = clean[: match.start()] + clean[match.end() :]
    own = [passage for _, passage in named]
    numbers = [number for number, _ in named]
    verdict = Checker(Evidence(own)).check(clean, range(1, len(own) + 1)) if own else None
    if verdict is None or not verdict.ok:
        # Its own sources do not carry it: look whether any other note does.
        near = _nearest(clean, everywhere)
        wider = Checker(Evidence([*own, *near])).check(clean, range(1, len(own) + 1))
        if verdict is None or ORDER.index(wider.verdict) < ORDER.index(verdict.verdict):
            verdict, numbers = wider, [*numbers, *[0] * len(near)]
    return _renumbered(replace(verdict, sentence=text, markers=tuple(markers)), numbers, lost)


def _renumbered(verdict: Verdict, numbers: Sequence[int], lost: Sequence[Reason]) -> Verdict:
    spans = tuple(replace(span, passage=numbers[span.passage - 1]) for span in verdict.spans)
    sources = tuple(dict.fromkeys(numbers[n - 1] for n in verdict.sources))
    reasons = []
    for reason in verdict.reasons:
        if reason.kind == "moved" and spans:
            reason = Reason("moved", f"{spans[0].document}:{spans[0].start_line} says it")
        reasons.append(reason)
    return replace(verdict, spans=spans, sources=sources, reasons=(*reasons, *lost))


def _named(match: re.Match[str], notes: Notes) -> Passage | None:
    """The lines that a reference names, or the whole document; None if it is not there."""
    document = notes.find(match["path"])
    if document is None:
        return None
    if not match["first"]:
        return Passage(text=document.text, document=document.path, heading=(document.title,) if document.title else ())
    first, last = int(match["first"]), int(match["last"] or match["first"])
    lines = document.text.split("\n")
    if not 1 <= first <= len(lines):
        return None
    start = sum(len(line) + 1 for line in lines[: first - 1])
    text = "\n".join(lines[first - 1 : max(first, last)])
    heading = next((c.heading for c in notes.chunks if c.document == document.path and c.start <= start <= c.end), ())
    return Passage(text=text, document=document.path, heading=heading, start=start, start_line=first)


def _nearest(text: str, everywhere: Evidence) -> list[Passage]:
    """The chunks of the notes that hold most of a sentence."""
    claim = analyse(text)
    masks = everywhere.masks(claim)
    best = {
        number: max((window.share for window in everywhere.windows(number, claim, masks)), default=0.0)
        for number, rows in enumerate(everywhere.rows)
        if any(masks[row] for row in rows)
    }
    order = sorted(best, key=lambda number: (-best[number], number))[:_NEAREST]
    return [everywhere.passages[number] for number in order if best[number] > 0]
