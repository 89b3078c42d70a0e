"""Where the text of a turn came from, and what follows from it for calls with an effect.

Trusted is what the user typed for this question and what the agent file says. Passages, file names,
memories, results of tools and of MCP servers, web pages and earlier turns are not: whoever wrote them
could have written an instruction. A model that has read such text may have been taken over by it, so
from then on a standing permission (``allow_tools``) covers only calls that are made of the user's own
words; for every other effect somebody must say yes to the very arguments. What the model was sent
decides, not what anybody declares.

The rule is that of Meta's "Agents Rule of Two" (2025) and, for arguments, of CaMeL (Debenedetti et al. 2025).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from ragkit.text.sanitize import one_line
from ragkit.text.tokens import fold

_SHOWN: Final = 6
_WORD_EDGE: Final = r"[a-z0-9_]"


class Provenance:
    """The sources of one turn.

    Args:
        said: What the user typed.
        read: What `kept` gave, for a turn that goes on.
    """

    def __init__(self, said: str, read: Iterable[str] = ()) -> None:
        self._said = _flat(said)
        self._untrusted = dict.fromkeys(read)

    def kept(self) -> list[str]:
        """Everything foreign that was read, as values that can be kept."""
        return list(self._untrusted)

    def read(self, source: str) -> None:
        """Text that is not the user's came into the turn."""
        self._untrusted[one_line(source, 80)] = None

    def sent(self, messages: Sequence[BaseMessage]) -> None:
        """Messages go to the model: everything but the question itself is from elsewhere."""
        for message in messages:
            if isinstance(message, ToolMessage):
                self.read(f"result of {message.name or 'a tool'}")
            elif isinstance(message, HumanMessage) and not _flat(message.text).startswith(self._said):
                self.read("earlier turns")
            elif isinstance(message, AIMessage) and message.text and not message.tool_calls:
                self.read("earlier turns")

    def handed_on(self) -> Provenance:
        """That of an agent which is asked as a tool: the words that ask are a model's, only the user's own count."""
        other = Provenance("", [*self._untrusted, "the agent that asks"])
        other._said = self._said
        return other

    @property
    def tainted(self) -> bool:
        """Whether the model has read anything that the user did not write."""
        return bool(self._untrusted)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where such text came from, for whoever is asked about a call."""
        return tuple(self._untrusted)[:_SHOWN]

    def covers(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a standing permission covers a call with these `arguments`.

        Before anything foreign was read it covers all. Afterwards each text and number must stand in the
        question, as whole words; a call without any argument is nobody's words, and covered by none.
        """
        if not self.tainted:
            return True
        values = list(_values(arguments))
        return bool(values) and all(self._typed(value) for value in values)

    def _typed(self, value: str) -> bool:
        wanted = _flat(value)
        before = rf"(?<!{_WORD_EDGE})" if re.match(_WORD_EDGE, wanted) else ""
        after = rf"(?!{_WORD_EDGE})" if re.search(rf"{_WORD_EDGE}\Z", wanted) else ""
        return bool(wanted) and re.search(f"{before}{re.escape(wanted)}{after}", self._said) is not None


def _flat(text: str) -> str:
    return " ".join(fold(text).split())


def _values(value: Any) -> Iterable[str]:
    """Every text and number in arguments, and the keys below the first level, which may be free."""
    if isinstance(value, Mapping):
        for inner in value.values():
            if isinstance(inner, Mapping):
                yield from map(str, inner)
            yield from _values(inner)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from _values(inner)
    elif value is not None and value != "":
        yield str(value)
