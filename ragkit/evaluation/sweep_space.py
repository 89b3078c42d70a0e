"""What a sweep tries: a YAML file with values for settings, and the points that grid or random search takes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from ragkit.evaluation.plans import DatasetRef, Strict, check_metric, check_run, check_unique
from ragkit.settings import Settings

SWEPT: Final = (
    "chunk_target", "chunk_maximum", "candidates", "coverage_weight", "coverage_floor", "temperature",
    "question_centring", "language_correction", "sentence_share", "bm25_variant", "bm25_k1", "bm25_b",
    "rerank_model", "diversity", "merge_neighbours", "enrichment_share", "embedding_model", "chat_model",
)  # fmt: skip
"""The settings that affect retrieval."""
RUN: Final = "run"
"""The other thing that may vary: the name of the run, see `ragkit.evaluation.runs`."""
DEFAULT_RUN: Final = "hybrid"
RANDOM_TRIALS: Final = 20
_SHUFFLED: Final = 100_000
"""Spaces up to this size are shuffled whole; of larger ones points are drawn."""


class Sweep(Strict):
    """A sweep file."""

    datasets: tuple[DatasetRef, ...] = Field(min_length=1)
    split: Literal["dev"] = "dev"
    """What is tuned on; the report is on ``test``, which no trial sees."""
    metric: Annotated[str, AfterValidator(check_metric)] = "mrr@10"
    search: Literal["grid", "random"] = "grid"
    trials: int | None = Field(default=None, ge=1)
    """At most so many points; None: the whole grid, or 20 random ones."""
    seed: int = 0
    space: dict[str, tuple[Any, ...]] = Field(min_length=1)
    """Values by setting, or by ``run``. A ``null`` temperature stands for the one in force."""

    @field_validator("space")
    @classmethod
    def _values(cls, space: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        return {name: tuple(_checked(name, value) for value in _some(name, space[name])) for name in space}

    @model_validator(mode="after")
    def _unique(self) -> Sweep:
        check_unique([ref.label for ref in self.datasets], "data set")
        return self

    @property
    def size(self) -> int:
        """Points of the whole grid."""
        return prod(len(values) for values in self.space.values())

    def points(self, trials: int | None = None) -> list[dict[str, Any]]:
        """The points to try; more `trials` begin with the same ones, so that a sweep can be extended.

        Args:
            trials: In place of the number in the file.
        """
        wanted = trials or self.trials or (self.size if self.search == "grid" else RANDOM_TRIALS)
        return [self._point(number) for number in self._numbers(min(wanted, self.size))]

    def _numbers(self, count: int) -> Sequence[int]:
        if self.search == "grid":
            return range(count)
        generator = random.Random(self.seed)
        if self.size <= _SHUFFLED:
            order = list(range(self.size))
            generator.shuffle(order)
            return order[:count]
        drawn: dict[int, None] = {}
        while len(drawn) < count:
            drawn[generator.randrange(self.size)] = None
        return list(drawn)

    def _point(self, number: int) -> dict[str, Any]:
        """Point `number` of the grid, in which the last key varies fastest."""
        point: dict[str, Any] = {}
        for name in reversed(self.space):
            number, at = divmod(number, len(self.space[name]))
            point[name] = self.space[name][at]
        return {name: point[name] for name in self.space}


def changes_of(point: Mapping[str, Any], base: Settings) -> dict[str, Any]:
    """What a point changes of the settings in force and the default run."""
    now: dict[str, Any] = {name: getattr(base, name) for name in SWEPT} | {RUN: DEFAULT_RUN}
    return {name: value for name, value in point.items() if value is not None and value != now[name]}


def _some(name: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    if name != RUN and name not in SWEPT:
        raise ValueError(f"{name!r} is no setting that affects retrieval; allowed: {', '.join((*SWEPT, RUN))}")
    if not values:
        raise ValueError(f"{name} has no values")
    return values


def _checked(name: str, value: Any) -> Any:
    """The value as the setting takes it."""
    if name == RUN:
        return check_run(str(value))
    try:
        return getattr(Settings(**{name: value}), name)
    except ValidationError as exc:
        raise ValueError(f"{name}: {value!r}: {exc.errors()[0]['msg']}") from exc
