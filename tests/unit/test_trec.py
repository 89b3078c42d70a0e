"""TREC files: what is written comes back, and gives the figures of the report."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import ir_measures
import pytest
import pytrec_eval
from ir_measures import P, R, Success, nDCG

from ragkit.errors import DatasetError
from ragkit.evaluation.metrics import mean_metrics, question_metrics
from ragkit.evaluation.retrieval import Row, Run
from ragkit.evaluation.trec import read_qrels, read_run, trec_metrics, write_trec

NAMES = ("笔记/位置 编码.md#0-12", "a b\tc.md#1-2", "100%.md#0-5", "%20.md#3-4", "plain.md#5-9", "n\u00a0bsp.md#1-2")


def row(identity: str, ranking: tuple[tuple[str, float], ...]) -> Row:
    return Row(identity, "?", "lexical", "zh", (1,), {}, 0.0, ranking=ranking)


def test_names_with_spaces_and_chinese_come_back(tmp_path: Path) -> None:
    judged = {"问题 1": dict.fromkeys(NAMES, 1), "q 2": {NAMES[0]: 2, NAMES[1]: 0}}
    ranking = tuple((name, 1.0 - i / 10) for i, name in enumerate(NAMES))
    paths = write_trec(tmp_path / "out", judged, [Run("小 组/x.toml:hybrid+rerank", (row("问题 1", ranking),))])
    assert read_qrels(paths[0]) == judged
    found = read_run(paths[1])["问题 1"]
    assert sorted(found, key=lambda name: -found[name]) == list(NAMES)
    assert paths[1].parent == tmp_path / "out"
    assert all(len(line.split()) == 6 for line in paths[1].read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("scores", [(1.0, 1.0, 1.0), (0.2, 0.9, 0.5), (1e-9, 9e-10, 8e-10), (3e7, 3e7 - 1, -1.0)])
def test_the_order_survives_ties_reranking_and_small_scores(tmp_path: Path, scores: tuple[float, ...]) -> None:
    ranking = tuple((f"{name}.md", score) for name, score in zip("bca", scores, strict=True))
    paths = write_trec(tmp_path, {"q": {"b.md": 1}}, [Run("r", (row("q", ranking),))])
    found = read_run(paths[1])["q"]
    assert sorted(found, key=lambda name: -found[name]) == ["b.md", "c.md", "a.md"]
    assert trec_metrics(read_qrels(paths[0]), read_run(paths[1]))["mrr@10"] == 1.0


def test_queries_that_were_not_answered_count_as_0() -> None:
    judged = {"a": {"d": 1}, "b": {"d": 1}, "unjudged": {"d": 0}}
    assert trec_metrics(judged, {"a": {"x": 2.0, "d": 1.0}}) == mean_metrics(
        [question_metrics([2]), question_metrics([None])]
    )


def test_graded_judgements_give_the_figures_of_ir_measures_and_pytrec_eval() -> None:
    rng = random.Random(7)
    judged = {f"q{q}": {f"d{d}": rng.choice([0, 0, 1, 2, 3]) for d in rng.sample(range(60), 12)} for q in range(40)}
    scores = {
        query: {f"d{d}": rng.choice([0.5, rng.random()]) for d in rng.sample(range(60), 30)}
        for query in list(judged)[:36]
    }
    judged = {query: names for query, names in judged.items() if any(names.values())}
    found = trec_metrics(judged, scores)
    theirs = {
        "ndcg@10": nDCG @ 10, "recall@5": R @ 5, "recall@100": R @ 100, "precision@5": P @ 5, "hit@3": Success @ 3,
    }  # fmt: skip
    for name, measure in theirs.items():
        values = {item.query_id: item.value for item in ir_measures.iter_calc([measure], judged, scores)}
        assert found[name] == pytest.approx(sum(values.values()) / len(judged)), name
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10"})
    ndcg = sum(row["ndcg_cut_10"] for row in evaluator.evaluate(scores).values()) / len(judged)
    assert found["ndcg@10"] == pytest.approx(ndcg)
    flat = {query: {name: min(1, value) for name, value in names.items()} for query, names in judged.items()}
    assert trec_metrics(flat, scores)["ndcg@10"] != pytest.approx(ndcg), "a grade is more than relevant or not"


def test_compressed_files_are_read(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "q.gz", "wt", encoding="utf-8") as file:
        file.write("q 0 文档 1\n")
    assert read_qrels(tmp_path / "q.gz") == {"q": {"文档": 1}}


BROKEN = {
    "too few columns": b"q 0 d\n",
    "too many columns": b"q Q0 d 1 0.5 run more\n",
    "no number": b"q 0 d x\nq Q0 d 1 x run\n",
    "no text": b"\xff\xfe\x00\x01",
    "not finite": b"q Q0 d 1 nan run\n",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("read", [read_qrels, read_run])
def test_a_malformed_file_is_refused_in_one_line(tmp_path: Path, content: bytes, read: object) -> None:
    (tmp_path / "file.txt").write_bytes(content)
    with pytest.raises(DatasetError, match=r"file\.txt is no TREC") as caught:
        read(tmp_path / "file.txt")  # type: ignore[operator]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"q 0 d 0\n"])
def test_judgements_without_anything_relevant_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.txt").write_bytes(content)
    with pytest.raises(DatasetError, match="no passage is judged relevant"):
        read_qrels(tmp_path / "file.txt")


def test_missing_and_truncated_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="gone"):
        read_run(tmp_path / "gone")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"q 0 d 1\n" * 1000)[:-20])
    with pytest.raises(DatasetError, match="cut"):
        read_qrels(tmp_path / "cut.gz")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(DatasetError, match="--trec"):
        write_trec(tmp_path / "file", {}, [])
