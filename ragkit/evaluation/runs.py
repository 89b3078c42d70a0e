"""Names of runs: ``[SETTINGS.toml:]MODE[+TRANSFORM...]``, such as ``hybrid+translate+hyde`` or ``small.toml:dense``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ragkit.errors import DatasetError, UnknownRunError
from ragkit.retrieval.legs import Mode
from ragkit.retrieval.planner import Policy
from ragkit.retrieval.retriever import MODES, check_mode

TRANSFORMS: Final = ("rewrite", "translate", "hyde", "auto", "rerank", "alone")
"""What may be added to a mode. The first three need a chat model, ``rerank`` that or a cross-encoder; with ``auto``
the three are used only where the first search is unsure (all three, if none is named). ``alone`` leaves out the
conversation that a follow-up leans on."""
_ALLOWED: Final = (
    f"Allowed: {', '.join(MODES)}, each with {', '.join(f'+{name}' for name in TRANSFORMS)}; "
    "or SETTINGS.toml:RUN for a run under other settings."
)


@dataclass(frozen=True)
class RunSpec:
    """One way to search."""

    name: str
    """As it was given; what reports call the run."""
    mode: Mode
    transforms: frozenset[str]
    config: Path | None = None
    """Settings file of this run; None: those in force."""

    @property
    def needs_chat(self) -> bool:
        """Whether a chat model has to be there."""
        return bool(self.transforms - {"rerank", "alone"})

    def policy(self, transform: str) -> Policy:
        """When one of the first three transforms is used in this run."""
        gated = "auto" in self.transforms
        if transform in self.transforms or (gated and not self.transforms & {"rewrite", "translate", "hyde"}):
            return "auto" if gated else "always"
        return "never"


def parse_run(name: str) -> RunSpec:
    """The run of this name.

    Raises:
        UnknownRunError: If the mode or a transform is unknown.
        DatasetError: If the settings file is not there.
    """
    file, colon, rest = name.rpartition(":")
    config = None
    if colon or name.endswith(".toml"):
        config = Path(file if colon else name).expanduser()
        rest = rest if colon else MODES[0]
        if not config.is_file():
            raise DatasetError(f"Run {name!r}: there is no settings file {config}.", _ALLOWED)
    mode, *extras = rest.split("+")
    if mode not in MODES or set(extras) - set(TRANSFORMS):
        raise UnknownRunError(f"Unknown run {name!r}.", _ALLOWED)
    return RunSpec(name, check_mode(mode), frozenset(extras), config)
