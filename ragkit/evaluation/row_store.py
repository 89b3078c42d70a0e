"""Results on disk, one JSON line each, so that a run that was broken off goes on where it stood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from ragkit.errors import DatasetError
from ragkit.index.fsops import append_line

_START: Final = '{"key": "'
"""What every row begins with, see `RowStore.put`."""


class RowStore:
    """Rows by key; the last one of a key counts.

    Args:
        path: File they are appended to; None keeps them in memory only.
        option: Command-line option that names the file, for errors.

    Raises:
        DatasetError: If the file cannot be read or made, or holds something else: it might be
            somebody's questions, and is never appended to.
    """

    def __init__(self, path: Path | None = None, option: str = "--rows") -> None:
        self.path = path
        self._option = option
        self._rows: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        except OSError as exc:
            raise DatasetError(f"{path} cannot be used: {exc.strerror}.", f"Name another file with {option}.") from exc
        for number, line in enumerate(text.split("\n"), start=1):
            if not (line := line.strip("\r\0 ")):
                continue
            try:
                record = json.loads(line)
                self._rows[str(record["key"])] = dict(record["row"])
            except (ValueError, KeyError, TypeError, RecursionError) as exc:
                # A crash may have cut the last line; its question is asked again.
                if not _is_cut(line):
                    raise DatasetError(
                        f"{path}:{number} is no row of an earlier run; the file is left as it is.",
                        f"Name a new file with {option}.",
                    ) from exc

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
                    f"{self.path} cannot be written: {exc.strerror}.", f"Name another with {self._option}."
                ) from exc
        self._rows[key] = row


def _is_cut(line: str) -> bool:
    """Whether a line is the beginning of a row and no JSON by itself."""
    if not (line.startswith(_START) or _START.startswith(line)):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False
