"""YAML from files that people hand around: plain data only, no aliases, no tags."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml
from yaml.events import AliasEvent

_MAPPING: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*(?:[^\n]*:(?:[ \t\n]|\Z)|\s*\{|\s*\Z)")
"""How front matter begins; prose between two thematic breaks does not."""

_CLOSED: Final = re.compile(r"\n(?:---|\.\.\.)(?:\n|\Z)")
"""How front matter ends; the dots are YAML's own sign for it."""
_LONGEST_NUMBER: Final = 400


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases: a few nested aliases can unfold to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        # What only looks like a number or a date (2024-13-45, 5,000 digits) is text, and no reason to lose the rest.
        if isinstance(node, yaml.ScalarNode) and node.tag.endswith((":int", ":float", ":timestamp")):
            if len(node.value) > _LONGEST_NUMBER:
                return node.value
            try:
                return super().construct_object(node, deep=deep)
            except (ValueError, OverflowError):
                return node.value
        return super().construct_object(node, deep=deep)


class DuplicateKeyError(yaml.YAMLError):
    """A key stands twice in one mapping."""

    def __init__(self, key: str, line: int) -> None:
        super().__init__(f"the key {key} stands there twice")
        self.key, self.line = key, line
        """The key, and the line (from 0) where it stands again."""


class _UniqueLoader(_PlainLoader):
    """Of two equal keys the last one wins elsewhere: what somebody read above it would not hold."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(getattr(key, "value", ""))
            if name in seen:
                raise DuplicateKeyError(name, key.start_mark.line)
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def load_yaml(text: str, *, unique: bool = False) -> Any:
    """Parse one YAML document of plain data.

    Args:
        text: The document.
        unique: Whether a key that stands twice in one mapping is an error.

    Raises:
        yaml.YAMLError: If it is malformed or uses aliases or tags.
        DuplicateKeyError: If a key stands twice, where that is asked for.
    """
    loader = (_UniqueLoader if unique else _PlainLoader)(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def split_front_matter(text: str) -> tuple[str | None, int]:
    """Separate front matter from the body.

    Returns:
        ``(yaml text, offset of the body)``; ``(None, 0)`` if the text has no front matter
        or it is never closed, or what is closed is prose between two thematic breaks.
    """
    if not text.startswith("---\n"):
        return None, 0
    close = _CLOSED.search(text, 3)
    if close is None:
        return None, 0
    front = text[4 : close.start() + 1]
    return (front, close.end()) if _MAPPING.match(front) else (None, 0)
