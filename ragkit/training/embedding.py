"""Fine-tune the embedding model on pairs, and keep the result only if it finds significantly more.

InfoNCE with in-batch and hard negatives (van den Oord et al. 2018, arXiv:1807.03748; Karpukhin et
al. 2020, arXiv:2004.04906), in mini-batches with cached gradients (Gao et al. 2021,
arXiv:2101.06983), at the temperature the model was trained with and behind its own prompts. The
token embeddings stay as they are: they are most of a multilingual model, and a few hundred pairs
would only move the tokens they happen to contain.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from ragkit.api import Index
from ragkit.errors import IndexMismatchError, TrainingError, UsageError
from ragkit.evaluation.datasets import Dataset, Question
from ragkit.evaluation.metrics import COMPARED
from ragkit.evaluation.paired import Comparison, compare, corrected
from ragkit.evaluation.retrieval import Run, evaluate, open_dataset
from ragkit.evaluation.stats import ALPHA
from ragkit.index.fsops import fsync_file, fsync_folder
from ragkit.models.embeddings import (
    BundledE5Model,
    EmbeddingModel,
    SentenceTransformerModel,
    resolve_embedding,
)
from ragkit.models.threads import cpu_has_bf16
from ragkit.settings import Settings
from ragkit.training.libraries import load_libraries
from ragkit.training.pairs import Pair, without_test

DECISIVE: Final = COMPARED
MODES: Final = ("hybrid", "dense")
"""Runs that are compared; the first, which answers are made from, decides."""

MINI_BATCH: Final = 4
"""Texts whose activations are held at once: 24 passages of 512 tokens would take 7 GB."""

_LOCK: Final = "TRAINING.lock"

Tick = Callable[[str, int, int], None]
"""Called with (what is being done, done, in all)."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; the defaults suit a few hundred pairs on a CPU."""

    epochs: float = 1.0
    max_steps: int = -1
    """Stop after so many steps; -1: after `epochs`."""
    batch_size: int = 8
    """Pairs a step; each sees the other pairs' passages as further negatives."""
    learning_rate: float = 2e-5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs <= 0 or self.batch_size < 2 or self.learning_rate <= 0 or self.max_steps == 0:
            raise UsageError(
                "These training settings train nothing.",
                "epochs and learning rate above 0, batch size at least 2, max steps at least 1 (or -1).",
            )


@dataclass(frozen=True)
class Trained:
    """What training brought."""

    base: str
    """Name of the model that was trained on."""
    path: Path | None
    """The new model; None: it was not significantly better, the old one stays."""
    temperature: float | None
    """To be set beside ``embedding_model``, where the name of `path` does not tell it."""
    pairs: int
    held_out: int
    """Pairs left out because they ask a test question."""
    steps: int
    loss: float
    before: tuple[Run, ...]
    after: tuple[Run, ...]
    comparisons: tuple[Comparison, ...]
    """Of each mode and decisive metric; `a` before, `b` after."""
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether the new model was put in place."""
        return self.path is not None

    def to_json(self) -> dict[str, Any]:
        """The ``--json`` form."""
        return {
            "base": self.base,
            "kept": self.kept,
            "path": str(self.path) if self.path else None,
            "temperature": self.temperature,
            "pairs": self.pairs,
            "held_out": self.held_out,
            "steps": self.steps,
            "loss": self.loss,
            "before": [run.to_json() for run in self.before],
            "after": [run.to_json() for run in self.after],
            "comparisons": [asdict(item) for item in self.comparisons],
            "seconds": self.seconds,
        }


def train_embedding(
    pairs: Sequence[Pair],
    dataset: Dataset,
    test_questions: Sequence[Question],
    settings: Settings,
    *,
    how: TrainingSettings | None = None,
    out: Path | None = None,
    tick: Tick | None = None,
) -> Trained:
    """Fine-tune the embedding model in use and compare it with itself before.

    Args:
        pairs: What to learn; pairs that ask a test question are left out.
        dataset: The test questions' notes; its own questions are not used.
        test_questions: Questions the comparison is made on.
        settings: Name the model; its home gets the new one.
        how: Training settings.
        out: Folder of the new model, which must not exist; None: a new one below
            ``$RAGKIT_HOME/models``.
        tick: Told about the progress.

    Raises:
        TrainingError: If a library is missing, the model cannot be trained, or no pair is left.
        UsageError: If `out` exists.
        DatasetError: If no test question has gold, or its gold is not in the notes.
    """
    began = time.monotonic()
    how, tick = how or TrainingSettings(), tick or (lambda what, done, total: None)
    load_libraries()  # what is missing is said before the notes are embedded
    learnt = without_test(pairs, test_questions)
    if len(learnt) < 2:
        raise TrainingError(
            f"{len(learnt)} of {len(pairs)} pairs are left to train on, at least 2 are needed.",
            "Review more feedback, or take pairs from questions outside the test split.",
        )
    base = resolve_embedding(settings.embedding_model, settings.home, api_key=settings.api_key)
    if not isinstance(base, SentenceTransformerModel):
        raise TrainingError(
            f"{base.name} runs elsewhere and cannot be trained here.", "Set embedding_model to one that runs here."
        )
    target = (out or _new_folder(settings.ensure_home(), base.name)).expanduser()
    if target.exists():
        raise UsageError(f"{target} exists.", "Name a new folder with --out.")
    asked = replace(dataset, questions=tuple(test_questions))
    with _staging(target) as staging:
        index = _index_before(asked, base, settings, staging, tick)
        before = tuple(evaluate(asked, index, MODES, tick=_named(tick, "Questions before")))
        index.close()
        steps, loss = _fit(base, learnt, staging / "model", how, tick)
        tuned = SentenceTransformerModel(str(staging / "model"), name=str(target), temperature=base.temperature)
        index = _index(asked, tuned, staging / "after", settings, _named(tick, "Embedding after"))
        after = tuple(evaluate(asked, index, MODES, tick=_named(tick, "Questions after")))
        index.close()
        comparisons = tuple(
            corrected(
                [
                    replace(compare(a, b, metric), a=f"{a.name} before", b=f"{b.name} after")
                    for a, b in zip(before, after, strict=True)
                    for metric in DECISIVE
                ]
            )
        )
        kept = is_better(comparisons[: len(DECISIVE)])
        if kept:
            _publish(staging / "model", target)
    guessed = SentenceTransformerModel(str(target)).temperature
    return Trained(
        base=base.name,
        path=target if kept else None,
        temperature=base.temperature if guessed != base.temperature else None,
        pairs=len(learnt),
        held_out=len(pairs) - len(learnt),
        steps=steps,
        loss=loss,
        before=before,
        after=after,
        comparisons=comparisons,
        seconds=time.monotonic() - began,
    )


def is_better(comparisons: Sequence[Comparison]) -> bool:
    """Whether some metric rose significantly and none fell significantly.

    A gain counts after Holm's correction over all runs and metrics, a loss as it is: the doubt is the old model's.
    """
    risen = any(item.p_corrected < ALPHA and item.difference > 0 for item in comparisons)
    return risen and not any(item.p_value < ALPHA and item.difference < 0 for item in comparisons)


def _fit(
    base: SentenceTransformerModel, pairs: Sequence[Pair], target: Path, how: TrainingSettings, tick: Tick
) -> tuple[int, float]:
    """Train, write the model to `target`; returns (steps, mean loss)."""
    libraries = load_libraries()
    query, passage = prompts_of(base)
    model = _load(base, libraries.model)
    # Whatever folder it ends in, the new model carries the prompts it was trained behind.
    model.prompts = {"query": query, "passage": passage, "document": passage}
    # A card would quote training texts; those of users stay where they are.
    model.model_card_data.widget = [{"text": ""}]
    frozen = _token_embeddings(model)
    for weights in frozen:
        weights.requires_grad_(False)
    data = libraries.dataset.from_dict(
        {
            "anchor": [pair.query.strip() for pair in pairs],
            "positive": [pair.positive.strip() for pair in pairs],
            "negative": [pair.negative.strip() for pair in pairs],
        }
    )
    loss = libraries.loss(model, scale=1 / base.temperature if base.temperature else 20.0, mini_batch_size=MINI_BATCH)
    trainer = libraries.trainer(
        model=model,
        args=libraries.arguments(
            output_dir=str(target.parent / "checkpoints"),
            num_train_epochs=how.epochs,
            max_steps=how.max_steps,
            per_device_train_batch_size=how.batch_size,
            learning_rate=how.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=max(1, _steps(len(pairs), how) // 10),
            seed=how.seed,
            use_cpu=not libraries.cuda,
            # Mixed precision: only products are in bfloat16, the weights stay in float32.
            bf16=libraries.cuda or cpu_has_bf16(),
            prompts={"anchor": query, "positive": passage, "negative": passage},
            # A passage that is the positive of two questions must not be the negative of either.
            batch_sampler="no_duplicates",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=data,
        loss=loss,
        callbacks=[libraries.callback(_named(tick, "Training"))],
    )
    # Standard output belongs to the command, which with --json promises one object there.
    trainer.remove_callback(libraries.printer)
    output = trainer.train()
    for weights in frozen:
        weights.requires_grad_(True)
    model.eval()
    model.save_pretrained(str(target), create_model_card=False)
    return int(output.global_step), float(output.training_loss)


def prompts_of(model: EmbeddingModel) -> tuple[str, str]:
    """What a model puts in front of questions and of passages."""
    query, _, passage = model.identity.prompts.partition("|")
    return query, passage


def _load(base: SentenceTransformerModel, kind: Any) -> Any:
    import torch

    source = str(base.prepare()) if isinstance(base, BundledE5Model) else base.name
    if (folder := Path(source).expanduser()).is_dir():
        source = str(folder)
    # Steps of 1e-5 vanish in the 8 bits of a bfloat16 mantissa.
    try:
        return kind(source, trust_remote_code=False, model_kwargs={"dtype": torch.float32})
    except Exception as exc:
        raise TrainingError(
            f"Embedding model {base.name!r} cannot be loaded: {str(exc)[:200]}.", "Check the name or path."
        ) from exc


def _token_embeddings(model: Any) -> list[Any]:
    inner = getattr(model[0], "auto_model", None)
    table = inner.get_input_embeddings() if inner is not None else None
    return [table.weight] if table is not None else []


def _steps(pairs: int, how: TrainingSettings) -> int:
    return how.max_steps if how.max_steps > 0 else int(how.epochs * -(-pairs // how.batch_size))


def _named(tick: Tick, what: str) -> Callable[[int, int], None]:
    return lambda done, total: tick(what, done, total)


def _index_before(dataset: Dataset, base: EmbeddingModel, settings: Settings, staging: Path, tick: Tick) -> Index:
    """The index of the notes that is there already, unless another model made it."""
    report = _named(tick, "Embedding before")
    try:
        return open_dataset(dataset, settings.model_copy(update={"embedding_model": base.name}), report)
    except IndexMismatchError:
        return _index(dataset, base, staging / "before", settings, report)


def _index(
    dataset: Dataset, model: EmbeddingModel, folder: Path, settings: Settings, report: Callable[[int, int], None]
) -> Index:
    if dataset.notes is not None:
        return Index.open(dataset.notes, folder, embedding=model, settings=settings, progress=report)
    return Index.from_documents(dataset.documents, folder, embedding=model, settings=settings, progress=report)


def _new_folder(home: Path, base: str) -> Path:
    # The family stays in the name: prompts and temperature of a model are told by it.
    stem = Path(base).name.partition("-tuned-")[0]
    return home / "models" / f"{stem}-tuned-{time.strftime('%Y%m%d-%H%M%S')}"


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder beside `target`, so that one rename puts the model in place; gone afterwards.

    Those of trainings that were killed are removed first: each holds hundreds of megabytes.
    """
    folder = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        _remove_abandoned(target.parent)
        folder.mkdir(parents=True)
        with FileLock(folder / _LOCK):
            yield folder
    except OSError as exc:
        raise TrainingError(
            f"Cannot write {target}: {exc.strerror or exc}.",
            "About 1 GB must be free there; --out names another folder.",
        ) from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for lock in parent.glob(f".*.tmp/{_LOCK}"):
        try:
            with FileLock(lock, timeout=0):
                pass
        except Timeout:
            continue  # somebody trains there; the kernel frees the lock of a process that died
        shutil.rmtree(lock.parent, ignore_errors=True)


def _publish(folder: Path, target: Path) -> None:
    for path in sorted(folder.rglob("*")):
        (fsync_folder if path.is_dir() else fsync_file)(path)
    fsync_folder(folder)
    os.replace(folder, target)
    fsync_folder(target.parent)
