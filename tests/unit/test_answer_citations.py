"""ALCE's recall and precision on cases worked out by hand, with a judge that counts words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ragkit.agent.answer import Citation
from ragkit.agent.finish import NOTICES
from ragkit.evaluation.answers import answer_body
from ragkit.evaluation.citations import (
    ModelJudge,
    TermJudge,
    citation_precision,
    citation_recall,
    cited_sentences,
    gold_scores,
    judge_sentences,
)
from ragkit.values import Chunk, Hit


def words(premise: str, claim: str) -> bool:
    """A premise supports a claim if it has all its words."""
    return set(claim.split()) <= set(premise.split())


PASSAGES = {1: "a b", 2: "c d", 3: "a b c", 4: "z"}


def judge(*sentences: tuple[str, list[int]]) -> tuple[float | None, float | None]:
    verdicts = judge_sentences(sentences, PASSAGES, words)
    return citation_recall(verdicts), citation_precision(verdicts)


def test_a_sentence_needs_the_union_of_its_citations() -> None:
    # "a c" is in [1] and [2] together only: both are needed.
    assert judge(("a c", [1, 2])) == (1 / 1, 2 / 2)


def test_a_citation_the_others_do_without_and_that_says_nothing_is_imprecise() -> None:
    assert judge(("a b", [1, 4])) == (1 / 1, 1 / 2)


def test_two_citations_that_each_support_are_both_precise() -> None:
    assert judge(("a b", [1, 3])) == (1 / 1, 2 / 2)


def test_an_unsupported_sentence_has_no_precise_citation() -> None:
    assert judge(("a x", [1, 2])) == (0 / 1, 0 / 2)


def test_a_sentence_without_citation_counts_against_recall_only() -> None:
    assert judge(("a b", [1]), ("c d", [])) == (1 / 2, 1 / 1)


def test_a_number_without_a_passage_is_imprecise_and_does_not_help() -> None:
    assert judge(("a b", [1, 9])) == (1 / 1, 1 / 2)
    assert judge(("a b", [9])) == (0 / 1, 0 / 1)


def test_an_answer_that_cites_nothing_has_a_precision_of_zero() -> None:
    # Without a value it would be left out of the mean over the questions and raise it.
    assert judge(("a b", []), ("c d", [])) == (0 / 2, 0)


def test_no_sentence_gives_no_value() -> None:
    assert judge() == (None, None)


def test_quotes_are_judged_apart_from_their_passages() -> None:
    [verdict] = judge_sentences([("a b", [1])], PASSAGES, words, {1: "a"})
    assert verdict.supported and not verdict.by_quotes
    [verdict] = judge_sentences([("a b", [1])], PASSAGES, words, {1: "b a"})
    assert verdict.by_quotes


def test_a_marker_at_the_end_of_a_line_covers_the_line_but_not_the_one_above() -> None:
    text = "第一行没有来源。\n- 一句。又一句。[1]\n第三行。[2]"
    assert cited_sentences(text) == [
        ("第一行没有来源。", ()),
        ("- 一句。", (1,)),
        ("又一句。", (1,)),
        ("第三行。", (2,)),
    ]


def test_headings_code_and_announcements_state_nothing() -> None:
    text = "# 结论\n有两点：\n```\nx = a[1]\n```\n残差让梯度直达浅层。[1]"
    assert cited_sentences(text) == [("残差让梯度直达浅层。", (1,))]


def test_the_term_judge_wants_the_numbers_and_cannot_judge_across_languages() -> None:
    judge = TermJudge(lambda term: 1.0)
    assert judge("权重在 fp16 下占 14 GB 显存。", "fp16 权重占 14 GB。")
    assert not judge("权重在 fp16 下占 14 GB 显存。", "fp16 权重占 28 GB。")
    assert not judge("The weights take 14 GB in fp16.", "fp16 权重占 14 GB。")
    assert judge("**Typographic attack**：贴一张写着 iPod 的纸条，就会被认成 iPod。", "Typographic attack")


class Model:
    """Replies what it is told and remembers what it was asked."""

    def __init__(self, reply: dict[str, Any]) -> None:
        self.reply = reply
        self.asked: list[str] = []

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        self.asked.append(user)
        return self.reply


@pytest.mark.parametrize(("said", "verdict"), [("yes", True), ("no", False)])
def test_a_model_judge_gets_passage_and_claim_as_data(said: str, verdict: bool) -> None:
    model = Model({"supported": said})
    assert ModelJudge(model)('he said "yes"', "x") is verdict
    assert json.loads(model.asked[0]) == {"passage": 'he said "yes"', "claim": "x"}


def hit(start: int, end: int) -> Hit:
    chunk = Chunk(id=str(start), document="d.md", heading=(), text="x" * (end - start), start=start, end=end,
                  start_line=1, end_line=1)  # fmt: skip
    return Hit(chunk=chunk, rank=1, score=1.0, legs={})


def cite(marker: int, start: int, end: int) -> Citation:
    return Citation(marker=marker, document="d.md", heading=(), start_line=1, end_line=1, start=start, end=end,
                    quote="x", verdict="supported")  # fmt: skip


def test_gold_is_compared_with_spans_and_with_their_chunks() -> None:
    passages = [hit(0, 100), hit(100, 200)]
    places = [("a", ("d.md", 10, 30)), ("b", ("d.md", 150, 160))]
    # [1] holds the gold of a; [2] stands in the right chunk beside the gold of b.
    scores = gold_scores(places, [cite(1, 10, 40), cite(2, 101, 140)], passages)
    assert (scores.retrieved, scores.span_recall, scores.span_precision) == (2 / 2, 1 / 2, 1 / 2)
    assert (scores.chunk_recall, scores.chunk_precision) == (2 / 2, 2 / 2)


def test_a_span_that_touches_the_gold_by_a_character_does_not_hold_it() -> None:
    scores = gold_scores([("", ("d.md", 10, 30))], [cite(1, 29, 60)], [hit(0, 100)])
    assert (scores.span_recall, scores.chunk_recall) == (0, 1)


def test_gold_of_one_group_are_alternatives() -> None:
    places = [("a", ("d.md", 10, 30)), ("a", ("d.md", 150, 160))]
    assert gold_scores(places, [cite(1, 10, 30)], [hit(0, 100)]).span_recall == 1


def test_without_citation_recall_is_nothing_and_precision_has_no_value() -> None:
    scores = gold_scores([("", ("d.md", 10, 30))], [], [])
    assert (scores.retrieved, scores.span_recall, scores.span_precision) == (0, 0, None)
    assert gold_scores([], [cite(1, 0, 5)], [hit(0, 9)]).span_precision is None


@pytest.mark.parametrize("notice", NOTICES)
def test_a_notice_before_quotes_states_nothing(notice: str) -> None:
    assert cited_sentences(answer_body(f"{notice}\n- RNNs forget. [1]")) == [("- RNNs forget.", (1,))]
