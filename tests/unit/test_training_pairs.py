"""Pairs for training: their form, what they are mined from, and what must not be among them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ragkit import Index, load_settings
from ragkit.errors import TrainingError, UsageError
from ragkit.evaluation.datasets import Gold, Question
from ragkit.evaluation.paired import Comparison, corrected
from ragkit.retrieval.rewrite import Turn
from ragkit.testing import HashingEmbedder
from ragkit.training.embedding import TrainingSettings, is_better, train_embedding
from ragkit.training.pairs import Pair, pairs_from_questions, read_pairs, without_test

NOTES = {
    "rnn.md": "# 循环神经网络\n\nRNN 的缺点是梯度消失，而且不能并行训练。\n",
    "lstm.md": "# LSTM\n\nLSTM 用三个门控制记忆，缓解 RNN 的梯度消失。\n",
    "copy.md": "# 抄录\n\n有人写道：RNN 的缺点是梯度消失，而且不能并行训练。\n",
    "tea.md": "# 泡茶\n\n绿茶要用八十度的水。\n",
}


@pytest.fixture
def index(tmp_path: Path, make_notes: Callable[[Path, Mapping[str, str]], Path]) -> Index:
    notes = make_notes(tmp_path / "notes", NOTES)
    return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=load_settings())


def question(identity: str, text: str, *gold: Gold, history: tuple[Turn, ...] = ()) -> Question:
    return Question(identity, text, "zh", "lexical", gold, history=history)


RNN = question("q1", "RNN 的缺点是什么？", Gold("rnn.md", "梯度消失，而且不能并行训练"))


def test_the_negative_is_the_hardest_passage_that_does_not_say_the_same(index: Index) -> None:
    [pair] = pairs_from_questions([RNN], index, [])
    hits = index.search(RNN.text, k=20)
    # copy.md says the same in other words around it, so it is no negative however well it ranks.
    hardest = next(hit for hit in hits if hit.document in {"lstm.md", "tea.md"})
    assert {hit.document for hit in hits} == set(NOTES)
    assert pair == Pair(RNN.text, "循环神经网络\n" + NOTES["rnn.md"].strip(), hardest.chunk.search_text)


def test_each_need_of_a_question_gives_a_pair(index: Index) -> None:
    both = question(
        "q2", "RNN 的缺点和 LSTM 的门？", Gold("rnn.md", "不能并行训练", "a"), Gold("lstm.md", "三个门", "b")
    )
    pairs = pairs_from_questions([both], index, [])
    assert [("不能并行" in pair.positive, "三个门" in pair.positive) for pair in pairs] == [
        (True, False),
        (False, True),
    ]
    assert len({pair.negative for pair in pairs}) == 1 and "三个门" not in pairs[0].negative


def test_questions_of_the_test_follow_ups_and_questions_without_gold_give_none(index: Index) -> None:
    follow_up = question("q3", "它的缺点呢？", Gold("rnn.md", "梯度消失"), history=(Turn("什么是 RNN？", "网络"),))
    empty = [question("q4", "无"), question("q5", "x", Gold("no.md", "y"))]
    assert pairs_from_questions([RNN], index, [RNN]) == []
    assert pairs_from_questions([follow_up, *empty], index, []) == []


def test_pairs_that_ask_a_test_question_are_held_out_however_they_are_written() -> None:
    other = Pair("RNN 的优点？", "p", "n")
    pairs = [Pair("ＲＮＮ的 缺点是什么？", "p", "n"), Pair("rnn 的缺点是什么?", "p", "n"), other]
    assert without_test(pairs, [RNN]) == [other]


def test_progress_is_reported(index: Index) -> None:
    seen: list[tuple[int, int]] = []
    pairs_from_questions([RNN, RNN], index, [], lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_pairs_are_read_once_each(tmp_path: Path) -> None:
    row = json.dumps({"query": "q", "positive": "p", "negative": "n", "more": 1})
    (tmp_path / "a.jsonl").write_text(f"\ufeff{row}\n\n{row}\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(row.replace('"q"', '"r"'), encoding="utf-8")
    pairs = read_pairs([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    assert pairs == [Pair("q", "p", "n"), Pair("r", "p", "n")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "a.jsonl:1: not a pair"),
        ("[1]", "a.jsonl:1: not a pair"),
        ('{"query": "q", "positive": "p"}', "negative"),
        ('{"query": "q", "positive": "p", "negative": " "}', "must be texts"),
        ('{"query": "q", "positive": "p", "negative": 3}', "must be texts"),
    ],
)
def test_lines_of_another_form_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError, match=said):
        read_pairs([tmp_path / "a.jsonl"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"none\.jsonl cannot be read"):
        read_pairs([tmp_path / "none.jsonl"])


def compared(*found: tuple[float, float]) -> list[Comparison]:
    return corrected([Comparison("a", "b", "hit@5", difference, p) for difference, p in found])


@pytest.mark.parametrize(
    ("found", "better"),
    [
        ([(0.1, 0.01), (0.0, 1.0)], True),
        ([(0.1, 0.01), (-0.01, 0.6)], True),
        ([(0.1, 0.06), (0.1, 0.2)], False),
        ([(0.1, 0.03), (0.0, 1.0)], False),  # two metrics were tested: .06 after Holm
        ([(0.1, 0.01), (-0.1, 0.01)], False),
        ([(-0.1, 0.01), (0.0, 1.0)], False),
        ([(0.0, 1.0), (0.0, 1.0)], False),
    ],
)
def test_only_significantly_better_is_better(found: list[tuple[float, float]], better: bool) -> None:
    assert is_better(compared(*found)) is better


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}, {"max_steps": 0}])
def test_settings_that_train_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="train nothing"):
        TrainingSettings(**wrong)  # type: ignore[arg-type]


def test_models_that_run_elsewhere_and_too_few_pairs_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    from ragkit.evaluation.datasets import Dataset

    data = Dataset("d", (RNN,), notes=tmp_path)
    pairs = [Pair(f"q{n}", "p", "n") for n in range(4)]
    remote = load_settings(embedding_model="openai:x@http://127.0.0.1:1")
    with pytest.raises(TrainingError, match="runs elsewhere"):
        train_embedding(pairs, data, [RNN], remote)
    with pytest.raises(TrainingError, match="0 of 1 pairs are left"):
        train_embedding([Pair(RNN.text, "p", "n")], data, [RNN], load_settings())
