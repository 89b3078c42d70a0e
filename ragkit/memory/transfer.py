"""Memories as a JSON file and back. What comes from a file is data: every field is checked, and trust is low."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ragkit.errors import UsageError
from ragkit.memory.items import MemoryItem, check_time, new_item, now

FORMAT: Final = "ragkit-memory"
MAX_ITEMS: Final = 100_000


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    text: str
    id: str = Field(default="", pattern=r"^[0-9a-f]{0,32}$")
    time: str = ""
    last: str = ""
    session: str = ""
    superseded_by: str = Field(default="", pattern=r"^[0-9a-f]{0,32}$")
    until: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    format: Literal["ragkit-memory"]
    version: Literal[1]
    items: list[_Item] = Field(max_length=MAX_ITEMS)


def to_json(user: str, items: Sequence[MemoryItem]) -> dict[str, Any]:
    """Everything about `items` as JSON values."""
    return {
        "format": FORMAT,
        "version": 1,
        "user": user,
        "exported": now(),
        "items": [item.to_json() for item in items],
    }


def from_json(data: Any) -> tuple[list[MemoryItem], list[MemoryItem]]:
    """The items of an export that hold, the oldest first, and those that were superseded.

    Raises:
        UsageError: If it is no export; names the field.
    """
    try:
        file = _File.model_validate(data)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(
            f"This is no export of memories: {where}: {first['msg']}.", "Use what `export` wrote."
        ) from exc
    current: list[MemoryItem] = []
    history: list[MemoryItem] = []
    renamed: dict[str, str] = {}
    read = now()
    for number, given in enumerate(file.items):
        try:
            time = _time(given.time, "time") if given.time else read
            item = new_item(given.text, origin="import", session=given.session, time=time)
            if given.last:
                item = replace(item, last=max(time, _time(given.last, "last")))
            # Ids are made of text and time; a file that was edited has others.
            renamed[given.id] = item.id
            if given.superseded_by:
                until = _time(given.until, "until") if given.until else item.time
                history.append(replace(item, superseded_by=given.superseded_by, until=until))
            else:
                current.append(item)
        except UsageError as exc:
            raise UsageError(f"items.{number}: {exc.message}", exc.remedy) from exc
    current.sort(key=lambda item: item.last)  # told in the order they were said in
    return current, [replace(old, superseded_by=renamed.get(old.superseded_by, old.superseded_by)) for old in history]


def _time(text: str, name: str) -> str:
    try:
        return check_time(text)
    except UsageError as exc:
        raise UsageError(f"{name}: {exc.message}", exc.remedy) from exc
