"""``ragkit train``: models made better from data of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ragkit.cli.common import emit_json, note, path_given, progress_bar, say, state, stdout
from ragkit.errors import TrainingError

if TYPE_CHECKING:
    from ragkit.training.embedding import Tick, Trained

app = typer.Typer(no_args_is_help=True, help="Train models on feedback.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Train models on feedback."""


def _files(paths: list[Path] | None) -> list[Path] | None:
    for path in paths or ():
        if os.path.isdir(path):
            raise typer.BadParameter(f"{path} is a folder.")
    return paths


def _folder(path: Path | None) -> Path | None:
    if path is not None and os.path.isfile(path):
        raise typer.BadParameter(f"{path} is a file.")
    return path


@app.command("embedding")
def embedding(
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            "--pairs",
            metavar="FILE",
            callback=_files,
            help="JSONL of query, positive, negative; repeatable.",
            parser=path_given,
        ),
    ] = None,
    pairs_from: Annotated[
        Path | None,
        typer.Option(
            "--pairs-from",
            metavar="DATASET",
            help="Make pairs from its questions outside the test split.",
            parser=path_given,
        ),
    ] = None,
    dataset: Annotated[
        Path, typer.Option(metavar="DATASET", help="Its test split compares before and after.", parser=path_given)
    ] = Path("evals/llm-interview"),
    epochs: Annotated[float, typer.Option(min=0.01, help="Times that every pair is seen.")] = 1.0,
    max_steps: Annotated[int, typer.Option(help="Stop after so many steps; -1: after the epochs.")] = -1,
    batch_size: Annotated[int, typer.Option(min=2, help="Pairs a step.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-5,
    seed: Annotated[int, typer.Option(help="Of the order of the pairs and of dropout.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            callback=_folder,
            help="Folder of the new model; else one below $RAGKIT_HOME/models.",
            parser=path_given,
        ),
    ] = None,
) -> None:
    """Fine-tune the embedding model; it is kept only if it finds significantly more on the test split."""
    from ragkit.evaluation.datasets import load_dataset
    from ragkit.evaluation.retrieval import open_dataset
    from ragkit.training.embedding import TrainingSettings, train_embedding
    from ragkit.training.pairs import pairs_from_questions, read_pairs

    if not pairs and pairs_from is None:
        raise TrainingError("There is nothing to train on.", "Give --pairs FILE.jsonl, or --pairs-from DATASET.")
    how = TrainingSettings(epochs, max_steps, batch_size, learning_rate, seed)
    settings = state.settings()
    learnt = read_pairs(pairs or [])
    data = load_dataset(dataset, settings.notes)
    rest = [question for question in data.questions if question.split == "dev"]
    test = [question for question in data.questions if question.split == "test"]
    if pairs_from is not None:
        same = pairs_from.expanduser().resolve() == dataset.expanduser().resolve()
        source = data if same else load_dataset(pairs_from, settings.notes)
        with _bars() as tick:
            index = open_dataset(source, settings, lambda done, total: tick("Embedding", done, total))
            mined = pairs_from_questions(
                rest if same else source.questions,
                index,
                test,
                lambda done, total: tick("Mining pairs", done, total),
            )
            index.close()
        note(f"{len(mined)} pairs from {source.name}")
        learnt += mined
    with _bars() as tick:
        result = train_embedding(learnt, data, test, settings, how=how, out=out, tick=tick)
    if state.json:
        emit_json({"dataset": data.name, "test_questions": len(result.before[0].rows), **result.to_json()})
    else:
        _show(result)


@contextmanager
def _bars() -> Iterator[Tick]:
    """One progress bar after the other."""
    with ExitStack() as stack:
        shown: dict[str, object] = {}

        def tick(what: str, done: int, total: int) -> None:
            if what not in shown:
                stack.close()
                shown[what] = stack.enter_context(progress_bar(what))
            shown[what](done, total)  # type: ignore[operator]

        yield tick


def _show(result: Trained) -> None:
    from ragkit.training.embedding import DECISIVE

    held = f" ({result.held_out} left out: they ask a test question)" if result.held_out else ""
    say(f"{result.pairs} pairs{held}, {result.steps} steps, loss {result.loss:.3f}, {result.seconds:.0f} s")
    table = Table(title=f"{len(result.before[0].rows)} test questions")
    for column in ("run", "metric", "before", "after", "difference", "p", "p corrected"):
        table.add_column(column, justify="left" if column in {"run", "metric"} else "right")
    found = iter(result.comparisons)
    for a, b in zip(result.before, result.after, strict=True):
        for metric in DECISIVE:
            item = next(found)
            cells = [f"{a.metrics[metric]:.3f}", f"{b.metrics[metric]:.3f}", f"{item.difference:+.3f}"]
            table.add_row(a.name, metric, *cells, f"{item.p_value:.4f}", f"{item.p_corrected:.4f}")
    stdout.print(table)
    if result.path is None:
        say(f"Not significantly better (p < .05) in the first run: the old model is kept ({result.base}).")
        return
    say(f"Significantly better; the new model is in {result.path}. To use it, in ragkit.toml:")
    say(f'embedding_model = "{result.path}"')
    if result.temperature is not None:
        say(f"temperature = {result.temperature}")
    say("then index the notes again: ragkit index NOTES --rebuild", style="dim")
