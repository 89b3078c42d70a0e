"""Which queries are run for a question: with and without a chat model, by policy, in time, and said so."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkit.errors import EndpointError, ModelError
from ragkit.models.cache import CachedCompletions, KeyValueFile
from ragkit.retrieval.confidence import Confidence
from ragkit.retrieval.planner import Plan, Planner, Policies
from ragkit.retrieval.rewrite import Turn, is_follow_up

HISTORY = (Turn("RNN 是什么?", "循环神经网络。"), Turn("LSTM 和 GRU 有什么区别?", "门的数目不同。"))
SURE, UNSURE = Confidence(1.0, 5.0, 1.0), Confidence(0.1, 0.5, 0.0)
ALWAYS = Policies("always", "always", "always")
AUTO = Policies("auto", "auto", "auto")


class Fills:
    """Fills the one field that is asked for; remembers the requests."""

    def __init__(self, **fields: Any) -> None:
        self.fields, self.asked = fields, []  # type: ignore[var-annotated]

    def complete_json(self, system: str, user: str, schema: dict[str, Any], max_tokens: int = 256) -> dict[str, Any]:
        [name] = schema["properties"]
        self.asked.append((name, user))
        value = self.fields.get(name)
        if isinstance(value, Exception):
            raise value
        return {name: value}


def plan(
    question: str,
    model: Any,
    policies: Policies,
    history: tuple[Turn, ...] = (),
    *,
    language: Any = "en",
    sure: Confidence = UNSURE,
    seconds: float = 15.0,
) -> Plan:
    loads = None if model is None else lambda: model
    return Planner(loads, language, policies, lambda queries: sure, seconds).plan(question, history)


def texts(plan: Plan) -> list[str]:
    return [query.text for query in plan.queries]


def ran(plan: Plan) -> dict[str, bool]:
    return {stage.name: stage.ran for stage in plan.stages}


@pytest.mark.parametrize("policies", [Policies(), ALWAYS, AUTO])
def test_without_a_model_a_follow_up_is_joined_to_the_question_before_it(policies: Policies) -> None:
    found = plan("那它的缺点呢?", None, policies, HISTORY)
    assert texts(found) == ["那它的缺点呢?", "LSTM 和 GRU 有什么区别? 那它的缺点呢?"]
    assert found.queries[0].weight < found.queries[1].weight
    assert found.standalone == texts(found)[1]
    assert not any(ran(found).values())


def test_without_a_model_a_question_of_its_own_stays_alone() -> None:
    assert texts(plan("位置编码为什么用正弦函数?", None, ALWAYS, HISTORY)) == ["位置编码为什么用正弦函数?"]
    assert texts(plan("那它的缺点呢?", None, ALWAYS)) == ["那它的缺点呢?"]


def test_a_model_that_may_not_rewrite_is_not_asked_about_the_history() -> None:
    model = Fills(translation="What about its drawbacks?")
    found = plan("那它的缺点呢?", model, Policies(translate="always"), HISTORY)
    assert [name for name, _ in model.asked] == ["translation"]
    assert found.standalone.startswith(HISTORY[-1].question)


@pytest.mark.parametrize("policy", ["always", "auto"])
def test_a_model_rewrites_a_follow_up_and_the_users_words_stay_first(policy: Any) -> None:
    model = Fills(question="GRU 的缺点是什么?")
    found = plan("那它的缺点呢?", model, Policies(rewrite=policy), HISTORY, sure=SURE)
    assert texts(found) == ["那它的缺点呢?", "GRU 的缺点是什么?"]
    assert found.queries[0].weight < found.queries[1].weight
    assert "RNN 是什么?" in model.asked[0][1]


def test_a_rewriting_that_kept_all_words_of_the_follow_up_is_searched_for_alone() -> None:
    model = Fills(question="How many gates does GRU have?")
    made = plan("How many gates does it have?", model, Policies(rewrite="auto"), HISTORY, sure=SURE)
    assert texts(made) == ["How many gates does GRU have?"] == [made.standalone]


def test_a_follow_up_that_the_model_returns_as_it_is_is_searched_for_with_the_question_before_it() -> None:
    question = "那它的缺点呢?"
    echoed = plan(question, Fills(question=question), Policies("auto"), HISTORY, sure=SURE)
    assert texts(echoed) == texts(plan(question, None, Policies("never"), HISTORY, sure=SURE))
    assert len(texts(echoed)) == 2


def test_a_question_of_its_own_is_searched_for_as_it_is_whatever_a_model_adds() -> None:
    model = Fills(question="How many gates does GRU have in PyTorch 2.1?", variants=[])
    made = plan("How many gates does GRU have?", model, Policies(rewrite="always"), HISTORY)
    assert texts(made)[:2] == ["How many gates does GRU have?", "How many gates does GRU have in PyTorch 2.1?"]
    assert made.queries[0].weight == made.queries[1].weight == 1.0


def test_auto_leaves_a_question_of_its_own_as_it_is() -> None:
    model = Fills(question="x")
    found = plan("位置编码为什么用正弦函数?", model, Policies(rewrite="auto"), HISTORY, sure=SURE)
    assert (texts(found), model.asked, ran(found)["resolve"]) == (["位置编码为什么用正弦函数?"], [], False)


def test_an_earlier_question_given_back_is_not_asked_again() -> None:
    found = plan("那它的缺点呢?", Fills(question=HISTORY[-1].question), Policies("always"), HISTORY)
    assert found.standalone == f"{HISTORY[-1].question} 那它的缺点呢?"


@pytest.mark.parametrize("broken", [EndpointError("gone"), None, "", "   ", 3, ["x"]])
def test_transforms_that_fail_leave_what_is_done_without_a_model(broken: Any) -> None:
    model = Fills(question=broken, translation=broken, queries=broken, passage=broken)
    found = plan("它是什么?", model, ALWAYS, HISTORY)
    assert [text for text in texts(found) if text != "x"] == ["它是什么?", f"{HISTORY[-1].question} 它是什么?"]
    if isinstance(broken, Exception):
        assert all("gone" in stage.reason for stage in found.stages)


def test_all_transforms_add_to_the_question_and_nothing_twice() -> None:
    model = Fills(translation="What is a gate?", queries=["gate", "GATE", "门 是什么?"], passage="A gate is …")
    found = plan("门 是什么?", model, ALWAYS)
    assert texts(found) == ["门 是什么?", "What is a gate?", "gate", "A gate is …"]
    assert [query.passage for query in found.queries] == [False, False, False, True]
    assert found.queries[0].weight == 1.0 >= max(query.weight for query in found.queries[1:])


def test_a_question_in_the_notes_language_is_not_translated() -> None:
    model = Fills(translation="x")
    found = plan("What is a gate?", model, Policies(translate="always"))
    assert (texts(found), model.asked, ran(found)) == (["What is a gate?"], [], {"translate": False})


def test_auto_asks_the_model_only_where_the_first_search_is_unsure() -> None:
    answers = {"translation": "What is a gate?", "queries": ["gate"], "passage": "A gate is …"}
    sure, unsure = Fills(**answers), Fills(**answers)
    assert texts(plan("门 是什么?", sure, AUTO, language="zh", sure=SURE)) == ["门 是什么?"]
    assert sure.asked == []
    assert texts(plan("门 是什么?", unsure, AUTO, language="zh", sure=UNSURE))[1:] == ["A gate is …"]


FAIRLY = Confidence(0.5, 2.0, 0.6, 1.0)


def test_a_question_in_the_other_language_is_translated_unless_the_first_search_is_very_sure() -> None:
    assert not FAIRLY.low and FAIRLY.low_across(mixed=False) and not SURE.low_across(mixed=False)
    for sure, expected in ((UNSURE, ["What is a gate?"]), (FAIRLY, ["What is a gate?"]), (SURE, [])):
        found = plan("门 是什么?", Fills(translation="What is a gate?"), Policies(translate="auto"), sure=sure)
        assert texts(found)[1:] == expected


@pytest.mark.parametrize(
    ("policy", "mixed", "language", "sure", "translated"),
    [
        ("always", True, "zh", UNSURE, True),
        ("always", False, "zh", UNSURE, False),
        ("auto", True, "zh", UNSURE, False),
        ("auto", True, "en", UNSURE, False),
        ("auto", True, "zh", FAIRLY, True),
        ("auto", True, "en", FAIRLY, True),
        ("auto", True, "zh", replace(SURE, behind=1.0), True),
        ("auto", True, "zh", replace(SURE, behind=4.0), False),
        ("auto", True, "zh", SURE, False),
        ("auto", False, "zh", FAIRLY, False),
    ],
)
def test_notes_of_both_languages_are_asked_in_the_other_one_if_the_question_has_some_hold_in_them(
    policy: Any, mixed: bool, language: Any, sure: Confidence, translated: bool
) -> None:
    model, policies = Fills(translation="What is a gate?"), Policies(translate=policy)
    planner = Planner(lambda: model, language, policies, lambda queries: sure, mixed=mixed)
    assert texts(planner.plan("门 是什么?"))[1:] == ["What is a gate?"] * translated


@pytest.mark.parametrize(
    ("policy", "mixed", "translated"), [("auto", True, False), ("always", True, True), ("auto", False, True)]
)
def test_what_notes_of_both_languages_do_not_answer_is_not_translated(
    policy: Any, mixed: bool, translated: bool
) -> None:
    asked: list[tuple[str, list[str]]] = []

    def unanswered(question: str, queries: Any) -> bool:
        asked.append((question, [query.text for query in queries]))
        return True

    model, policies = Fills(translation="What is a gate?"), Policies(translate=policy)
    planner = Planner(lambda: model, "en", policies, lambda queries: FAIRLY, mixed=mixed, unanswered=unanswered)
    found = planner.plan("门 是什么?")
    assert texts(found)[1:] == ["What is a gate?"] * translated
    assert asked == ([] if translated else [("门 是什么?", ["门 是什么?"])])
    assert found.stages[0].ran == translated


@pytest.mark.parametrize(("coverage", "uncovered"), [(0.36, 0.8), (1.0, 0.0)])
@pytest.mark.parametrize("policy", ["auto", "always"])
def test_beside_notes_in_its_own_language_a_translation_counts_by_what_both_searches_found(
    policy: Any, coverage: float, uncovered: float
) -> None:
    first, second = Confidence(coverage, 5.0, 0.6, 1.0), Confidence(0.5, 2.0, 0.6)

    def first_pass(queries: Any) -> Confidence:
        return second if queries[0].text == "What is a gate?" else first

    model = Fills(translation="What is a gate?")
    planner = Planner(lambda: model, "en", Policies(translate=policy), first_pass, mixed=True)
    question, beside = planner.plan("门 是什么?").queries
    assert (question.weight, question.beside, beside.beside) == (1.0, False, True)
    assert beside.weight == pytest.approx(uncovered * first.value * second.value)


def test_the_first_search_is_looked_at_once_and_only_if_a_transform_depends_on_it() -> None:
    looked: list[str] = []

    def first_pass(queries: Any) -> Confidence:
        looked.append(queries[0].text)
        return UNSURE

    model = Fills(translation="gate", queries=[], passage="")
    for policies, mixed, times in ((Policies(), True, 0), (ALWAYS, False, 0), (ALWAYS, True, 1), (AUTO, True, 1)):
        looked.clear()
        Planner(lambda: model, "zh", policies, first_pass, mixed=mixed).plan("门 是什么?")
        assert looked.count("门 是什么?") == times


def test_a_model_that_takes_too_long_is_left_behind_and_the_plan_says_so() -> None:
    release = threading.Event()

    class Slow:
        def complete_json(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            release.wait(10)
            return {"passage": "late"}

    found = plan("What is a gate?", Slow(), Policies(hyde="always"), seconds=0.05)
    release.set()
    assert texts(found) == ["What is a gate?"]
    [stage] = found.stages
    assert stage.ran and "not done after 0.05 s" in stage.reason and 0.05 <= stage.seconds < 5


def test_a_reply_kept_on_disk_is_not_asked_for_again_and_the_plan_says_so(tmp_path: Path) -> None:
    model = Fills(passage="A gate is …")
    for expected in (False, True):
        kept = CachedCompletions(model, "m", KeyValueFile(tmp_path / "replies"))
        found = plan("What is a gate?", kept, Policies(hyde="always"))
        assert (texts(found)[1], found.stages[0].cached) == ("A gate is …", expected)
    assert len(model.asked) == 1


def test_what_the_conversation_was_is_part_of_what_a_reply_is_kept_for(tmp_path: Path) -> None:
    model = Fills(question="GRU 的缺点是什么?")
    kept = CachedCompletions(model, "m", KeyValueFile(tmp_path / "replies"))
    plan("那它的缺点呢?", kept, Policies("auto"), HISTORY, sure=SURE)
    plan("那它的缺点呢?", kept, Policies("auto"), HISTORY[:1], sure=SURE)
    assert [name for name, _ in model.asked] == ["question", "question"]


def test_a_model_that_cannot_be_loaded_leaves_the_question() -> None:
    def broken() -> Any:
        raise ModelError("no such file")

    found = Planner(broken, "en", Policies(hyde="always"), lambda queries: UNSURE).plan("What is a gate?")
    assert (texts(found), ran(found)) == (["What is a gate?"], {"hyde": False})
    assert "no such file" in found.stages[0].reason


def test_an_error_that_is_no_failure_of_the_model_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        plan("What is a gate?", Fills(passage=ZeroDivisionError()), Policies(hyde="always"))


@pytest.mark.parametrize(
    ("question", "leans"),
    [
        ("那它的缺点呢?", True),
        ("Why?", True),
        ("what about its cost", True),
        ("LoRA 的秩怎么选?", False),
        ("How does BM25 score?", False),
        ("What is the KV cache and why does it save time?", False),
        ("KV cache 是什么，它为什么省时间？", False),
        ("What is it and why does it save time?", True),
        ("With 8 GPUs, how does it scale?", True),
        ("和 LoRA 比，它为什么慢？", True),
        ("What are its drawbacks and how are they mended?", True),
        ("How many GPUs does ChatGPT keep in its decode pool at peak hours?", False),
        ("How many GPUs are in its decode pool?", True),
        ("Does this change with its size?", True),
        ("Does ChatGPT keep them in its pool?", True),
    ],
)
def test_follow_ups_are_told_from_questions_of_their_own(question: str, leans: bool) -> None:
    assert is_follow_up(question) == leans
