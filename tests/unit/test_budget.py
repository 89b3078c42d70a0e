"""Budgets: which one ends a question, what is counted, and that the stricter limit of two counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit import load_settings
from ragkit.agent.budget import Budget, Limits, Prices, Spent, Stop, limits_of, prices_of
from ragkit.agent.spec import AgentHeader
from ragkit.errors import ConfigError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_over_without_limits() -> None:
    budget = Budget()
    budget.add_tokens(10**9, 10**9)
    assert budget.over() is None and budget.seconds_left() is None


@pytest.mark.parametrize(
    ("question", "session", "reason"),
    [
        (Limits(tokens=30), Limits(), "max_tokens"),
        (Limits(cost=0.00005), Limits(), "max_cost"),
        (Limits(seconds=5), Limits(), "max_seconds"),
        (Limits(), Limits(steps=3), "session_steps"),
        (Limits(), Limits(tokens=1030), "session_tokens"),
        (Limits(), Limits(cost=1.00005), "session_cost"),
        (Limits(), Limits(seconds=65), "session_seconds"),
    ],
)
def test_the_budget_that_is_used_up_is_named(question: Limits, session: Limits, reason: str) -> None:
    clock = Clock()
    budget = Budget(question, session, Spent(2, 1000, 60.0, 1.0), Prices(read=1.0, written=4.0), clock)
    assert budget.over() is None
    budget.add_step()
    budget.add_tokens(20, 10)  # 20 + 4 * 10 = 60 millionths
    clock.now += 5
    stop = budget.over()
    assert stop is not None and stop.reason == reason
    assert stop.spent >= stop.limit


def test_time_in_which_a_person_is_asked_does_not_count() -> None:
    clock = Clock()
    budget = Budget(Limits(seconds=10), clock=clock)
    with budget.waiting():
        clock.now += 1000
    clock.now += 4
    assert budget.seconds_left() == 6 and budget.over() is None


def test_the_nearer_end_of_two_time_budgets_counts() -> None:
    clock = Clock()
    budget = Budget(Limits(seconds=100), Limits(seconds=50), Spent(seconds=30.0), clock=clock)
    assert budget.seconds_left() == 20
    assert budget.out_of_time().reason == "session_seconds"
    assert Budget(Limits(seconds=10), Limits(seconds=50), clock=clock).out_of_time().reason == "max_seconds"


def test_of_settings_and_agent_file_the_stricter_limit_counts() -> None:
    header = AgentHeader(name="a", description="d", max_steps=9, max_question_tokens=500, max_session_cost=3)
    settings = load_settings(max_question_steps=5, max_question_tokens=1000, max_session_cost=2, price_read=1)
    question, session = limits_of(header, settings)
    assert (question.steps, question.tokens, session.cost) == (5, 500, 2)


def test_a_cost_that_can_never_be_reached_is_refused() -> None:
    limits = [Limits(cost=1.0)]
    with pytest.raises(ConfigError, match="price_read"):
        prices_of(load_settings(), limits, free=False)
    assert prices_of(load_settings(), limits, free=True) == Prices()
    assert prices_of(load_settings(price_written=2), limits, free=False).cost(10**6, 10**6) == 2


@pytest.mark.parametrize("key", ["max_question_tokens", "max_question_seconds", "max_session_cost", "tool_seconds"])
def test_a_limit_of_nothing_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        load_settings(**{key: 0})


def test_what_is_said_is_in_the_language_of_the_question() -> None:
    stop = Stop("session_tokens", 200_000, 203_112)
    assert stop.says("What is it?") == "The token budget of this session (200,000) is used up (203,112 spent)."
    assert stop.says("这是什么？") == "这个会话的词元预算（200,000）已用完（已用 203,112）。"
    assert "(0.5)" in Stop("max_cost", 0.5, 0.51).says("What?")


def test_budgets_can_be_set_in_an_agent_file(tmp_path: Path) -> None:
    from ragkit.agent.spec import parse_agent

    file = tmp_path / "a.md"
    file.write_text(
        "---\nname: a\ndescription: d\nmax_question_seconds: 5\nmax_session_steps: 7\n---\nrules\n", "utf-8"
    )
    header = parse_agent(file).header
    assert (header.max_question_seconds, header.max_session_steps) == (5, 7)
