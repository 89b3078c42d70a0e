"""The page of `eval retrieval --html` in a browser, at the size of a phone and of a desk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ragkit.api import Index
from ragkit.evaluation.datasets import load_dataset
from ragkit.evaluation.html import write_page
from ragkit.evaluation.retrieval import evaluate, report_json
from ragkit.testing import HashingEmbedder

pytest.importorskip("matplotlib", reason="the page needs the extra eval")
pytest.importorskip("jinja2", reason="the page needs the extra eval")

ATTACK = "</pre><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> \u202eexe.gnp"
NOTES = {
    "lstm.md": f"# LSTM\n\nLSTM 用三个门控制记忆，遗忘门决定丢弃什么。{ATTACK} {'W' * 300}\n",
    "gru.md": "# GRU\n\nGRU 只有两个门，参数比 LSTM 少。\n",
}


@pytest.fixture
def page(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Path:
    """A page of a real evaluation, with a question that is missed and notes that attack."""
    notes = make_notes(tmp_path / "notes", NOTES)
    rows = [
        {"question": "GRU 有几个门？", "gold": [{"file": "gru.md", "quote": "两个门"}], "type": "lexical"},
        {"question": "遗忘门" + ATTACK, "gold": [{"file": "lstm.md", "quote": "遗忘门"}], "type": ATTACK},
    ]
    lines = [json.dumps({"id": f"q{i}", "language": "zh", **row}, ensure_ascii=False) for i, row in enumerate(rows)]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    data = load_dataset(tmp_path / "questions.jsonl", notes)
    index = Index.open(notes, tmp_path / "index", embedding=HashingEmbedder())
    report = json.loads(json.dumps(report_json(data, index, evaluate(data, index, ["sparse", "dense"]), rows=True)))
    for row in report["runs"][0]["rows"]:
        row["ranks"] = [None]
    write_page(tmp_path / "page.html", [report, {**report, "dataset": "一个很长的名字" * 12}])
    return tmp_path / "page.html"


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_draws_and_stays_silent(open_page: Any, page: Path, width: int, height: int, scheme: str) -> None:
    with open_page(page, width, height, scheme) as opened:
        shown = opened.page
        shown.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert shown.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")
        assert shown.evaluate("window.innerWidth") == width
        boxes = shown.evaluate("[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().toJSON())")
        assert len(boxes) == 8
        assert all(box["width"] > 250 and box["height"] > 100 and box["right"] <= width for box in boxes)
        outside = shown.evaluate(
            """[...document.querySelectorAll('svg text')].filter(text => {
                const own = text.getBoundingClientRect(), all = text.closest('svg').getBoundingClientRect();
                return own.left < all.left || own.right > all.right || own.bottom > all.bottom || own.top < all.top;
            }).map(text => text.textContent)"""
        )
        assert outside == []
        # Text of the figures is drawn, in the ink of the colour scheme, and big enough to read.
        fill, size = shown.evaluate(
            "(t => [getComputedStyle(t).fill, t.getBoundingClientRect().height])(document.querySelector('svg text'))"
        )
        assert fill == shown.evaluate("getComputedStyle(document.body).color")
        assert size >= 9
        background = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        assert shown.evaluate("document.querySelectorAll('script, img').length") == 0
        assert shown.title().startswith("Retrieval: ")
        assert "</pre><script>" in shown.inner_text("details.missed >> nth=1")
        assert opened.said == []
        assert opened.asked == [page.as_uri()]
        if folder := os.environ.get("REPORT_SCREENSHOTS"):  # to look at
            shown.screenshot(path=Path(folder) / f"report-{width}-{scheme}.png", full_page=True, timeout=120_000)
