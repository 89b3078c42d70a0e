"""Citation markers in generated text: ``[1]``, ``[1,2]``, ``[1][2]``, ``【1】``, ``［1］``, ``[^1]``.

Code spans and code blocks are left alone: ``a[1]`` in code is no citation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ragkit.text.sentences import sentence_spans

_NUMBERS: Final = r"\s*\^?\s*(\d{1,3}(?:\s*[,，、;；]\s*\d{1,3})*)\s*"
MARKER: Final = re.compile(
    rf"(?<![\w\])\[])\[{{1,2}}{_NUMBERS}\]{{1,2}}(?!\()|(?<=[^\x00-\x7f])\[{{1,2}}{_NUMBERS}\]{{1,2}}(?!\()"
    rf"|[【［]{_NUMBERS}[】］]|(?<=[\]\w)])\[{{1,2}}{_NUMBERS}\]{{1,2}}(?=[\s.,;:!?\[]|[^\x00-\x7f]|$)"
)
_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_MASKED: Final = re.compile("`([\U000f0000-\U000ffffd])`")


@dataclass(frozen=True)
class CitedSentence:
    """A sentence of an answer without its markers, and the markers it carried."""

    text: str
    markers: tuple[int, ...]
    lead: str = ""
    """Line break that stood before it: empty, one or two newlines."""
    verbatim: bool = False
    """Part of a code block: kept as it is, never judged."""


def parse_answer(text: str) -> list[CitedSentence]:
    """Split generated text into sentences and the markers each carries.

    A marker that stands alone after a sentence end belongs to the sentence before it.
    """
    parts: list[CitedSentence] = []
    at = 0
    for code in _CODE.finditer(text):
        block = code.group().startswith("```")
        if not block:
            continue
        parts.extend(_prose(text[at : code.start()]))
        parts.append(CitedSentence(code.group(), (), verbatim=True))
        at = code.end()
    parts.extend(_prose(text[at:]))
    return parts


def _prose(text: str) -> list[CitedSentence]:
    # Inline code is set aside: a semicolon in it ends no sentence, and brackets in it are no markers.
    codes: list[str] = []

    def mask(code: re.Match[str]) -> str:
        codes.append(code.group())
        return f"`{chr(0xF0000 + len(codes) - 1)}`"

    masked = _CODE.sub(mask, text)
    return [
        replace(sentence, text=_MASKED.sub(lambda code: codes[ord(code.group(1)) - 0xF0000], sentence.text))
        for sentence in _sentences(masked)
    ]


def _sentences(text: str) -> list[CitedSentence]:
    # Markers after the full stop ("是的。[1]") move in front of it, so that they stay with their sentence.
    moved = re.sub(rf"([。！？；.!?;]+)((?:[ \t]?(?:{MARKER.pattern}))+)", r"\2\1", text)
    sentences: list[CitedSentence] = []
    last_end = 0
    for start, end in sentence_spans(moved):
        raw = moved[start:end]
        lead = "\n" * min(2, moved.count("\n", last_end, start))
        last_end = end
        markers: list[int] = []
        clean: list[str] = []
        last = 0
        for match in MARKER.finditer(raw):
            numbers = next(group for group in match.groups() if group)
            markers.extend(int(number) for number in re.findall(r"\d+", numbers))
            clean.append(raw[last : match.start()].rstrip())
            last = match.end()
        clean.append(raw[last:])
        sentence = "".join(clean).strip()
        if re.search(r"\w", sentence) or _MASKED.search(sentence):
            sentences.append(CitedSentence(sentence, tuple(dict.fromkeys(markers)), lead))
        elif markers and sentences:
            previous = sentences[-1]
            sentences[-1] = replace(previous, markers=tuple(dict.fromkeys((*previous.markers, *markers))))
    return sentences


def render(sentences: Sequence[CitedSentence]) -> str:
    """Sentences and their markers as text: ``... [1][2]`` in front of the final stop of the sentence."""
    out: list[str] = []
    for sentence in sentences:
        if sentence.verbatim:
            out.append(f"\n\n{sentence.text}\n\n")
            continue
        lead = sentence.lead
        if not lead and re.match(r"(?:[-*+]|\d{1,2}[.)]|#{1,6})\s", sentence.text):
            lead = "\n"
        gap = "" if not out or out[-1].endswith("\n") or lead else _gap(out[-1], sentence.text)
        out.append(lead + gap + with_markers(sentence.text, sentence.markers))
    return re.sub(r"\n{3,}", "\n\n", "".join(out)).strip()


def with_markers(text: str, markers: Sequence[int]) -> str:
    """One sentence with its markers at the end, after the final stop."""
    marks = "".join(f"[{number}]" for number in markers)
    if not marks:
        return text
    return f"{text} {marks}" if text.isascii() else f"{text}{marks}"


def _gap(before: str, after: str) -> str:
    tail = re.sub(r"(?:\[\d+\])+$", "", before).rstrip()
    return "" if tail and after and not tail[-1].isascii() and not after[0].isascii() else " "
