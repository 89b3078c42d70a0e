"""The chat model as query transforms see it: with a limit of time, and with replies kept on disk."""

from __future__ import annotations

import logging
import threading
from typing import Final, get_args

from ragkit.errors import RagkitError, UsageError
from ragkit.models.cache import CachedCompletions, KeyValueFile
from ragkit.models.chat import StructuredChat
from ragkit.retrieval.planner import Policies, Policy
from ragkit.retrieval.rewrite import StructuredModel
from ragkit.settings import Settings

log = logging.getLogger(__name__)

FILE: Final = "transforms.sqlite"
"""Below ``$RAGKIT_HOME/cache``. Keys are hashes of the model, the prompt with its version, the question and
the conversation; values are what the model wrote."""


def chosen_policies(
    settings: Settings,
    rewrite: bool | Policy | None,
    translate: bool | Policy | None,
    hyde: bool | Policy | None,
) -> Policies:
    """What a caller asked for, the settings where it asked for nothing.

    True is ``always`` and False ``never``. Who says something about rewriting but nothing about
    translation means both.

    Raises:
        UsageError: If it is none of these.
    """
    if translate is None:
        translate = settings.translate if rewrite is None else rewrite
    return Policies(
        rewrite=_policy(rewrite, settings.rewrite),
        translate=_policy(translate, settings.translate),
        hyde=_policy(hyde, settings.hyde),
    )


def _policy(asked: bool | Policy | None, setting: Policy) -> Policy:
    if asked is None:
        return setting
    if isinstance(asked, bool):
        return "always" if asked else "never"
    if asked not in get_args(Policy):
        allowed = ", ".join(map(repr, get_args(Policy)))
        raise UsageError(f"rewrite, hyde and translate cannot be {asked!r}.", f"Allowed: True, False, {allowed}, None.")
    return asked


class KeptReplies:
    """Puts the limit of time and the file of replies around a chat model. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file: KeyValueFile | None = None
        self._failed = False
        self._lock = threading.Lock()

    def around(self, model: StructuredModel) -> StructuredModel:
        """`model`, loaded, limited and cached as the settings say; a model of an unknown kind stays as it is.

        Raises:
            ModelError: If it cannot be loaded.
        """
        if not isinstance(model, StructuredChat):
            return model
        limited = model.within(self._settings.transform_seconds)
        file = self._opened() if self._settings.transform_cache else None
        if file is None:
            return limited
        # Two servers may call different models the same.
        return CachedCompletions(limited, f"{model.chat.name}@{self._settings.base_url or ''}", file)

    def _opened(self) -> KeyValueFile | None:
        with self._lock:
            if self._file is None and not self._failed:
                try:
                    self._file = KeyValueFile(self._settings.ensure_home() / "cache" / FILE)
                except RagkitError as exc:
                    log.warning("replies of the chat model are not kept: %s", exc)
                    self._failed = True
            return self._file

    def close(self) -> None:
        """Give back the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
