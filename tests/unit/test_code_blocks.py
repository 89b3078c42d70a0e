"""Source code is cut at functions and classes, and no line is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.ingest.chunk_settings import ChunkSettings
from ragkit.ingest.chunker import chunk_document
from ragkit.ingest.code_blocks import CODE_SUFFIXES, code_blocks, is_code
from ragkit.values import Chunk, Document

SMALL = ChunkSettings(target=60, maximum=60, minimum=1)


def cut(name: str, text: str, settings: ChunkSettings = SMALL) -> list[Chunk]:
    document = Document(path=f"src/{name}", text=text, content_hash="", title=name)
    chunks = chunk_document(document, settings)
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
    return chunks


def heading_of(chunks: list[Chunk], text: str) -> tuple[str, ...]:
    [chunk] = [chunk for chunk in chunks if text in chunk.text]
    return chunk.heading


FILLER = "    # " + "x" * 100
PYTHON = f'''"""Module."""
import os

LIMIT = 3


# What the forget gate does.
@decorated
def forget_gate(x):
{FILLER}
    return x


class Cell(Base):
    """A cell."""

    size = 3

    def step(self, x):
        {FILLER}
        return self.size

    async def reset(self):
        {FILLER}
        self.h = 0


print("at the end")
'''
GO = f"package main\n\n// Gate forgets.\nfunc (c *Cell) Gate(x int) int {{\n{FILLER}\n\treturn x\n}}\n\ntype Cell struct {{\n{FILLER}\n\tsize int\n}}\n"
JAVA = f"public class Cell {{\n{FILLER}\n    private int size;\n\n    public static int gate(int x) {{\n    {FILLER}\n        return x;\n    }}\n\n    int other() {{\n    {FILLER}\n        return 2;\n    }}\n}}\n"
JS = f"export const gate = async (x) => {{\n{FILLER}\n  return x;\n}};\n\nexport default class Cell {{\n{FILLER}\n  step(x) {{\n  {FILLER}\n    return 1;\n  }}\n}}\n"
C = f"#include <x.h>\n\nstatic float *gate(const float *x,\n                   int n)\n{{\n{FILLER}\n    return x + n;\n}}\n\nstruct cell {{\n{FILLER}\n    int size;\n}};\n"
RUST = f"use x;\n\n/// Gate.\npub(crate) fn gate<T>(x: T) -> T {{\n{FILLER}\n    x\n}}\n\nimpl Cell {{\n{FILLER}\n    fn size() {{}}\n}}\n"
SHELL = f"set -e\n\ngate() {{\n{FILLER}\n  echo gate-body\n}}\n"
SQL = f"CREATE TABLE IF NOT EXISTS cells (\n{FILLER}\n    size INTEGER\n);\n\ncreate or replace view gates as\n{FILLER}\n    select 1;\n"
TOML = f"# conf\n[tool.cell]\n{FILLER}\nsize = 3\n\n[[gates]]\n{FILLER}\nname = 'f'\n"
YAML = f"cell:\n{FILLER}\n  size: 3\n\ngates:\n{FILLER}\n  - forget\n"
JSON = (
    '{\n  "cell": {\n    "filler": "'
    + "x" * 100
    + '",\n    "size": 3\n  },\n  "gates": [\n    "'
    + "y" * 100
    + '",\n    "forget"\n  ]\n}\n'
)


@pytest.mark.parametrize(
    ("name", "text", "inside", "symbols"),
    [
        ("a.py", PYTHON, "return x", ("forget_gate",)),
        ("a.py", PYTHON, "# What the forget", ("forget_gate",)),
        ("a.py", PYTHON, "return self.size", ("Cell", "step")),
        ("a.py", PYTHON, "self.h = 0", ("Cell", "reset")),
        ("a.py", PYTHON, "size = 3", ("Cell",)),
        ("a.py", PYTHON, "LIMIT", ()),
        ("a.py", PYTHON, "at the end", ()),
        ("a.go", GO, "return x", ("Gate",)),
        ("a.go", GO, "// Gate forgets", ("Gate",)),
        ("a.go", GO, "size int", ("Cell",)),
        ("a.java", JAVA, "return x", ("Cell", "gate")),
        ("a.java", JAVA, "return 2", ("Cell", "other")),
        ("a.js", JS, "return x", ("gate",)),
        ("a.ts", JS, "return 1", ("Cell", "step")),
        ("a.c", C, "return x + n", ("gate",)),
        ("a.h", C, "int size", ("cell",)),
        ("a.rs", RUST, "x\n}", ("gate",)),
        ("a.rs", RUST, "fn size", ("Cell",)),
        ("a.sh", SHELL, "gate-body", ("gate",)),
        ("a.sql", SQL, "size INTEGER", ("cells",)),
        ("a.sql", SQL, "select 1", ("gates",)),
        ("a.toml", TOML, "size = 3", ("tool.cell",)),
        ("a.toml", TOML, "name = 'f'", ("gates",)),
        ("a.yaml", YAML, "size: 3", ("cell",)),
        ("a.yml", YAML, "- forget", ("gates",)),
        ("a.json", JSON, '"size": 3', ("cell",)),
        ("a.json", JSON, '"forget"', ("gates",)),
    ],
)
def test_headings_are_file_and_symbol(name: str, text: str, inside: str, symbols: tuple[str, ...]) -> None:
    found = [chunk.heading for chunk in cut(name, text) if inside in chunk.text]
    assert (name, *symbols) in found


def test_a_function_that_fits_stays_whole() -> None:
    chunks = cut("a.py", PYTHON, ChunkSettings())
    [chunk] = [chunk for chunk in chunks if "def forget_gate" in chunk.text]
    assert "@decorated" in chunk.text
    assert "return x" in chunk.text


def test_comments_and_decorators_stay_with_what_they_describe() -> None:
    chunks = cut("a.py", PYTHON)
    [chunk] = [chunk for chunk in chunks if "def forget_gate" in chunk.text]
    assert chunk.text.startswith("# What the forget gate does.\n@decorated\n")


def test_markdown_in_code_is_no_markup() -> None:
    text = "# a comment, no heading\nx = 1\n---\n```\n# another\n"
    assert {chunk.heading for chunk in cut("a.py", text)} == {("a.py",)}
    assert cut("a.yaml", "---\ntitle: x\n---\nrest: 1\n")[0].text.startswith("---\ntitle: x")


def test_flow_words_are_no_symbols() -> None:
    text = "\n\n".join(f"{word} (x) {{\n{FILLER}\n}}" for word in ("if", "while", "for", "switch", "return", "catch"))
    assert {chunk.heading for chunk in cut("a.js", text)} == {("a.js",)}


def test_only_source_files_are_cut_as_code() -> None:
    assert is_code("a/b.PY")
    assert not any(map(is_code, ("a.md", "b.txt", "c.pdf", "d.ipynb", "py")))


LINES = st.sampled_from(
    [
        "def f(x):",
        "class A:",
        "    def g(self):",
        "        return 1",
        "",
        "}",
        "x = 1",
        "\tint y;",
        "@d",
        "# c",
        "{",
        "  ",
        "end",
        '"k": {',
        "a:",
    ]
)


@given(st.lists(LINES, max_size=40), st.sampled_from(sorted(CODE_SUFFIXES)), st.sampled_from([1.0, 5.0, 1000.0]))
def test_every_line_is_in_one_block_and_blocks_are_in_order(lines: list[str], suffix: str, limit: float) -> None:
    at = 0
    for block in code_blocks(f"x{suffix}", lines, limit):
        assert at <= block.start_line < block.end_line <= len(lines)
        assert not any(line.strip() for line in lines[at : block.start_line])
        at = block.end_line
    assert not any(line.strip() for line in lines[at:])


def test_long_and_deep_files_are_cut_in_linear_time() -> None:
    import time

    for text in (
        "x" * 900_000,
        "(" * 500_000,
        "a b " * 200_000,
        "\n".join(" " * (i % 300) + "x" for i in range(20_000)),
    ):
        began = time.process_time()
        cut("a.c", text, ChunkSettings())
        assert time.process_time() - began < 5


def test_real_files_of_the_package_fall_into_their_functions() -> None:
    root = Path(__file__).resolve().parents[2] / "ragkit"
    headings = set()
    for file in sorted((root / "ingest").glob("*.py")):
        headings |= {
            chunk.heading[-1] for chunk in cut(file.name, file.read_text(encoding="utf-8"), ChunkSettings(minimum=1))
        }
    assert {"parse_blocks", "chunk_document", "scan", "code_blocks", "read_all"} <= headings
