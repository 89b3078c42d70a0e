"""The training half of sentence-transformers, loaded when it is needed, with what to do if it is not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ragkit.errors import TrainingError
from ragkit.models.threads import wait_asleep

INSTALL: Final = 'pip install "ragkit[train]"'


@dataclass(frozen=True)
class Libraries:
    """The classes that training uses."""

    model: Any
    """``SentenceTransformer``."""
    trainer: Any
    """``SentenceTransformerTrainer``."""
    arguments: Any
    """``SentenceTransformerTrainingArguments``."""
    loss: Any
    """``CachedMultipleNegativesRankingLoss``."""
    dataset: Any
    """``datasets.Dataset``."""
    callback: Callable[[Callable[[int, int], None]], Any]
    """Makes a trainer callback that reports (steps done, steps in all)."""
    printer: Any
    """``PrinterCallback``, which the trainer brings along and which writes to standard output."""
    cuda: bool
    """Whether there is a graphics card to train on."""


def load_libraries() -> Libraries:
    """Import everything; takes seconds.

    Raises:
        TrainingError: If a package of the extra ``train`` is missing.
    """
    wait_asleep()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # Nothing that is trained here is anybody else's business.
    os.environ.setdefault("WANDB_DISABLED", "true")
    try:
        import accelerate  # noqa: F401  (the trainer asks for it only when it starts)
        import torch
        from datasets import Dataset, disable_progress_bars
        from sentence_transformers import (
            SentenceTransformer,
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from transformers import PrinterCallback, TrainerCallback
    except ImportError as exc:
        raise TrainingError(f"Training needs a package that is not installed: {exc.name or exc}.", INSTALL) from exc
    try:
        from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
    except ImportError:  # before version 6
        from sentence_transformers.losses import CachedMultipleNegativesRankingLoss
    disable_progress_bars()

    class Steps(TrainerCallback):  # type: ignore[misc]
        """Reports every step."""

        def __init__(self, report: Callable[[int, int], None]) -> None:
            self._report = report

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            """Called by the trainer."""
            self._report(int(state.global_step), int(state.max_steps))

    return Libraries(
        model=SentenceTransformer,
        trainer=SentenceTransformerTrainer,
        arguments=SentenceTransformerTrainingArguments,
        loss=CachedMultipleNegativesRankingLoss,
        dataset=Dataset,
        callback=Steps,
        printer=PrinterCallback,
        cuda=bool(torch.cuda.is_available()),
    )
