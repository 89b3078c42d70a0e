"""The keys of an agent file that say how its model is prompted."""

from __future__ import annotations

from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from ragkit.models.sampling import Sampling

SAMPLES_TEMPERATURE: Final = 0.7
"""Of the further answers of self-consistency, where the agent file names none; as in Wang et al. 2022."""


class StepSampling(BaseModel):
    """Temperature and top-p by the kind of step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rewrite: Sampling = Sampling()
    """Query transforms before the first search."""
    act: Sampling = Sampling()
    """Steps that may call a tool or answer."""
    answer: Sampling = Sampling()
    """Steps that can only answer, and the further answers of `StrategyKeys.samples`."""


class StrategyKeys(BaseModel):
    """Chain of thought, sampling and self-consistency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    thought: Literal["shown", "hidden", "off"] = "shown"
    """Chain of thought of a model that is driven by the JSON protocol: a field before each action. ``hidden``: it
    is written, but neither shown nor reported; ``off``: it is not written."""
    thought_chars: int = Field(default=120, ge=20, le=2000)
    """Longest thought, in characters."""
    sampling: StepSampling = StepSampling()
    samples: int = Field(default=1, ge=1, le=15)
    """Self-consistency: answers written over the same evidence, of which the one that most agree with is given."""

    @property
    def answer_sampling(self) -> Sampling:
        """How the further answers are drawn; without a temperature they would all be the same."""
        given = self.sampling.answer
        return given if given.temperature is not None else given.model_copy(update={"temperature": SAMPLES_TEMPERATURE})

    @field_validator("*", mode="before")
    @classmethod
    def _no_flag_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {kind, *get_args(kind)}:
            raise ValueError("a number is wanted, not yes or no")
        return value

    @field_validator("thought", mode="before")
    @classmethod
    def _off(cls, thought: object) -> object:
        return "off" if thought is False else thought  # YAML reads a bare off as false

    @field_validator("samples")
    @classmethod
    def _drawn(cls, samples: int, info: ValidationInfo) -> int:
        sampling = info.data.get("sampling")
        if samples > 1 and sampling is not None and sampling.answer.temperature == 0:
            raise ValueError("more than one sample needs sampling.answer.temperature above 0")
        return samples
