"""What stands in one column of a table said of another: "W8A8 dequantises to FP16" where the column W4A16 says it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ragkit.citations.alignment import clauses
from ragkit.citations.atoms import Atoms, analyse
from ragkit.citations.evidence import Evidence, Unit, union, weight
from ragkit.citations.verdicts import Reason

ASIDE: Final = re.compile(r"[(（][^)）]*[)）]|\$[^$]*\$")
"""What explains a label."""
_SEPARATOR: Final = re.compile(r"\n?[ \t]*\|[ :|-]+\|")
_CORNERS: Final = frozenset(" aspect 维度 方面 项目 对比 比较 属性".split(" "))
"""First cells of a table whose columns are the things compared, and whose rows what they are compared in."""
_NAMED: Final = 0.99
"""Share of a label that a sentence must have to name it."""
_MOST: Final = 0.55
"""Share of a clause that another column must hold."""
_MOST_OF_TOPIC: Final = 0.4
"""The same where the sentence names the row."""

_ANOTHER: Final = Reason("name", "the source says it of another column of its table")


def is_header(text: str, unit: Unit) -> bool:
    """Whether a unit of a passage is the first row of a table."""
    return unit.table and _SEPARATOR.match(text, unit.end) is not None


def bits_of(start: int, end: int) -> int:
    """The atoms from `start` to `end` as a mask."""
    return (1 << end) - (1 << start)


def hard_facts(claim: Atoms) -> list[int]:
    """Positions of figures, names, and Latin words among Han characters: what nobody puts in other words."""
    # 两者 counts nothing of its own.
    figures = [at for at, _, _ in claim.numbers if claim.shown[at][0].isdecimal()]
    chinese = any(not key.isascii() for key in claim.keys)
    latin = [
        at
        for at, key in enumerate(claim.keys)
        if chinese and key.isascii() and key.isalpha() and claim.weights[at] >= 2
    ]
    return [*figures, *claim.names, *latin]


def naming(evidence: Evidence, claim: Atoms, label: Atoms) -> int:
    """The atoms of a claim that name a label, if all of it is there; else 0."""
    bits = evidence.masks_of(claim, label)
    return bits if weight(claim, bits) >= _NAMED * sum(label.weights) else 0


def misplaced(evidence: Evidence, claim: Atoms, number: int) -> Iterator[Reason]:
    """Clauses that name one column of the table in passage `number`, from 0, and say what stands in another."""
    text = evidence.passages[number].text
    rows = [evidence.units[row] for row in evidence.rows[number] if evidence.units[row].table]
    head = next((unit for unit in rows if is_header(text, unit)), None)
    if head is None or len(cells := _cells(text, head)) < 3 or cells[0].strip("* ").lower() not in _CORNERS:
        return
    columns = [0, *(_naming_one(evidence, claim, cell) for cell in cells[1:])]
    if not any(columns):
        return
    table = [
        [evidence.masks_of(claim, analyse(cell)) for cell in cells]
        for unit in rows
        if unit.start > head.start and len(cells := _cells(text, unit)) == len(columns)
    ]
    heads, facts = union(columns), hard_facts(claim)
    held = [union(masks[column] for masks in table) for column in range(len(columns))]
    for start, end in clauses(claim, contrast=True):
        clause = bits_of(start, end)
        here = [column for column, bits in enumerate(columns) if bits & clause]
        if len(here) == 1 and "!" not in claim.keys[start:end]:
            elsewhere = union(bits for column, bits in enumerate(held) if column not in (0, here[0]))
            free = clause & ~heads & ~held[0] & ~held[here[0]]
            if any((free & elsewhere) >> at & 1 for at in facts):
                yield _ANOTHER
                return
            for masks in table:
                if _elsewhere(claim, clause & ~heads & ~masks[0], masks, here[0]):
                    yield _ANOTHER
                    return


def is_about_columns(evidence: Evidence, claim: Atoms, unit: Unit) -> bool:
    """Whether a sentence names a column of the table that `unit` stands in: its rows are then no owners."""
    if not unit.table:
        return False
    table = evidence.passages[unit.passage].text[: unit.start].rsplit("\n\n", 1)[-1].lstrip("\n")
    first, *more = table.split("\n")
    return bool(more) and any(
        _is_column(analyse(cell.strip(" *")), claim, chinese=evidence.chinese[unit.passage])
        for cell in first.strip(" |").split("|")[1:]
    )


def _is_column(head: Atoms, claim: Atoms, *, chinese: bool) -> bool:
    names = [at for at in head.names if not head.shown[at].istitle()]
    if names and head.keys[names[0]] in claim.keys:
        return True
    # A Latin word stands out among Han characters as a name does.
    latin = any(k.isascii() and k.isalpha() and w >= 1 for k, w in zip(head.keys, head.weights, strict=True))
    return chinese and latin and set(head.keys) <= set(claim.keys)


def _elsewhere(claim: Atoms, rest: int, masks: list[int], column: int) -> bool:
    """Whether another cell of a row holds `rest` of a clause, and the cell of its own column does not."""
    heavy = weight(claim, rest)
    if heavy < 1:
        return False
    topic = weight(claim, masks[0]) >= 2
    other = max(range(1, len(masks)), key=lambda j: weight(claim, masks[j] & rest))
    best, own = weight(claim, masks[other] & rest), weight(claim, masks[column] & rest)
    share, least, margin = (_MOST_OF_TOPIC, 1.0, 1.0) if topic else (_MOST, 3.0, 2.0)
    return other != column and best >= max(least, share * heavy) and best - own >= max(margin, 0.4 * best)


def _naming_one(evidence: Evidence, claim: Atoms, cell: str) -> int:
    """The atoms of a claim that name a column, if it names it; one of several names is enough."""
    for name in ASIDE.sub("", cell).split("/"):
        atoms = analyse(name)
        needed = sum(atoms.weights)
        telling = bool(atoms.names) or (needed >= 2 and all(key.isascii() for key in atoms.keys))
        if telling and needed >= 1 and (bits := naming(evidence, claim, atoms)):
            return bits
    return 0


def _cells(text: str, unit: Unit) -> list[str]:
    return [cell.strip() for cell in text[unit.start : unit.end].strip().strip("|").split("|")]
