"""``ragkit eval retrieval``: hit rates of ways to search over data sets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ragkit.cli.common import emit_json, note, progress_bar, say, state, stdout
from ragkit.cli.evals.report import write_html
from ragkit.errors import ConfigError
from ragkit.index.fsops import write_json_atomically
from ragkit.text.sanitize import printable

if TYPE_CHECKING:
    from ragkit.evaluation.datasets import Dataset

_RUN_HELP = (
    "hybrid, dense or sparse, with +rewrite, +translate, +hyde, +auto (only where the first search is unsure), "
    "+rerank, +alone (no conversation); "
    "or SETTINGS.toml:RUN for a run under other settings; repeatable."
)


def run(
    datasets: Annotated[
        list[Path], typer.Argument(metavar="DATASET...", help="BEIR folder, SQuAD JSON, questions.jsonl.")
    ],
    mode: Annotated[list[str] | None, typer.Option("--mode", "--run", help=_RUN_HELP)] = None,
    compare: Annotated[
        list[str] | None, typer.Option("--compare", help="A further run, compared with the first; repeatable.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="dev, test or all.")] = "all",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="An even sample of about so many questions.")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Reuse what the chat model replied before; its latency is then left out.")
    ] = False,
    by_type: Annotated[bool, typer.Option("--by-type", help="Also tables by question type and language.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the full report, for `eval compare`.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write one self-contained HTML page with plots.")] = None,
    trec: Annotated[Path | None, typer.Option("--trec", help="Write TREC run and qrels files to this folder.")] = None,
) -> None:
    """Hit rate, MRR, nDCG, recall and precision of each run, with 95 % intervals and tests against the first."""
    from ragkit.evaluation.datasets import load_dataset, select

    if html is not None:
        from ragkit.evaluation.html import require_libraries

        require_libraries()
    settings = state.settings()
    names = list(dict.fromkeys([*(mode or ([] if compare else ["hybrid", "dense", "sparse"])), *(compare or [])]))
    reports: list[dict[str, Any]] = []
    for path in datasets:
        whole_set = load_dataset(path, settings.notes)
        answerable = replace(whole_set, questions=tuple(q for q in whole_set.questions if q.gold))
        data = select(answerable, split, limit)
        folder = trec
        if trec is not None and len(datasets) > 1:
            same = sum(report["dataset"] == data.name for report in reports)
            folder = trec / (f"{data.name}-{same + 1}" if same else data.name)
        reports.append(_measure(data, names, folder, cache))
    whole = {**reports[0], "datasets": reports} if len(reports) > 1 else reports[0]
    if out is not None:
        write_report(out, whole)
    if html is not None:
        write_html(html, reports)
    if state.json:
        emit_json(without_rows(whole))
        return
    for report in reports:
        _show(report, by_type)


def _measure(data: Dataset, names: list[str], trec: Path | None, cache: bool) -> dict[str, Any]:
    from ragkit.api import Index
    from ragkit.evaluation.cached_models import CachedModels
    from ragkit.evaluation.retrieval import evaluate, open_dataset, report_json
    from ragkit.evaluation.trec import relevant_passages, write_trec
    from ragkit.settings import load_settings

    def opened(config: Path | None) -> Index:
        settings = load_settings(config, index=state.index, notes=state.notes) if config else state.settings()
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
    if trec is not None:
        for path in write_trec(trec, relevant_passages(data, index), runs):
            note(f"wrote {path}")
    return report_json(data, index, runs, rows=True)


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write what ``--out`` names.

    Raises:
        ConfigError: If the place cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomically(path, json.loads(json.dumps(report)))
    except OSError as exc:
        raise ConfigError(f"Cannot write {path}: {exc.strerror}.", "Choose another place with --out.") from exc
    note(f"wrote {path}")


def without_rows(report: dict[str, Any]) -> dict[str, Any]:
    """The report as ``--json`` prints it: without the single questions."""
    slim = {**report, "runs": [{k: v for k, v in item.items() if k != "rows"} for item in report["runs"]]}
    if "datasets" in report:
        slim["datasets"] = [without_rows(item) for item in report["datasets"]]
    return slim


def _show(report: dict[str, Any], by_type: bool) -> None:
    from ragkit.evaluation.metrics import HEADLINE
    from ragkit.evaluation.stats import ALPHA

    note(f"{report['questions']} questions, {report['index']['chunks']} chunks, {report['embedding_model']}")
    table = Table(title=printable(report["dataset"]))
    longest = max(len(printable(item["name"])) for item in report["runs"])
    table.add_column("run", min_width=min(longest, 24))
    for name in HEADLINE:
        table.add_column(name, justify="right")
    table.add_column("ms/query", justify="right")
    for item in report["runs"]:
        cells = [f"{item['metrics'][name]:.3f}" for name in HEADLINE]
        table.add_row(printable(item["name"]), *cells, f"{item['seconds_per_query'] * 1000:.0f}")
    stdout.print(table)
    for item in report["runs"]:
        spans = [f"{m} {item['ci95'][m][0]:.3f} to {item['ci95'][m][1]:.3f}" for m in ("hit@5", "mrr@10")]
        say(f"{item['name']}: 95 % intervals: {', '.join(spans)}", style="dim")
    for item in report["runs"]:
        if item["left_out"]:
            say(
                f"{item['name']}: {item['left_out']} transforms failed and were left out; see the warnings",
                style="yellow",
            )
    for item in report["comparisons"]:
        sure = "significant" if item["p_corrected"] < ALPHA else "not significant"
        say(
            f"{item['b']} against {item['a']}: {item['metric']} {item['difference']:+.3f} "
            f"({item['ci95'][0]:+.3f} to {item['ci95'][1]:+.3f}), p = {item['p_value']:.4f}, "
            f"corrected {item['p_corrected']:.4f}: {sure}"
        )
    if by_type:
        _groups(report["runs"])


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
