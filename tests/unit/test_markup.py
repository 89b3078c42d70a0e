"""HTML as Markdown: what the parser is told is no text, and no word is lost or glued to the next."""

from __future__ import annotations

from pathlib import Path

import format_samples as samples
import pytest

from ragkit.ingest.loader import read, scan
from ragkit.ingest.markup import html_to_markdown

DECLARED = '<?xml version="1.0" encoding="utf-8"?>\n'
DOCTYPE = '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd">'


@pytest.mark.filterwarnings("ignore::bs4.XMLParsedAsHTMLWarning")
@pytest.mark.parametrize(
    "page",
    [
        f"{DECLARED}{DOCTYPE}<html><body><p>gate</p></body></html>",
        f'{DECLARED}<?xml-stylesheet href="a.css"?><p>gate</p>',
        "<!DOCTYPE html [ <!ELEMENT p (#PCDATA)> ]><p>gate</p>",
        "<p>ga<!-- a comment -->te</p>",
        "<![if !IE]><p>gate</p><![endif]>",
        "<p><?php echo 1 ?>gate</p>",
        "<p><![CDATA[gate]]></p>",
        "<script>//<![CDATA[\nunseen()\n//]]></script><p>gate</p>",
    ],
)
def test_declarations_instructions_and_comments_are_no_text(page: str) -> None:
    assert html_to_markdown(page)[0].strip() == "gate"


def test_an_epub_begins_with_its_first_words(tmp_path: Path) -> None:
    pytest.importorskip("markdownify")
    (tmp_path / "a.epub").write_bytes(samples.epub(doctype=DECLARED + DOCTYPE))
    sources, _ = scan([tmp_path])
    assert read(sources[0]).text.startswith("# Chapter two\n")


@pytest.mark.parametrize(
    "name", ["address", "aside", "center", "details", "figure", "footer", "form", "header", "legend", "pre", "summary"]
)
def test_a_block_is_not_glued_to_the_text_beside_it(name: str) -> None:
    text, _ = html_to_markdown(f"<body>before<{name}>inside</{name}>after</body>")
    assert text.replace("```", "").split() == ["before", "inside", "after"]


def test_what_a_summary_hides_is_read_beside_it() -> None:
    text, _ = html_to_markdown("<details><summary>More</summary>hidden</details>")
    assert text == "More\n\nhidden"


def test_a_bar_in_a_cell_does_not_open_another_column() -> None:
    page = "<table><tr><th>a|b</th><th>p</th></tr><tr><td>p(a|b)</td><td><code>x|y</code> \\|z\\|</td></tr></table>"
    assert html_to_markdown(page)[0].splitlines() == [
        "| a\\|b | p |",
        "| --- | --- |",
        "| p(a\\|b) | `x\\|y` \\|z\\| |",
    ]


@pytest.mark.parametrize(
    ("outside", "inside", "expected"),
    [
        ("<h1>Page</h1>", "<p>Text.</p>", ["# Page", "Text."]),
        ("<h1>Site</h1>", "<h1>Own</h1><p>Text.</p>", ["# Own", "Text."]),
        ("<p>Banner</p>", "<p>Text.</p>", ["Text."]),
    ],
)
def test_the_heading_of_a_page_stands_above_its_main_part(outside: str, inside: str, expected: list[str]) -> None:
    text, _ = html_to_markdown(f"<body><header>{outside}</header><main>{inside}</main><p>Foot</p></body>")
    assert [line for line in text.splitlines() if line] == expected
