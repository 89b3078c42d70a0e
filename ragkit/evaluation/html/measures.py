"""Reports of ``eval answers`` and ``eval safety`` as pages that need nothing but themselves.

Questions, answers, quotes and labelled texts are foreign text: shown, never interpreted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ragkit.errors import ConfigError
from ragkit.evaluation.answer_report import COSTS, METRICS
from ragkit.evaluation.html.layout import make_environment, without_credentials
from ragkit.evaluation.html.risk import risk_curve
from ragkit.index.fsops import write_text_atomically

BY_GROUP: Final = {
    "cites_gold": "cites gold",
    "citation_recall": "citation recall",
    "citation_precision": "citation precision",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "bert_score": "BERTScore",
    "judged": "judged",
    "abstained": "abstained",
    "seconds": "seconds",
}
"""Columns of the tables by question type and language."""
RATES: Final = {"detection": "detection", "false_alarms": "false alarms", "precision": "precision"}
GROUPS: Final = ("language", "subset", "category", "direction")

Report = Mapping[str, Any]


def write_answers_page(path: Path, report: Report) -> None:
    """Write a report of ``answers_json`` as one HTML page, in one step.

    Raises:
        ConfigError: If the file cannot be written.
    """
    _write(path, render_answers(report))


def write_safety_page(path: Path, report: Report) -> None:
    """Write a report of ``safety_report`` as one HTML page, in one step.

    Raises:
        ConfigError: If the file cannot be written.
    """
    _write(path, render_safety(report))


def render_answers(report: Report) -> str:
    """The page of a report of ``answers_json`` as text: HTML that is well-formed XML too."""
    shares = [_measure(report, name) for name in report["metrics"] if name not in COSTS]
    return (
        make_environment()
        .get_template("answers.html.j2")
        .render(
            report=report,
            lead=_lead(report),
            facts=_facts(report),
            shares=shares,
            costs=[_measure(report, name) for name in COSTS if name in report["metrics"]],
            groups=[
                _answer_groups(report, "by_type", "question type"),
                _answer_groups(report, "by_language", "language"),
            ],
            risk=_risk(report),
            columns=[title for name, title in BY_GROUP.items() if name in report["metrics"]],
            rows=[{**row, "marks": list(_marks(row))} for row in report["per_question"]],
        )
    )


def render_safety(report: Report) -> str:
    """The page of a report of ``safety_report`` as text: HTML that is well-formed XML too."""
    runs = [{**run, "wrong": [row for row in run["rows"] if not row["correct"]]} for run in report["runs"]]
    rates = [
        {"title": title, "bars": [{**run[name], "name": run["name"]} for run in runs if run[name]["ci95"]]}
        for name, title in RATES.items()
    ]
    groups = [
        {"title": key, "names": sorted({name for run in runs for name in run[f"by_{key}"]}), "key": f"by_{key}"}
        for key in GROUPS
    ]
    model = without_credentials(str(report["embedding_model"]))
    return (
        make_environment()
        .get_template("safety.html.j2")
        .render(report=report, runs=runs, rates=rates, groups=groups, model=model)
    )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, text)
    except OSError as exc:
        raise ConfigError(f"Cannot write {path}: {exc.strerror}.", "Choose another place with --html.") from exc


def _measure(report: Report, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "says": METRICS.get(name, ""),
        "value": report["metrics"][name],
        "ci95": report["ci95"].get(name),
        "count": report["counts"][name],
    }


def _lead(report: Report) -> list[dict[str, Any]]:
    """The figures that a reader looks for first."""
    wanted = {
        "quote_fidelity": "of the quotes are their file's words",
        "cites_gold": "of the answerable questions cite a right place",
        "abstention_recall": "of the unanswerable questions are declined",
        "judged_right": "of the answers are right, says the judge",
    }
    return [{**_measure(report, name), "says": says} for name, says in wanted.items() if name in report["metrics"]]


def _facts(report: Report) -> dict[str, str]:
    facts = {
        "questions": str(report["questions"]),
        "agent": str(report["agent"]),
        "model": str(report["model"]),
        "embedding model": str(report["embedding_model"]),
        "documents": str(report["index"]["documents"]),
        "support judged by": "comparison of terms" if report["support_judge"] == "term" else report["support_judge"],
    }
    if judge := report["judge"]:
        found = judge["agreement"]
        known = f"kappa {found['kappa']:.2f} on {found['count']} labels" if found else "agreement not known"
        facts["answers judged by"] = f"{judge['model']} ({known})"
    facts["ragkit"] = str(report["ragkit"])
    return {name: without_credentials(value) for name, value in facts.items()}


def _risk(report: Report) -> dict[str, Any] | None:
    """The risk/coverage curve and its figures; None for a report without questions of both kinds."""
    found = report.get("risk_coverage")
    return {**found, "figure": risk_curve(found, "risk")} if found else None


def _answer_groups(report: Report, key: str, title: str) -> dict[str, Any]:
    names = [name for name in BY_GROUP if name in report["metrics"]]
    rows = [
        {
            "name": group,
            "questions": found["questions"],
            "cells": [
                {"value": found["metrics"][name], "ci95": found["ci95"].get(name), "share": name not in COSTS}
                if name in found["metrics"]
                else None
                for name in names
            ],
        }
        for group, found in report[key].items()
    ]
    return {"title": title, "rows": rows}


def _marks(row: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What is to be said of an answer at a glance: (good, bad or plain, in words)."""
    if row["error"]:
        yield "bad", "no answer"
        return
    if row["abstained"]:
        yield ("bad", "abstained, though answerable") if row["answerable"] else ("good", "rightly abstained")
        return
    if not row["answerable"]:
        yield "bad", "answered, though unanswerable"
    if (gold := row["scores"].get("cites_gold")) is not None:
        yield ("good", "cites gold") if gold else ("bad", "cites no gold")
    if sentences := row["sentences"]:
        held = sum(sentence["supported"] for sentence in sentences)
        yield "good" if held == len(sentences) else "bad", f"{held} of {len(sentences)} sentences supported"
    if row["grade"]:
        yield {"right": "good", "wrong": "bad"}.get(row["grade"], "plain"), f"judged {row['grade']}"
