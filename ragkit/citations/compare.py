"""Numbers, units, names, terms and negation of a sentence against the lines of a source that say the same.

Likeness of words hides these: "24 layers" and "12 layers" share all words but one. Both texts are aligned atom by
atom; what was exchanged in the midst of what is the same tells a slip from a paraphrase.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Final

from ragkit.citations.alignment import Code, Exchange, align, exchanges, words
from ragkit.citations.atoms import Atoms
from ragkit.citations.direction import of_another, runs_back, turned_round
from ragkit.citations.everyday import is_everyday
from ragkit.citations.figures import is_scale, written_otherwise
from ragkit.citations.negation import negations, opposites, restated, undenied
from ragkit.citations.pairing import crossed_over
from ragkit.citations.verdicts import Reason

_CROSSED: Final = 10
"""Atoms of a piece that may have changed places with another."""
_ALIKE: Final = 0.6
"""Share of its words that a piece has in common with what it changed places with."""
_RATIOS: Final = frozenset({"倍", "%"})
_COUNTED: Final = 4
"""The largest count in words that an answer may have made itself; of the reference answers none counts further."""
_SAME: Final = (
    {"只", "仅"},
    {"需", "须"},
    {"若", "如"},
    {"较", "比"},
    {"约", "近"},
    {"及", "和", "与"},
    {"使", "令", "让"},
    {"式", "形"},
)
_ROW: Final = 6
"""Numbers of a row on either side of one; a longer row is a list."""
_VERBATIM: Final = 0.8
"""Share of a sentence in its place from which an exchanged word is a slip and no paraphrase."""
_FRAME: Final = 5
_TERM: Final = 4
_NO_TERM: Final = frozenset("一二三四五六七八九十两几数第")


def compare(
    claim: Atoms,
    source: Atoms,
    context: frozenset[str],
    terms: Container[str] = (),
    *,
    table: bool = False,
    computed: Container[str] = (),
) -> list[Reason]:
    """What a sentence says otherwise than its source.

    Args:
        claim: The sentence.
        source: The lines of the passage that carry it.
        context: Terms that need not stand in those lines: of the headings above them and of the lines around.
        terms: Terms of all passages. An English word put in the place of another counts only if it is one
            of them: what confuses two things takes the name of one for that of the other.
        table: Whether the source is rows of a table, whose cells say yes and no, and of what, by themselves.
        computed: Numbers that need no source.
    """
    codes = align(claim, source)
    exchanged = list(exchanges(codes, len(claim.keys)))
    reasons = [*_numbers(claim, source, context, exchanged, computed), *_names(claim, source, context, exchanged)]
    reasons += [*opposites(claim, source, codes, table=table), *turned_round(claim, source)]
    if not table:
        reasons += negations(claim, source, codes)
    if not any(reason.kind in ("negation", "opposite") for reason in reasons):
        reasons += restated(claim, source)
    reasons = reasons or list(runs_back(claim, source)) or list(crossed_over(claim, source))
    reasons = reasons or ([] if table else list(of_another(claim, source)))
    reasons = reasons or list(undenied(claim, source))
    return reasons or list(_crossed(claim, source, codes)) or list(_terms(claim, source, exchanged, terms))


def _crossed(claim: Atoms, source: Atoms, codes: Sequence[Code]) -> Iterator[Reason]:
    """Two pieces each of which stands where the source has the other: "b=1 ..., b=0 ..." for "b=0 ..., b=1 ..."."""
    pieces: list[tuple[set[str], set[str], range, range]] = []
    for i, (tag, a, b, c, d) in enumerate(codes):
        if tag != "replace":
            continue
        # What follows behind a comma belongs to no exchange.
        b = min([b, *(at for at in claim.breaks if a < at < b)]) if b - a > _CROSSED else b
        d = min([d, *(at for at in source.breaks if c < at < d)])
        beside = any(code[0] == "equal" for code in codes[max(0, i - 1) : i + 2])
        said, real = words(claim, a, b), words(source, c, d)
        if said and real and beside and b - a <= _CROSSED and d - c <= _CROSSED:
            pieces.append((said, real, range(a, b), range(c, d)))
    for i, (said, real, at, there) in enumerate(pieces):
        for other, instead, _, _ in pieces[i + 1 :]:
            crossed = _alike(said, instead) and _alike(other, real)
            if crossed and not _alike(said, real) and not _alike(said, other):
                shown = f"{claim.show(at)}: the source says {source.show(there)}, and the other way round"
                yield Reason("term", shown)
                return


def _alike(one: set[str], two: set[str]) -> bool:
    return len(one & two) >= _ALIKE * max(len(one), len(two))


def _numbers(
    claim: Atoms,
    source: Atoms,
    context: frozenset[str],
    exchanged: Sequence[Exchange],
    computed: Container[str],
) -> Iterator[Reason]:
    there: dict[str, set[str]] = {}
    for _, value, unit in source.numbers:
        there.setdefault(value, set()).add(unit)
    framed = {at: e for e in exchanged if e.framed for at in e.claim}
    amounts = [(value, unit) for _, value, unit in source.numbers]
    shared = {unit for _, _, unit in claim.numbers}
    for at, value, unit in claim.numbers:
        if f"#{value}" in computed:
            continue
        shown = claim.shown[at]
        in_words = not shown[0].isascii() or not shown[0].isdecimal()
        if (unit or value not in there) and written_otherwise(value, unit, amounts, in_words=in_words):
            continue
        known = f"#{value}" in context
        other = _number_at(source, framed[at].source) if at in framed else ""
        other = other if not _in_row(claim, source, at) else ""
        other = other or ("" if known else _instead(claim, source, at) or _measured(claim, source, at, unit))
        if other and not _listed(claim, source, other):
            yield Reason("number", f"number {shown}: the source says {other}")
        elif value not in there and not known and not _counted(claim, source, at, value):
            yield Reason("number", f"number {shown} is in no source")
        elif value in there and _of_another_unit(unit, there[value], shared):
            yield Reason(
                "unit", f"unit of {shown}: {unit or 'none'}; the source says {', '.join(sorted(there[value]))}"
            )


def _in_row(claim: Atoms, source: Atoms, at: int) -> bool:
    """Whether the source has all of the numbers in a row that the one at `at` belongs to: 64×64×4."""
    first, last = at, at + 1
    while first > at - _ROW and first and claim.keys[first - 1].startswith("#"):
        first -= 1
    while last < min(len(claim.keys), at + _ROW) and claim.keys[last].startswith("#"):
        last += 1
    row = claim.keys[first:last]
    places = (i for i, value, _ in source.numbers if f"#{value}" == row[0])
    return len(row) > 1 and any(source.keys[i : i + len(row)] == row for i in places)


def _of_another_unit(unit: str, there: set[str], shared: set[str]) -> bool:
    """Whether a number with `unit` is none of those that the source has with the units `there`.

    A number without a unit may leave out what is counted, not how much: 5 is not 5 billion, unless it stands in a row
    that ends with one of the `shared` units of the sentence ("3.7 and 2.8 million").
    """
    if unit:
        return unit not in there and "" not in there
    return shared.isdisjoint(there) and all(map(is_scale, there))


def _counted(claim: Atoms, source: Atoms, at: int, value: str) -> bool:
    """Whether a number is a small count in words ("four models") of what the source lists and does not count."""
    if not claim.shown[at].isalpha() or not value.isdecimal() or int(value) > _COUNTED:
        return False
    following = claim.keys[at + 1 : at + 2]
    return not any(source.shown[i].isalpha() and source.keys[i + 1 : i + 2] == following for i, _, _ in source.numbers)


def _instead(claim: Atoms, source: Atoms, at: int) -> str:
    """The number that the source has in the company in which the claim has the one at `at`, or nothing."""
    following = _meaning(claim, at)
    if not following:
        return ""
    value = claim.keys[at]
    for i, _, _ in source.numbers:
        if source.keys[i] == value and (_meaning(source, i)[:1] == following[:1] or _beside(claim, source, at, i)):
            return ""
    return next((source.shown[i] for i, _, _ in source.numbers if _meaning(source, i) == following), "")


def _measured(claim: Atoms, source: Atoms, at: int, unit: str) -> str:
    """The only ratio that the source gives, where it has the number at `at` without that unit; or nothing.

    "2 times" for "14 times" in a source that says "2" of something else as well.
    """
    if unit not in _RATIOS:
        return ""
    said = {key for key in claim.keys if key.startswith("#")}
    ratios = [i for i, _, its in source.numbers if its == unit]
    bare = {source.keys[i] for i, _, its in source.numbers if not its}
    found = len(ratios) == 1 and claim.keys[at] in bare and source.keys[ratios[0]] not in said
    return source.shown[ratios[0]] if found else ""


def _meaning(atoms: Atoms, at: int) -> list[str]:
    """The two atoms behind a number."""
    return atoms.keys[at + 1 : at + 3] if len(atoms.keys) > at + 2 else []


def _beside(claim: Atoms, source: Atoms, at: int, i: int) -> bool:
    """Whether two numbers have a word in common right before them."""
    before = {claim.keys[k] for k in range(max(0, at - 4), at) if claim.weights[k] >= 1}
    return not before.isdisjoint(source.keys[max(0, i - 4) : i])


def _number_at(source: Atoms, positions: Sequence[int]) -> str:
    return next((source.shown[at] for at in positions if source.keys[at].startswith("#")), "")


def _listed(claim: Atoms, source: Atoms, other: str) -> bool:
    """Whether the claim has the number of the source as often as it does: the same facts in another order."""
    return claim.shown.count(other) >= source.shown.count(other)


def _names(claim: Atoms, source: Atoms, context: frozenset[str], exchanged: Sequence[Exchange]) -> Iterator[Reason]:
    there = set(source.keys)
    spelled = "".join(source.keys)
    framed = {at: e for e in exchanged if e.framed for at in e.claim}
    for at in claim.names:
        key = claim.keys[at]
        known = key in there or (len(key) > 3 and key in spelled)
        other = [source.shown[i] for i in framed[at].source if i in source.names] if at in framed else []
        if not known and key not in context:
            instead = f": the source says {' '.join(other)}" if other else " is not in the source"
            yield Reason("name", f"name {claim.shown[at]}{instead}")
        elif other and not any(name in claim.shown for name in other) and framed[at].left + framed[at].right >= 6:
            yield Reason("name", f"name {claim.shown[at]}: the source says {' '.join(other)}")


def _terms(claim: Atoms, source: Atoms, exchanged: Sequence[Exchange], terms: Container[str]) -> Iterator[Reason]:
    """A content word exchanged for another in a sentence that is otherwise that of the source."""
    there = set(source.keys)
    same = sum(w for key, w in zip(claim.keys, claim.weights, strict=True) if key in there)
    near_verbatim = same >= _VERBATIM * sum(claim.weights)
    for e in exchanged:
        if not e.claim or not e.source or not e.framed:
            continue
        said, real = [claim.keys[i] for i in e.claim], [source.keys[j] for j in e.source]
        if any(key.startswith(("#", "!")) for key in (*said, *real)) or said[0].isascii() != real[0].isascii():
            continue
        if max(claim.weights[i] for i in e.claim) < 1 or max(source.weights[j] for j in e.source) < 1:
            continue
        inside_word = len(said) == len(real) == 1 and not said[0].isascii()
        if inside_word and ({said[0], real[0]} & _NO_TERM or any({said[0], real[0]} <= group for group in _SAME)):
            continue
        if (
            max(len(said), len(real)) > _TERM
            or abs(len(said) - len(real)) > 1
            or not near_verbatim
            or e.left + e.right < _FRAME
            or all(key in there for key in said)
        ):
            continue
        if is_everyday(said) or is_everyday(real) or (said[0].isascii() and not _known(claim, e.claim, terms)):
            continue
        yield Reason("term", f"{_around(claim, e.claim)}: the source says {_around(source, e.source)}")


def _known(claim: Atoms, positions: Sequence[int], terms: Container[str]) -> bool:
    """Whether every exchanged atom stands somewhere in the passages, Han characters in pairs."""
    bits = sum(1 << at for at in positions)
    found = 0
    for term, mask in claim.terms:
        if mask & bits and term in terms:
            found |= mask
    return not bits & ~found


def _around(atoms: Atoms, positions: Sequence[int]) -> str:
    return atoms.show(range(max(0, positions[0] - 1), min(len(atoms.keys), positions[-1] + 2)))
