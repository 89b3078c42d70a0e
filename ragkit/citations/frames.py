"""What frames the statements of an answer: heads of tables, announcements of what stands below, courtesies.

Told from the text alone; whether a frame states something after all is said by `ragkit.citations.verify`.
"""

from __future__ import annotations

import re
from typing import Final

_RULE: Final = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?")
_ITEM: Final = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s|\d{1,3}、|[（(]\d{1,3}[)）]|[①-⑳]")
_COURTESIES: Final = frozenset(
    " ".join(each.split())
    for each in """hello|hi|hi there|hey|hello there|sure|sure thing|of course|certainly|absolutely|great question
    |good question|thank you|thanks|you're welcome|you are welcome|i hope this helps|i hope that helps|hope this helps
    |hope that helps
    |i hope this helps you|good luck|let me know if you have any questions|let me know if you have any other questions
    |let me know if you have any further questions|let me know if you have more questions|let me know if you need more
    |let me know if you need anything else|feel free to ask|feel free to ask if you have more questions
    |feel free to ask if you have any questions|feel free to ask if you have any other questions
    |feel free to ask if you have any further questions|if you have any questions, feel free to ask
    |if you have any other questions, feel free to ask|if you have any further questions, feel free to ask
    |你好|您好|当然|当然可以|好的|没问题|好问题|谢谢|谢谢你|谢谢您|不客气|希望这对你有帮助|希望这对您有帮助|希望对你有帮助|希望对您有帮助
    |希望这对你有所帮助|希望这对您有所帮助|希望对你有所帮助|希望对您有所帮助|祝你好运|祝你面试顺利|祝您面试顺利
    |如有其他问题，请随时提问|如果有其他问题，请随时提问|如果你还有其他问题，请随时提问|如果您还有其他问题，请随时提问
    |如果还有其他问题，欢迎随时提问|如有疑问，请随时提问""".split("|")
)
_END: Final = " .!?。！？~～…"


def is_row(text: str) -> bool:
    """Whether a line is a row of a table."""
    return text.lstrip().startswith("|")


def is_rule(text: str) -> bool:
    """Whether a line is the rule between the head of a table and its rows."""
    line = text.strip()
    return "|" in line and _RULE.fullmatch(line) is not None


def is_item(text: str) -> bool:
    """Whether a line is an item of a list."""
    return _ITEM.match(text.lstrip()) is not None


def is_announcement(text: str) -> bool:
    """Whether a sentence ends by a colon, emphasis aside."""
    return text.rstrip(" *_").endswith((":", "："))


def is_courtesy(text: str) -> bool:
    """Whether a sentence is one of a few that say nothing of any subject: "Hello!", "I hope this helps."."""
    return " ".join(text.casefold().replace("’", "'").split()).strip(_END) in _COURTESIES
