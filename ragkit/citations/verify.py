"""Check any answer against any passages: ``verify(answer, passages)``, no index and no model needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ragkit.citations.atoms import analyse
from ragkit.citations.checker import Checker
from ragkit.citations.entailment import EntailmentJudge, settle
from ragkit.citations.evidence import Evidence, Passage
from ragkit.citations.frames import is_announcement, is_courtesy, is_row, is_rule
from ragkit.citations.markers import CitedSentence, parse_answer
from ragkit.citations.verdicts import Verdict
from ragkit.errors import UsageError
from ragkit.text.sanitize import printable
from ragkit.values import Chunk, Hit

_TEXTS = ("text", "content", "page_content", "passage", "snippet")
_NAMES = ("document", "source", "path", "file", "id", "title")
_MOST_CHARS = 200_000
_SMALL: Final = frozenset(map(str, range(1, 13)))
_LONG_WORD: Final = re.compile(r"[^\W\d_]{4,}")


def verify(
    answer: str,
    passages: Sequence[str | Mapping[str, Any] | Hit | Chunk | Passage | Any] | str,
    *,
    judge: EntailmentJudge | None = None,
    seconds: float = 5.0,
) -> list[Verdict]:
    """Judge every sentence of an answer against the passages it was given.

    Marker n (``[n]``, ``[1,2]``, ``[1-3]``, ``【1】``, ``［1］``, ``[^1]``) is passage n, from 1. A sentence without
    marker shares those of the sentence that ends its line; where there is none either, the best passage is looked
    for. Headings, code blocks, heads of tables, announcements ("... :") and courtesies ("I hope this helps.") state
    nothing and get no verdict; an announcement with a number or a name that no passage has does. Without a judge
    the same input gives the same verdicts, in about a millisecond a sentence (docs/citations.md).

    Args:
        answer: Text with or without markers, at most 200,000 characters.
        passages: Strings, mappings (``text``, ``content`` or ``page_content``; optionally ``document``, ``heading``,
            ``start``, ``start_line``), `Hit`, `Chunk`, or LangChain documents; one that is in no list is the
            only one. Offsets of spans count from the passage's ``start``, 0 where it has none.
        judge: Entailment judge for sentences that comparison alone cannot settle; None leaves them ``decided=False``.
        seconds: Time the judge has for the whole answer; what it does not get to keeps the verdict it had.

    Raises:
        UsageError: If a passage is none of these, or the answer is no text or too long.
    """
    if not isinstance(answer, str):
        raise UsageError(f"An answer must be a text, not {answer!r}.")
    if len(answer) > _MOST_CHARS:
        raise UsageError(f"The answer has {len(answer):,} characters; at most {_MOST_CHARS:,} are checked.", "Cut it.")
    # A text would be taken letter by letter, and a mapping key by key.
    several = isinstance(passages, Iterable) and not isinstance(passages, (str, Mapping)) and not _is_document(passages)
    given = passages if several else [passages]
    evidence = Evidence([as_passage(passage, number) for number, passage in enumerate(given, start=1)])
    checker = Checker(evidence)
    verdicts = [checker.check(text, markers) for text, markers in statements(answer, evidence)]
    return settle(verdicts, evidence, judge, seconds) if judge is not None else verdicts


def statements(answer: str, evidence: Evidence) -> list[tuple[str, tuple[int, ...]]]:
    """The sentences of an answer that state something, without markers, and the markers that cover each."""
    out: list[tuple[str, tuple[int, ...]]] = []
    following: tuple[int, ...] = ()
    for sentence in reversed(parse_answer(printable(answer))):
        if sentence.verbatim:
            following = ()
            continue
        markers = sentence.markers or following
        following = () if sentence.lead else markers
        if not sentence.text.startswith("#") and not states_nothing(sentence, evidence):
            out.append((sentence.text, markers))
    return out[::-1]


def states_nothing(sentence: CitedSentence, evidence: Evidence, asked: str = "") -> bool:
    """Whether a sentence only frames what the others state.

    A head of a table, or an announcement, with a number or a name that stands in no passage states it.

    Args:
        sentence: As it was parsed.
        evidence: The passages.
        asked: Text whose numbers and names are known too, such as the question.
    """
    text = sentence.text
    if sentence.verbatim or is_rule(text) or is_courtesy(text):
        return True
    if not sentence.frame and not is_announcement(text):
        return False
    claim = analyse(text)
    known = set(analyse(asked).keys)
    known.update(key for unit in evidence.units for key in unit.atoms.keys)
    for number in range(len(evidence.passages)):
        known |= evidence.frame(number)
    if any(f"#{value}" not in known and (unit or value not in _counts(sentence)) for _, value, unit in claim.numbers):
        return False
    # In titles and heads of tables any word has a capital; names there are told by one inside of a word.
    titled = is_row(text) or all(word[0].isupper() for word in _LONG_WORD.findall(text))
    names = [at for at in claim.names if not titled or not claim.shown[at].istitle()]
    return all(claim.keys[at] in known for at in names)


def _counts(sentence: CitedSentence) -> frozenset[str]:
    """Numbers that may be those of what stands below an announcement; any small one where that cannot be counted."""
    return frozenset({str(sentence.items)}) if sentence.items else _SMALL


def as_passage(value: Any, number: int = 1) -> Passage:
    """Anything that has a text as a `Passage`; `number` names it in the error.

    Raises:
        UsageError: If it has none.
    """
    if isinstance(value, Passage):
        return value
    if isinstance(value, str):
        return Passage(text=value)
    if isinstance(value, Hit):
        value = value.chunk
    if isinstance(value, Chunk):
        return Passage(
            text=value.text,
            document=value.document,
            heading=value.heading,
            start=value.start,
            start_line=value.start_line,
        )
    given: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    if not given and _is_document(value):
        given = {**(getattr(value, "metadata", None) or {}), "text": value.page_content}
    text = next((given[key] for key in _TEXTS if isinstance(given.get(key), str)), None)
    if text is None:
        raise UsageError(
            f"Passage {number} is a {type(value).__name__} without text.",
            f"Pass strings, hits, or mappings with one of: {', '.join(_TEXTS)}.",
        )
    heading = given.get("heading") or ()
    return Passage(
        text=text,
        document=str(next((given[key] for key in _NAMES if given.get(key)), "")),
        heading=(heading,) if isinstance(heading, str) else tuple(map(str, heading)),
        start=_count(given.get("start", given.get("start_index")), 0),
        start_line=_count(given.get("start_line"), 1),
    )


def _is_document(value: object) -> bool:
    """Whether it has the shape of a LangChain document; those can be iterated over, field by field."""
    return isinstance(getattr(value, "page_content", None), str)


def _count(value: Any, least: int) -> int:
    return value if isinstance(value, int) and value >= least else least
