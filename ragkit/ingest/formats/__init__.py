"""File formats besides Markdown and plain text, one file per family.

Each module here that defines ``FORMAT`` is a format; adding one is adding a file. The modules are
light to import: what they convert with is imported when they convert.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import PurePath

from ragkit.ingest.formats.base import Format


@cache
def all_formats() -> tuple[Format, ...]:
    """Every format, by name."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    return tuple(sorted((m.FORMAT for m in modules if hasattr(m, "FORMAT")), key=lambda one: one.name))


@cache
def _by_suffix() -> dict[str, Format]:
    return {suffix: one for one in all_formats() for suffix in one.suffixes}


def format_of(path: str | PurePath) -> Format | None:
    """The format of a file by the end of its name; None for notes and for what is not read at all."""
    return _by_suffix().get(PurePath(path).suffix.lower())
