"""One model in this process, many callers: they take turns, a bounded number of them waits, the rest hears so at once.

llama.cpp crashes or hangs when it is entered twice, and answers a prompt beyond its context with an error after
it has read it; both are kept away from it here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from ragkit.errors import EndpointDownError, ModelError

MAX_WAITING: Final = 32
_TEMPLATE_TOKENS: Final = 16
"""What a chat template adds to each message, at most."""


class SerialGate:
    """Lets one call at a time through.

    Args:
        context_tokens: Context window of the model.
        count: Tokens of a text by the model's tokenizer; None where that cannot be told.
        waiting: Calls that may wait for their turn.
    """

    def __init__(self, context_tokens: int, count: Callable[[str], int | None], waiting: int = MAX_WAITING) -> None:
        self._context, self._count, self._most = context_tokens, count, waiting
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._waiting = 0

    def enter(self, body: dict[str, Any], wait: float) -> Callable[[], None]:
        """Wait for a turn; the result gives it back, once, from any thread.

        Raises:
            ModelError: If the prompt is longer than the context; the model is not asked.
            EndpointDownError: If too many wait already, or the turn did not come in `wait` seconds.
        """
        self.check(body)
        with self._lock:
            if self._waiting >= self._most:
                raise EndpointDownError(
                    f"{self._waiting} questions wait for the local model already", "Try again soon."
                )
            self._waiting += 1
        try:
            if not self._turn.acquire(timeout=wait):
                raise EndpointDownError(f"the local model was busy for {wait:g} s", "Try again soon.")
        finally:
            with self._lock:
                self._waiting -= 1
        given_back = threading.Event()

        def leave() -> None:
            with self._lock:
                first = not given_back.is_set()
                given_back.set()
            if first:
                self._turn.release()

        return leave

    def check(self, body: dict[str, Any]) -> None:
        """Refuse a request whose prompt cannot fit.

        Raises:
            ModelError: Names the tokens it has and the setting.
        """
        texts = [_text(message) for message in body.get("messages") or ()]
        frame = _TEMPLATE_TOKENS * len(texts)
        # A token is at least a byte: most prompts need no counting.
        if sum(len(text.encode("utf-8", "replace")) for text in texts) + frame < self._context:
            return
        counted = self._count("\n".join(texts))
        if counted is not None and counted >= self._context:
            raise ModelError(
                f"The prompt has {counted} tokens, the local model reads {self._context}.",
                "Ask something shorter, or raise context_tokens.",
            )


def _text(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else ""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")
