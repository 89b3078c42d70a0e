"""Results on disk, one JSON line each, so that a run that was broken off goes on where it stood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ragkit.errors import DatasetError
from ragkit.index.fsops import append_line


class RowStore:
    """Rows by key; the last one of a key counts.

    Args:
        path: File they are appended to; None keeps them in memory only.

    Raises:
        DatasetError: If the file cannot be read or made.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._rows: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        except OSError as exc:
            raise DatasetError(f"{path} cannot be used: {exc.strerror}.", "Name another file with --out.") from exc
        for line in text.split("\n"):
            try:
                record = json.loads(line)
                self._rows[str(record["key"])] = dict(record["row"])
            except (ValueError, KeyError, TypeError):
                # A crash may have cut the last line; its question is asked again.
                continue

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of `key`, or None."""
        return self._rows.get(key)

    def put(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row, on disk first.

        Raises:
            DatasetError: If the disk refuses it.
        """
        if self.path is not None:
            line = json.dumps({"key": key, "row": row}, ensure_ascii=False, default=str).encode("utf-8", "replace")
            try:
                append_line(self.path, line, mode=0o666)
            except OSError as exc:
                raise DatasetError(
                    f"{self.path} cannot be written: {exc.strerror}.", "Name another with --out."
                ) from exc
        self._rows[key] = row
