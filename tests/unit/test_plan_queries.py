"""Which queries are run for a question, with and without a chat model."""

from __future__ import annotations

from typing import Any

import pytest

from ragkit.errors import EndpointError
from ragkit.retrieval.rewrite import Turn, is_follow_up, plan_queries

HISTORY = (Turn("RNN 是什么?", "循环神经网络。"), Turn("LSTM 和 GRU 有什么区别?", "门的数目不同。"))


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


def texts(plan: Any) -> list[str]:
    return [query.text for query in plan.queries]


@pytest.mark.parametrize("resolve", [True, False])
def test_without_a_model_a_follow_up_is_joined_to_the_question_before_it(resolve: bool) -> None:
    plan = plan_queries("那它的缺点呢?", None, history=HISTORY, resolve=resolve)
    assert texts(plan) == ["那它的缺点呢?", "LSTM 和 GRU 有什么区别? 那它的缺点呢?"]
    assert plan.queries[0].weight < plan.queries[1].weight
    assert plan.standalone == texts(plan)[1]


def test_without_a_model_a_question_of_its_own_stays_alone() -> None:
    assert texts(plan_queries("位置编码为什么用正弦函数?", None, history=HISTORY)) == ["位置编码为什么用正弦函数?"]
    assert texts(plan_queries("那它的缺点呢?", None)) == ["那它的缺点呢?"]


def test_a_model_that_may_not_resolve_is_not_asked_about_the_history() -> None:
    model = Fills(translation="What about its drawbacks?")
    plan = plan_queries("那它的缺点呢?", model, history=HISTORY, resolve=False, corpus_language="en")
    assert [name for name, _ in model.asked] == ["translation"]
    assert plan.standalone.startswith(HISTORY[-1].question)


def test_a_model_rewrites_a_follow_up_and_the_users_words_stay_first() -> None:
    model = Fills(question="GRU 的缺点是什么?")
    plan = plan_queries("那它的缺点呢?", model, history=HISTORY)
    assert texts(plan) == ["那它的缺点呢?", "GRU 的缺点是什么?"]
    assert plan.queries[0].weight < plan.queries[1].weight
    assert "RNN 是什么?" in model.asked[0][1]


def test_an_earlier_question_given_back_is_not_asked_again() -> None:
    plan = plan_queries("那它的缺点呢?", Fills(question=HISTORY[-1].question), history=HISTORY)
    assert plan.standalone == f"{HISTORY[-1].question} 那它的缺点呢?"


@pytest.mark.parametrize("broken", [EndpointError("gone"), None, "", "   ", 3, ["x"]])
def test_transforms_that_fail_leave_the_question(broken: Any) -> None:
    model = Fills(question=broken, translation=broken, queries=broken, passage=broken)
    plan = plan_queries("它是什么?", model, history=HISTORY, corpus_language="en", variants=True, hyde=True)
    assert texts(plan)[0] == "它是什么?"
    assert all(text.strip() for text in texts(plan))
    assert [text for text in texts(plan) if text != "x"] == ["它是什么?"]


def test_all_transforms_add_to_the_question_and_nothing_twice() -> None:
    model = Fills(translation="What is a gate?", queries=["gate", "GATE", "门 是什么?"], passage="A gate is …")
    plan = plan_queries("门 是什么?", model, corpus_language="en", variants=True, hyde=True)
    assert texts(plan) == ["门 是什么?", "What is a gate?", "gate", "A gate is …"]
    assert [query.passage for query in plan.queries] == [False, False, False, True]
    assert plan.queries[0].weight == 1.0


def test_a_question_in_the_notes_language_is_not_translated() -> None:
    model = Fills(translation="x")
    assert texts(plan_queries("What is a gate?", model, corpus_language="en")) == ["What is a gate?"]
    assert model.asked == []


@pytest.mark.parametrize(
    ("question", "leans"),
    [
        ("那它的缺点呢?", True),
        ("Why?", True),
        ("what about its cost", True),
        ("LoRA 的秩怎么选?", False),
        ("How does BM25 score?", False),
    ],
)
def test_follow_ups_are_told_from_questions_of_their_own(question: str, leans: bool) -> None:
    assert is_follow_up(question) == leans
