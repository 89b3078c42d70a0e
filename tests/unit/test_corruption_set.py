"""The verifier on the corruption set: what docs/citations.md reports of the test half must hold."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = {"invented": 0.99, "swapped": 0.99, "stitched": 0.99, "number": 0.94, "negation": 0.8, "entity": 0.82}
MOST_UNTOUCHED = 0.03


@pytest.fixture(scope="module")
def verifier() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verifier_eval", ROOT / "evals" / "experiments" / "verifier.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["verifier_eval"] = module
    spec.loader.exec_module(module)
    return module


def test_the_set_has_both_languages_all_classes_and_notes_in_one_split_only(verifier: ModuleType) -> None:
    pairs = [(item, split) for split in ("dev", "test") for item, _ in verifier.load(split)]
    assert len(pairs) >= 600
    kinds = {(item["kind"], item["language"]) for item, _ in pairs}
    assert {(kind, language) for kind in verifier.KINDS for language in ("zh", "en")} <= kinds
    assert len({item["id"] for item, _ in pairs}) == len(pairs)


def test_what_stage_a_catches_on_the_test_half(verifier: ModuleType) -> None:
    rows = verifier.run("test")
    found = verifier.table(rows)
    assert {kind: found[kind]["flagged"] for kind, floor in FLOORS.items() if found[kind]["flagged"] < floor} == {}
    assert found["untouched"]["flagged"] <= MOST_UNTOUCHED
    moved = [row for row in rows if row.item["kind"] == "swapped" and row.verdict.verdict == "misattributed"]
    assert all(set(row.verdict.sources) <= set(row.item["sources"]) for row in moved)
