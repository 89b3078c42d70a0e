"""Chat models that judge answers, for ``ragkit eval answers``: each is asked the same thing once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.cli.common import note
from ragkit.cli.evals.judge import LABELS_FILE
from ragkit.errors import UsageError

if TYPE_CHECKING:
    from ragkit.evaluation.judge import AnswerJudge
    from ragkit.models.cache import CachedCompletions, KeyValueFile
    from ragkit.models.chat import ChatModel
    from ragkit.settings import Settings


class JudgeModels:
    """Opens judges; their replies are kept in ``$RAGKIT_HOME/cache``, so that measuring again costs no call.

    Args:
        settings: Key, address and home.
        answering: Chat model string of the model that answers.
        chat: That model; a judge of the same string shares it, which for a local one is its memory.
    """

    def __init__(self, settings: Settings, answering: str, chat: ChatModel) -> None:
        self._settings = settings
        self._chats = {answering: chat}

    @cached_property
    def _replies(self) -> KeyValueFile:
        from ragkit.models.cache import KeyValueFile

        return KeyValueFile(self._settings.ensure_home() / "cache" / "completions.sqlite")

    def open(self, spec: str, option: str) -> tuple[CachedCompletions, str]:
        """A judge's model and its name.

        Args:
            spec: Chat model string.
            option: Command-line option that names another, for errors.

        Raises:
            UsageError: If it is no language model.
            ModelError: If it cannot be loaded.
        """
        from ragkit.models.cache import CachedCompletions
        from ragkit.models.chat import resolve_chat

        chat = self._chats.get(spec) or resolve_chat(spec, self._settings)
        self._chats[spec] = chat
        structured = chat.structured()
        if structured is None:
            raise UsageError(f"{chat.name} cannot judge answers.", f"Name a chat model with {option}.")
        chat.model()
        # Two servers may call different models the same; the string may name the address, the settings may.
        identity = f"{spec}={chat.name}@{self._settings.base_url or ''}"
        return CachedCompletions(structured, identity, self._replies), chat.name


def agreement_facts(settings: Settings, judge: AnswerJudge, labels: Path) -> dict[str, Any]:
    """The judge and its agreement with the labels in a file, for the report; says what a reader must know.

    Args:
        settings: Name the home that keeps measured agreements.
        judge: That graded.
        labels: Graded answers; only those of the repository may be missing, their agreement is not known then.

    Raises:
        DatasetError: If the file is malformed, or another one than the repository's is missing.
    """
    from ragkit.evaluation.judge import kept_agreement, kept_labels, labels_digest, load_labels

    known = kept_labels(settings.home, judge.name)
    meant = labels_digest(load_labels(labels)) if labels != LABELS_FILE or labels.is_file() else None
    found = kept_agreement(settings.home, judge.name, meant) if meant else None
    if known is None:
        note(f"how far {judge.name} agrees with people is not known here: ragkit eval judge", style="yellow")
    elif found is None:
        why = f"other labels ({known}) than those of {labels}" if meant else f"labels ({known}) that are not at hand"
        note(
            f"the agreement of {judge.name} was measured with {why} and is left out: "
            "ragkit eval judge --labels FILE, then eval answers --labels FILE",
            style="yellow",
        )
    elif not found["trusted"]:
        note(
            f"{judge.name} agrees poorly with the labels (kappa {found['kappa']:.2f}); its grades say little",
            style="yellow",
        )
    return {"model": judge.name, "labels": meant, "agreement": found}
