"""How many tokens a text is for a chat model: asked of llama.cpp, estimated for everything else.

Nothing is downloaded for counting. The estimate errs to the high side, so that what is counted to
fit does fit; an endpoint that disagrees says so, see `ragkit.agent.context`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import httpx

TokenCounter = Callable[[str], int]
_HAN: Final = re.compile(r"[\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]")
_LETTERS: Final = re.compile(r"[A-Za-z]+")
_SWITCH: Final = re.compile(r"[a-z](?=[A-Z])|[A-Z]{2}(?=[a-z])")
"""Where lower and upper case meet inside a word, a new token begins."""
_OTHER_ASCII: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f!-@\[-`{-~]")
_BLANKS: Final = re.compile(r"\s+")
_WORD: Final = 12
"""Longer runs of letters are no words, and cost a token for every two letters."""
_PER_HAN: Final = 1.3
_TYPICAL_HAN: Final = 0.8
_TYPICAL_LETTER: Final = 0.21
_TOO_LONG: Final = 400_000
"""Characters that no window of a local model holds: an estimate is as good there."""
_KEPT: Final = 512
_SECONDS: Final = 5.0


@lru_cache(maxsize=512)
def estimate_tokens(text: str) -> int:
    """Tokens that a byte-level BPE model needs for `text`, rather too many than too few."""
    letters = sum(-(-len(run) // 3) if len(run) <= _WORD else -(-len(run) // 2) for run in _LETTERS.findall(text))
    blanks = sum(1 + len(run) // 2 for run in _BLANKS.findall(text) if run != " ")
    han = len(_HAN.findall(text))
    # Whatever else is no ASCII: at most a token a byte.
    foreign = len(text.encode("utf-8", "replace")) - len(text.encode("ascii", "ignore")) - 3 * han
    singles = len(_OTHER_ASCII.findall(text)) + len(_SWITCH.findall(text))
    return int(letters + singles + blanks + _PER_HAN * han + foreign) + 1


def typical_tokens(text: str) -> float:
    """Tokens that a text is about for the bundled model, within a seventh for nine of ten passages of the corpus.

    .8 for a Chinese character, .21 for a letter, 1 for a digit or any other sign, nothing for white space.
    """
    han, letters = len(_HAN.findall(text)), sum(map(len, _LETTERS.findall(text)))
    signs = len(text) - han - letters - sum(map(len, _BLANKS.findall(text)))
    return _TYPICAL_HAN * han + _TYPICAL_LETTER * letters + signs


class LlamaCounter:
    """Counts with the tokenizer of a running llama.cpp server, and remembers what it counted.

    Args:
        base_url: The server's address, with or without ``/v1``.
        api_key: Its key.
    """

    def __init__(self, base_url: str, api_key: str) -> None:
        self._url = f"{base_url.removesuffix('/').removesuffix('/v1')}/tokenize"
        self._key = api_key
        self._client: httpx.Client | None = None
        self._known: OrderedDict[str, int] = OrderedDict()

    def __call__(self, text: str) -> int:
        """Tokens of `text`; estimated if the server does not answer."""
        if len(text) > _TOO_LONG:
            return estimate_tokens(text)
        if text in self._known:
            self._known.move_to_end(text)
            return self._known[text]
        count = self._asked(text)
        if count is None:
            return estimate_tokens(text)
        self._known[text] = count
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return count

    def _asked(self, text: str) -> int | None:
        import httpx

        if self._client is None:
            self._client = httpx.Client(timeout=_SECONDS, trust_env=False)
        try:
            reply = self._client.post(
                self._url, json={"content": text}, headers={"Authorization": f"Bearer {self._key}"}
            )
            return len(reply.raise_for_status().json()["tokens"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None
