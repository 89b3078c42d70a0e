"""Labelled texts: what the classifier learns from, and what a filter is measured on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ragkit.errors import DatasetError
from ragkit.safety.rules import CATEGORIES, Direction

TRAINING_FILE: Final = Path(__file__).with_name("examples.jsonl")
HARMLESS: Final = "none"
"""Category of a harmless text."""
_KEYS: Final = "Keys: text, language (zh, en), direction (input, output), label (harmful, harmless), category."


@dataclass(frozen=True)
class Example:
    """A text and whether it is harmful."""

    id: str
    text: str
    language: Literal["zh", "en"]
    direction: Direction
    harmful: bool
    category: str
    """One of `ragkit.safety.rules.CATEGORIES`; ``none`` for harmless texts."""
    subset: str = "plain"
    """What makes the text hard: ``plain``, ``hard-negative``, ``obfuscated``."""


def load_examples(path: Path = TRAINING_FILE) -> tuple[Example, ...]:
    """Read labelled texts, one JSON object a line.

    Args:
        path: The file, or a folder that holds ``questions.jsonl``.

    Raises:
        DatasetError: If the file is missing, a line is malformed, or an id or a text stands twice.
    """
    path = path / "questions.jsonl" if path.is_dir() else path
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else f"not UTF-8 ({exc.reason})"
        raise DatasetError(
            f"{path} cannot be read: {reason}.", "Give a JSONL file of labelled texts in UTF-8."
        ) from exc
    examples: list[Example] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        example = _example(line, f"{path}:{number}", str(number))
        for key in (f"id {example.id!r}", f"text {example.text[:60]!r}…" if example.text else ""):
            if key in seen:
                raise DatasetError(f"{path}:{number}: {key} stands twice.", "Ids and texts must be unique.")
            seen.add(key)
        examples.append(example)
    if not examples:
        raise DatasetError(f"{path} holds no text.", _KEYS)
    return tuple(examples)


def _example(line: str, where: str, number: str) -> Example:
    try:
        row = json.loads(line)
        example = Example(
            id=str(row.get("id", number)),
            text=row["text"],
            language=row["language"],
            direction=row["direction"],
            harmful={"harmful": True, "harmless": False}[row["label"]],
            category=row["category"],
            subset=str(row.get("subset", "plain")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise DatasetError(f"{where}: missing or wrong key ({exc}).", _KEYS) from exc
    allowed = CATEGORIES if example.harmful else (HARMLESS,)
    if not isinstance(example.text, str) or not example.text.strip():
        raise DatasetError(f"{where}: the text is empty or no text.", _KEYS)
    if example.category not in allowed:
        raise DatasetError(f"{where}: category {example.category!r}.", f"Allowed here: {', '.join(allowed)}.")
    if example.language not in {"zh", "en"} or example.direction not in {"input", "output"}:
        raise DatasetError(f"{where}: language {example.language!r}, direction {example.direction!r}.", _KEYS)
    return example
