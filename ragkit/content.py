"""Where the shipped agents and corpora are: in the wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

from ragkit.errors import RagkitError

_PACKAGE = Path(__file__).resolve().parent


def content_dir(kind: str) -> Path:
    """Folder of shipped `kind`, which is ``agents`` or ``corpora``.

    Raises:
        RagkitError: If the installation carries no such folder.
    """
    for candidate in (_PACKAGE / "_content" / kind, _PACKAGE.parent / kind):
        if candidate.is_dir():
            return candidate
    raise RagkitError(f"This installation of ragkit carries no {kind} folder.", "Reinstall ragkit.")


def default_corpus() -> Path:
    """The interview notes that come with ragkit."""
    return content_dir("corpora") / "llm-interview"
