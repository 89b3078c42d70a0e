"""Sweeps and suites from the file to the exit code, over tiny notes and a hashing embedder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ragkit.api import Index
from ragkit.cli.main import main
from ragkit.errors import ConfigError, DatasetError, EndpointError, IndexMismatchError, ModelError
from ragkit.evaluation import retrieval
from ragkit.evaluation.cached_models import CachedModels
from ragkit.evaluation.datasets import load_dataset
from ragkit.evaluation.plans import DatasetRef
from ragkit.evaluation.retrieval import open_dataset
from ragkit.evaluation.row_store import RowStore
from ragkit.evaluation.sweep import SweepResult, Trial, run_sweep
from ragkit.evaluation.sweep_space import Sweep
from ragkit.index.manifest import read_manifest
from ragkit.models.embeddings import WrappedEmbedder
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder

TOPICS = [
    "apple", "bridge", "candle", "dolphin", "engine", "forest", "guitar", "harbour",
    "island", "jacket", "kettle", "ladder", "mirror", "needle", "orange", "pillow",
]  # fmt: skip
SPACE: dict[str, Any] = {"chunk_target": [60, 350], "coverage_weight": [0, 10], "run": ["hybrid", "sparse"]}


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> HashingEmbedder:
    """Stands for every embedding model that settings name."""
    fake = HashingEmbedder()
    for place in ("ragkit.index.model_choice", "ragkit.evaluation.cached_models"):
        monkeypatch.setattr(
            f"{place}.resolve_embedding",
            lambda spec, home, **kwargs: WrappedEmbedder(fake) if isinstance(spec, str) else spec,
        )
    return fake


@pytest.fixture
def root(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Path:
    """A repository with notes, a question for each of them, and room for plans."""
    folder = tmp_path / "repo"
    (folder / "sets").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("", encoding="utf-8")
    notes = {
        f"{topic}.md": f"# Note {i}\n\nThe {topic} is described here.\n\n## More\n\n"
        + "\n\n".join(f"Part {part} says something long enough about number {i * part}." * 3 for part in range(3))
        for i, topic in enumerate(TOPICS)
    }
    make_notes(folder / "notes", notes)
    rows = [
        {
            "id": topic, "question": f"Where is the {topic} described?", "language": "en", "type": "lexical",
            "gold": [{"file": f"{topic}.md", "quote": f"The {topic} is described"}], "split": "test" if i % 2 else "dev",
        }
        for i, topic in enumerate(TOPICS)
    ]  # fmt: skip
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "sets" / "tiny.jsonl").write_text(lines, encoding="utf-8")
    return folder


def plan(root: Path, file_name: str, **fields: Any) -> Path:
    """A YAML file (JSON is YAML) about the tiny set."""
    datasets = [{"path": "sets/tiny.jsonl", "notes": "notes"}]
    file = root / file_name
    file.write_text(json.dumps({"datasets": datasets, **fields}), encoding="utf-8")
    return file


def suite_file(root: Path, **fields: Any) -> Path:
    return plan(root, "suite.yaml", **{"name": "tiny", "runs": ["hybrid", "sparse"], **fields})


def ragkit(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code and both streams of a command."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.fixture
def broken_search(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, hybrid search finds nothing."""
    real = retrieval.search

    def search(index: Any, question: Any, spec: Any, k: int) -> Any:
        return [] if spec.mode == "hybrid" else real(index, question, spec, k)

    return lambda: monkeypatch.setattr(retrieval, "search", search)


def sweep_once(root: Path, log: Path | None = None, **more: Any) -> tuple[SweepResult, list[Trial]]:
    told: list[Trial] = []
    fields = {"space": SPACE, **more.pop("fields", {})}
    file = {"datasets": [{"path": "sets/tiny.jsonl", "notes": "notes"}], **fields}
    models = more.pop("models", None) or CachedModels(load_settings().ensure_home())
    result = run_sweep(
        Sweep(**file), root, load_settings, models, RowStore(log), told=lambda done, total, trial: told.append(trial), **more,
    )  # fmt: skip
    return result, told


# Suites


def test_a_suite_whose_checks_hold_exits_with_0(
    root: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str]
) -> None:
    thresholds = [{"dataset": "tiny", "run": "sparse", "metric": "hit@5", "min": 0.9}]
    file = suite_file(root, thresholds=thresholds, not_worse=[{"run": "hybrid", "than": ["sparse"]}])
    code, out, _ = ragkit(capsys, "eval", "run", file, "--json")
    report = json.loads(out)
    assert (code, report["passed"], report["suite"]) == (0, True, "tiny")
    assert [check["kind"] for check in report["checks"]] == ["threshold", "not worse", "not worse"]
    assert "rows" not in report["datasets"][0]["runs"][0]


def test_a_missed_threshold_exits_with_1_and_one_line(
    root: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str], broken_search: Callable[[], None]
) -> None:
    broken_search()
    thresholds = [
        {"dataset": "tiny", "run": run, "metric": metric, "min": 0.5}
        for run in ("hybrid", "sparse")
        for metric in ("hit@5", "mrr@10")
    ]
    code, out, err = ragkit(capsys, "-q", "eval", "run", suite_file(root, thresholds=thresholds))
    assert code == 1
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert [line.split()[1:5] for line in failed] == [["threshold:", "tiny", "hybrid", m] for m in ("hit@5", "mrr@10")]
    assert "Error: 2 of 4 checks of suite tiny failed." in err
    assert "Traceback" not in err
    assert "2 of 4 checks passed" in out


def test_a_run_that_is_worse_than_its_half_exits_with_1(
    root: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str], broken_search: Callable[[], None]
) -> None:
    broken_search()
    code, _, err = ragkit(
        capsys, "eval", "run", suite_file(root, not_worse=[{"run": "hybrid", "than": ["sparse"]}]), "--json"
    )
    assert code == 1
    assert "failed: not worse: tiny hybrid hit@5 -" in err


def test_a_regression_against_the_committed_baseline_exits_with_1(
    root: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str], broken_search: Callable[[], None]
) -> None:
    file = suite_file(root, baseline="baseline.json")
    code, _, err = ragkit(capsys, "eval", "run", file)
    assert code == 2, "a baseline that is named and not there is no pass"
    assert "--update-baseline" in err
    assert ragkit(capsys, "eval", "run", file, "--update-baseline")[0] == 0
    code, out, _ = ragkit(capsys, "eval", "run", file)
    assert code == 0
    assert "4 of 4 checks passed" in out
    broken_search()
    report = root / "report.json"
    code, _, err = ragkit(capsys, "eval", "run", file, "--out", report)
    assert code == 1
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert [line.split()[1:4] for line in failed] == [["regression:", "tiny", "hybrid"]] * 2
    assert json.loads(report.read_text(encoding="utf-8"))["passed"] is False


def test_a_baseline_of_another_embedding_model_is_refused(
    root: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str]
) -> None:
    file = suite_file(root, baseline="baseline.json")
    assert ragkit(capsys, "eval", "run", file, "--update-baseline")[0] == 0
    text = (root / "baseline.json").read_text(encoding="utf-8").replace('"hashing"', '"other"')
    (root / "baseline.json").write_text(text, encoding="utf-8")
    code, _, err = ragkit(capsys, "eval", "run", file)
    assert code == 1
    assert "was measured with other, not with hashing" in err


def test_an_optional_data_set_that_is_not_there_is_left_out_with_a_word(
    root: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets = [
        {"path": "sets/tiny.jsonl", "notes": "notes", "limit": 4},
        {"path": "../gone", "optional": True},
    ]
    thresholds = [{"dataset": "gone", "run": "sparse", "metric": "hit@5", "min": 1}]
    code, out, _ = ragkit(capsys, "eval", "run", suite_file(root, datasets=datasets, thresholds=thresholds))
    assert code == 0
    assert "skipped gone: " in out
    assert "is not there" in out
    assert "tiny: 4 questions" in out


def test_a_wrong_suite_file_and_meaningless_options_are_wrong_usage(
    root: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = ragkit(capsys, "eval", "run", suite_file(root, tresholds=[]))
    assert code == 2
    assert "suite.yaml: tresholds" in err
    code, _, err = ragkit(capsys, "eval", "run", suite_file(root), "--notes", root / "notes")
    assert code == 2
    assert "--notes" in err


@pytest.mark.parametrize("option", ["--out", "--update-baseline"])
def test_a_place_that_cannot_be_written_is_said_before_a_suite_is_measured(
    root: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    (root / "file").write_text("x", encoding="utf-8")
    file = suite_file(root, baseline="file/base.json")
    given = [option, root / "file" / "r.json"] if option == "--out" else [option]
    code, _, err = ragkit(capsys, "eval", "run", file, *given)
    assert code == 2
    assert "Cannot write" in err and "Traceback" not in err
    assert embedder.documents_embedded == 0


def test_the_table_of_a_suite_is_shown_even_if_no_file_can_be_written(
    root: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    def full_too(path: Path, *_: Any) -> None:
        raise ConfigError(f"Cannot write {path}: No space left on device.")

    monkeypatch.setattr("ragkit.evaluation.suite.write_baseline", full_too)
    monkeypatch.setattr("ragkit.cli.evals.report.write_json_atomically", full)
    thresholds = [{"dataset": "tiny", "run": "sparse", "metric": "hit@5", "min": 1.0}]
    file = suite_file(root, baseline="base.json", thresholds=thresholds)
    code, out, err = ragkit(capsys, "eval", "run", file, "--update-baseline", "--out", root / "r.json")
    assert code == 2
    assert "tiny: 16 questions" in out and "1 of 1 checks passed" in out
    assert "base.json" in err and "r.json" in err and "No space left" in err
    assert not (root / "base.json").exists()


def test_a_suite_says_how_many_transforms_were_left_out_and_stops_if_the_endpoint_fails(
    root: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Chat:
        name = "scripted"

        def __init__(self, error: ModelError) -> None:
            self.error = error

        def structured(self) -> Chat:
            return self

        def complete_json(self, *_: Any, **__: Any) -> dict[str, Any]:
            raise self.error

    file = suite_file(root, runs=["sparse", "sparse+hyde"])
    monkeypatch.setattr("ragkit.models.chat.resolve_chat", lambda spec, settings: Chat(ModelError("no JSON")))
    code, out, _ = ragkit(capsys, "eval", "run", file)
    assert code == 0
    assert "sparse+hyde: 16 transforms failed and were left out" in out
    monkeypatch.setattr("ragkit.models.chat.resolve_chat", lambda spec, settings: Chat(EndpointError("refused")))
    code, out, err = ragkit(capsys, "eval", "run", file)
    assert code == 1
    assert "Error: refused" in err and "tiny" not in out


def test_unanswerable_questions_do_not_count_towards_a_limit(root: Path, embedder: HashingEmbedder) -> None:
    file = root / "sets" / "tiny.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        if number % 4:
            row["gold"] = []
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    ref = DatasetRef(path="sets/tiny.jsonl", notes="notes", limit=3)
    questions = ref.load(root, "all").questions
    assert len(questions) == 3 and all(question.gold for question in questions)


# Sweeps


def test_a_sweep_reports_dev_and_tests_the_best_against_the_default(root: Path, embedder: HashingEmbedder) -> None:
    result, told = sweep_once(root)
    # Default plus eight points, of which one equals the default.
    assert len(result.trials) == len(told) == 8
    assert [trial.changes for trial in told][:2] == [{}, {"chunk_target": 60.0, "coverage_weight": 0.0}]
    means = [trial.means["mrr@10"] for trial in result.trials]
    assert means == sorted(means, reverse=True)
    report = json.loads(json.dumps(result.to_json()))
    assert (report["dev_questions"], report["test_questions"], report["points"]) == (8, 8, 8)
    assert report["trials"][0]["metrics"]["mrr@10"] == means[0]


def test_of_equal_trials_the_one_with_fewer_changes_is_the_best(root: Path, embedder: HashingEmbedder) -> None:
    result, _ = sweep_once(root, fields={"space": {"candidates": [10, 20, 30], "run": ["sparse"]}, "metric": "hit@10"})
    best = [trial for trial in result.trials if trial.means["hit@10"] == result.trials[0].means["hit@10"]]
    assert len(best) > 1
    assert len(result.trials[0].changes) == min(len(trial.changes) for trial in best)


def test_a_sweep_goes_on_where_it_was_broken_off(root: Path, tmp_path: Path, embedder: HashingEmbedder) -> None:
    log = tmp_path / "log.jsonl"

    class Interrupted(CachedModels):
        left = 4

        def embedding(self, settings: Any) -> Any:
            # Asked twice a trial: for the key and for the index.
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().embedding(settings)

    with pytest.raises(KeyboardInterrupt):
        sweep_once(root, log, models=Interrupted(load_settings().ensure_home()))
    assert len(log.read_text(encoding="utf-8").splitlines()) == 2
    # A crash in the middle of a write leaves half a line, which must not spoil the next one.
    with log.open("a", encoding="utf-8") as file:
        file.write('{"key": "cut')
    result, told = sweep_once(root, log)
    assert [trial.known for trial in told] == [True, True] + [False] * 6
    again, told = sweep_once(root, log)
    assert all(trial.known for trial in told)
    assert again.to_json() == result.to_json()


def test_other_questions_notes_or_settings_are_measured_anew(
    root: Path, tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.jsonl"
    fields = {"space": {"coverage_weight": [0, 10]}}

    def known(**more: Any) -> list[bool]:
        return [trial.known for trial in sweep_once(root, log, fields=fields, **more)[1]]

    assert known() == [False, False]
    assert known() == [True, True]
    assert known(fresh=True) == [False, False]
    monkeypatch.setenv("RAGKIT_COVERAGE_FLOOR", "0.3")
    assert known() == [False, False]
    monkeypatch.delenv("RAGKIT_COVERAGE_FLOOR")
    with (root / "notes" / "apple.md").open("a", encoding="utf-8") as file:
        file.write("\nOne more line.\n")
    assert known() == [False, False]
    questions = root / "sets" / "tiny.jsonl"
    questions.write_text(questions.read_text(encoding="utf-8").replace("Where is", "Say where is"), encoding="utf-8")
    assert known() == [False, False]
    assert known() == [True, True]


def test_a_sweep_embeds_each_text_once(root: Path, embedder: HashingEmbedder) -> None:
    first = CachedModels(load_settings().ensure_home())
    fields = {"space": {"bm25_k1": [0.4, 0.8, 1.2], "coverage_weight": [5, 10]}}
    sweep_once(root, fields=fields, models=first)
    passages, queries = embedder.documents_embedded, embedder.queries_embedded
    texts = first.computed
    second = CachedModels(load_settings().ensure_home())
    sweep_once(root, fields={"space": {"bm25_b": [0.1, 0.9]}}, models=second)
    # The same chunks under other indexes, the same questions: nothing is embedded.
    assert (second.computed, embedder.documents_embedded) == (0, passages)
    # One query is asked by the wrapper itself, to learn the dimension.
    assert embedder.queries_embedded <= queries + 1
    smaller = CachedModels(load_settings().ensure_home())
    sweep_once(root, fields={"space": {"chunk_target": [60]}}, models=smaller)
    assert 0 < smaller.computed < texts


def test_trials_leave_the_index_of_other_commands_alone(root: Path, embedder: HashingEmbedder, home: Path) -> None:
    Index.open(root / "notes", settings=load_settings()).close()
    own = {folder: read_manifest(folder) for folder in (home / "indexes").iterdir()}
    sweep_once(root, fields={"space": {"coverage_weight": [5]}})
    assert {folder: read_manifest(folder) for folder in own} == own
    assert len(list((home / "indexes").iterdir())) == len(own) + 1


def test_candidates_are_not_overruled_by_the_depth_of_the_measurement(
    root: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = retrieval.search
    monkeypatch.setattr(retrieval, "search", lambda i, q, s, k: asked.append(k) or real(i, q, s, k))
    fields: dict[str, Any] = {"space": {"candidates": [10, 20]}}
    sweep_once(root, fields=fields)
    assert max(asked) == 10
    sweep_once(root, fields={**fields, "metric": "recall@100"})
    assert max(asked) == 100


def test_a_rewriting_run_without_a_chat_model_is_refused_before_the_first_trial(
    root: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGKIT_CHAT_MODEL", "extractive")
    with pytest.raises(DatasetError, match=r"'hybrid\+rewrite' of the sweep needs a chat model"):
        sweep_once(root, fields={"space": {"run": ["hybrid", "hybrid+rewrite"]}})
    assert embedder.documents_embedded == 0


def test_replies_of_the_chat_model_are_cached(
    root: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Chat:
        name = "scripted"

        def structured(self) -> Chat:
            return self

        def complete_json(self, system: str, user: str, schema: Any, max_tokens: int = 256) -> dict[str, Any]:
            asked.append(user)
            return {"passage": f"{user} It is described in a note.", "queries": ["note", "part", "long"]}

    monkeypatch.setattr("ragkit.evaluation.cached_models.resolve_chat", lambda spec, settings: Chat())
    sweep_once(root, fields={"space": {"run": ["hybrid+hyde"], "coverage_weight": [5, 10, 20]}})
    assert len(asked) == len(set(asked))
    assert {topic for topic in TOPICS[::2] if any(topic in text for text in asked)} == set(TOPICS[::2])


def test_a_trial_in_which_the_chat_model_did_not_answer_is_void(
    root: Path, tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Chat:
        name = "gone"

        def structured(self) -> Chat:
            return self

        def complete_json(self, system: str, user: str, schema: Any, max_tokens: int = 256) -> dict[str, Any]:
            raise EndpointError("no route to the model")

    monkeypatch.setattr("ragkit.evaluation.cached_models.resolve_chat", lambda spec, settings: Chat())
    log = tmp_path / "log.jsonl"
    with pytest.raises(EndpointError, match=r"Run 'hybrid\+hyde' is a void trial: no route to the model.*goes on"):
        sweep_once(root, log, fields={"space": {"run": ["hybrid", "hybrid+hyde"]}})
    assert len(log.read_text(encoding="utf-8").splitlines()) == 1, "the default was measured, the void trial not kept"


def trial(values: list[float], **changes: Any) -> Trial:
    return Trial(changes, {"mrr@10": tuple(values), "hit@5": tuple(values)})


@pytest.mark.parametrize(
    ("default", "best", "verdict", "better"),
    [
        ([0.0] * 20, [1.0] * 20, "Take the best trial", True),
        ([0.0] * 20, [1.0] * 2 + [0.0] * 18, "Keep the default: .*not significantly better", False),
        ([1.0] * 20, [0.0] * 20, "Keep the default: .*not significantly better", False),
    ],
    ids=["better", "by chance", "worse"],
)
def test_the_verdict_follows_the_test_split(
    default: list[float], best: list[float], verdict: str, better: bool
) -> None:
    file = Sweep(**{"datasets": [{"path": "d"}], "space": SPACE})
    changed = trial(best, chunk_target=60.0, bm25_variant="okapi", run="sparse")
    result = SweepResult(file, (changed, trial(default)), trial(default), changed, {})
    assert result.better is better
    assert re.match(verdict, result.verdict)
    assert result.toml == 'chunk_target = 60.0\nbm25_variant = "okapi"\n# searched as sparse'
    same = SweepResult(file, (trial(default),), trial(default), trial(default), {})
    assert same.verdict == "Keep the default: no trial is better on dev."


def test_the_command_prints_the_table_and_goes_on(
    root: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    file = plan(root, "sweep.yaml", search="random", trials=3, space=SPACE)
    code, out, err = ragkit(capsys, "eval", "sweep", file)
    assert code == 0, err
    assert "the best of" in out
    assert "test, default: mrr@10" in out
    assert "eep the default" in out or "Take the best" in out
    rows = (home / "sweeps" / "sweep.jsonl").rename(root / "trials.jsonl")
    more = ("--trials", "4", "--json", "--out", root / "out.json", "--rows", rows)
    code, out, err = ragkit(capsys, "eval", "sweep", file, *more)
    report = json.loads(out)
    assert code == 0
    assert err.count("(known)") >= 3
    assert len(report["trials"]) >= 4
    assert json.loads((root / "out.json").read_text(encoding="utf-8"))["ragkit_toml"] == report["ragkit_toml"]


def test_an_unknown_key_of_a_sweep_is_wrong_usage(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ragkit(capsys, "eval", "sweep", plan(root, "sweep.yaml", space={"chunk_size": [3]}))
    assert code == 2
    assert "sweep.yaml: space: 'chunk_size' is no setting" in err


# The BM25 settings


def test_bm25_settings_decide_the_index(root: Path, embedder: HashingEmbedder, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    Index.open(root / "notes", folder, settings=load_settings()).close()
    for changes in ({"bm25_variant": "okapi"}, {"bm25_k1": 1.2}, {"bm25_b": 0.75}):
        with pytest.raises(IndexMismatchError, match="BM25"):
            Index.open(root / "notes", folder, settings=load_settings(**changes))
    data = load_dataset(root / "sets" / "tiny.jsonl", root / "notes")
    folders = [
        open_dataset(data, load_settings(**changes)).folder
        for changes in ({}, {"bm25_variant": "okapi"}, {"bm25_k1": 1.2}, {"bm25_b": 0.75})
    ]
    assert len(set(folders)) == 4
