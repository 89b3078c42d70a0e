"""Notes and an index folder for the tests of the index."""

from __future__ import annotations

from pathlib import Path

import pytest
from index_kit import NOTES, write


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return write(tmp_path / "notes", NOTES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"
