"""Rows on disk survive a crash between any two bytes of the last line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.errors import DatasetError
from ragkit.evaluation.row_store import RowStore


def test_rows_are_found_again_and_the_last_of_a_key_counts(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "deep" / "rows.jsonl")
    store.put("a", {"n": 1})
    store.put("b", {"文": "字"})
    store.put("a", {"n": 2})
    again = RowStore(tmp_path / "deep" / "rows.jsonl")
    assert (again.get("a"), again.get("b"), again.get("c")) == ({"n": 2}, {"文": "字"}, None)


def test_a_cut_last_line_costs_that_row_only(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    store = RowStore(file)
    store.put("a", {"n": 1})
    whole = file.read_bytes()
    store.put("b", {"n": 2})
    both = file.read_bytes()
    for cut in range(len(whole), len(both) - 1):
        file.write_bytes(both[:cut])
        broken = RowStore(file)
        assert broken.get("a") == {"n": 1}
        broken.put("c", {"n": 3})
        assert RowStore(file).get("c") == {"n": 3}
        assert RowStore(file).get("a") == {"n": 1}


def test_without_a_file_rows_stay_in_memory() -> None:
    store = RowStore()
    store.put("a", {"n": 1})
    assert store.get("a") == {"n": 1}


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="--rows"):
        RowStore(tmp_path)
    with pytest.raises(DatasetError, match="--log"):
        RowStore(tmp_path, "--log")


@pytest.mark.parametrize(
    "content",
    [
        '{"id": "q1", "question": "为什么？"}\n',
        '{"key": "a", "row": {"n": 1}}\n{"id": "q1"}\n',
        '{"key": "a"}\n',
        '{"key": "a", "row": 3}\n',
        "# Notes\n\n{}\n",
        '[{"key": "a", "row": {}}]',
        "%PDF-1.7\n\0\0",
    ],
)
def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"questions\.jsonl:\d.*left as it is.*--rows"):
        RowStore(file)
    assert file.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("content", ["", "\n\n", '{"key": "a", "ro', '{"k', '{"key": "a", "row": {}}\r\n\0\0\0'])
def test_an_empty_file_and_what_a_crash_leaves_are_gone_on_with(tmp_path: Path, content: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(content, encoding="utf-8")
    RowStore(file).put("b", {"n": 1})
    assert RowStore(file).get("b") == {"n": 1}
