"""Names of added notes that lie outside the folders an index was built from.

Every project has a README.md, so that a name alone says little: the folder's name stands in front,
and more of the path where another document has that name. The MANIFEST keeps which file a name
stands for, so that the file keeps it however it is added again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, Final

from ragkit.ingest.loader import SourceFile, readable
from ragkit.ingest.staleness import locate
from ragkit.values import Skipped

OUTSIDE: Final = "outside"
"""Under which `Manifest.extra` has them: absolute file by path in the index."""


def outside_files(extra: Mapping[str, Any]) -> dict[str, str]:
    """Absolute files of the outside notes, by their paths in the index."""
    kept = extra.get(OUTSIDE)
    return {str(path): str(file) for path, file in kept.items()} if isinstance(kept, dict) else {}


def name_outside(
    sources: Sequence[SourceFile],
    taken: Collection[str],
    kept: Mapping[str, str],
    roots: Sequence[str],
) -> tuple[dict[str, SourceFile], dict[str, str], list[Skipped]]:
    """Give notes from outside paths that no other file has.

    Args:
        sources: Their `path` is relative to the folder that holds what was named.
        taken: Paths that stand for a document.
        kept: Files of outside notes, by path.
        roots: Of the index; what lies there on the disk has its path even before it is indexed.

    Returns:
        The notes by their new path, the file of each, and those for which no path is free.
    """
    before = {file: path for path, file in kept.items() if path in taken}
    found: dict[str, SourceFile] = {}
    files: dict[str, str] = {}
    none: list[Skipped] = []
    for source in sources:
        file = source.file.parent.resolve() / source.file.name
        known = before.get(str(file))
        names = [known] if known is not None else []
        names += [name for name in _names(file, source.path) if name not in taken]
        path = next((n for n in names if files.get(n, str(file)) == str(file) and locate(n, roots) is None), None)
        if path is None:
            none.append(Skipped(path=source.path, reason="another document has its path in the index"))
            continue
        found[path] = replace(source, path=path)
        files[path] = str(file)
    return found, files, none


def _names(file: Path, path: str) -> list[str]:
    """The path, and longer ones with more of the folders above."""
    above = file.parts[1 : len(file.parts) - len(PurePath(path).parts)]
    return [path, *(f"{readable(PurePath(*above[i:]))}/{path}" for i in reversed(range(len(above))))]
