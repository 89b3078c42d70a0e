"""What the hub of sentence-transformers models can give right now: a cached model, or an answer in time."""

from __future__ import annotations

import os
import threading
from typing import Final

PREFERRED: Final = "BAAI/bge-small-zh-v1.5"
HUB_SECONDS: Final = 3.0


def in_local_cache(name: str) -> bool:
    """Whether a hub model lies in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def hub_answers() -> bool:
    """Ask the model hub for its metadata; the answer must be there within 3 seconds in all."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return False
    answered: list[bool] = []

    def probe() -> None:
        from huggingface_hub import HfApi

        try:
            HfApi().model_info(PREFERRED, timeout=HUB_SECONDS)
            answered.append(True)
        except Exception:
            # Whatever is wrong with the hub, the bundled model takes over.
            return

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    return bool(answered)
