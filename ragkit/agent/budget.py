"""What a question and a session may spend: steps, tokens, seconds and money, and what is said at the end of it.

A budget is looked at before every call of the model and of a tool, so that at most one call goes
beyond it. Seconds also end a call that is under way.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from ragkit.agent.answer import StopReason
from ragkit.agent.spec import AgentHeader
from ragkit.errors import ConfigError
from ragkit.settings import Settings
from ragkit.text.language import answer_language

Unit = Literal["steps", "tokens", "seconds", "cost"]
Number = TypeVar("Number", int | None, float | None)
_UNITS: Final[tuple[Unit, ...]] = ("steps", "tokens", "seconds", "cost")


@dataclass(frozen=True)
class Limits:
    """The most that may be spent; None is no limit."""

    steps: int | None = None
    """Tool calls."""
    tokens: int | None = None
    """Read and written ones together."""
    seconds: float | None = None
    cost: float | None = None
    """In the currency of the prices."""

    def within(self, other: Limits) -> Limits:
        """The stricter limit of each pair."""
        return Limits(
            steps=_least(self.steps, other.steps),
            tokens=_least(self.tokens, other.tokens),
            seconds=_least(self.seconds, other.seconds),
            cost=_least(self.cost, other.cost),
        )


@dataclass(frozen=True)
class Spent:
    """What was spent."""

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.steps + other.steps,
            self.tokens + other.tokens,
            self.seconds + other.seconds,
            self.cost + other.cost,
        )


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost, in any currency; 0 for a model on this machine."""

    read: float = 0.0
    written: float = 0.0

    def cost(self, read: int, written: int) -> float:
        """Price of so many tokens read and written."""
        return (read * self.read + written * self.written) / 1_000_000


@dataclass(frozen=True)
class Stop:
    """Which budget is used up."""

    reason: StopReason
    """``max_tokens`` for the question's tokens, ``session_tokens`` for those of the session, and so on."""
    limit: float
    spent: float

    def says(self, question: str) -> str:
        """One line for the user, in the language of the question."""
        language = answer_language(question)
        scope, _, unit = self.reason.partition("_")
        whole = unit in {"steps", "tokens"}
        limit = f"{self.limit:,.0f}" if whole else f"{self.limit:g}"
        spent = f"{self.spent:,.0f}" if whole else f"{self.spent:.4g}"
        return _SAYS[language].format(
            scope=_SCOPES[language][scope], unit=_NAMES[language][unit], limit=limit, spent=spent
        )


_SAYS: Final = {
    "zh": "{scope}的{unit}预算（{limit}）已用完（已用 {spent}）。",
    "en": "The {unit} budget of {scope} ({limit}) is used up ({spent} spent).",
}
_SCOPES: Final = {
    "zh": {"max": "这个问题", "session": "这个会话"},
    "en": {"max": "this question", "session": "this session"},
}
_NAMES: Final = {
    "zh": {"steps": "步数", "tokens": "词元", "seconds": "时间（秒）", "cost": "费用"},
    "en": {"steps": "step", "tokens": "token", "seconds": "time (s)", "cost": "cost"},
}
_QUESTION: Final[dict[Unit, StopReason]] = {
    "steps": "max_steps",
    "tokens": "max_tokens",
    "seconds": "max_seconds",
    "cost": "max_cost",
}
_SESSION: Final[dict[Unit, StopReason]] = {
    "steps": "session_steps",
    "tokens": "session_tokens",
    "seconds": "session_seconds",
    "cost": "session_cost",
}


class OutOfBudget(Exception):
    """A call under way was ended because a budget is used up."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.reason)
        self.stop = stop


class Budget:
    """The account of one question. Safe to use from several threads.

    Args:
        question: Limits of the question; its steps are counted by the agent loop.
        session: Limits of the whole session.
        earlier: What the session has spent before.
        prices: What tokens cost.
        clock: Seconds, growing.
        payer: The account of the question that this one is asked for; what is spent here is spent there too.
        most_steps: Tool calls over all parts of a workflow, each of which has its own limit besides.
    """

    def __init__(
        self,
        question: Limits | None = None,
        session: Limits | None = None,
        earlier: Spent | None = None,
        prices: Prices | None = None,
        clock: Callable[[], float] = time.monotonic,
        payer: Budget | None = None,
        most_steps: int | None = None,
    ) -> None:
        self.question = question or Limits()
        self.session = session or Limits()
        self.earlier = earlier or Spent()
        self.prices = prices or Prices()
        self.stopped: Stop | None = None
        """What ended the question or, in a workflow of several parts, one of them."""
        self.beside: Counter[str] = Counter()
        """prompt_tokens and completion_tokens of the calls beside the loop: rewritings, translations, grades."""
        self._payer = payer
        self._most_steps = most_steps
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._steps = self._tokens = 0
        self._cost = self._waited = 0.0

    @property
    def spent(self) -> Spent:
        """What this question has spent so far."""
        return Spent(self._steps, self._tokens, self._clock() - self._began - self._waited, self._cost)

    def add_tokens(self, read: int, written: int) -> None:
        """Count the tokens of one model call."""
        self._take(read, written, self.prices.cost(read, written))

    def _take(self, read: int, written: int, cost: float) -> None:
        with self._lock:
            self._tokens += read + written
            self._cost += cost
        if self._payer is not None:
            self._payer._take(read, written, cost)
            with self._payer._lock:
                self._payer.beside.update(prompt_tokens=read, completion_tokens=written)

    def spend(self, read: int, written: int, told: bool) -> None:
        """Count the tokens of a call beside the loop; estimates count for the budget, not among what was told."""
        self.add_tokens(read, written)
        if told:
            with self._lock:
                self.beside["prompt_tokens"] += read
                self.beside["completion_tokens"] += written

    def usage(self, loop: Counter[str]) -> dict[str, int]:
        """What the calls of the loop read and wrote, with those beside it."""
        return {name: loop[name] + self.beside[name] for name in {**loop, **self.beside}}

    def add_step(self, count: int = 1) -> None:
        """Count tool calls."""
        with self._lock:
            self._steps += count

    def take_step(self) -> bool:
        """Count one more tool call, here and where it is paid, unless `most_steps` were made."""
        with self._lock:
            if self._most_steps is not None and self._steps >= self._most_steps:
                return False
            self._steps += 1
        if self._payer is None or self._payer.take_step():
            return True
        with self._lock:
            self._steps -= 1
        return False

    def out_of_steps(self) -> Stop | None:
        """What says that no tool call is left, here or where it is paid; None while there is one."""
        with self._lock:
            if self._most_steps is not None and self._steps >= self._most_steps:
                return Stop("max_steps", self._most_steps, self._steps)
        return self._payer.out_of_steps() if self._payer is not None else None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time in this block is not counted: a person is asked something."""
        began = self._clock()
        try:
            yield
        finally:
            with self._lock:
                self._waited += self._clock() - began

    def over(self) -> Stop | None:
        """The budget that is used up, None if there is something left of each."""
        if self._payer is not None and (stop := self._payer.over()):
            return stop
        spent = self.spent
        together = self.earlier + spent
        for unit in _UNITS:
            for reasons, limits, sum_ in ((_QUESTION, self.question, spent), (_SESSION, self.session, together)):
                limit, value = getattr(limits, unit), getattr(sum_, unit)
                if limit is not None and value >= limit and not (unit == "steps" and reasons is _QUESTION):
                    return Stop(reasons[unit], limit, value)
        return None

    def seconds_left(self) -> float | None:
        """Time until the nearer of the two time budgets is used up, None without any."""
        spent = self.spent.seconds
        left = [
            limit - used
            for limit, used in (
                (self.question.seconds, spent),
                (self.session.seconds, self.earlier.seconds + spent),
            )
            if limit is not None
        ]
        if self._payer is not None and (payers := self._payer.seconds_left()) is not None:
            left.append(payers)
        return max(min(left), 0.0) if left else None

    def out_of_time(self) -> Stop:
        """The time budget that ends first, for a call that it ended."""
        if self._payer is not None and self._payer.seconds_left() == 0:
            return self._payer.out_of_time()
        spent = self.spent.seconds
        question, session = self.question.seconds, self.session.seconds
        ends_with_session = session is not None and (
            question is None or session - self.earlier.seconds - spent < question - spent
        )
        if ends_with_session and session is not None:
            return Stop("session_seconds", session, self.earlier.seconds + spent)
        return Stop("max_seconds", question or 0.0, spent)


def limits_of(header: AgentHeader, settings: Settings) -> tuple[Limits, Limits]:
    """The limits of a question and of a session: of settings and agent file the stricter one counts."""
    set_ = Limits(
        settings.max_question_steps,
        settings.max_question_tokens,
        settings.max_question_seconds,
        settings.max_question_cost,
    )
    named = Limits(header.max_steps, header.max_question_tokens, header.max_question_seconds, header.max_question_cost)
    session = Limits(
        settings.max_session_steps,
        settings.max_session_tokens,
        settings.max_session_seconds,
        settings.max_session_cost,
    )
    session_named = Limits(
        header.max_session_steps, header.max_session_tokens, header.max_session_seconds, header.max_session_cost
    )
    return named.within(set_), session_named.within(session)


def prices_of(settings: Settings, limits: Sequence[Limits], free: bool) -> Prices:
    """Prices from the settings.

    Args:
        settings: Hold the prices.
        limits: What is to be kept to.
        free: The model runs on this machine.

    Raises:
        ConfigError: If a cost is limited but no price is set: the limit could never be reached.
    """
    if free:
        return Prices()
    if settings.price_read is None and settings.price_written is None and any(one.cost is not None for one in limits):
        raise ConfigError(
            "A cost budget is set, but not what tokens cost.",
            "Set price_read and price_written, the prices of a million tokens.",
        )
    return Prices(settings.price_read or 0.0, settings.price_written or 0.0)


def _least(a: Number, b: Number) -> Number:
    return a if b is None else b if a is None else min(a, b)
