"""Characters that only look like others: the radicals and ligatures that a PDF names in place of its letters.

A font draws ⻔ and 门 with one glyph, and many programs write the wrong one of the two into the
table that says what a glyph stands for.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_LOOKALIKES: Final = re.compile("[\u2e80-\u2fdf\uf900-\ufaff\ufb00-\ufb06]")
_RADICALS: Final = (
    "⺓幺 ⺝月 ⺠民 ⻁虎 ⻄西 ⻅见 ⻆角 ⻉贝 ⻋车 ⻑長 ⻓长 ⻔门 ⻗雨 ⻘青 ⻙韦 ⻚页 ⻛风 ⻜飞 ⻝食 ⻢马 "
    "⻣骨 ⻤鬼 ⻥鱼 ⻦鸟 ⻧卤 ⻨麦 ⻩黄 ⻪黾 ⻫斉 ⻬齐 ⻭歯 ⻮齿 ⻯竜 ⻰龙 ⻱龜 ⻲亀"
)
"""Those of U+2E80 to U+2EFF that are words of their own. Unicode calls them symbols, so that NFKC leaves them
alone. Those that are only parts of characters (⺡ of 河) stay: a PDF that names them may mean just them."""
_USUAL: Final = {pair[0]: pair[1] for pair in _RADICALS.split()}


def usual_characters(text: str) -> str:
    """`text` with radicals, ligatures and compatibility ideographs as the characters that they look like."""
    return _LOOKALIKES.sub(_usual, text)


def _usual(match: re.Match[str]) -> str:
    return _USUAL.get(match.group()) or unicodedata.normalize("NFKC", match.group())
