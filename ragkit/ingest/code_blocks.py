"""Source code as blocks: functions, classes and paragraphs, found by indentation and empty lines.

One set of rules serves all languages: a unit begins where a line at the outermost indentation
defines something, or follows an empty line. What is too wide is opened one indentation deeper, so
that a large class falls into its methods. It is no parser: on odd code the cuts are worse, and no
line is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os.path import splitext
from typing import Final

from ragkit.ingest.blocks import Block, width

DATA_SUFFIXES: Final = frozenset({".json", ".yaml", ".yml", ".toml", ".ini", ".cfg"})
CODE_SUFFIXES: Final = DATA_SUFFIXES | frozenset(
    {
        *(".py", ".pyi", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".go", ".java", ".kt", ".scala", ".c", ".h"),
        *(".cc", ".cpp", ".cxx", ".hpp", ".cs", ".rs", ".rb", ".php", ".swift", ".lua", ".r", ".jl", ".sh", ".bash"),
        *(".zsh", ".ps1", ".sql", ".proto", ".cu"),
    }
)
_DEEPEST: Final = 6
_LONGEST_LINE: Final = 300
_NAME: Final = r"([A-Za-z_$~][\w$.:~]*)"
_MODIFIER: Final = (
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|unsafe|inline|virtual|override"
    r"|sealed|open|data|extern|const|local|partial|readonly|pub(?:\([^)]*\))?)\s+)*"
)
_DEFINITIONS: Final = (
    re.compile(
        rf"\s*{_MODIFIER}(?:def|class|function\*?|func|fn|fun|interface|struct|enum|trait|impl(?:<[^>]*>)?|module|mod"
        rf"|namespace|record|object|protocol|extension|type|union|message|service)\s+(?:\([^)]*\)\s*)?{_NAME}"
    ),
    re.compile(
        rf"\s*(?:export\s+)?(?:const|let|var)\s+{_NAME}[^=]{{0,80}}=\s*(?:async\s*)?(?:function\b|class\b|\w+\s*=>|\([^)]*\)[^=]{{0,80}}=>)"
    ),
    re.compile(
        r"\s*create\s+(?:or\s+replace\s+)?(?:\w+\s+)?(?:table|view|function|procedure|index|trigger|type)\s+"
        r"(?:if\s+not\s+exists\s+)?[\"`\[]?([\w.]+)",
        re.IGNORECASE,
    ),
    re.compile(r"\s*([\w-]+)\s*\(\)\s*\{"),
    re.compile(rf"\s*(?:[\w:<>,&*\[\]~?]+[ \t]+){{1,8}}[*&]*{_NAME}\s*\([^;=]*$"),
    re.compile(rf"\s*(?:(?:static|async|get|set|public|private|protected)\s+)*{_NAME}\s*\([^;]*\)[^;()]*\{{\s*$"),
)
_KEYS: Final = (
    re.compile(r"\s*\[{1,2}\s*([^\[\]]{1,100}?)\s*\]{1,2}\s*(?:#.*)?$"),
    re.compile(r"\s*\"([^\"]{1,100})\"\s*:"),
    re.compile(r"\s*([\w./-]{1,100})\s*:(?:\s|$)"),
)
_NO_NAME: Final = frozenset(
    "if for while switch return else catch elif do try with case new throw delete await yield in not and or assert "
    "sizeof using import from package goto echo print select insert update raise".split()
)
_GOES_ON: Final = re.compile(
    r"\s*(?:[})\]]|\{\s*$|end\b|else\b|elif\b|except\b|finally\b|catch\b|then\b|do\s*$|fi\b|done\b|esac\b)"
)
_ATTACHED: Final = re.compile(r"\s*(?:#|//|/\*|\*|@|--|\[\w|template\s*<|;)")


@dataclass(frozen=True)
class _Unit:
    start: int
    end: int
    name: str


def is_code(path: str) -> bool:
    """Whether a document of this name is cut as code."""
    return splitext(path)[1].lower() in CODE_SUFFIXES


def code_blocks(path: str, lines: list[str], limit: float) -> list[Block]:
    """Blocks of a source file, in order; together they cover every line that is not blank.

    Args:
        path: Name of the file; its suffix tells code from data.
        lines: The text's lines.
        limit: Units wider than this (`ragkit.ingest.blocks.width`) are opened.
    """
    names = _KEYS if splitext(path)[1].lower() in DATA_SUFFIXES else _DEFINITIONS
    return list(_Cutter(lines, limit, names).blocks(0, len(lines), 2, 0))


class _Cutter:
    """One source file and how it is cut."""

    def __init__(self, lines: list[str], limit: float, names: tuple[re.Pattern[str], ...]) -> None:
        self._lines, self._limit, self._names = lines, limit, names
        self._indents = [_indent(line) for line in lines]
        self._blank = [not line.strip() for line in lines]

    def blocks(self, low: int, high: int, level: int, depth: int) -> Iterator[Block]:
        """Blocks of the lines from `low` to `high`, which lie `depth` openings deep."""
        named = False
        for unit in self._units(low, high):
            body = self._first_deeper(unit) if depth < _DEEPEST else None
            if body is not None and width("\n".join(self._lines[unit.start : unit.end])) <= self._limit:
                body = None
            if unit.name and unit.end - unit.start > 1:
                head = body or unit.start + 1
                yield Block(unit.start, head, level=level, title=unit.name)
                named = True
            elif named:
                # Back under the heading of what is around: a heading without words.
                head = unit.start + 1
                yield Block(unit.start, head, level=level)
                named = False
            else:
                head = unit.start
            if body is None:
                if head < unit.end:
                    yield Block(head, unit.end, atomic=True)
                continue
            if head < body:
                yield Block(head, body, atomic=True)
            end = self._last_deeper(body, unit.end)
            inner = list(self.blocks(body, end, level + bool(unit.name), depth + 1))
            yield from inner[:-1]
            yield replace(inner[-1], end_line=unit.end)

    def _units(self, low: int, high: int) -> Iterator[_Unit]:
        base = min((self._indents[i] for i in range(low, high) if not self._blank[i]), default=0)
        start, name = low, ""
        after_blank = False
        for i in range(low, high):
            if self._blank[i]:
                after_blank = True
                continue
            if self._indents[i] == base and not _GOES_ON.match(self._lines[i]):
                found = _defined(self._lines[i], self._names)
                begin = self._with_comments(start, i, base) if found else i
                if (found or after_blank) and begin > start:
                    yield from self._unit(start, begin, name)
                    start, name = begin, found
                elif found and not name:
                    name = found
            after_blank = False
        yield from self._unit(start, high, name)

    def _unit(self, start: int, end: int, name: str) -> Iterator[_Unit]:
        while end > start and self._blank[end - 1]:
            end -= 1
        while start < end and self._blank[start]:
            start += 1
        if start < end:
            yield _Unit(start, end, name)

    def _with_comments(self, low: int, at: int, base: int) -> int:
        """First line of the comments and decorators right above line `at`."""
        while at > low and self._indents[at - 1] >= base and _ATTACHED.match(self._lines[at - 1]):
            at -= 1
        return at

    def _first_deeper(self, unit: _Unit) -> int | None:
        base = self._indents[unit.start]
        inside = range(unit.start + 1, unit.end)
        return next((i for i in inside if not self._blank[i] and self._indents[i] > base), None)

    def _last_deeper(self, body: int, end: int) -> int:
        """Line behind the body: closing brackets at the end belong to the unit around it."""
        base = self._indents[body]
        while end > body + 1 and (self._blank[end - 1] or self._indents[end - 1] < base):
            end -= 1
        return end


def _defined(line: str, names: tuple[re.Pattern[str], ...]) -> str:
    line = line[:_LONGEST_LINE]
    first = re.match(r"\s*(\w*)", line)
    if first and first.group(1).lower() in _NO_NAME:
        return ""
    for pattern in names:
        found = pattern.match(line)
        if found and found.group(1) not in _NO_NAME:
            return found.group(1).strip(":.")
    return ""


def _indent(line: str) -> int:
    expanded = line[:_LONGEST_LINE].expandtabs(4)
    return len(expanded) - len(expanded.lstrip(" "))
