"""Sweep files: what they may say, and which points grid and random search take."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ragkit.api import fusion_settings, index_settings
from ragkit.errors import ConfigError
from ragkit.evaluation.plans import read_plan, root_of
from ragkit.evaluation.sweep_space import RANDOM_TRIALS, SWEPT, Sweep, changes_of
from ragkit.settings import Settings, load_settings

SPACE = {"chunk_target": [250, 350], "coverage_weight": [5, 10, 20], "bm25_variant": ["lucene", "okapi"]}


def sweep(**fields: Any) -> Sweep:
    return Sweep(**{"datasets": [{"path": "set/questions.jsonl"}], "space": SPACE, **fields})


def written(folder: Path, text: str) -> Path:
    file = folder / "sweep.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_grid_is_the_product_of_the_values_and_the_last_key_varies_fastest() -> None:
    points = sweep().points()
    assert [tuple(point.values()) for point in points] == list(product(*SPACE.values()))
    assert list(points[0]) == list(SPACE)


def test_a_grid_with_trials_is_its_beginning() -> None:
    assert sweep(trials=5).points() == sweep().points()[:5]
    assert sweep(trials=5).points(2) == sweep().points()[:2]


def test_random_points_are_distinct_repeatable_and_of_the_grid() -> None:
    points = sweep(search="random", trials=7, seed=3).points()
    assert len({tuple(point.values()) for point in points}) == len(points) == 7
    assert points == sweep(search="random", trials=7, seed=3).points()
    assert points != sweep(search="random", trials=7, seed=4).points()
    assert all(point in sweep().points() for point in points)


def test_more_random_trials_begin_with_the_same_ones() -> None:
    few = sweep(search="random", trials=4)
    assert few.points(9)[:4] == few.points()


def test_random_search_takes_the_whole_grid_at_most() -> None:
    assert len(sweep(search="random", trials=100).points()) == sweep().size == 2 * 3 * 2


def test_a_huge_space_is_drawn_from_and_not_written_out() -> None:
    values = [100.0 + i for i in range(900)]
    large = sweep(search="random", space={"chunk_target": values, "chunk_maximum": values, "coverage_weight": values})
    assert large.size == 900**3
    assert len({tuple(point.values()) for point in large.points()}) == RANDOM_TRIALS
    assert large.points(30)[:RANDOM_TRIALS] == large.points()


def test_a_value_in_force_is_no_change() -> None:
    base = load_settings()
    point = {"chunk_target": 350.0, "coverage_weight": 5.0, "run": "hybrid", "temperature": None}
    assert changes_of(point, base) == {"coverage_weight": 5.0}
    assert changes_of({"run": "sparse"}, base) == {"run": "sparse"}
    assert changes_of({"chunk_target": 350.0}, load_settings(chunk_target=200)) == {"chunk_target": 350.0}


def test_values_are_what_the_setting_makes_of_them() -> None:
    assert sweep().space["chunk_target"] == (250.0, 350.0)
    assert all(isinstance(value, float) for value in sweep().space["chunk_target"])


def test_every_swept_setting_exists() -> None:
    assert set(SWEPT) <= set(Settings.model_fields)


def test_a_swept_setting_reaches_index_or_fusion() -> None:
    values: dict[str, Any] = {
        "chunk_target": 200, "chunk_maximum": 900, "candidates": 9, "coverage_weight": 3, "coverage_floor": 0.3,
        "temperature": 0.5, "question_centring": 0.5, "language_correction": 0.5, "sentence_share": 0.2,
        "bm25_variant": "okapi", "bm25_k1": 1.2, "bm25_b": 0.9,
    }  # fmt: skip
    stages = {"rerank_model", "diversity", "merge_neighbours", "enrichment_share"}  # read by `Index` itself
    assert set(SWEPT) - set(values) == {"embedding_model", "chat_model", *stages}
    base = load_settings()
    for name, value in values.items():
        changed = load_settings(**{name: value})
        assert (index_settings(changed), fusion_settings(changed)) != (index_settings(base), fusion_settings(base))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"space": {"chunk_target": [10]}}, r"chunk_target: 10: .*greater than or equal to 50"),
        ({"space": {"bm25_variant": ["magic"]}}, "bm25_variant: 'magic'"),
        ({"space": {"chat_timeout": [10]}}, "no setting that affects retrieval.*chunk_target"),
        ({"space": {"chunk_targt": [300]}}, "'chunk_targt' is no setting"),
        ({"space": {"chunk_target": []}}, "chunk_target has no values"),
        ({"space": {"run": ["hybrid+magic"]}}, "Unknown run"),
        ({"space": {"run": ["small.toml:hybrid"]}}, "settings file"),
        ({"space": {}}, "space"),
        ({"datasets": []}, "datasets"),
        ({"datasets": [{"path": "a"}, {"path": "b/a"}]}, "'a' stands twice"),
        ({"datasets": [{"path": "a", "splt": "dev"}]}, "splt"),
        ({"metric": "accuracy"}, "unknown metric 'accuracy'; allowed: hit@1"),
        ({"search": "bayes"}, "search"),
        ({"split": "test"}, "split"),
        ({"trials": 0}, "trials"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){message}"):
        sweep(**fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datasets: [{path: a}]\nspace: {chunk_target: [300]}\nmetrik: x\n", r"sweep\.yaml: metrik: .*Allowed keys: .*metric"),
        ("datasets: [{path: a, limt: 3}]\nspace: {chunk_target: [300]}\n", r"sweep\.yaml: datasets\.0\.limt: "),
        ("datasets: [{path: a}]\nspace: {chunk_target: 300}\n", r"sweep\.yaml: space\.chunk_target: "),
        ("datasets: [\n", r"sweep\.yaml:\d+: not valid YAML"),
        ("- a\n", r"sweep\.yaml must consist of `key: value` lines.*datasets"),
        ("a: &x [1]\nb: *x\n", "aliases are not allowed"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_with_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_plan(written(tmp_path, text), Sweep)
    assert caught.value.exit_code == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml cannot be read"):
        read_plan(tmp_path / "gone.yaml", Sweep)


def test_paths_are_relative_to_the_repository_else_to_the_file(tmp_path: Path) -> None:
    inner = tmp_path / "repo" / "evals" / "suites"
    inner.mkdir(parents=True)
    file = written(inner, "")
    assert root_of(file) == inner
    (tmp_path / "repo" / "pyproject.toml").write_text("", encoding="utf-8")
    assert root_of(file) == tmp_path / "repo"


@pytest.mark.parametrize("kind", ["sweep", "suite"])
def test_the_files_that_come_with_the_repository_can_be_read(repository: Path, kind: str) -> None:
    from ragkit.evaluation.suite import Suite

    files = sorted((repository / "evals" / "suites").glob("*.yaml"))
    chosen = [file for file in files if file.stem.startswith("sweep") == (kind == "sweep")]
    assert chosen
    for file in chosen:
        read_plan(file, Sweep if kind == "sweep" else Suite)
        assert root_of(file) == repository
