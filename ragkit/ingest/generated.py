"""What programs wrote for programs, among the notes of a folder: it is not read."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Final

GENERATED: Final = re.compile(
    r"(?:package-lock|npm-shrinkwrap|composer\.lock)\.json|.*\.min\.m?js|pnpm-lock\.yaml", re.IGNORECASE
)
"""Names of files."""
_FOLDERS: Final = frozenset({"node_modules", "__pycache__", "site-packages"})
MANIFEST: Final = "MANIFEST.json"
_GENERATION: Final = re.compile(r"(gen|seg)-\d{20}-[0-9a-f]{6}")


def is_generated_folder(folder: Path) -> bool:
    """Whether nothing below a folder is a note: packages, virtual environments, an index of ragkit."""
    return folder.name in _FOLDERS or os.path.isfile(folder / "pyvenv.cfg") or is_index(folder)


def is_index(folder: Path) -> bool:
    """Whether ragkit wrote `folder`: an index, or a generation of an index that shares its folder with notes."""
    if _GENERATION.fullmatch(folder.name):
        return True
    try:
        data = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and {"generation", "seal"} <= data.keys()
