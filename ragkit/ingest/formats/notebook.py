"""Jupyter notebooks: Markdown cells as they are, code cells and their texts as fences."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from ragkit.ingest.decode import decode_note
from ragkit.ingest.formats.base import ConversionError, Converted, Format, TextBuilder
from ragkit.text.sanitize import ANSI_SEQUENCE

_OUTPUT_LINES: Final = 30
_OUTPUT_CHARACTERS: Final = 4_000


def convert(data: bytes, name: str) -> Converted:
    """Cells in order, with the first lines of what they printed; no cell is run.

    Raises:
        ConversionError: If it is no notebook or has no cell with text.
        UndecodableError: If it is no text.
    """
    decoded = decode_note(data)
    try:
        book = json.loads(decoded.text)
    except (ValueError, RecursionError) as exc:
        raise ConversionError(f"not valid JSON ({str(exc)[:100]})") from exc
    cells = _cells(book)
    metadata = book.get("metadata") if isinstance(book.get("metadata"), dict) else {}
    language = _language(metadata)
    builder = TextBuilder()
    for cell in cells:
        source = _text(cell.get("source", cell.get("input")))
        match cell.get("cell_type"):
            case "markdown" | "heading":
                builder.add(source)
            case "code":
                builder.add(_fence(source, language))
                for output in _list(cell.get("outputs")):
                    builder.add(_fence(_shorten(_output(output)), "text"))
            case _:
                builder.add(_fence(source, "text"))
    title = metadata.get("title")
    return builder.build(title=title if isinstance(title, str) else "", warning=decoded.warning)


def _cells(book: Any) -> list[dict[str, Any]]:
    if not isinstance(book, dict):
        raise ConversionError("JSON, but no notebook")
    found = book.get("cells")
    if found is None:  # nbformat 3
        found = [cell for sheet in _list(book.get("worksheets")) for cell in _list(sheet.get("cells"))]
        if not found:
            raise ConversionError("JSON, but no notebook")
    return _list(found)


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    """A multi-line string of nbformat: a string, or a list of lines."""
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _language(metadata: dict[str, Any]) -> str:
    for key in ("language_info", "kernelspec"):
        info = metadata.get(key)
        name = (
            (info.get("name") if key == "language_info" else info.get("language")) if isinstance(info, dict) else None
        )
        if isinstance(name, str) and re.fullmatch(r"[\w+#-]{1,20}", name):
            return name
    return "python"


def _output(output: dict[str, Any]) -> str:
    if output.get("output_type") == "error":
        return f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"
    data = output.get("data")
    return _text(data.get("text/plain") if isinstance(data, dict) else output.get("text"))


def _shorten(text: str) -> str:
    lines = ANSI_SEQUENCE.sub("", text)[:_OUTPUT_CHARACTERS].rstrip().split("\n")
    return "\n".join(lines[:_OUTPUT_LINES])


def _fence(text: str, language: str) -> str:
    """`text` in a fence that is longer than any in it."""
    if not text.strip():
        return ""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    mark = "`" * (longest + 1)
    return f"{mark}{language}\n{text.strip(chr(10))}\n{mark}"


FORMAT = Format(
    name="Jupyter",
    suffixes=frozenset({".ipynb"}),
    convert=convert,
    isolated=False,
    max_bytes=20 * 1024 * 1024,
)
