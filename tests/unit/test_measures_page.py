"""The pages of answers and of safety: hostile text stays text, nothing is fetched, numbers are the report's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("jinja2", reason="the page needs the extra eval")

from ragkit.errors import ConfigError
from ragkit.evaluation.answer_report import METRICS
from ragkit.evaluation.html.measures import render_answers, render_safety, write_answers_page
from ragkit.evaluation.safety import SafetyRow, SafetyRun, safety_report
from ragkit.safety.examples import Example
from ragkit.safety.filter import SafetyVerdict

HOSTILE = (
    "</pre></style></svg><script>alert(1)</script><img src=x onerror=alert(1)> \"'> &amp; {{ 7*7 }} "
    "\u202egnp.exe\u202c \u200b\x1b[31m\x00\r\n]]> \ufffe\uffff \ud800 javascript:alert(1)"
)


def make_row(**changed: Any) -> dict[str, Any]:
    row = {
        "id": "q1", "question": "为什么？", "type": "lexical", "language": "zh", "answerable": True, "reference": "因为。",
        "answer": "因为方差[1]。", "plain": "因为方差。", "abstained": False, "stop_reason": "answered", "error": "",
        "scores": {"cites_gold": 1.0, "seconds": 1.5, "judged": None, "prompt_tokens": 1234.0},
        "citations": [
            {"marker": 1, "document": "a b.md", "start_line": 3, "end_line": 4, "heading": ["标题"], "quote": "方差大",
             "verdict": "supported", "note": "", "start": 0, "end": 3}
        ],
        "sentences": [
            {"text": "因为方差。", "markers": [1], "supported": True, "precise": [True], "across_languages": False}
        ],
        "tool_calls": [
            {"tool": "search_notes", "arguments": {"query": "方差"}, "valid": True, "by_model": False, "seconds": 0.1}
        ],
        "removed": [], "grade": None, "grade_reason": "", "passages": {},
    }  # fmt: skip
    return {**row, **changed}


def make_answers(*rows: dict[str, Any], **changed: Any) -> dict[str, Any]:
    part = {
        "metrics": {"quote_fidelity": 1.0, "cites_gold": 0.625, "corpus_bleu": 0.25, "seconds": 12.5},
        "ci95": {"quote_fidelity": [0.9, 1.0], "cites_gold": [0.4, 0.8], "seconds": [10.0, 14.0]},
        "counts": {"quote_fidelity": 8, "cites_gold": 8, "corpus_bleu": 8, "seconds": 9},
    }
    report = {
        "dataset": "面试题", "ragkit": "0.1.0", "questions": len(rows) or 1, "agent": "interview", "model": "local",
        "embedding_model": "https://user:secret@host/v1 m", "index": {"documents": 3}, "support_judge": "term",
        "judge": None, **part, "by_type": {"lexical": {"questions": 9, **part}},
        "by_language": {"zh": {"questions": 9, **part}}, "per_question": list(rows) or [make_row()],
    }  # fmt: skip
    return {**report, **changed}


def make_safety(*texts: str) -> dict[str, Any]:
    examples = [
        Example(f"s{n}", text, "zh", "input", harmful=n % 2 == 0, category="hate" if n % 2 == 0 else "none")
        for n, text in enumerate(texts or ("坏话", "好话", "another", "fine"))
    ]
    # The first harmful text is missed and the first harmless one is flagged.
    verdicts = [SafetyVerdict(n in (1, 2), ("hate",) if n in (1, 2) else (), 0.5, "rule x", "rules") for n in range(9)]
    run = SafetyRun("rules", tuple(SafetyRow(e, v, 0.002) for e, v in zip(examples, verdicts, strict=False)))
    return safety_report("set", examples, "m", [run])


def tree(page: str) -> ElementTree.Element:
    """The page, which must be well-formed."""
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", "".join(tree(page).itertext()))


def test_the_numbers_are_those_of_the_report() -> None:
    said = text_of(render_answers(make_answers()))
    assert "100.0 % of the quotes" in said and "62.5 % of the answerable questions" in said
    assert "cites_gold 0.625 (0.400 to 0.800)" in said and METRICS["cites_gold"] in said
    assert "12.5" in said and "10.0–14.0" in said  # seconds are no share and get no bar
    assert "comparison of terms" in said and "secret" not in said
    assert all(
        part in said for part in ("为什么？", "a b.md:3–4", "方差大", "因为方差[1]。", "1 of 1 sentences supported")
    )


def test_a_bar_reaches_as_far_as_its_value() -> None:
    page = tree(render_answers(make_answers()))
    [bar] = [svg for svg in page.iter("svg") if "M400.0 10H800.0" in ElementTree.tostring(svg, encoding="unicode")]
    assert [rect.get("width") for rect in bar.iter("rect")] == ["1000", "625.0"]
    assert len(list(page.iter("svg"))) == 3  # quote_fidelity, cites_gold, corpus_bleu, which has no interval


@pytest.mark.parametrize(
    ("changed", "mark"),
    [
        ({"abstained": True}, "abstained, though answerable"),
        ({"abstained": True, "answerable": False}, "rightly abstained"),
        ({"answerable": False}, "answered, though unanswerable"),
        ({"scores": {"cites_gold": 0.0}}, "cites no gold"),
        ({"error": "the model said nothing", "scores": {}}, "no answer"),
        ({"grade": "partly", "grade_reason": "缺一点"}, "judged partly"),
    ],
)
def test_what_is_right_or_wrong_with_an_answer_is_seen_without_unfolding_it(changed: dict[str, Any], mark: str) -> None:
    page = tree(render_answers(make_answers(make_row(**changed))))
    [summary] = page.iter("summary")
    assert mark in "".join(summary.itertext())


def test_the_judge_and_its_agreement_are_named() -> None:
    judge = {"model": "local", "agreement": {"kappa": 0.71, "count": 72}}
    assert "local (kappa 0.71 on 72 labels)" in text_of(render_answers(make_answers(judge=judge)))
    unknown = render_answers(make_answers(judge={**judge, "agreement": None}, support_judge="openai:m"))
    assert "local (agreement not known)" in text_of(unknown) and "openai:m" in text_of(unknown)


@pytest.mark.parametrize("kind", ["answers", "safety"])
def test_hostile_text_stays_text(kind: str) -> None:
    if kind == "safety":
        page = render_safety({**make_safety(HOSTILE, HOSTILE + "1"), "dataset": HOSTILE})
    else:
        citation = {**make_row()["citations"][0], "document": HOSTILE, "quote": HOSTILE, "heading": [HOSTILE]}
        row = make_row(
            question=HOSTILE, answer=HOSTILE, reference=HOSTILE, id=HOSTILE, type=HOSTILE, language=HOSTILE,
            grade="wrong", grade_reason=HOSTILE, removed=[HOSTILE], citations=[citation],
            tool_calls=[{**make_row()["tool_calls"][0], "arguments": {HOSTILE: HOSTILE}}],
            sentences=[{**make_row()["sentences"][0], "text": HOSTILE, "markers": [1, 2], "precise": [True, False]}],
        )  # fmt: skip
        page = render_answers(make_answers(row, make_row(error=HOSTILE, scores={}), dataset=HOSTILE, model=HOSTILE))
    parsed = tree(page)
    assert not [e.tag for e in parsed.iter() if e.tag in {"script", "img", "iframe", "link", "object", "a"}]
    assert not [name for e in parsed.iter() for name in e.attrib if name.startswith("on")]
    assert "{{ 7*7 }}" in text_of(page) and "<script>" in text_of(page)
    assert not re.search("[\x00\x1b\u202e\u200b\ufffe\uffff]", page)
    assert not re.search(r"(?:src|href|url)\s*[=(]", re.sub(r"&[a-z]+;|&#\d+;", "", page).replace("img src=x", ""))


def test_safety_rates_and_errors() -> None:
    said = text_of(render_safety(make_safety()))
    assert "Detection rules 0.500" in said and "1 of 2" in said
    assert "2 of 4 texts" in said  # errors
    assert "missed 坏话" in said and "false alarm 好话" in said and "another" not in said


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="--html"):
        write_answers_page(tmp_path / "file" / "page.html", make_answers())
    write_answers_page(tmp_path / "new" / "page.html", make_answers())
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
