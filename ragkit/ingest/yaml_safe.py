"""YAML from files that people hand around: plain data only, no aliases, no tags."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.events import AliasEvent


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases: a few nested aliases can unfold to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)


def load_yaml(text: str) -> Any:
    """Parse one YAML document of plain data.

    Raises:
        yaml.YAMLError: If it is malformed or uses aliases or tags.
    """
    loader = _PlainLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def split_front_matter(text: str) -> tuple[str | None, int]:
    """Separate front matter from the body.

    Returns:
        ``(yaml text, offset of the body)``; ``(None, 0)`` if the text has no front matter
        or it is never closed.
    """
    if not text.startswith("---\n"):
        return None, 0
    close = text.find("\n---", 3)
    while close != -1:
        after = close + 4
        if after >= len(text) or text[after] == "\n":
            return text[4 : close + 1], min(after + 1, len(text))
        close = text.find("\n---", after)
    return None, 0
