"""Tasks for an agent's tools: what is asked, which tools it takes, and how its answer is checked."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ragkit.agent.answer import Answer
from ragkit.errors import DatasetError
from ragkit.evaluation.datasets import json_lines, where_and_why
from ragkit.text.tokens import fold

Kind = Literal["search", "arithmetic", "chain", "two", "three", "memory", "list", "read", "trap"]
_NUMBER: Final = re.compile(r"-?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?", re.IGNORECASE)
_LEFT_SIDE: Final = re.compile(r"[\d(][\d.,() ]*[+\-*/%^×÷][\d.,()+\-*/%^×÷e ]*=")
_TOLERANCE: Final = 0.005
"""How far a stated number may be from the right one, relative to it."""
_Some = Annotated[str, Field(min_length=1)]


class Check(BaseModel):
    """What a right answer has; everything that is given must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    numbers: tuple[float, ...] = ()
    """Each stands in the answer, to half a per cent."""
    any_number: tuple[float, ...] = ()
    """At least one of them does."""
    all: tuple[_Some, ...] = ()
    """Each stands in the answer; ``|`` between alternatives."""
    cites: tuple[_Some, ...] = ()
    """At least one of these notes is cited."""
    abstains: bool = False
    """The agent must decline; else it must not."""

    @model_validator(mode="after")
    def _checks_something(self) -> Check:
        if not (self.numbers or self.any_number or self.all or self.cites or self.abstains):
            raise ValueError("nothing is checked")
        return self

    def faults(self, answer: Answer) -> list[str]:
        """What is wrong with an answer, one line each; empty if it is right."""
        if self.abstains:
            return [] if answer.abstained else ["answered what the notes do not hold"]
        found, text = _numbers(answer.text), fold(answer.text)
        wrong = [f"{number:g} is missing" for number in self.numbers if not _among(number, found)]
        if self.any_number and not any(_among(number, found) for number in self.any_number):
            wrong.append(f"none of {', '.join(f'{number:g}' for number in self.any_number)} is there")
        wrong += [f"{words!r} is missing" for words in self.all if not any(fold(w) in text for w in words.split("|"))]
        if self.cites and not {citation.document for citation in answer.citations} & set(self.cites):
            wrong.append(f"cites none of {', '.join(self.cites)}")
        return wrong


class ToolTask(BaseModel):
    """One task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: _Some
    kind: Kind
    language: Literal["zh", "en"]
    question: Annotated[str, Field(pattern=r"\S")]
    before: tuple[_Some, ...] = ()
    """Said in earlier conversations of the same user."""
    expect: tuple[_Some, ...] = ()
    """Tools that must be called; the first search, which the framework makes, counts."""
    forbid: tuple[_Some, ...] = ()
    """Tools that must not be called: the traps."""
    calls: int = Field(ge=0, le=3)
    """Calls that the model has to make beside the first search."""
    check: Check


def load_tasks(path: Path) -> list[ToolTask]:
    """Read tasks.

    Args:
        path: A JSONL file, or the folder that holds ``tasks.jsonl``.

    Raises:
        DatasetError: If it is missing or malformed, or an id stands twice; names file and line.
    """
    path = path / "tasks.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise DatasetError(f"Tasks not found: {path}", "Give a tasks.jsonl or its folder.")
    tasks: dict[str, ToolTask] = {}
    for number, row in json_lines(path):
        try:
            task = ToolTask.model_validate(row)
        except ValidationError as exc:
            keys = ", ".join(ToolTask.model_fields)
            raise DatasetError(f"{path}:{number}: {where_and_why(exc)}.", f"Keys: {keys}.") from exc
        if task.id in tasks:
            raise DatasetError(f"{path}:{number}: id {task.id!r} stands twice.", "Ids must be unique.")
        tasks[task.id] = task
    if not tasks:
        raise DatasetError(f"{path} holds no task.", "")
    return list(tasks.values())


def _numbers(text: str) -> list[float]:
    """The numbers of a text, a comma between thousands taken out; what stands before ``=`` is no result."""
    results = _LEFT_SIDE.sub(" ", re.sub(r"\[\d+\]", " ", text))
    return [float(found.replace(",", "")) for found in _NUMBER.findall(results)]


def _among(number: float, found: list[float]) -> bool:
    return any(math.isclose(number, other, rel_tol=_TOLERANCE, abs_tol=1e-9) for other in found)
