"""Markdown and HTML that ragkit writes load nothing and hide nothing, whatever notes and models wrote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hazards import HAZARDS
from markdown_it import MarkdownIt

from ragkit.agent.answer import Citation
from ragkit.agent.session_store import to_markdown
from ragkit.agent.sessions import PastAnswer, Session
from ragkit.evaluation.html.layout import make_environment

HOSTILE = {
    **HAZARDS,
    "picture": "![图](https://evil.example/?q=x)",
    "picture by reference": "![图][r]\n\n[r]: https://evil.example/x",
    "link": "[这里](https://evil.example/x)",
    "HTML": "<img src=https://evil.example/x><script>alert(1)</script><a href='//evil.example'>x</a>",
    "SVG": "<svg onload=alert(1)>",
    "data": "[x](data:text/html;base64,AAAA)",
    "autolink": "<https://evil.example/x>",
}
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\U000e0000-\U000e01ef]"
)
LOADS = re.compile(
    r"<(?:img|script|iframe|svg|link|object|embed|video|audio|form)\b|<\w[^<>]*\s(?:src|href|onload)=", re.IGNORECASE
)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_an_exported_conversation_loads_nothing(text: str) -> None:
    citation = Citation(
        marker=1, document=f"{text}.md", heading=(text,), start_line=1, end_line=1, start=0, end=1, quote=text,
        verdict="partly", note=text, stale=f"moved to {text}",
    )  # fmt: skip
    session = Session()
    session.answers = [PastAnswer(text, text, text, (citation,))]
    written = to_markdown(session)
    assert not HIDDEN.search(written)
    assert not LOADS.search(MarkdownIt("commonmark", {"html": True}).enable("table").render(written))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_value_on_a_page_is_text(text: str) -> None:
    page = make_environment().from_string("<p title='{{ x }}'>{{ x }}</p>").render(x=text)
    assert not HIDDEN.search(page)
    assert page.count("<") == 2 and page.count("'") == 2


def test_every_page_forbids_loading() -> None:
    import ragkit.evaluation

    templates = sorted((Path(ragkit.evaluation.__file__).parent / "templates").glob("*.html.j2"))
    whole = [text for path in templates if "<head>" in (text := path.read_text(encoding="utf-8"))]
    assert whole
    assert all("Content-Security-Policy" in text and "default-src 'none'" in text for text in whole)
    assert not [text for text in whole if re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", text)]
