"""Source code and configuration files: the text as it stands, cut at functions and classes."""

from __future__ import annotations

from ragkit.ingest.code_blocks import CODE_SUFFIXES
from ragkit.ingest.decode import decode_note
from ragkit.ingest.formats.base import ConversionError, Converted, Format


def convert(data: bytes, name: str) -> Converted:
    """The decoded text, under the name of its file.

    Raises:
        ConversionError: If it is empty.
        UndecodableError: If it is no text.
    """
    decoded = decode_note(data)
    if not decoded.text.strip():
        raise ConversionError("empty")
    return Converted(text=decoded.text, title=name, warning=decoded.warning)


FORMAT = Format(
    name="source code",
    suffixes=CODE_SUFFIXES,
    convert=convert,
    isolated=False,
    # What is larger was written by a program and is data.
    max_bytes=1024 * 1024,
)
