"""Pictures in Markdown: path, alternative text and line, wherever they stand."""

from __future__ import annotations

import pytest

from ragkit.ingest.image_refs import pictures_in
from ragkit.values import Picture


def found(text: str, document: str = "notes/a.md", first_line: int = 1) -> list[tuple[str, str, int]]:
    return [(picture.path, picture.alt, picture.line) for picture in pictures_in(text, document, first_line)]


@pytest.mark.parametrize(
    ("markup", "path", "alt"),
    [
        ("![遗忘门](img/gate.png)", "notes/img/gate.png", "遗忘门"),
        ('![a *b* c](gate.png "A title")', "notes/gate.png", "a *b* c"),
        ("![](../shared/x.jpg)", "shared/x.jpg", ""),
        ("![x](<my picture.png>)", "notes/my picture.png", "x"),
        ("![x](my%20picture.png#frag)", "notes/my picture.png", "x"),
        ("![x](./%E5%9B%BE.png?raw=1)", "notes/图.png", "x"),
        ("![x][ref]\n\n[ref]: img/y.png", "notes/img/y.png", "x"),
        ("[![badge](b.svg)](https://x.org)", "notes/b.svg", "badge"),
        ("![x](https://x.org/y.png)", "https://x.org/y.png", "x"),
        ("text <img src='a.png' alt='门 &amp; gate'> text", "notes/a.png", "门 & gate"),
        ('<div>\n<img alt="A" width=3 src=a.png>\n</div>', "notes/a.png", "A"),
        ("see ![[gate.png|the gate]]", "notes/gate.png", "the gate"),
        ("see ![[gate.png|300x200]]", "notes/gate.png", ""),
        ("| a |\n|---|\n| ![t](t.png) |", "notes/t.png", "t"),
        ("- item\n  - ![deep](d.png)", "notes/d.png", "deep"),
    ],
)
def test_every_way_to_show_a_picture(markup: str, path: str, alt: str) -> None:
    assert [(p, a) for p, a, _ in found(markup)] == [(path, alt)]


@pytest.mark.parametrize(
    "markup",
    [
        "```\n![x](a.png)\n```",
        "    ![x](a.png)",
        "`![x](a.png)`",
        "![x](data:image/png;base64,AAAA)",
        "![x](javascript:alert)",
        "![x](/etc/passwd.png)",
        "![x](../../outside.png)",
        "![x](C:/x.png)",
        "![x](file:///etc/x.png)",
        "<img alt='no source'>",
        "![x]()",
        "[link](a.png)",
        "",
    ],
)
def test_what_shows_no_picture_of_the_notes(markup: str) -> None:
    assert found(markup) == []


def test_lines_count_within_a_paragraph_and_from_the_first_line_of_a_part() -> None:
    text = (
        "# 标题\n\ntext\n![a](a.png) and ![b](b.png)\n<br>\n![c](c.png)\n\n<p>\n<img src='d.png'>\n</p>\n\n![[e.png]]"
    )
    assert [(path[-5], line) for path, _, line in found(text)] == [("a", 4), ("b", 4), ("c", 6), ("d", 9), ("e", 12)]
    assert found("x\n![a](a.png)", first_line=40) == [("notes/a.png", "a", 41)]


def test_code_shows_no_pictures_and_deep_nesting_does_no_harm() -> None:
    assert pictures_in("![a](a.png)", "a.py") == []
    assert pictures_in("> " * 5000 + "![a](a.png)", "a.md") == []


def test_a_note_at_the_root() -> None:
    assert pictures_in("![a](a.png)", "a.md") == [Picture(path="a.png", alt="a", line=1)]
