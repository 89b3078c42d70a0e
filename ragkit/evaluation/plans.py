"""YAML files that say what to measure: read strictly, their paths relative to the repository they stand in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ragkit.errors import ConfigError, DatasetError, RagkitError
from ragkit.evaluation.datasets import Dataset, answerable, load_dataset, select
from ragkit.evaluation.metrics import METRICS
from ragkit.evaluation.runs import parse_run
from ragkit.ingest.yaml_safe import load_yaml

_ROOT_MARKS: Final = (".git", "pyproject.toml")
Tick = Callable[[int, int], None]
"""Called with (things done, things in all)."""
Bar = Callable[[str], AbstractContextManager[Tick]]
"""Opens a progress bar with this label."""


@contextmanager
def no_bar(label: str) -> Iterator[Tick]:
    """A `Bar` that shows nothing."""
    yield lambda done, total: None


class Strict(BaseModel):
    """A part of such a file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetRef(Strict):
    """A data set as such a file names it."""

    path: str = Field(min_length=1)
    name: str = Field(default="", pattern=r"^[\w.-]*$")
    """What reports and checks call it; empty: the folder of a questions.jsonl, else the file or folder itself."""
    notes: str | None = None
    """Notes of a ragkit set; None: the shipped corpus of the same name."""
    limit: int | None = Field(default=None, ge=1)
    optional: bool = False
    """Left out, with a word about it, where it is not there."""

    @property
    def label(self) -> str:
        path = Path(self.path)
        return self.name or (path.name == "questions.jsonl" and path.parent.name) or path.stem

    def load(self, root: Path, split: str) -> Dataset:
        """The answerable questions of one split, under the name of this reference; `limit` counts these only.

        Args:
            root: Folder that its paths are relative to.
            split: ``dev``, ``test`` or ``all``.

        Raises:
            DatasetError: If it is not there, malformed, or the split has no question with gold.
        """
        notes = root / self.notes if self.notes is not None else None
        data = select(answerable(load_dataset(root / self.path, notes)), split, self.limit)
        return replace(data, name=self.label)

    def missing(self, root: Path) -> str | None:
        """Why it cannot be measured here; None if it can."""
        for part in (self.path, self.notes):
            if part is not None and not (root / part).exists():
                return f"{root / part} is not there"
        return None


Plan = TypeVar("Plan", bound=Strict)


def read_plan(path: Path, kind: type[Plan]) -> Plan:
    """Read such a file.

    Raises:
        ConfigError: If it is missing or no YAML, or a key or value is wrong; names the file and the key.
    """
    try:
        data = load_yaml(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as exc:
        reason = str(exc.strerror if isinstance(exc, OSError) else exc)
        raise ConfigError(f"{path} cannot be read: {reason}.", "Give a UTF-8 YAML file.") from exc
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML ({getattr(exc, 'problem', exc)}).", "Mend that line.") from exc
    except (ValueError, RecursionError) as exc:  # a date that is none, or thousands of brackets
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise ConfigError(f"{path}: not valid YAML: {reason}.", "Mend the file.") from exc
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must consist of `key: value` lines.", f"Keys: {', '.join(kind.model_fields)}.")
    try:
        return kind.model_validate(data)
    except ValidationError as exc:
        first = exc.errors()[0]
        name = ".".join(map(str, first["loc"]))
        top = len(first["loc"]) == 1 and first["type"] == "extra_forbidden"
        reason = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise ConfigError(
            f"{path}: {name}: {reason}." if name else f"{path}: {reason}.",
            f"Allowed keys: {', '.join(kind.model_fields)}." if top else "",
        ) from exc


def root_of(path: Path) -> Path:
    """The folder that paths in this file are relative to: its repository, else the folder it stands in."""
    folder = path.resolve().parent
    for candidate in (folder, *folder.parents):
        if any((candidate / mark).exists() for mark in _ROOT_MARKS):
            return candidate
    return folder


def split_missing(refs: Sequence[DatasetRef], root: Path) -> tuple[list[str], dict[str, str]]:
    """Names of the data sets that are there, and why each optional one is left out.

    Raises:
        DatasetError: If one is missing that is not optional, or none is left.
    """
    present: list[str] = []
    skipped: dict[str, str] = {}
    for ref in refs:
        reason = ref.missing(root)
        if reason is None:
            present.append(ref.label)
        elif ref.optional:
            skipped[ref.label] = reason
        else:
            raise DatasetError(f"Data set {ref.label}: {reason}.", "Put it there, or mark it `optional: true`.")
    if not present:
        raise DatasetError("None of the data sets is there.", "; ".join(skipped.values()) + ".")
    return present, skipped


def check_metric(name: str) -> str:
    """`name`, if there is such a metric.

    Raises:
        ValueError: Otherwise, with those there are.
    """
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}; allowed: {', '.join(METRICS)}")
    return name


def check_run(name: str) -> str:
    """`name`, if it is a run under the settings in force.

    Raises:
        ValueError: If it is none, or names a settings file.
    """
    if ":" in name or name.endswith(".toml"):
        raise ValueError(f"run {name!r} must not name a settings file here")
    try:
        parse_run(name)
    except RagkitError as exc:
        raise ValueError(str(exc)) from exc
    return name


def check_unique(names: Iterable[str], what: str) -> None:
    """Refuse a name that stands twice.

    Raises:
        ValueError: Naming it.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} {name!r} stands twice")
        seen.add(name)
