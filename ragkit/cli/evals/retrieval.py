"""``ragkit eval retrieval``: hit rates of ways to search over data sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from ragkit.cli.common import emit_json, note, path_given, progress_bar, say, state, stdout
from ragkit.cli.evals.report import check_places, write_all, write_html, write_report
from ragkit.cli.evals.tables import headline_table
from ragkit.text.sanitize import printable

if TYPE_CHECKING:
    from ragkit.evaluation.questions import Dataset
    from ragkit.evaluation.retrieval import Run
    from ragkit.evaluation.trec import Qrels
    from ragkit.settings import Settings

_RUN_HELP = (
    "hybrid, dense or sparse, with +rewrite, +translate, +hyde, +auto (only where it may pay), "
    "+rerank, +alone (no conversation); "
    "or SETTINGS.toml:RUN for a run under other settings; repeatable."
)


def run(
    datasets: Annotated[
        list[Path],
        typer.Argument(metavar="DATASET...", help="BEIR folder, SQuAD JSON, questions.jsonl.", parser=path_given),
    ],
    mode: Annotated[list[str] | None, typer.Option("--mode", "--run", help=_RUN_HELP)] = None,
    compare: Annotated[
        list[str] | None, typer.Option("--compare", help="A further run, compared with the first; repeatable.")
    ] = None,
    split: Annotated[Literal["dev", "test", "all"], typer.Option(help="Part of the data sets.")] = "all",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only N questions, each type and language in its share.")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Reuse what the chat model replied before; its latency is then left out.")
    ] = False,
    by_type: Annotated[bool, typer.Option("--by-type", help="Also tables by question type and language.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the full report, for `eval compare`.", parser=path_given)
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write one self-contained HTML page with plots.", parser=path_given)
    ] = None,
    trec: Annotated[
        Path | None, typer.Option("--trec", help="Write TREC run and qrels files to this folder.", parser=path_given)
    ] = None,
) -> None:
    """Hit rate, MRR, nDCG, recall and precision of each run, with 95 % intervals and tests against the first."""
    from ragkit.evaluation.datasets import answerable, load_dataset, select
    from ragkit.evaluation.runs import parse_run
    from ragkit.evaluation.trec import write_trec

    check_places(out=out, html=html, trec=trec)
    settings = state.settings()
    names = list(dict.fromkeys([*(mode or ([] if compare else ["hybrid", "dense", "sparse"])), *(compare or [])]))
    # What is wrong with the last run or data set is said before minutes are spent on the first.
    for spec in map(parse_run, names):
        if spec.config is not None:
            _settings_of(spec.config)
    loaded = [load_dataset(path, settings.notes) for path in datasets]
    sets = [select(answerable(data), split, limit) for data in loaded]
    for data in loaded:
        _say_without_gold(data, split)
    measured = [_measure(data, names, cache, trec is not None) for data in sets]
    reports = [item.report for item in measured]
    whole = {**reports[0], "datasets": reports} if len(reports) > 1 else reports[0]
    if state.json:
        emit_json(without_rows(whole))
    else:
        for report in reports:
            _show(report, by_type)
    # The figures have been shown by now, whatever becomes of the files.
    writes: list[Callable[[], object]] = []
    if out is not None:
        writes.append(partial(write_report, out, whole))
    if html is not None:
        writes.append(partial(write_html, html, reports))
    if trec is not None:
        for folder, item in zip(_folders(trec, [data.name for data in sets]), measured, strict=True):
            writes.append(partial(_noted, write_trec, folder, item.judged, item.runs))
    write_all(writes)


@dataclass(frozen=True)
class _Measured:
    report: dict[str, Any]
    runs: list[Run]
    judged: Qrels


def _measure(data: Dataset, names: list[str], cache: bool, trec: bool) -> _Measured:
    from ragkit.api import Index
    from ragkit.evaluation.cached_models import CachedModels
    from ragkit.evaluation.retrieval import evaluate, open_dataset, report_json
    from ragkit.evaluation.trec import relevant_passages

    def opened(config: Path | None) -> Index:
        settings = _settings_of(config) if config else state.settings()
        if settings.index is not None:
            kept = settings.model_copy(update={"transform_cache": False})
            index = Index.open(index_dir=settings.index, settings=kept)
        else:
            with progress_bar(f"Embedding {data.name}") as report:
                index = open_dataset(data, settings, report)
        if cache and any("+" in name for name in names):
            index.chat = CachedModels(settings.ensure_home()).chat(settings)
        return index

    index = opened(None)
    with progress_bar(f"Questions of {data.name}") as tick:
        runs = evaluate(data, index, names, tick=tick, open_with=opened)
    judged = relevant_passages(data, index) if trec else {}
    return _Measured(report_json(data, index, runs, rows=True), runs, judged)


def _settings_of(config: Path) -> Settings:
    """The settings of a run that names a file, under the global options."""
    from ragkit.settings import load_settings

    return load_settings(config, index=state.index, notes=state.notes)


def _say_without_gold(data: Dataset, split: str) -> None:
    """Say how many questions no search can be measured on; otherwise their number seems wrong."""
    count = sum(1 for question in data.questions if not question.gold and split in ("all", question.split))
    if count:
        note(f"{data.name}: {_questions(count)} without gold left out; eval answers measures those too")


def _questions(count: int) -> str:
    return f"{count} question{'' if count == 1 else 's'}"


def _folders(trec: Path, names: list[str]) -> list[Path]:
    """Where the TREC files of each data set go: of several into folders of their own."""
    if len(names) == 1:
        return [trec]
    same = [names[:at].count(name) for at, name in enumerate(names)]
    return [trec / (f"{name}-{number + 1}" if number else name) for name, number in zip(names, same, strict=True)]


def _noted(write: Callable[..., list[Path]], *arguments: object) -> None:
    for path in write(*arguments):
        note(f"wrote {path}")


def without_rows(report: dict[str, Any]) -> dict[str, Any]:
    """The report as ``--json`` prints it: without the single questions."""
    slim = {**report, "runs": [{k: v for k, v in item.items() if k != "rows"} for item in report["runs"]]}
    if "datasets" in report:
        slim["datasets"] = [without_rows(item) for item in report["datasets"]]
    return slim


def _show(report: dict[str, Any], by_type: bool) -> None:
    from ragkit.evaluation.stats import ALPHA

    note(f"{_questions(report['questions'])}, {report['index']['chunks']} chunks, {report['embedding_model']}")
    runs = [(item["name"], item["metrics"]) for item in report["runs"]]
    latency = [f"{item['seconds_per_query'] * 1000:.0f}" for item in report["runs"]]
    stdout.print(headline_table(runs, title=report["dataset"], more={"ms": latency}))
    for item in report["runs"]:
        spans = [f"{m} {item['ci95'][m][0]:.3f} to {item['ci95'][m][1]:.3f}" for m in ("hit@5", "mrr@10")]
        say(f"{item['name']}: 95 % intervals: {', '.join(spans)}", style="dim")
    for item in report["runs"]:
        say_left_out(item["name"], item["left_out"])
    for item in report["comparisons"]:
        sure = "significant" if item["p_corrected"] < ALPHA else "not significant"
        say(
            f"{item['b']} against {item['a']}: {item['metric']} {item['difference']:+.3f} "
            f"({item['ci95'][0]:+.3f} to {item['ci95'][1]:+.3f}), p = {item['p_value']:.4f}, "
            f"corrected {item['p_corrected']:.4f}: {sure}"
        )
    if by_type:
        _groups(report["runs"])


def say_left_out(run: str, count: int) -> None:
    """Say that a run is partly its bare mode, if it is."""
    if count:
        say(f"{run}: {count} transforms failed and were left out; see the warnings", style="yellow")


def _groups(runs: list[dict[str, Any]]) -> None:
    for key in ("by_type", "by_language"):
        table = Table(title=key.replace("_", " "))
        for column in ("run", "group", "questions", "hit@1", "hit@5", "95 %", "mrr@10"):
            table.add_column(column, justify="left" if column in {"run", "group"} else "right")
        for item in runs:
            for name, values in item[key].items():
                low, high = values["ci95"]["hit@5"]
                table.add_row(
                    printable(item["name"]),
                    printable(name),
                    str(values["questions"]),
                    f"{values['hit@1']:.3f}",
                    f"{values['hit@5']:.3f}",
                    f"{low:.2f}-{high:.2f}",
                    f"{values['mrr@10']:.3f}",
                )
        stdout.print(table)
