"""HTML pages, saved from the web or written by hand."""

from __future__ import annotations

from ragkit.ingest.formats.base import Converted, Format, TextBuilder
from ragkit.ingest.markup import decode_html, html_to_markdown


def convert(data: bytes, name: str) -> Converted:
    """What a reader of the page sees.

    Raises:
        ConversionError: If nothing of it can be seen.
        UndecodableError: If it is no text.
    """
    html, warning = decode_html(data)
    text, title = html_to_markdown(html)
    builder = TextBuilder()
    builder.add(text)
    return builder.build(title=title, warning=warning)


FORMAT = Format(
    name="HTML",
    suffixes=frozenset({".html", ".htm", ".xhtml"}),
    convert=convert,
    packages=("bs4", "markdownify"),
    max_bytes=20 * 1024 * 1024,
)
