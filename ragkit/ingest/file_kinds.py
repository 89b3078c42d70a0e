"""Which files are notes, and why other documents are none. The rest of a folder is passed over in silence."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

NOTE_SUFFIXES: Final = frozenset(
    {
        *(".md", ".markdown", ".mdx", ".qmd", ".rmd", ".txt", ".text"),
        # Marked up otherwise, but for people to read: they are read as text.
        *(".rst", ".org", ".adoc", ".asciidoc", ".tex"),
    }
)
_NOTE_NAMES: Final = frozenset({"readme"})
"""Files that are notes without a suffix, in lower case."""
_TEXT: Final = "save it as .docx, .pdf or .md"
_DATA: Final = "save what should be found as .md or .txt"
_REASONS: Final = {
    **dict.fromkeys((".doc", ".dot"), f"Word's old format is not read; {_TEXT}"),
    **dict.fromkeys((".rtf", ".odt", ".ott", ".pages", ".wps", ".wpd"), f"this text format is not read; {_TEXT}"),
    **dict.fromkeys((".ppt", ".pps", ".odp"), "this format of slides is not read; save it as .pptx or .pdf"),
    **dict.fromkeys((".xls", ".xlsx", ".xlsm", ".xlsb", ".ods", ".numbers"), f"spreadsheets are not read; {_DATA}"),
    **dict.fromkeys((".csv", ".tsv"), f"tables of data are not read; {_DATA}"),
    **dict.fromkeys((".mobi", ".azw", ".azw3", ".djvu", ".chm"), "this book is not read; save it as .epub or .pdf"),
}


def is_note(name: str) -> bool:
    """Whether a file of this name is read as it stands."""
    path = PurePath(name)
    return path.suffix.lower() in NOTE_SUFFIXES or path.name.lower() in _NOTE_NAMES


def why_unread(name: str) -> str:
    """Why a document of this name is not read and what can be done; empty for what is no document."""
    if name.startswith("~$"):  # left by Office beside a document that is open
        return ""
    return _REASONS.get(PurePath(name).suffix.lower(), "")
